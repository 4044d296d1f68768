-- Rows as token sequences: texts and conversations are encoded as TRL does, ids are taken as they are.
--
-- Prompt and answer are encoded together. The answer begins where that leaves the prompt's own ids: behind them, or
-- before them if a token holds the end of the prompt and the beginning of the answer, or if the template writes the
-- prompt differently when an answer follows. Several answers to one prompt begin at the same place, and the first
-- token, which no other predicts, is part of the prompt. EOS is added to a text unless the row says that it is
-- unfinished or it stands there already; in a conversation the template ends the turn.
local core = require "pofit.core"
local chat = require "pofit.chat"

local M = {}

local function fail(where, text, ...) return core.raise(where .. ": " .. text:format(...)) end

function M.is_ids(value)
  return type(value) == "table" and (value[1] == nil or math.type(value[1]) == "integer")
end

--- Ids as a row gives them: whole numbers, from 0 to below vocabulary (nil: not known).
---@param ids table
---@param vocabulary? integer
---@return integer[] ids
function M.checked(ids, vocabulary)
  for i, id in ipairs(ids) do
    if math.type(id) ~= "integer" then
      core.raise(("token %d of the ids is %s, expected a whole number"):format(i,
        type(id) == "number" and id or "a " .. type(id)))
    end
    if id < 0 or vocabulary and id >= vocabulary then
      core.raise(("token id %d is not in the vocabulary%s"):format(id, vocabulary and " of " .. vocabulary or ""))
    end
  end
  return ids
end

local function need_tokenizer(tok, where)
  if not tok then fail(where, "a text needs a tokenizer, and the model has none (tokenizer.json in its directory)") end
end

-- options of the template that a row may give
local function template_options(o, more)
  local out = { tools = o.tools, documents = o.documents, variables = o.variables, date = o.date,
    template = o.template }
  for name, v in pairs(more) do out[name] = v end
  return out
end

local function render(tok, messages, o, more)
  local text, info = chat.render(tok, messages, template_options(o, more))
  return { text = text, ids = chat.ids(tok, text, info), info = info }
end

local function joined(a, b) return table.move(b, 1, #b, #a + 1, table.move(a, 1, #a, 1, {})) end

local function common(a, b)
  local n = math.min(#a, #b)
  for i = 1, n do
    if a[i] ~= b[i] then return i - 1 end
  end
  return n
end

--- The prompt: {ids=, text= (nil for ids), messages= (of a conversation)}.
---@param o table where, tools, variables, date, vocabulary
function M.prompt(tok, prompt, o)
  local where = o.where
  if M.is_ids(prompt) then return { ids = M.checked(prompt, o.vocabulary) } end
  need_tokenizer(tok, where)
  if type(prompt) == "string" then return { text = prompt, ids = chat.encode(tok, prompt) } end
  if not chat.is_messages(prompt) then
    fail(where, "prompt is a %s; it must be a text, a conversation or a list of ids", type(prompt))
  end
  local unfinished = chat.is_answered(prompt)
  local head = render(tok, prompt, o, { generation_prompt = not unfinished, continue_final = unfinished })
  head.messages, head.unfinished = prompt, unfinished
  return head
end

-- the conversation with the answer: a text continues the assistant's message, or is one
local function with_answer(head, answer)
  if type(answer) ~= "string" then return joined(head.messages, answer) end
  if not head.unfinished then return joined(head.messages, { { role = "assistant", content = answer } }) end
  local all = table.move(head.messages, 1, #head.messages, 1, {})
  local last = {}
  for key, v in pairs(all[#all]) do last[key] = v end
  last.content = last.content .. answer
  all[#all] = last
  return all
end

local function end_with(tok, ids, from, o)
  local eos = tok and tok.eos or o.eos
  if not o.finished or not eos or #ids >= from and ids[#ids] == eos then return end
  ids[#ids + 1] = eos
end

-- {ids=, boundary= number of the prompt's tokens, joint= they were encoded together, rewrites=}
local function answer_ids(tok, head, answer, o)
  if M.is_ids(answer) then
    return { ids = joined(head.ids, M.checked(answer, o.vocabulary)), boundary = #head.ids }
  end
  need_tokenizer(tok, o.where)
  if head.messages and (type(answer) == "string" or chat.is_messages(answer)) then
    local whole = render(tok, with_answer(head, answer), o, { continue_final = not o.finished })
    return { ids = whole.ids, boundary = common(head.ids, whole.ids), joint = true, info = whole.info,
      rewrites = whole.text:sub(1, #head.text) ~= head.text }
  elseif type(answer) ~= "string" then
    fail(o.where, "completion is a %s; it must be a text, a conversation (after a conversation) or a list of ids",
      type(answer))
  elseif head.text then
    local ids = chat.encode(tok, head.text .. answer)
    local out = { ids = ids, boundary = common(head.ids, ids), joint = true }
    end_with(tok, ids, #head.ids + 1, o)
    return out
  end
  local ids = joined(head.ids, tok:encode(answer, { special = false }))
  end_with(tok, ids, #head.ids + 1, o)
  return { ids = ids, boundary = #head.ids }
end

-- the prompt with the answers' beginning, which comes as ids and is never encoded anew: what follows is by itself
local function with_prefix(tok, prompt, o)
  local head = M.prompt(tok, prompt, o)
  if o.prefix == nil then return head end
  if not M.is_ids(o.prefix) then fail(o.where, "prefix is a %s; it must be a list of ids", type(o.prefix)) end
  return { ids = joined(head.ids, M.checked(o.prefix, o.vocabulary)) }
end

--- Answers to one prompt as sequences {ids=, scored_from=}, and what is to be said of them: straddles (a boundary falls
--- inside of a token), rewrites (the template writes the prompt differently when an answer follows), dated.
---@param tok pofit.Tokenizer?
---@param prompt string|table
---@param answers table
---@param o table where; finished: a list, or one for all; prefix: ids; tools, documents, variables, date, template;
---  eos; vocabulary
---@return table[] sequences, table notes
function M.answers(tok, prompt, answers, o)
  local head = with_prefix(tok, prompt, o)
  if #head.ids == 0 then fail(o.where, "the prompt is empty, and the tokenizer adds no BOS") end
  local out, shared, notes = {}, #head.ids, {}
  for i, answer in ipairs(answers) do
    local finished = o.finished
    if type(finished) == "table" then finished = finished[i] end
    out[i] = answer_ids(tok, head, answer, setmetatable({ finished = finished ~= false }, { __index = o }))
    if out[i].joint then shared = math.max(1, math.min(shared, out[i].boundary)) end
    notes.rewrites = notes.rewrites or out[i].rewrites
    notes.dated = notes.dated or out[i].info and out[i].info.dated
  end
  notes.straddles = shared < #head.ids and not notes.rewrites
  notes.boundary = #head.ids -- where the prompt by itself ends
  for i, whole in ipairs(out) do
    out[i] = { ids = whole.ids, scored_from = (whole.joint and shared or whole.boundary) + 1 }
  end
  return out, notes
end

--- How many of the ids of a whole are those of its beginning.
function M.shared(tok, beginning, ids) return common(chat.encode(tok, beginning), ids) end

--- A whole text as a sequence of which every token but the first is scored.
function M.text(tok, text, o)
  need_tokenizer(tok, o.where)
  local ids = chat.encode(tok, text)
  end_with(tok, ids, 1, setmetatable({ finished = o.finished ~= false }, { __index = o }))
  return { ids = ids, scored_from = 2 }, {}
end

return M
