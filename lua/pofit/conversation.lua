-- A conversation with a model: its history, the answers to the last question, and what of it fits the context.
local core = require "pofit.core"
local json = require "pofit.json"
local sampling = require "pofit.sampling"

local Conversation = {}
Conversation.__index = Conversation

local M = {}

-- tokens that end a turn in one chat template or another, where they are not the model's own EOS
local TURN_ENDS <const> = { "<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|end_of_turn|>" }

local function stop_ids(tok)
  local out = {}
  for _, token in ipairs(TURN_ENDS) do out[#out + 1] = tok:id(token) end
  return out
end

-- a message, with its keys in the usual order
local function turn(role, content)
  return json.object({ role = role, content = content }, { "role", "content" })
end

--- A conversation. opts: what m:generate takes.
---@param model pofit.Model
---@param opts table
---@param system? string
function M.new(model, opts, system)
  if not model.tokenizer then core.raise("chat: the model has no tokenizer (tokenizer.json in its directory)") end
  opts.stop_ids = stop_ids(model.tokenizer)
  -- a model that was never told of turns writes them as text
  opts.stop = opts.stop and { opts.stop, "<|im_end|>", "<|im_start|>" } or { "<|im_end|>", "<|im_start|>" }
  return setmetatable({ model = model, opts = opts, seed = opts.seed, system = system or "", messages = {},
    answers = {} }, Conversation)
end

--- Forget everything but the system message.
function Conversation:reset() self.messages, self.answers = {}, {} end

--- The messages from number `first` on, behind the system message.
function Conversation:window(first)
  local out = {}
  if self.system ~= "" then out[1] = turn("system", self.system) end
  return table.move(self.messages, first, #self.messages, #out + 1, out)
end

-- The latest part of the conversation that leaves room for an answer, as ids; the number of messages left out.
function Conversation:fit()
  local context = self.model.max_position_embeddings
  local room = self.opts.max_tokens > 0 and math.min(self.opts.max_tokens, context // 4) or context // 4
  for first = 1, #self.messages, 2 do
    local ids = self.model:prompt_ids(self:window(first))
    if #ids + room <= context or first == #self.messages and #ids < context then return ids, first - 1 end
    if first == #self.messages then
      core.raise(("this message has %d tokens with its frame, the model's context %d: it was not sent"):format(#ids,
        context))
    end
  end
end

-- an answer to the last message of the history
function Conversation:answer(on_text)
  local ids, dropped = self:fit()
  self.opts.seed = self.seed + #self.answers
  local sample, seconds = sampling.stream(self.model, ids, self.opts, on_text)
  local answer = { text = sample.text, cut = sample.finish == "length" or sample.finish == "cancelled",
    summary = sampling.summary(sample, seconds, self.opts), dropped = dropped }
  self.answers[#self.answers + 1] = answer
  self.messages[#self.messages + 1] = turn("assistant", sample.text)
  return answer
end

--- Say something and get the answer, its text told as it comes. If it cannot be said the conversation is as before.
---@param text string
---@param on_text fun(text: string)
---@return table answer
function Conversation:say(text, on_text)
  local before, answers = #self.messages, self.answers
  self.messages[before + 1], self.answers = turn("user", text), {}
  local ok, answer = pcall(self.answer, self, on_text)
  if not ok then
    for i = #self.messages, before + 1, -1 do self.messages[i] = nil end
    self.answers = answers
    error(answer, 0)
  end
  return answer
end

--- Another answer to the last question, in place of the one there is.
---@param on_text fun(text: string)
---@return table answer
function Conversation:again(on_text)
  if #self.answers == 0 then core.raise "there is no answer yet" end
  local old = table.remove(self.messages)
  local ok, answer = pcall(self.answer, self, on_text)
  if not ok then
    self.messages[#self.messages + 1] = old
    error(answer, 0)
  end
  return answer
end

--- A preference between two answers to the last question, as a row that recipes read; the conversation goes on with the
--- chosen one.
---@param chosen table {text=, cut=}
---@param rejected table
---@return table row
function Conversation:prefer(chosen, rejected)
  if chosen.text == rejected.text then core.raise "the two answers are the same: there is nothing to prefer" end
  self.messages[#self.messages] = nil
  local _, dropped = self:fit()
  local prompt = self:window(dropped + 1)
  self.messages[#self.messages + 1] = turn("assistant", chosen.text)
  local keys = { "prompt", "chosen", "rejected", "chosen_finished", "rejected_finished" }
  local row = { prompt = prompt, chosen = { turn("assistant", chosen.text) },
    rejected = { turn("assistant", rejected.text) } }
  if chosen.cut then row.chosen_finished = false end
  if rejected.cut then row.rejected_finished = false end
  return json.object(row, keys)
end

return M
