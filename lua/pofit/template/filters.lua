-- Filters of single values: x|NAME(...). Each is f(run, value, args, named). Those of sequences are in sequences.lua.
local text = require "pofit.template.text"
local value = require "pofit.template.value"
local convert = require "pofit.template.convert"
local format = require "pofit.template.format"
local arguments = require "pofit.template.arguments"
local methods = require "pofit.template.methods"
local get, integer, flag = arguments.get, arguments.integer, arguments.flag

local filters = {}
require("pofit.template.sequences")(filters)

-- filters that are a method of texts: the value counts as its text
for filter, method in pairs { upper = "upper", lower = "lower", capitalize = "capitalize", trim = "strip",
  replace = "replace", center = "center" } do
  filters[filter] = function(run, v, args, named)
    return methods.find(value.str(v), method).call(run, args, named)
  end
end

function filters.string(_, v) return value.str(v) end
function filters.safe(_, v) return value.str(v) end

local ENTITIES <const> = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["'"] = "&#39;", ['"'] = "&#34;" }
function filters.escape(run, v) return run:text((value.str(v):gsub("[&<>'\"]", ENTITIES))) end
filters.e, filters.forceescape = filters.escape, filters.escape

-- a word begins after white space or one of -({[<
function filters.title(_, v)
  local out, first = {}, true
  for i, c in ipairs(text.characters(value.str(v))) do
    out[i] = first and text.upper(c) or text.lower(c)
    first = text.is_space(c) or c:find("^[-({%[<]$") ~= nil
  end
  return table.concat(out)
end

function filters.default(_, v, args, named)
  local other = get(args, named, 1, "default_value", "")
  if value.is_undefined(v) then return other end
  if flag(args, named, 2, "boolean", false) and not value.truth(v) then return other end
  return v
end
filters.d = filters.default

function filters.length(_, v) return value.length(v) end
filters.count = filters.length

function filters.tojson(run, v, args, named)
  local indent, separators = get(args, named, 2, "indent"), get(args, named, 3, "separators")
  if args.n == 1 and math.type(args[1]) == "integer" then indent = args[1] end -- as Jinja's own filter: tojson(4)
  if value.number(indent) then indent = (" "):rep(math.min(integer({ indent }, {}, 1), 64)) end
  if indent == value.none then indent = nil end
  local comma, colon = indent and "," or ", ", ": "
  if separators and separators ~= value.none then comma, colon = separators[1], separators[2] end
  return run:text(convert.to_json(v, {
    indent = indent, comma = comma, colon = colon, sort = flag(args, named, 4, "sort_keys", false),
    ascii = args[1] == true or named.ensure_ascii == true,
  }))
end

function filters.int(_, v, args, named)
  local default = get(args, named, 1, "default", 0)
  local x = value.number(v)
  if type(v) == "string" then
    local base = integer(args, named, 2, "base", 10)
    local s = text.strip(v, "both"):gsub("_", "")
    x = base == 10 and s:find("^[-+]?[%d.eE+-]+$") and tonumber((s:gsub("^%+", ""))) or base ~= 10 and tonumber(s, base)
  elseif value.is_undefined(v) then
    value.need(v)
  end
  if not x or x ~= x or x == math.huge or x == -math.huge then return default end
  return math.type(x) == "integer" and x or math.tointeger(x < 0 and math.ceil(x) or math.floor(x)) or default
end

function filters.float(_, v, args, named)
  local x = value.number(value.need(v))
  if type(v) == "string" then
    local s = text.strip(v, "both")
    x = s:find("^[-+]?[%d.eE+-]+$") and tonumber((s:gsub("^%+", "")))
  end
  return x and x + 0.0 or get(args, named, 1, "default", 0.0)
end

function filters.abs(_, v)
  return math.abs(value.number(value.need(v)) or value.fail("abs of a %s", value.kind(v)))
end

-- half to even, as Python rounds
function filters.round(_, v, args, named)
  local x, places = value.number(value.need(v)), integer(args, named, 1, "precision", 0)
  local method = get(args, named, 2, "method", "common")
  if not x then value.fail("round of a %s", value.kind(v)) end
  if math.type(x) == "integer" and places >= 0 and method == "common" then return x end
  if method == "common" and places >= 0 then
    return tonumber(("%%.%df"):format(math.min(places, 40)):format(x)) + 0.0
  end
  local scale = 10.0 ^ places
  local f = method == "ceil" and math.ceil or method == "floor" and math.floor
  if f then return f(x * scale) / scale end
  local down = math.floor(x * scale)
  local rest = x * scale - down
  if rest > 0.5 or rest == 0.5 and down % 2 == 1 then down = down + 1 end
  return down / scale
end

function filters.format(run, v, args) return run:text(format.percent(run, value.str(v), value.tuple(args, args.n))) end

function filters.indent(run, v, args, named)
  local width = get(args, named, 1, "width", 4)
  local first, blank = flag(args, named, 2, "first", false), flag(args, named, 3, "blank", false)
  local pad = type(width) == "string" and width or (" "):rep(math.min(integer({ width }, {}, 1), 256))
  local lines = text.split(value.str(v), "\n", -1)
  run:charge(#lines * (#pad + 1))
  for i, line in ipairs(lines) do
    if (i > 1 or first) and (blank or line ~= "") then lines[i] = pad .. line end
  end
  return run:text(table.concat(lines, "\n"))
end

function filters.wordcount(_, v)
  local n = 0
  for _ in value.str(v):gmatch("[%w_\x80-\xFF]+") do n = n + 1 end
  return n
end

-- an attribute, which an element of a dict is not
function filters.attr(_, v, args)
  local name = arguments.text(args, {}, 1, "name")
  return methods.find(value.need(v), name)
    or value.undefined(("'%s object' has no attribute '%s'"):format(value.kind(v), name))
end

return filters
