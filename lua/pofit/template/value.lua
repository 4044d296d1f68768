-- Values of a template, with Python's meaning. A text is a Lua string, a number a Lua number, True and False are
-- booleans; the others are tables of this file. Nothing of Lua itself can be reached from a template.
--
--   none                   the value None                 undefined(hint)   what a missing name gives
--   list, tuple            [i] = element, n = length      dict              keys in order, values by key
--   namespace              a dict whose entries can be set
--   func(name, call)       call(rt, args, named): args has n, named is a table by name
-- What cannot be done raises a value.Error, which the template turns into a message with line and column.
local text = require "pofit.template.text"

local M = {}

M.Error = { __name = "pofit.template.error" }
local List, Tuple, Dict, Namespace, Func, Undefined = {}, {}, {}, {}, {}, {}
M.none = setmetatable({}, { __name = "None" })

local KINDS <const> = {
  [List] = "list", [Tuple] = "tuple", [Dict] = "dict", [Namespace] = "namespace", [Func] = "function",
  [Undefined] = "undefined",
}

--- Raise a message.
function M.fail(message, ...)
  error(setmetatable({ message = select("#", ...) > 0 and message:format(...) or message }, M.Error), 0)
end
local fail = M.fail

function M.list(items, n)
  items.n = n or #items
  return setmetatable(items, List)
end

function M.tuple(items, n)
  items.n = n or #items
  return setmetatable(items, Tuple)
end

function M.func(name, call) return setmetatable({ name = name, call = call }, Func) end

function M.undefined(hint) return setmetatable({ hint = hint }, Undefined) end

function M.dict() return setmetatable({ order = {}, values = {}, n = 0 }, Dict) end

function M.namespace() return setmetatable({ order = {}, values = {}, n = 0 }, Namespace) end

--- What Python calls the type: str, int, float, bool, NoneType, list, tuple, dict, namespace, function, undefined.
function M.kind(v)
  local t = type(v)
  if t == "string" then return "str" end
  if t == "number" then return math.type(v) == "integer" and "int" or "float" end
  if t == "boolean" then return "bool" end
  if v == M.none then return "NoneType" end
  return KINDS[getmetatable(v)] or error("not a value of a template: " .. t)
end
local kind = M.kind

function M.is_undefined(v) return getmetatable(v) == Undefined end

function M.is_sequence(v)
  local meta = getmetatable(v)
  return meta == List or meta == Tuple
end

--- The number a value counts as in arithmetic; nil if it is none.
function M.number(v)
  if type(v) == "number" then return v end
  if type(v) == "boolean" then return v and 1 or 0 end
end

--- Use of an undefined value where a value is needed.
function M.need(v)
  if getmetatable(v) == Undefined then fail("%s", v.hint) end
  return v
end

-- ---- dicts ----

-- keys that are equal in Python fall together: True is 1, and tuples are equal by their elements
local function key_of(key)
  if key == true then return 1 end
  if key == false then return 0 end
  local k = kind(key)
  if k == "tuple" then return "\0" .. M.repr(key) end
  if k == "list" or k == "dict" then fail("unhashable type: '%s'", k) end
  return key
end

function M.set(dict, key, value)
  local k = key_of(key)
  if dict.values[k] == nil then
    dict.n = dict.n + 1
    dict.order[dict.n] = key
  end
  dict.values[k] = value
end

--- The value of a key, nil if there is none.
function M.get(dict, key) return dict.values[key_of(key)] end

--- Walk a dict in order: for key, value in M.pairs(dict).
function M.pairs(dict)
  local i = 0
  return function()
    i = i + 1
    local key = dict.order[i]
    if key ~= nil then return key, dict.values[key_of(key)] end
  end
end

-- ---- truth, equality, order ----

function M.truth(v)
  if type(v) == "boolean" then return v end
  if type(v) == "string" then return v ~= "" end
  if type(v) == "number" then return v ~= 0 end
  local k = kind(v)
  if k == "list" or k == "tuple" or k == "dict" then return v.n > 0 end
  return not (k == "NoneType" or k == "undefined")
end

function M.equal(a, b)
  local x, y = M.number(a), M.number(b)
  if x and y then return x == y end
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  local k = kind(a)
  if a == b or k ~= kind(b) then return a == b end
  if k == "undefined" then return true end
  if k == "list" or k == "tuple" then
    if a.n ~= b.n then return false end
    for i = 1, a.n do
      if not M.equal(a[i], b[i]) then return false end
    end
    return true
  end
  if k ~= "dict" or a.n ~= b.n then return false end
  for key, value in M.pairs(a) do
    local other = M.get(b, key)
    if other == nil or not M.equal(value, other) then return false end
  end
  return true
end

--- a < b; an error between kinds that have no order.
function M.less(a, b)
  local x, y = M.number(a), M.number(b)
  if x and y then return x < y end
  if type(a) == "string" and type(b) == "string" then return a < b end -- bytes of UTF-8 order as code points do
  M.need(a)
  M.need(b)
  if M.is_sequence(a) and kind(a) == kind(b) then
    for i = 1, math.min(a.n, b.n) do
      if not M.equal(a[i], b[i]) then return M.less(a[i], b[i]) end
    end
    return a.n < b.n
  end
  return fail("'<' not supported between '%s' and '%s'", kind(a), kind(b))
end

--- item in container
function M.contains(container, item)
  local k = kind(container)
  if k == "str" then
    if type(item) ~= "string" then fail("'in' in a text needs a text, not %s", kind(M.need(item))) end
    return container:find(item, 1, true) ~= nil
  elseif k == "dict" then
    return M.get(container, item) ~= nil
  elseif k == "list" or k == "tuple" then
    for i = 1, container.n do
      if M.equal(container[i], item) then return true end
    end
    return false
  elseif k == "undefined" then
    return false
  end
  return fail("'%s' has no elements to look for one in", k)
end

-- ---- as text ----

local function joined(v, n, f)
  local out = {}
  for i = 1, n do out[i] = f(v, i) end
  return table.concat(out, ", ")
end

local function element(v, i) return M.repr(v[i]) end
local function entry(v, i) return M.repr(v.order[i]) .. ": " .. M.repr(M.get(v, v.order[i])) end

--- As Python writes it inside a list.
function M.repr(v)
  local k = kind(v)
  if k == "str" then return text.quoted(v) end
  if k == "undefined" then return "Undefined" end
  if k == "list" then return "[" .. joined(v, v.n, element) .. "]" end
  if k == "tuple" then return "(" .. joined(v, v.n, element) .. (v.n == 1 and ",)" or ")") end
  if k == "dict" then return "{" .. joined(v, v.n, entry) .. "}" end
  return M.str(v)
end

--- As it is printed.
function M.str(v)
  if type(v) == "string" then return v end
  local k = kind(v)
  if k == "undefined" then return "" end
  if k == "int" then return ("%d"):format(v) end
  if k == "float" then return text.float(v) end
  if k == "bool" then return v and "True" or "False" end
  if k == "NoneType" then return "None" end
  if k == "namespace" then return "<Namespace>" end
  if k == "function" then return ("<function %s>"):format(v.name) end
  return M.repr(v)
end

-- ---- elements ----

function M.length(v)
  local k = kind(v)
  if k == "str" then return text.length(v) end
  if k == "list" or k == "tuple" or k == "dict" then return v.n end
  if k == "undefined" then return 0 end
  return fail("object of type '%s' has no length", k)
end

--- The elements that a loop over v visits, as a list or tuple: characters of a text, keys of a dict.
function M.elements(v)
  local k = kind(v)
  if k == "list" or k == "tuple" then return v end
  if k == "str" then return M.list(text.characters(v)) end
  if k == "dict" then return M.list(table.move(v.order, 1, v.n, 1, {}), v.n) end
  if k == "undefined" then return M.list {} end
  return fail("'%s' is not iterable", k)
end

-- the element of a sequence or text at Python's index, nil if there is none
local function at(v, index)
  if type(v) == "string" then v = M.elements(v) end
  if index < 0 then index = index + v.n end
  if index >= 0 and index < v.n then return v[index + 1] end
end

local function type_name(v)
  return v == M.none and "None" or kind(v) .. " object"
end

--- v[key]: an element; undefined if there is none.
function M.item(v, key)
  local k, found = kind(M.need(v)), nil
  if k == "dict" or k == "namespace" then
    found = M.get(v, key)
  elseif k == "str" or k == "list" or k == "tuple" then
    local index = M.number(key)
    if math.type(index) == "integer" then
      found = at(v, index)
    end
  end
  if found ~= nil then return found end
  if type(key) == "string" then return M.undefined(("'%s' has no attribute '%s'"):format(type_name(v), key)) end
  return M.undefined(("'%s' has no element %s"):format(type_name(v), M.repr(key)))
end

-- Python's slice.indices
local function bounds(n, from, to, step)
  local low, high = step > 0 and 0 or -1, step > 0 and n or n - 1
  local function clip(i, default)
    if i == nil then return default end
    if i < 0 then i = i + n end
    return math.max(low, math.min(high, i))
  end
  return clip(from, step > 0 and 0 or n - 1), clip(to, step > 0 and n or -1)
end

--- v[from:to:step]; nil for what was left out.
function M.slice(v, from, to, step)
  local k = kind(M.need(v))
  if k ~= "str" and k ~= "list" and k ~= "tuple" then fail("'%s' cannot be sliced", k) end
  step = step or 1
  if step == 0 then fail("slice step cannot be zero") end
  local source, out, n = M.elements(v), {}, 0
  local first, last = bounds(source.n, from, to, step)
  for i = first, last + (step > 0 and -1 or 1), step do
    n = n + 1
    out[n] = source[i + 1]
  end
  if k == "str" then return table.concat(out) end
  return k == "list" and M.list(out, n) or M.tuple(out, n)
end

return M
