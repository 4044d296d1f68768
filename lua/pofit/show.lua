-- pf.show: rows as a reader sees them: prompt, what is given, what is learned from. For --dry-run.
local function text_of(value, tok)
  if type(value) ~= "table" then return tostring(value) end
  if value.text then return value.text end
  local ids = value.ids or value
  if math.type(ids[1]) == "integer" then return tok and tok:decode(ids) or table.concat(ids, " ") end
  local parts = {}
  for i, message in ipairs(value) do parts[i] = tostring(message.role) .. ": " .. tostring(message.content) end
  return table.concat(parts, "\n")
end

local FIELDS <const> = { { "prompt", "" }, { "prefix", "" }, { "completion", "  = " }, { "chosen", "  + " },
  { "rejected", "  - " } }

-- what a row has besides, as name value
local EXTRA <const> = { "advantage", "weight", "reward", "type", "step" }

local function figure(x)
  local stats = require "pofit.stats"
  if type(x) ~= "table" then return type(x) == "number" and stats.number(x) or tostring(x) end
  local parts = {}
  for i, y in ipairs(x) do parts[i] = figure(y) end
  return table.concat(parts, " ")
end

--- Print the first n rows (10), and how many there are.
---@param rows table[]
---@param tok? pofit.Tokenizer
---@param n? integer
return function(rows, tok, n)
  local out = {}
  for i = 1, math.min(n or 10, #rows) do
    local row, line = rows[i], {}
    for _, field in ipairs(FIELDS) do
      local value = row[field[1]]
      if value ~= nil and not (type(value) == "table" and #value == 0 and not value.ids and not value.text) then
        line[#line + 1] = (field[2] == "" and (field[1] == "prefix" and "" or "\n") or "\n" .. field[2])
          .. text_of(value, tok):gsub("\n", "\n    ")
      end
    end
    for _, name in ipairs(EXTRA) do
      if row[name] ~= nil then line[#line + 1] = ("\n    %s %s"):format(name, figure(row[name])) end
    end
    for _, side in ipairs { { "right", "+" }, { "wrong", "-" } } do
      for _, answer in ipairs(row[side[1]] or {}) do
        line[#line + 1] = ("\n  %s %s"):format(side[2], (text_of(answer, tok):gsub("\n", "\n    ")))
      end
    end
    out[i] = table.concat(line):gsub("^\n", "")
  end
  out[#out + 1] = ("%d rows%s\n"):format(#rows, #rows > #out and (", the first %d are shown"):format(#out) or "")
  io.stdout:write(table.concat(out, "\n"))
end
