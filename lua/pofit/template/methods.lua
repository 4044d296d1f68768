-- Methods of texts, lists and dicts. Those that would change a value are refused, as in Jinja's immutable sandbox.
local text = require "pofit.template.text"
local value = require "pofit.template.value"
local format = require "pofit.template.format"
local arguments = require "pofit.template.arguments"
local get, text_arg, integer = arguments.get, arguments.text, arguments.integer

local M = {}

-- name -> f(run, self, args, named), by kind
local str, dict, sequence = {}, {}, {}

local function optional_text(args, named, i, name)
  local v = get(args, named, i, name)
  if v == nil or v == value.none then return nil end
  return text_arg(args, named, i, name)
end

-- ---- texts ----

for name, side in pairs { strip = "both", lstrip = "left", rstrip = "right" } do
  str[name] = function(_, s, args, named) return text.strip(s, side, optional_text(args, named, 1, "chars")) end
end

for _, name in ipairs { "upper", "lower", "title", "capitalize" } do
  str[name] = function(_, s) return text[name](s) end
end

local function splitter(right)
  return function(run, s, args, named)
    local separator, limit = optional_text(args, named, 1, "sep"), integer(args, named, 2, "maxsplit", -1)
    run:charge(#s)
    if separator == "" then value.fail("empty separator") end
    if separator then return value.list(text.split(s, separator, limit, right)) end
    if right and limit >= 0 then value.fail("rsplit with a limit needs a separator") end
    return value.list(text.words(s, limit))
  end
end
str.split, str.rsplit = splitter(false), splitter(true)

function str.splitlines(run, s)
  run:charge(#s)
  local lines = text.split((s:gsub("\r\n?", "\n")), "\n", -1)
  if lines[#lines] == "" then lines[#lines] = nil end
  return value.list(lines)
end

-- is s at that side one of the texts: a text, or a tuple of them
local function affix(at_side)
  return function(_, s, args)
    local wanted = args[1]
    if value.is_sequence(wanted) then
      for i = 1, wanted.n do
        if at_side(s, wanted[i]) then return true end
      end
      return false
    end
    return at_side(s, text_arg(args, {}, 1))
  end
end
local function starts(s, part) return s:sub(1, #part) == part end
local function ends(s, part) return part == "" or #part <= #s and s:sub(-#part) == part end
str.startswith, str.endswith = affix(starts), affix(ends)

function str.removeprefix(_, s, args)
  local part = text_arg(args, {}, 1)
  return starts(s, part) and s:sub(#part + 1) or s
end

function str.removesuffix(_, s, args)
  local part = text_arg(args, {}, 1)
  return part ~= "" and ends(s, part) and s:sub(1, -#part - 1) or s
end

function str.replace(run, s, args, named)
  local old, new = text_arg(args, named, 1, "old"), text_arg(args, named, 2, "new")
  run:charge(#s * (#new + 1) // math.max(#old, 1) + #s)
  return run:text(text.replace(s, old, new, integer(args, named, 3, "count", -1)))
end

function str.find(_, s, args)
  local i = s:find(text_arg(args, {}, 1), 1, true)
  return i and text.length(s:sub(1, i - 1)) or -1
end

function str.rfind(_, s, args)
  local parts = text.split(s, text_arg(args, {}, 1), 1, true)
  return parts[2] and text.length(parts[1]) or -1
end

function str.index(run, s, args)
  local i = str.find(run, s, args)
  return i >= 0 and i or value.fail("substring not found")
end

function str.count(_, s, args) return #text.split(s, text_arg(args, {}, 1), -1) - 1 end

function str.join(run, s, args)
  local items, out = value.elements(value.need(get(args, {}, 1, nil, value.undefined("join needs a list")))), {}
  for i = 1, items.n do
    if type(items[i]) ~= "string" then value.fail("item %d of join is no text but %s", i - 1, value.kind(items[i])) end
    out[i] = items[i]
  end
  run:charge(items.n * (#s + 1))
  return run:text(table.concat(out, s))
end

function str.format(run, s, args, named) return run:text(format.braces(run, s, args, named)) end

function str.islower(_, s) return text.is_case(s, "lower") end
function str.isupper(_, s) return text.is_case(s, "upper") end
function str.isspace(_, s) return s ~= "" and text.strip(s, "left") == "" end
function str.isdigit(_, s) return s:find("^%d+$") ~= nil end
str.isnumeric, str.isdecimal = str.isdigit, str.isdigit
function str.isalpha(_, s) return s:find("^[%a\x80-\xFF]+$") ~= nil end
function str.isalnum(_, s) return s:find("^[%w\x80-\xFF]+$") ~= nil end

for name, align in pairs { ljust = "<", rjust = ">", center = "^" } do
  str[name] = function(run, s, args, named)
    return format.padded(run, s, integer(args, named, 1, "width"), text_arg(args, named, 2, "fillchar", " "), align)
  end
end

function str.zfill(run, s, args)
  local sign = s:match("^[-+]?")
  return sign .. format.padded(run, s:sub(#sign + 1), integer(args, {}, 1) - #sign, "0", ">")
end

function str.partition(_, s, args)
  local separator = text_arg(args, {}, 1)
  local parts = text.split(s, separator, 1)
  return value.tuple { parts[1], parts[2] and separator or "", parts[2] or "" }
end

function str.rpartition(_, s, args)
  local separator = text_arg(args, {}, 1)
  local parts = text.split(s, separator, 1, true)
  if not parts[2] then return value.tuple { "", "", s } end
  return value.tuple { parts[1], separator, parts[2] }
end

-- ---- dicts, lists, tuples ----

function dict.items(run, d)
  run:charge(d.n)
  local out, n = {}, 0
  for key, v in value.pairs(d) do
    n = n + 1
    out[n] = value.tuple { key, v }
  end
  return value.list(out, n)
end

function dict.keys(_, d) return value.elements(d) end

function dict.values(run, d)
  run:charge(d.n)
  local out, n = {}, 0
  for _, v in value.pairs(d) do
    n = n + 1
    out[n] = v
  end
  return value.list(out, n)
end

function dict.get(_, d, args)
  local v = value.get(d, get(args, {}, 1, nil, value.none))
  if v ~= nil then return v end
  return get(args, {}, 2, nil, value.none)
end

local function copy_of(items) return value.list(table.move(items, 1, items.n, 1, {}), items.n) end

function dict.copy(run, d)
  run:charge(d.n)
  local out = value.dict()
  for key, v in value.pairs(d) do value.set(out, key, v) end
  return out
end

function sequence.copy(run, items)
  run:charge(items.n)
  return copy_of(items)
end

function sequence.index(_, items, args)
  for i = 1, items.n do
    if value.equal(items[i], args[1]) then return i - 1 end
  end
  return value.fail("the value is not in the list")
end

function sequence.count(_, items, args)
  local n = 0
  for i = 1, items.n do n = n + (value.equal(items[i], args[1]) and 1 or 0) end
  return n
end

local function refuse(methods, kind, names)
  for name in names:gmatch("%S+") do
    methods[name] = function()
      value.fail("'%s' of a %s is not allowed: a template cannot change values", name, kind)
    end
  end
end
refuse(dict, "dict", "pop popitem update clear setdefault")
refuse(sequence, "list", "append extend insert pop remove reverse sort clear")

local METHODS <const> = { str = str, dict = dict, list = sequence, tuple = sequence }

--- The method of a value as a function of a template; nil if it has none of that name.
function M.find(v, name)
  local methods = METHODS[value.kind(v)]
  local f = methods and methods[name]
  return f and value.func(name, function(run, args, named) return f(run, v, args, named) end)
end

return M
