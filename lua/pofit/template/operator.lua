-- Operators of expressions.
local value = require "pofit.template.value"
local format = require "pofit.template.format"
local kind, number, fail = value.kind, value.number, value.fail

local M = { binary = {}, compare = {} }
local binary, compare = M.binary, M.compare

local function wrong(symbol, a, b)
  value.need(a)
  value.need(b)
  return fail("unsupported operand types for %s: '%s' and '%s'", symbol, kind(a), kind(b))
end

local function concat_sequence(run, a, b)
  run:charge(a.n + b.n)
  local out = table.move(b, 1, b.n, a.n + 1, table.move(a, 1, a.n, 1, {}))
  return kind(a) == "list" and value.list(out, a.n + b.n) or value.tuple(out, a.n + b.n)
end

binary["+"] = function(run, a, b)
  local x, y = number(a), number(b)
  if x and y then return x + y end
  if type(a) == "string" and type(b) == "string" then return run:text(a .. b) end
  if value.is_sequence(a) and kind(a) == kind(b) then return concat_sequence(run, a, b) end
  return wrong("+", a, b)
end

binary["-"] = function(_, a, b)
  local x, y = number(a), number(b)
  return x and y and x - y or wrong("-", a, b)
end

binary["~"] = function(run, a, b) return run:text(value.str(a) .. value.str(b)) end

local function times(run, a, count)
  count = math.max(count, 0)
  if type(a) == "string" then
    run:charge(#a * count)
    return a:rep(count)
  end
  run:charge(a.n * count)
  local out = {}
  for i = 0, count - 1 do table.move(a, 1, a.n, i * a.n + 1, out) end
  return kind(a) == "list" and value.list(out, a.n * count) or value.tuple(out, a.n * count)
end

binary["*"] = function(run, a, b)
  local x, y = number(a), number(b)
  if x and y then return x * y end
  if math.type(x) == "integer" then a, b, y = b, a, x end
  if math.type(y) == "integer" and (type(a) == "string" or value.is_sequence(a)) then return times(run, a, y) end
  return wrong("*", a, b)
end

local function divides(symbol, f)
  binary[symbol] = function(_, a, b)
    local x, y = number(a), number(b)
    if not (x and y) then return wrong(symbol, a, b) end
    if y == 0 then fail("division by zero") end
    return f(x, y)
  end
end
divides("/", function(x, y) return x / y end)
divides("//", function(x, y) return x // y end)
divides("%", function(x, y) return x % y end)

local modulo = binary["%"]
binary["%"] = function(run, a, b)
  if type(a) == "string" then return run:text(format.percent(run, a, b)) end
  return modulo(run, a, b)
end

binary["**"] = function(_, a, b)
  local x, y = number(a), number(b)
  if not (x and y) then return wrong("**", a, b) end
  local power = x ^ y
  if math.type(x) == "integer" and math.type(y) == "integer" and y >= 0 then
    return math.abs(power) < 2 ^ 53 and math.tointeger(power) or fail("%d ** %d is too large", x, y)
  end
  return power
end

compare["=="] = value.equal
compare["!="] = function(a, b) return not value.equal(a, b) end
compare["<"] = value.less
compare[">"] = function(a, b) return value.less(b, a) end
compare["<="] = function(a, b) return value.less(a, b) or value.equal(a, b) end
compare[">="] = function(a, b) return value.less(b, a) or value.equal(a, b) end
compare["in"] = function(a, b) return value.contains(b, a) end
compare["not in"] = function(a, b) return not value.contains(b, a) end

function M.negative(_, a)
  local x = number(value.need(a))
  return x and -x or fail("bad operand type for unary -: '%s'", kind(a))
end

function M.positive(_, a)
  return number(value.need(a)) or fail("bad operand type for unary +: '%s'", kind(a))
end

return M
