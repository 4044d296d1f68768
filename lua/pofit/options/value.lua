--- Names and values of options: what they look like on the command line, in a file and in a message.
local M = {}

--- A name as the recipe writes it: lora_rank.
function M.plain(name)
  return (name:gsub("-", "_"))
end

--- A name as the command line shows it: lora-rank.
function M.dashed(name)
  return (name:gsub("_", "-"))
end

local function distance(a, b)
  local row = {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local change = diagonal + (a:byte(i) == b:byte(j) and 0 or 1)
      diagonal = row[j]
      row[j] = math.min(change, row[j] + 1, row[j - 1] + 1)
    end
  end
  return row[#b]
end

--- The name nearest to a mistyped one: fewest edits, at most 3 and fewer than it has letters; nil if there is none.
---@param wrong string
---@param names string[]
---@return string?
function M.nearest(wrong, names)
  local best, least = nil, math.min(4, #wrong)
  for _, name in ipairs(names) do
    local d = distance(wrong, name)
    if d < least then
      best, least = name, d
    end
  end
  return best
end

--- An option as it is given: --lora-rank.
function M.flag(name)
  return "--" .. M.dashed(name)
end

local function number_text(x)
  return (("%.14g"):format(x):gsub("e([+-])0+", "e%1"):gsub("e%+", "e"))
end

--- A value as the command line would take it.
function M.text(value)
  if type(value) == "table" then
    local out = {}
    for i, v in ipairs(value) do
      out[i] = M.text(v)
    end
    return table.concat(out, ",")
  elseif type(value) == "boolean" then
    return value and "yes" or "no"
  end
  return math.type(value) and number_text(value) or tostring(value)
end

--- The bounds of an option in words; "" if it has none.
function M.range(o)
  local out = {}
  if o.above then
    out[#out + 1] = "above " .. number_text(o.above)
  end
  if o.min and o.max then
    out[#out + 1] = ("from %s to %s"):format(number_text(o.min), number_text(o.max))
  elseif o.min or o.max then
    out[#out + 1] = (o.min and "at least " or "at most ") .. number_text(o.min or o.max)
  end
  return table.concat(out, " and ")
end

local BOOLEAN <const> = {
  ["true"] = true, yes = true, on = true, ["1"] = true, ["false"] = false, no = false, off = false, ["0"] = false,
}

-- Each takes a value and whether it is text from the command line; returns the value, or nil and what was expected.
local read = {}

function read.number(x, text)
  local value = (text or type(x) == "number") and tonumber(x)
  if value and value - value == 0 then
    return value + 0.0
  end
  return nil, "a number"
end

function read.integer(x, text)
  local value = (text or type(x) == "number") and math.tointeger(tonumber(x))
  if value then
    return value
  end
  return nil, "an integer"
end

function read.string(x)
  if type(x) == "string" then
    return x
  end
  return nil, "a text"
end

function read.boolean(x, text)
  if text then
    x = BOOLEAN[x]
  end
  if type(x) == "boolean" then
    return x
  end
  return nil, "true or false"
end

local function one_of(o, value)
  for _, choice in ipairs(o.choices) do
    if value == choice then
      return value
    end
  end
  local names = {}
  for i, choice in ipairs(o.choices) do
    names[i] = M.text(choice)
  end
  local near = M.nearest(M.text(value), names)
  return nil, ("one of %s%s"):format(table.concat(names, ", "), near and (" (%s?)"):format(near) or "")
end

local function single(o, kind, x, text)
  local value, expected = read[kind](x, text)
  if value == nil then
    return nil, expected
  elseif o.choices then
    return one_of(o, value)
  elseif math.type(value) then
    if (o.min and value < o.min) or (o.max and value > o.max) or (o.above and value <= o.above) then
      return nil, ("%s %s"):format(kind == "integer" and "an integer" or "a number", M.range(o))
    end
  end
  return value
end

local function elements(x)
  local out = {}
  if x ~= "" then
    for part in (x .. ","):gmatch("([^,]*),") do
      out[#out + 1] = part
    end
  end
  return out
end

--- The value of option o that x stands for, text from the command line or a value from a file or a declaration;
-- or nil and what was expected.
function M.convert(o, x, text)
  if o.type ~= "list" then
    return single(o, o.type, x, text)
  end
  local parts = text and elements(x) or x
  if type(parts) ~= "table" or (next(parts) ~= nil and #parts == 0) then
    return nil, "a list"
  end
  local out = {}
  for i = 1, #parts do
    local value, expected = single(o, o.of, parts[i], text)
    if value == nil then
      return nil, ("%s as element %d"):format(expected, i)
    end
    out[i] = value
  end
  return out
end

--- The type of an option that has this default.
function M.kind(value)
  if math.type(value) then
    return math.type(value) == "integer" and "integer" or "number"
  end
  return type(value) == "table" and "list" or type(value)
end

return M
