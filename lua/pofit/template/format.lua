-- Python's two ways of putting values into a text: "%s" % values and "{}".format(values).
local text = require "pofit.template.text"
local value = require "pofit.template.value"

local M = {}

-- at least width characters wide: align "<", ">" or "^"
local function padded(run, s, width, fill, align)
  local missing = width - text.length(s)
  if missing <= 0 then return s end
  run:charge(missing)
  if align == "<" then return s .. fill:rep(missing) end
  if align == "^" then return fill:rep(missing // 2) .. s .. fill:rep(missing - missing // 2) end
  return fill:rep(missing) .. s
end
M.padded = padded

local function number_of(v, code)
  local x = value.number(value.need(v))
  if not x then value.fail("format code '%s' needs a number, not %s", code, value.kind(v)) end
  return x
end

local function whole(v, code)
  local x = number_of(v, code)
  return math.type(x) == "integer" and x or math.tointeger(x < 0 and math.ceil(x) or math.floor(x))
    or value.fail("format code '%s' needs a finite number", code)
end

-- the text of a value for a letter of a format
local function converted(v, code, precision, sign)
  if code == "s" then return precision and text.strip(value.slice(value.str(v), 0, precision)) or value.str(v) end
  if code == "r" then return value.repr(v) end
  if code == "d" or code == "i" then return ("%" .. sign .. "d"):format(whole(v, code)) end
  if code == "x" or code == "X" or code == "o" then return ("%" .. code):format(whole(v, code)) end
  if code:find("[feEgGF]") then
    return (("%%%s.%d%s"):format(sign, math.min(precision or 6, 60), code)):format(number_of(v, code))
  end
  return value.fail("unknown format code '%s'", code)
end

--- pattern % v
function M.percent(run, pattern, v)
  local used, single = 0, value.kind(v) ~= "tuple"
  local values = single and value.tuple { v } or v
  local function take()
    used = used + 1
    if used > values.n then value.fail("not enough values for the format %s", value.repr(pattern)) end
    return values[used]
  end
  local out = pattern:gsub("%%([%-+ 0#]*)(%d*)%.?(%d*)(.?)", function(flags, width, precision, code)
    if code == "%" then return "%" end
    if code == "(" then value.fail("%%(name)s is not supported; use {} and format") end
    local shown = converted(take(), code, math.tointeger(tonumber(precision)), flags:match("[+ ]") or "")
    local align = flags:find("-", 1, true) and "<" or ">"
    local fill = flags:find("0", 1, true) and align == ">" and "0" or " "
    return padded(run, shown, math.tointeger(tonumber(width)) or 0, fill, align)
  end)
  if used < values.n and not (single and value.kind(v) == "dict") then
    value.fail("not all values were used by the format %s", value.repr(pattern))
  end
  return out
end

-- a value by the mini-language [[fill]align][sign][0][width][,][.precision][type]
local function specified(run, v, spec)
  if spec == "" then return value.str(v) end
  local fill, align, rest = spec:match("^([%z\1-\x7F\xC2-\xF4][\x80-\xBF]*)([<>^])(.*)$")
  if not fill then
    align, rest = spec:match("^([<>^])(.*)$")
    fill, rest = " ", rest or spec
  end
  local sign, zero, width, comma, precision, code = rest:match("^([-+ ]?)(0?)(%d*)(,?)%.?(%d*)(%a?)$")
  if not sign then value.fail("unknown format %s", value.repr(spec)) end
  local is_number = type(v) == "number"
  if code == "" then code = is_number and (math.type(v) == "integer" and "d" or precision ~= "" and "g") or "s" end
  local shown = code == "" and value.str(v) or not code and value.str(v)
    or converted(v, code, math.tointeger(tonumber(precision)), sign == "-" and "" or sign)
  if comma ~= "" then
    local head, digits, tail = shown:match("^([-+ ]?)(%d+)(.*)$")
    shown = head .. digits:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "") .. tail
  end
  if zero ~= "" and not align then fill, align = "0", ">" end
  return padded(run, shown, math.tointeger(tonumber(width)) or 0, fill, align or (is_number and ">" or "<"))
end

--- pattern.format(...)
function M.braces(run, pattern, args, named)
  local auto = 0
  local function field(body)
    local path, spec = body:match("^([^:!]*)!?[rs]?:?(.*)$")
    local conversion = body:match("^[^:!]*!([rs])")
    local name, rest = path:match("^([^.%[]*)(.*)$")
    if name == "" then name, auto = tostring(auto), auto + 1 end
    local index = math.tointeger(tonumber(name))
    local v = index and args[index + 1]
    if v == nil and not index then v = named[name] end
    if v == nil then value.fail("there is no value for {%s} in a format", body) end
    for dot, key in rest:gmatch("([.%[])([^.%[%]]*)") do
      v = value.item(v, dot == "[" and math.tointeger(tonumber(key)) or key)
    end
    return specified(run, conversion == "r" and value.repr(v) or v, spec)
  end
  local out, at = {}, 1
  while true do
    local i, _, brace = pattern:find("([{}])", at)
    out[#out + 1] = pattern:sub(at, (i or 0) - 1)
    if not i then return table.concat(out) end
    if pattern:sub(i + 1, i + 1) == brace then
      out[#out + 1], at = brace, i + 2
    else
      local body = brace == "{" and pattern:match("^[^{}]*%f[}]", i + 1)
      if not body then value.fail("single '%s' in the format %s", brace, value.repr(pattern)) end
      out[#out + 1], at = field(body), i + #body + 2
    end
  end
end

return M
