-- Template source to tokens, with the settings of Hugging Face's chat templates: trim_blocks (the newline after a
-- block tag goes) and lstrip_blocks (white space between the start of a line and a block tag goes).
--
-- A token is {type=, value=, at=}: at is its byte in the source. Types: "data" (text outside of tags), "block_begin",
-- "block_end", "print_begin", "print_end", "name", "string", "integer", "float", "eof", and operators by their text.
local text = require "pofit.template.text"
local value = require "pofit.template.value"

local M = {}

local OPERATORS <const> = {
  "**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
  ":", "|", ",", ";",
}
local CLOSES <const> = { [")"] = "(", ["]"] = "[", ["}"] = "{" }
local ESCAPES <const> = {
  n = "\n", t = "\t", r = "\r", a = "\a", b = "\b", f = "\f", v = "\v", ["\\"] = "\\", ["'"] = "'", ['"'] = '"',
  ["\n"] = "",
}
local DIGITS <const> = { x = 2, u = 4, U = 8 }

--- Line and column (in characters) of a byte of the source, from 1.
function M.place(source, at)
  local line, begin = 1, 1
  for i in source:sub(1, at - 1):gmatch("()\n") do line, begin = line + 1, i + 1 end
  return line, text.length(source:sub(begin, at - 1)) + 1
end

local function fail(state, at, message, ...)
  state.pos.at = at
  value.fail(message, ...)
end

-- the text that Python's literal stands for
local function unescape(state, body, at)
  local out, i = {}, 1
  while true do
    local j = body:find("\\", i, true)
    out[#out + 1] = body:sub(i, (j or 0) - 1)
    if not j then return table.concat(out) end
    local c = body:sub(j + 1, j + 1)
    local octal = body:match("^[0-7][0-7]?[0-7]?", j + 1)
    i = j + 2
    if DIGITS[c] then
      local hex = body:match("^" .. ("%x"):rep(DIGITS[c]), i)
      local code = hex and tonumber(hex, 16)
      if not code or code > 0x10FFFF or code >= 0xD800 and code < 0xE000 then
        fail(state, at, "\\%s in a text needs %d hexadecimal digits of a character", c, DIGITS[c])
      end
      out[#out + 1] = utf8.char(code)
      i = i + #hex
    elseif octal then
      out[#out + 1] = utf8.char(tonumber(octal, 8))
      i = j + 1 + #octal
    else
      out[#out + 1] = ESCAPES[c] or "\\" .. c
    end
  end
end

local function read_string(state, at)
  local source, quote = state.source, state.source:sub(at, at)
  local i = at + 1
  while true do
    local j = source:find("[\\" .. quote .. "]", i)
    if not j then fail(state, at, "a text that begins here does not end") end
    if source:sub(j, j) == quote then
      return { type = "string", value = unescape(state, source:sub(at + 1, j - 1), at), at = at }, j + 1
    end
    i = j + 2
  end
end

local function read_number(state, at)
  local source = state.source
  local from, to = source:find("^[%d_]+%.%d[%d_]*[eE][+-]?%d+", at)
  if not from then from, to = source:find("^[%d_]+[eE][+-]?%d+", at) end
  if not from then from, to = source:find("^[%d_]+%.%d[%d_]*", at) end
  if from then
    return { type = "float", value = tonumber((source:sub(from, to):gsub("_", ""))) + 0.0, at = at }, to + 1
  end
  from, to = source:find("^0[xX]%x+", at)
  if not from then from, to = source:find("^[%d_]+", at) end
  local n = math.tointeger(tonumber((source:sub(from, to):gsub("_", ""))))
  if not n then fail(state, at, "the number %s is too large", source:sub(from, to)) end
  return { type = "integer", value = n, at = at }, to + 1
end

local function read_operator(state, at)
  for _, op in ipairs(OPERATORS) do
    if state.source:sub(at, at + #op - 1) == op then return { type = op, value = op, at = at }, at + #op end
  end
  local character = state.source:match("^[%z\1-\x7F\xC2-\xF4][\x80-\xBF]*", at)
  return fail(state, at, "unexpected character %s", value.repr(character))
end

local function balance(state, token)
  local stack = state.brackets
  if token.type == "(" or token.type == "[" or token.type == "{" then
    stack[#stack + 1] = token.type
  elseif CLOSES[token.type] then
    if stack[#stack] ~= CLOSES[token.type] then fail(state, token.at, "unexpected '%s'", token.type) end
    stack[#stack] = nil
  end
end

-- white space after a tag that goes away, beginning at a byte: all of it after "-", one newline after a block tag
local function after_tag(source, at, sign, block)
  if sign == "-" then return #source - #text.strip(source:sub(at), "left") + 1 end
  if block and sign ~= "+" and source:sub(at, at) == "\n" then return at + 1 end
  return at
end

-- the tokens of a tag whose inside begins at a byte; returns the byte after the tag
local function read_tag(state, at, closing, block)
  local source, begin = state.source, at
  state.brackets = {}
  while true do
    at = source:find("%S", at)
    if not at then fail(state, begin - 2, "a tag that begins here does not end") end
    local sign = source:match("^[-+]?", at)
    if sign == "+" and not block then sign = "" end
    if #state.brackets == 0 and source:sub(at + #sign, at + #sign + 1) == closing then
      state:push { type = block and "block_end" or "print_end", at = at }
      return after_tag(source, at + #sign + 2, sign, block)
    end
    local token
    if source:find("^[%a_\x80-\xFF]", at) then
      local name = source:match("^[%w_\x80-\xFF]+", at)
      token, at = { type = "name", value = name, at = at }, at + #name
    elseif source:find("^%d", at) then
      token, at = read_number(state, at)
    elseif source:find("^['\"]", at) then
      token, at = read_string(state, at)
    else
      token, at = read_operator(state, at)
    end
    balance(state, token)
    state:push(token)
  end
end

-- {% raw %}: everything up to {% endraw %} is text
local function read_raw(state, at)
  local source = state.source
  local sign, begin = source:match("^%s*raw%s*([-+]?)%%}()", at)
  if not begin then return nil end
  begin = after_tag(source, begin, sign, true)
  local from, _, left, right, after = source:find("{%%([-+]?)%s*endraw%s*([-+]?)%%}()", begin)
  if not from then fail(state, at, "raw has no endraw") end
  local data = source:sub(begin, from - 1)
  if left == "-" then data = text.strip(data, "right") end
  state:push { type = "data", value = data, at = begin }
  return after_tag(source, after, right, true)
end

-- text before a tag, without the white space that the tag takes away
local function data_before(data, sign, print, line_start)
  if sign == "-" then return text.strip(data, "right") end
  if sign == "+" or print then return data end
  local keep, blank = data:match("^(.*\n)(.*)$")
  if not keep then keep, blank = "", data end
  if (keep ~= "" or line_start) and blank ~= "" and text.strip(blank, "left") == "" then return keep end
  return data
end

local function read_comment(state, at, begin)
  local from, to = state.source:find("#}", begin, true)
  if not from then fail(state, at, "a comment that begins here does not end") end
  local sign = from > begin and state.source:sub(from - 1, from - 1) or ""
  return after_tag(state.source, to + 1, sign, true)
end

--- The tokens of a template, and its source as its places count: newlines are LF, and the last one is gone.
---@param source string
---@param pos table pos.at is set to the byte of a mistake, before it is raised
---@return table tokens, string source
function M.tokens(source, pos)
  source = source:gsub("\r\n?", "\n"):gsub("\n$", "")
  pos.source = source
  local tokens = {}
  local state = { source = source, pos = pos, push = function(_, token) tokens[#tokens + 1] = token end }
  local at, line_start = 1, true
  while at <= #source do
    local from, _, kind, sign, begin = source:find("{([%%{#])([-+]?)()", at)
    local data = source:sub(at, (from or 0) - 1)
    if kind == "{" and sign == "+" then sign, begin = "", begin - 1 end
    if from then data = data_before(data, sign, kind == "{", line_start) end
    if data ~= "" then state:push { type = "data", value = data, at = at } end
    if not from then break end
    if kind == "#" then
      at = read_comment(state, from, begin)
    elseif kind == "{" then
      state:push { type = "print_begin", at = from }
      at = read_tag(state, begin, "}}", false)
    else
      local after = read_raw(state, begin)
      if not after then state:push { type = "block_begin", at = from } end
      at = after or read_tag(state, begin, "%}", true)
    end
    line_start = source:sub(at - 1, at - 1) == "\n"
  end
  state:push { type = "eof", at = #source + 1 }
  return tokens, source
end

return M
