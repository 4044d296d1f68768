-- Filters of lists, dicts and texts as sequences.
local text = require "pofit.template.text"
local value = require "pofit.template.value"
local tests = require "pofit.template.tests"
local arguments = require "pofit.template.arguments"
local methods = require "pofit.template.methods"
local get, flag = arguments.get, arguments.flag

local function elements(run, v)
  local items = value.elements(v)
  run:charge(items.n)
  return items
end

-- what is false has no elements: None, too
local function elements_or_none(run, v)
  return value.truth(v) and elements(run, v) or value.list {}
end

-- a function that follows "a.b.0" from a value
local function getter(path)
  if path == nil or path == value.none then return function(v) return v end end
  local keys = {}
  for key in value.str(path):gmatch("[^.]+") do keys[#keys + 1] = key:find("^%d+$") and math.tointeger(key) or key end
  return function(v)
    for _, key in ipairs(keys) do v = value.item(v, key) end
    return v
  end
end

-- what values are compared by: texts without regard to case, unless asked for
local function folded(sensitive)
  return function(v) return type(v) == "string" and not sensitive and text.lower(v) or v end
end

-- stable: equal elements keep their order, also reversed
local function sorted(items, key, reverse)
  local list = {}
  for i = 1, items.n do list[i] = { key(items[i]), i, items[i] } end
  -- by merging, since table.sort is not stable and calls of a wrong order raise in it
  local function merge(low, high)
    if low >= high then return end
    local middle = (low + high) // 2
    merge(low, middle)
    merge(middle + 1, high)
    local left, i, j = table.move(list, low, middle, 1, {}), 1, middle + 1
    for at = low, high do
      local from_right = i > #left
      if not from_right and j <= high then
        if reverse then
          from_right = value.less(left[i][1], list[j][1])
        else
          from_right = value.less(list[j][1], left[i][1])
        end
      end
      if from_right then
        list[at], j = list[j], j + 1
      else
        list[at], i = left[i], i + 1
      end
    end
  end
  merge(1, items.n)
  local out = {}
  for i, entry in ipairs(list) do out[i] = entry[3] end
  return value.list(out, items.n)
end

local function find_test(name)
  return tests[name] or value.fail("there is no test '%s'", value.str(name))
end

local function rest_of(args, from)
  return { n = math.max(args.n - from + 1, 0), table.unpack(args, from, args.n) }
end

-- select and its relatives: keeps the elements whose (attribute's) test gives wanted
local function selector(by_attribute, wanted)
  return function(run, v, args, named)
    local items, out, n = elements_or_none(run, v), {}, 0
    local first = by_attribute and 2 or 1
    local read = by_attribute and getter(get(args, named, 1, "attribute", "")) or getter()
    local test = args[first] ~= nil and find_test(args[first]) or value.truth
    local test_args = rest_of(args, first + 1)
    for i = 1, items.n do
      if test(read(items[i]), test_args) == wanted then
        n = n + 1
        out[n] = items[i]
      end
    end
    return value.list(out, n)
  end
end

local function map(filters)
  return function(run, v, args, named)
    local items, out = elements_or_none(run, v), {}
    local read
    if named.attribute ~= nil then
      local follow, default = getter(named.attribute), named.default
      read = function(item)
        local found = follow(item)
        if default ~= nil and value.is_undefined(found) then return default end
        return found
      end
    else
      local filter = filters[args[1]] or value.fail("there is no filter '%s'", value.str(args[1] or value.none))
      local rest = rest_of(args, 2)
      read = function(item) return filter(run, item, rest, named) end
    end
    for i = 1, items.n do out[i] = read(items[i]) end
    return value.list(out, items.n)
  end
end

-- the least element by an order; undefined if there is none
local function extreme(comes_before)
  return function(run, v, args, named)
    local items = elements(run, v)
    local fold = folded(flag(args, named, 1, "case_sensitive", false))
    local read = getter(get(args, named, 2, "attribute"))
    local best
    for i = 1, items.n do
      if best == nil or comes_before(fold(read(items[i])), fold(read(best))) then best = items[i] end
    end
    if best == nil then return value.undefined("there is no least or greatest element of nothing") end
    return best
  end
end

local function dictsort(run, v, args, named)
  if value.kind(value.need(v)) ~= "dict" then value.fail("dictsort needs a dict, not %s", value.kind(v)) end
  local fold = folded(flag(args, named, 1, "case_sensitive", false))
  local by = get(args, named, 2, "by", "key") == "value" and 2 or 1
  local pairs_of = methods.find(v, "items").call(run, { n = 0 }, {})
  return sorted(pairs_of, function(pair) return fold(pair[by]) end, flag(args, named, 3, "reverse", false))
end

local function sort(run, v, args, named)
  local fold = folded(flag(args, named, 2, "case_sensitive", false))
  local read = getter(get(args, named, 3, "attribute"))
  return sorted(elements(run, v), function(item) return fold(read(item)) end, flag(args, named, 1, "reverse", false))
end

local function unique(run, v, args, named)
  local fold = folded(flag(args, named, 1, "case_sensitive", false))
  local read = getter(get(args, named, 2, "attribute"))
  local items, seen, out, n = elements(run, v), value.dict(), {}, 0
  for i = 1, items.n do
    local key = fold(read(items[i]))
    if value.get(seen, key) == nil then
      value.set(seen, key, true)
      n = n + 1
      out[n] = items[i]
    end
  end
  return value.list(out, n)
end

local function groupby(run, v, args, named)
  local read = getter(get(args, named, 1, "attribute"))
  local items = sorted(elements(run, v), read, false)
  local out = {}
  for i = 1, items.n do
    local key, group = read(items[i]), out[#out]
    if not group or not value.equal(group[1], key) then
      group = value.tuple { key, value.list {} }
      out[#out + 1] = group
    end
    local list = group[2]
    list.n = list.n + 1
    list[list.n] = items[i]
  end
  return value.list(out)
end

local function join(run, v, args, named)
  local items, out = elements(run, v), {}
  local read = getter(get(args, named, 2, "attribute"))
  for i = 1, items.n do out[i] = value.str(read(items[i])) end
  local separator = value.str(get(args, named, 1, "d", ""))
  run:charge(#separator * items.n)
  return run:text(table.concat(out, separator))
end

local function reverse(run, v)
  local items, out = elements(run, v), {}
  for i = 1, items.n do out[i] = items[items.n + 1 - i] end
  return type(v) == "string" and table.concat(out) or value.list(out, items.n)
end

local function sum(run, v, args, named)
  local items, read = elements(run, v), getter(get(args, named, 1, "attribute"))
  local total = value.number(get(args, named, 2, "start", 0))
  for i = 1, items.n do
    local x = value.number(value.need(read(items[i])))
    total = total + (x or value.fail("sum of a %s", value.kind(items[i])))
  end
  return total
end

local function batch(run, v, args, named)
  local items, size = elements(run, v), arguments.integer(args, named, 1, "linecount")
  if size < 1 then value.fail("batch needs a size of at least 1") end
  local fill, out = get(args, named, 2, "fill_with"), {}
  for i = 1, items.n, size do
    local n = math.min(size, items.n - i + 1)
    local part = table.move(items, i, i + n - 1, 1, {})
    while fill ~= nil and fill ~= value.none and n < size do
      n = n + 1
      part[n] = fill
    end
    out[#out + 1] = value.list(part, n)
  end
  return value.list(out)
end

local function ends(last)
  return function(run, v)
    local items = elements(run, v)
    if items.n == 0 then return value.undefined("there is no first or last element of nothing") end
    return items[last and items.n or 1]
  end
end

--- Adds the filters to a table.
return function(filters)
  filters.map = map(filters)
  filters.select, filters.reject = selector(false, true), selector(false, false)
  filters.selectattr, filters.rejectattr = selector(true, true), selector(true, false)
  filters.min = extreme(value.less)
  filters.max = extreme(function(a, b) return value.less(b, a) end)
  filters.dictsort, filters.sort, filters.unique, filters.groupby = dictsort, sort, unique, groupby
  filters.join, filters.reverse, filters.sum, filters.batch = join, reverse, sum, batch
  filters.first, filters.last = ends(false), ends(true)
  function filters.list(run, v)
    local items = elements(run, v)
    return value.list(table.move(items, 1, items.n, 1, {}), items.n)
  end
  function filters.items(run, v)
    if value.is_undefined(v) then return value.list {} end
    if value.kind(v) ~= "dict" then value.fail("items needs a dict, not %s", value.kind(v)) end
    return methods.find(v, "items").call(run, { n = 0 }, {})
  end
end
