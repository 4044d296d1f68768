-- CSV as RFC 4180 has it: fields between commas, in quotes if they hold commas, quotes (written twice) or newlines.
local core = require "pofit.core"

local function fail(path, line, text, ...) return core.refuse(("%s:%d: %s"):format(path, line, text:format(...))) end

-- the field that begins at a byte; returns it, the byte after it, and how many newlines were in it
local function field(text, at, path, line)
  if text:sub(at, at) ~= '"' then
    local value, after = text:match("^([^,\r\n]*)()", at)
    if value:find('"', 1, true) then
      fail(path, line, "a quote inside of a field without quotes: write the field in quotes, and the quote twice")
    end
    return value, after, 0
  end
  local parts, i = {}, at + 1
  while true do
    local j = text:find('"', i, true)
    if not j then fail(path, line, "a field in quotes that begins in this row does not end") end
    parts[#parts + 1] = text:sub(i, j - 1)
    i = j + 2
    if text:sub(j + 1, j + 1) ~= '"' then
      local value = table.concat(parts)
      local _, newlines = value:gsub("\n", "")
      return value, j + 1, newlines
    end
    parts[#parts + 1] = '"'
  end
end

-- the fields of the row that begins at a byte; returns them, the byte after the row, its number of lines
local function record(text, at, path, line)
  local fields, lines = {}, 1
  while true do
    local value, after, newlines = field(text, at, path, line)
    fields[#fields + 1], lines = value, lines + newlines
    local c = text:sub(after, after)
    if c == "" then return fields, after, lines end
    if c == "\n" then return fields, after + 1, lines end
    if c == "\r" and text:find("^\r?\n", after) then return fields, after + 2, lines end
    if c ~= "," then
      fail(path, line + lines - 1, "after a field in quotes comes %q, expected a comma or the end of the row", c)
    end
    at = after + 1
  end
end

local function header(text, path)
  local names, at, lines = record(text, 1, path, 1)
  local seen = {}
  for _, name in ipairs(names) do
    if seen[name] then fail(path, 1, "two columns are called %q", name) end
    seen[name] = true
  end
  return names, at, lines
end

--- The rows of a CSV text, whose first row names the columns: for fields, line in csv(text, path, names). Every row
--- must have as many fields as there are columns; empty lines are skipped.
---@param text string
---@param path string for messages
---@return function rows, string[] names
return function(text, path)
  text = text:gsub("^\xEF\xBB\xBF", "")
  if text == "" then core.refuse(path .. ":1: the file is empty, expected a row of column names") end
  local names, at, lines = header(text, path)
  local line = 1 + lines
  return function()
    while at <= #text do
      local fields, after, n = record(text, at, path, line)
      local here = line
      at, line = after, line + n
      if not (#fields == 1 and fields[1] == "") or #names == 1 and n > 1 then
        if #fields ~= #names then
          fail(path, here, "%d fields, but %d columns (%s)", #fields, #names, table.concat(names, ", "))
        end
        return fields, here
      end
    end
  end, names
end
