-- What kinds of rows there are (TRL's, and ranked answers), and rows of other shapes brought to them.
--
--   language    text, or messages                 prompt       prompt
--   completion  prompt, completion                unpaired     prompt, completion, label (true or false)
--   preference  prompt, chosen, rejected; or chosen and rejected that begin alike (implicit prompt)
--   steps       prompt, completions (list), labels (list of true or false)
--   ranked      prompt, answers: list of {completion=, score= or rank= or correct=}
-- Prompts and answers are texts, conversations (lists of messages) or ids. Rows may carry tools and
-- chat_template_kwargs for the template, and finished = false for an answer that was cut off.
local core = require "pofit.core"
local json = require "pofit.json"
local chat = require "pofit.chat"

local M = {}

--- Raise what is wrong with a row. A row of a file is the user's; in one of a list ("row 3") the script is at fault.
---@param where string
---@param text string names the row
function M.fail(where, text)
  return (where:find "^row %d" or where == "row") and core.raise(text) or core.refuse(text)
end

local function fail(where, text, ...) return M.fail(where, where .. ": " .. text:format(...)) end

--- The names of a row's fields, for messages.
---@param row table
---@return string
function M.names(row)
  local names = {}
  for name in pairs(row) do names[#names + 1] = tostring(name) end
  table.sort(names)
  return table.concat(names, ", ")
end

--- A value of a row in words, for messages: "missing", "null", "a number", "a list of objects with from, value".
---@param value any
---@return string
function M.shown(value)
  if value == nil then return "missing" end
  if value == json.null then return "null" end
  if type(value) == "string" then return "a text" end
  if type(value) ~= "table" then return "a " .. type(value) end
  if type(value[1]) == "table" then return ("a list of objects with %s"):format(M.names(value[1])) end
  if value[1] ~= nil then return ("a list whose first item is a %s"):format(type(value[1])) end
  return next(value) == nil and "an empty list" or ("an object with %s"):format(M.names(value))
end

-- row: in which the field is missing
local function wrong(where, name, value, wanted, row)
  local there = value == nil and row and ("; the row has %s"):format(M.names(row)) or ""
  return fail(where, "field %q is %s, expected %s%s", name, M.shown(value), wanted, there)
end

--- The kind of a row by its fields; nil if it is none. prefer = "completion": it is one, if it has all that takes.
---@param row table
---@param prefer? string
---@return string?
function M.kind(row, prefer)
  local function has(name) return row[name] ~= nil and row[name] ~= json.null end
  if prefer == "completion" and has "prompt" and has "completion" then return prefer end
  if has "chosen" and has "rejected" then return "preference" end
  if has "prompt" and has "answers" then return "ranked" end
  if has "prompt" and has "completions" then return "steps" end
  local prompt = has "prompt" or has "messages"
  if prompt and has "completion" then return has "label" and "unpaired" or "completion" end
  if has "text" or has "messages" or has "conversations" then return "language" end
  return has "prompt" and "prompt" or nil
end

-- fields that make a kind of row together only
local PAIRS <const> = {
  { "chosen", "rejected", "preferences (DPO) need both" },
  { "rejected", "chosen", "preferences (DPO) need both" },
  { "label", "completion", "rows with labels (KTO) need both" },
  { "labels", "completions", "rows of steps need both" },
}

--- What a row lacks to be of the kind that its fields point at, or to be read as all that it is; nil if nothing.
---@param row table
---@param kind string as which it is read
---@return string?
function M.lack(row, kind)
  local own = M.kind(row)
  if (kind == "prompt" or kind == "language") and own and own ~= kind then
    return ("rows of %s, read as %s, as the first row is"):format(own, kind)
  end
  for _, pair in ipairs(PAIRS) do
    if row[pair[1]] ~= nil and row[pair[2]] == nil then
      return ("with %q, without %q: %s"):format(pair[1], pair[2], pair[3])
    end
  end
end

-- an answer from a sample ({ids=}), or the text or messages as they stand
local function plain(value)
  if type(value) == "table" and value.ids then return value.ids end
  return value
end

local function content(row, name, where)
  local value = row[name]
  if value == nil and name == "prompt" then value = row.messages end -- a conversation with its answers beside it
  value = plain(value)
  if type(value) == "string" then return value end
  if type(value) == "table" then
    if type(value.role) == "string" then return { value } end -- a single message
    if chat.is_messages(value) or math.type(value[1]) == "integer" then return value end
    if next(value) == nil and name ~= "prompt" then return value end -- an empty answer, which is counted
  end
  return wrong(where, name, value, "a text, messages ({role, content}) or token ids", row)
end

local function is_chat(value) return type(value) == "table" and chat.is_messages(value) end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, v in pairs(a) do
    if not same(v, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- the beginning that two conversations have in common, and the rests
local function common_messages(a, b, where)
  local n = 0
  while n + 1 < #a and n + 1 < #b and same(a[n + 1], b[n + 1]) do n = n + 1 end
  if n == 0 then fail(where, 'chosen and rejected do not begin alike, and there is no field "prompt"') end
  local function part(list, first, last) return table.move(list, first, last, 1, {}) end
  return part(a, 1, n), part(a, n + 1, #a), part(b, n + 1, #b)
end

local TURN <const> = "\n\nAssistant:"

-- of two texts: up to the last turn of the assistant, where they are dialogues written so; else what they have in
-- common, but for a space at its end
local function common_text(a, b, where)
  local n = 0
  while n < #a and n < #b and a:byte(n + 1) == b:byte(n + 1) do n = n + 1 end
  while n > 0 and n < #a and a:byte(n + 1) & 0xC0 == 0x80 do n = n - 1 end -- characters are not cut
  local turn, at = nil, a:sub(1, n):find(TURN, 1, true)
  while at do turn, at = at, a:sub(1, n):find(TURN, at + 1, true) end
  if turn then n = turn + #TURN - 1 elseif a:sub(n, n) == " " then n = n - 1 end
  if n == 0 then fail(where, 'chosen and rejected do not begin alike, and there is no field "prompt"') end
  return a:sub(1, n), a:sub(n + 1), b:sub(n + 1)
end

local function finished_of(row, name, where)
  local value = row[name]
  if value == nil or value == json.null then return nil end
  if type(value) ~= "boolean" then wrong(where, name, value, "true or false") end
  return value
end

local function flag(row, name, where)
  local value = finished_of(row, name, where)
  if value == nil then return row.finished end
  return value
end

local readers = {}

function readers.preference(row, where)
  local chosen, rejected = content(row, "chosen", where), content(row, "rejected", where)
  local prompt = row.prompt
  if prompt == nil then prompt = row.messages end
  -- a text beside whole conversations repeats their first message
  local repeated = type(prompt) == "string" and is_chat(chosen) and is_chat(rejected)
  if prompt == nil or repeated then
    if type(chosen) ~= type(rejected) or type(chosen) == "table" and not (is_chat(chosen) and is_chat(rejected)) then
      wrong(where, "prompt", nil, "text or messages (or conversations that begin alike)", row)
    end
    prompt, chosen, rejected = (type(chosen) == "string" and common_text or common_messages)(chosen, rejected, where)
  else
    prompt = content(row, "prompt", where)
  end
  return { prompt = prompt, answers = { chosen, rejected },
    finished = { flag(row, "chosen_finished", where), flag(row, "rejected_finished", where) } }
end

function readers.completion(row, where)
  return { prompt = content(row, "prompt", where), answers = { content(row, "completion", where) },
    finished = { row.finished } }
end

function readers.unpaired(row, where)
  local out = readers.completion(row, where)
  if type(row.label) ~= "boolean" then wrong(where, "label", row.label, "true or false") end
  out.label = row.label
  return out
end

function readers.prompt(row, where)
  return { prompt = content(row, "prompt", where), answers = {} }
end

function readers.steps(row, where)
  local texts, labels = row.completions, row.labels
  if type(texts) ~= "table" or #texts == 0 then wrong(where, "completions", texts, "a list of texts") end
  if type(labels) ~= "table" then wrong(where, "labels", labels, "a list of true or false, one a step") end
  if #labels ~= #texts then fail(where, "%d labels for %d completions", #labels, #texts) end
  for i, text in ipairs(texts) do
    if type(text) ~= "string" then wrong(where, ("completions[%d]"):format(i), text, "a text") end
    if type(labels[i]) ~= "boolean" then wrong(where, ("labels[%d]"):format(i), labels[i], "true or false") end
  end
  return { prompt = content(row, "prompt", where), steps = texts, labels = labels, answers = {},
    finished = { row.finished } }
end

-- higher is better: a score as it is, a rank (1 is best) negated, correct as 1 or 0
local function grade(answer, where)
  if type(answer.score) == "number" then return answer.score end
  if type(answer.rank) == "number" then return -answer.rank end
  if type(answer.correct) == "boolean" then return answer.correct and 1 or 0 end
  return fail(where, "needs a number score, a number rank or correct (true or false)")
end

function readers.ranked(row, where)
  if type(row.answers) ~= "table" or #row.answers == 0 then
    wrong(where, "answers", row.answers, "a list of {completion, score}")
  end
  local out = { prompt = content(row, "prompt", where), answers = {}, score = {}, correct = {}, finished = {} }
  for i, answer in ipairs(row.answers) do
    local here = ("%s: answer %d"):format(where, i)
    if type(answer) ~= "table" then fail(here, "is %s, expected {completion, score}", M.shown(answer)) end
    out.answers[i] = answer.ids or content(answer, "completion", here)
    out.score[i], out.correct[i] = grade(answer, here), answer.correct or false
    out.finished[i] = finished_of(answer, "finished", here)
  end
  return out
end

local ROLES <const> = { human = "user", gpt = "assistant", system = "system", user = "user", assistant = "assistant",
  tool = "tool", observation = "tool" }

-- {from=, value=} as messages
local function from_sharegpt(list, where)
  if type(list) ~= "table" then wrong(where, "conversations", list, "a list of {from, value}") end
  local out = {}
  for i, turn in ipairs(list) do
    if type(turn) ~= "table" then fail(where, "turn %d of conversations is %s", i, M.shown(turn)) end
    local role = ROLES[turn.from]
    if not role then fail(where, "turn %d of conversations is from %q", i, tostring(turn.from)) end
    out[i] = json.object({ role = role, content = turn.value }, { "role", "content" })
  end
  return out
end

function readers.language(row, where)
  if type(row.text) == "string" then return { text = row.text, answers = {}, finished = { row.finished } } end
  local messages = row.messages
  if messages == nil and row.conversations ~= nil then messages = from_sharegpt(row.conversations, where) end
  if not is_chat(messages) then
    local name = row.messages ~= nil and "messages" or "text"
    wrong(where, name, row[name], "a text, or a list of messages", row)
  end
  return { messages = messages, answers = {}, finished = { row.finished } }
end

--- A row as {prompt=, answers=, finished=, ...}, whatever its shape. kind: which it must be.
---@param row table
---@param kind string
---@param where string
---@return table
function M.read(row, kind, where)
  finished_of(row, "finished", where)
  local out = readers[kind](row, where)
  out.prefix = row.prefix
  out.tools, out.documents, out.variables = row.tools, row.documents, row.chat_template_kwargs
  if out.variables ~= nil and type(out.variables) ~= "table" then
    wrong(where, "chat_template_kwargs", row.chat_template_kwargs, "an object of variables for the template")
  end
  return out
end

return M
