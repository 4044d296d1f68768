--- The text of --help: description, options with their defaults, then those that every recipe has.
local value = require "pofit.options.value"

local M = {}

local PLACE <const> = {number = "X", integer = "N", string = "TEXT", list = "A,B"}
local WIDTH <const> = 80

local function wrap(text, indent, first)
  local lines, line = {}, first
  for word in text:gmatch("%S+") do
    if #line + 1 + #word > WIDTH and line:find("%S") then
      lines[#lines + 1] = line
      line = (" "):rep(indent) .. word
    else
      line = line .. ((line == "" or line:sub(-1) == " ") and "" or " ") .. word
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

local function head(o)
  if o.bare then
    return "  " .. o.name:upper() .. (o.type == "list" and "..." or "")
  elseif o.type == "boolean" then
    return ("  --%s%s"):format(o.default and "no-" or "", value.dashed(o.name))
  end
  return ("  %s %s"):format(value.flag(o.name), o.name == "config" and "FILE" or PLACE[o.type])
end

local function explain(o)
  local out = {o.help}
  if o.choices then
    out[#out + 1] = ("(%s)"):format(value.text(o.choices):gsub(",", ", "))
  elseif value.range(o) ~= "" then
    out[#out + 1] = ("(%s)"):format(value.range(o))
  end
  local also = {}
  for word in (o.alias or ""):gmatch("%S+") do
    also[#also + 1] = word:sub(1, 1) == "-" and word or value.flag(word)
  end
  if also[1] then
    out[#out + 1] = ("(also %s)"):format(table.concat(also, ", "))
  end
  if o.required then
    out[#out + 1] = "[required]"
  elseif o.default ~= nil and o.default ~= "" and o.type ~= "boolean" then
    out[#out + 1] = ("[%s]"):format(value.text(o.default))
  elseif o.default == true then
    out[#out + 1] = "[on unless given]"
  end
  return table.concat(out, " ")
end

--- The text of --help.
---@param spec table
---@param program? string how the recipe is called
---@return string
function M.text(spec, program)
  local left = 0
  for _, o in ipairs(spec.options) do
    left = math.max(left, math.min(#head(o), 26))
  end
  local function entry(o)
    local first = head(o)
    local text = wrap(explain(o), left + 2, (" "):rep(left + 2))
    if #first > left then
      return first .. "\n" .. text
    end
    return first .. text:sub(#first + 1)
  end
  local out = {}
  if spec.description ~= "" then
    out[#out + 1] = wrap(spec.description, 0, "") .. "\n"
  end
  local bare = ""
  for _, o in ipairs(spec.options) do
    if o.bare then
      bare = bare .. (o.required and " %s" or " [%s]"):format(o.name:upper() .. (o.type == "list" and "..." or ""))
    end
  end
  out[#out + 1] = ("usage: %s%s [--name value ...]\n"):format(program or "pofit RECIPE.lua", bare)
  for pass = 1, 2 do
    for _, o in ipairs(spec.options) do
      if o.common == (pass == 2) then
        out[#out + 1] = entry(o)
      end
    end
    out[#out + 1] = pass == 1 and #out > 2 and "" or nil
  end
  out[#out + 1] = "  --help" .. (" "):rep(left + 2 - 8) .. "this text"
  return table.concat(out, "\n") .. "\n"
end

return M
