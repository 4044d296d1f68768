-- A whole conversation as a sequence, and which of its tokens the assistant says.
--
-- A template that marks {% generation %} tells it. For others the places are those between the text up to a message
-- of the assistant, with the prompt for it, and the text that includes it; each must be the beginning of the next,
-- and of the whole. A template that writes earlier turns differently later on fails that, which is reported, and only
-- the last turn is scored.
local core = require "pofit.core"
local chat = require "pofit.chat"

local M = {}

local function common(a, b)
  local n = math.min(#a, #b)
  for i = 1, n do
    if a[i] ~= b[i] then return i - 1 end
  end
  return n
end

local function part(messages, n, last) return table.move(messages, n, last, 1, {}) end

local function merged(opts, more)
  local out = {}
  for name, v in pairs(opts) do out[name] = v end
  for name, v in pairs(more) do out[name] = v end
  return out
end

-- bytes {first, last} of the assistant's messages by comparing beginnings; nil if they do not match
local function spans_by_prefix(tok, messages, opts, whole)
  local spans = {}
  for i, message in ipairs(messages) do
    if message.role == "assistant" then
      if i == 1 then return nil end
      local before = chat.render(tok, part(messages, 1, i - 1), merged(opts, { generation_prompt = true }))
      local after = i == #messages and whole or chat.render(tok, part(messages, 1, i), opts)
      if after:sub(1, #before) ~= before or whole:sub(1, #after) ~= after then return nil end
      spans[#spans + 1] = { #before + 1, #after }
    end
  end
  return spans
end

-- the last turn alone: what is behind the longest beginning that the whole has in common with the prompt for it
local function last_turn(tok, messages, opts, whole)
  local last = #messages
  if last < 2 or messages[last].role ~= "assistant" then return {} end
  local before = chat.render(tok, part(messages, 1, last - 1), merged(opts, { generation_prompt = true }))
  local n = 0
  while n < #before and before:byte(n + 1) == whole:byte(n + 1) do n = n + 1 end
  return n < #whole and { { n + 1, #whole } } or {}
end

-- 1 for the tokens that hold a byte of a span
local function marks(tok, ids, text, spans, info)
  local score = {}
  for i = 1, #ids do score[i] = 0 end
  local function tokens_before(byte) return common(chat.ids(tok, text:sub(1, byte - 1), info), ids) end
  for _, span in ipairs(spans) do
    if span[1] <= span[2] then
      local first = tokens_before(span[1]) + 1
      local head = chat.ids(tok, text:sub(1, span[2]), info)
      local last = common(head, ids)
      if last < #head then last = last + 1 end -- the token goes on behind the span
      for i = first, math.min(last, #ids) do score[i] = 1 end
    end
  end
  return score
end

--- The sequence of a conversation: {ids=, scored_from = 2, score = (with assistant_only)}, and notes: rewrites (the
--- template writes earlier turns differently later on, so that only the last is scored), dated.
---@param tok pofit.Tokenizer
---@param messages table[]
---@param o table where, assistant_only, tools, documents, variables, date, template
---@return table sequence, table notes
function M.conversation(tok, messages, o)
  if not tok then core.raise(o.where .. ": a conversation needs a tokenizer") end
  local opts = { tools = o.tools, documents = o.documents, variables = o.variables, date = o.date,
    template = o.template, continue_final = o.finished == false or nil }
  local text, info = chat.render(tok, messages, opts)
  local ids = chat.ids(tok, text, info)
  local notes, score = { dated = info.dated }, nil
  if o.assistant_only then
    opts.continue_final = nil
    local spans = info.spans or spans_by_prefix(tok, messages, opts, text)
    if not spans then notes.rewrites, spans = true, last_turn(tok, messages, opts, text) end
    score = marks(tok, ids, text, spans, info)
  end
  return { ids = ids, scored_from = 2, score = score }, notes
end

return M
