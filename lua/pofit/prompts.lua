-- Prompts from a file of rows: text, messages or token ids in a column, the other columns carried along.
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"
local chat = require "pofit.chat"
local row_of = require "pofit.data.row"

local M = {}

--- A text as a prompt: itself, or with opt.chat or opt.system a conversation of one question.
---@return string|table
function M.of_text(text, opt)
  if not opt.chat and opt.system == "" then return text end
  local messages = { { role = "user", content = text } }
  if opt.system ~= "" then table.insert(messages, 1, { role = "system", content = opt.system }) end
  return messages
end

local function prompt_of(row, opt)
  local name = opt.column
  if name == "" then
    name = row.prompt == nil and row.messages ~= nil and "messages" or "prompt"
  end
  local value = row[name]
  if type(value) == "string" then return M.of_text(value, opt) end
  if chat.is_messages(value) then
    if chat.is_answered(value) then
      core.raise(('the conversation in "%s" ends with an answer of the assistant; nothing is left to say'):format(name))
    end
    return value
  end
  if type(value) == "table" and math.type(value[1]) == "integer" then return value end
  return core.raise(('column "%s" is %s, expected a text, messages ({role, content}) or token ids'):format(name,
    row_of.shown(value)))
end

local function check_columns(row, taken)
  for _, name in ipairs(taken) do
    if row[name] ~= nil then
      core.raise(('there is a column "%s" already, which the answer would overwrite'):format(name))
    end
  end
end

local function parse(text, path, line, opt, taken)
  local row = json.decode(text, path, line)
  if type(row) ~= "table" or row[1] ~= nil then core.raise("expected a JSON object, one a line") end
  local prompt = prompt_of(row, opt)
  check_columns(row, taken)
  return row, prompt
end

-- a line of the file that is not text; damage of the file itself is raised
local function bad_line(message)
  if not message:find("is not valid UTF-8", 1, true) then error(message, 0) end
  return { error = message }
end

--- Rows of a file, plain or zstd: for entry in prompts.rows(path, opt, taken). An entry is {row=, prompt=, where=}, or
--- {error=} with file, line and reason for a row that cannot be used. taken: names of columns that the answer needs.
---@return function
function M.rows(path, opt, taken)
  local next_line = sys.lines(path)
  return function()
    local ok, text, line = pcall(next_line)
    if not ok then return bad_line(text) end
    if not text then return nil end
    local where = ("%s:%d"):format(path, line)
    local parsed, row, prompt = pcall(parse, text, path, line, opt, taken)
    if parsed then return { row = row, prompt = prompt, where = where } end
    local why = tostring(row)
    return { error = why:sub(1, #where) == where and why or where .. ": " .. why }
  end
end

--- Number of rows of a file, and a fingerprint of it.
---@return integer rows, integer hash
function M.count(path)
  local n, hash, next_line = 0, 0, sys.lines(path)
  while true do
    local ok, text = pcall(next_line)
    if not ok then
      bad_line(text)
      text = "?"
    end
    if not text then return n, hash end
    n, hash = n + 1, sys.hash(text, hash)
  end
end

return M
