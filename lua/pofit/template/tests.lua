-- Tests: x is NAME. Each is f(value, args) and gives true or false.
local text = require "pofit.template.text"
local value = require "pofit.template.value"
local kind, number = value.kind, value.number

local tests = {}

local function of_kinds(...)
  local set = {}
  for _, name in ipairs { ... } do set[name] = true end
  return function(v) return set[kind(v)] or false end
end

function tests.defined(v) return not value.is_undefined(v) end
tests.undefined = value.is_undefined
function tests.none(v) return v == value.none end
tests["true"] = function(v) return v == true end
tests["false"] = function(v) return v == false end
tests.boolean = of_kinds("bool")
tests.string = of_kinds("str")
tests.integer = of_kinds("int")
tests.float = of_kinds("float")
tests.number = of_kinds("int", "float", "bool")
tests.mapping = of_kinds("dict")
tests.sequence = of_kinds("str", "list", "tuple", "dict", "undefined")
tests.iterable = of_kinds("str", "list", "tuple", "dict", "undefined")
tests.callable = of_kinds("function")

local function compared(names, f)
  for name in names:gmatch("%S+") do
    tests[name] = function(v, args)
      if args[1] == nil then value.fail("the test '%s' needs a value to compare with", name) end
      return f(v, args[1])
    end
  end
end
compared("eq equalto ==", value.equal)
compared("ne !=", function(a, b) return not value.equal(a, b) end)
compared("lt lessthan <", value.less)
compared("gt greaterthan >", function(a, b) return value.less(b, a) end)
compared("le <=", function(a, b) return value.less(a, b) or value.equal(a, b) end)
compared("ge >=", function(a, b) return value.less(b, a) or value.equal(a, b) end)
compared("in", function(a, b) return value.contains(b, a) end)
compared("sameas", function(a, b) return rawequal(a, b) and math.type(a) == math.type(b) end)

local function whole(v) return number(value.need(v)) or value.fail("a %s is no number", kind(v)) end
function tests.odd(v) return whole(v) % 2 == 1 end
function tests.even(v) return whole(v) % 2 == 0 end
compared("divisibleby", function(a, b)
  if whole(b) == 0 then value.fail("division by zero") end
  return whole(a) % whole(b) == 0
end)

function tests.lower(v) return text.is_case(value.str(v), "lower") end
function tests.upper(v) return text.is_case(value.str(v), "upper") end

return tests
