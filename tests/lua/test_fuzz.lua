-- Every operation and loss with arguments of random types and shapes: an error is fine, anything else is not.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pf = require "pofit"
local core = require "pofit.core"
local random = require "pofit.random"

local rounds = os.getenv "POFIT_LONG" and 4000 or 400
local blind = {} -- what no call got through

local function shape_of(g)
  local shape = {}
  for i = 1, g:int(0, 3) do shape[i] = g:int(0, 4) end
  return shape
end

local function nested(g, depth)
  if depth == 0 then return g:pick { g:int(-2, 9), g:uniform(), 0 / 0, math.huge } end
  local list = {}
  for i = 1, g:int(0, 3) do list[i] = nested(g, g:int(1, 20) == 1 and 0 or depth - 1) end
  return list
end

local odd = {
  true, false, "x", "", "ipo", 2 ^ 53, -2 ^ 63, math.mininteger, 1e300, 0 / 0, -1 / 0, print, {}, { x = 1 },
}

local function value(g)
  local kind = g:int(1, 12)
  if kind <= 5 then
    local t = pf.randn(shape_of(g), { seed = g:int(1, 1000), dtype = g:int(1, 8) == 1 and "float64" or "float32" })
    if g:int(1, 2) == 1 then t.requires_grad = true end
    return t
  end
  if kind <= 7 then return g:int(-3, 6) end
  if kind == 8 then return g:uniform() * 4 - 2 end
  if kind == 9 then return nested(g, g:int(1, 3)) end
  if kind == 10 then return pf.tensor(g:int(1, 2) == 1 and { 1, 2 } or { { 1, 0 }, { 3, -1 } }, { dtype = "int32" }) end
  if kind == 11 then return pf.randn({ 3 }):argmax(1) end
  return g:pick(odd)
end

local function value_for(g, p)
  if g:int(1, 4) == 1 then return value(g) end
  if p.kind == "constant" and g:int(1, 2) == 1 then return { 1, 0, 1 } end
  if p.kind == "tensor" or p.kind == "constant" then
    local t = pf.randn(g:pick { { 3 }, { 3 }, { 2, 3 }, { 2, 3, 4 }, { 2, 2, 2 }, {} }, { seed = g:int(1, 99) })
    if p.kind == "tensor" then t.requires_grad = true end
    return t
  end
  if p.kind == "index" or p.kind == "token" then return { 1, 2, g:int(-1, 4) } end
  if p.kind == "choice" then
    local words = {}
    for word in p.choices:gmatch "%S+" do words[#words + 1] = word end
    return g:pick(words)
  end
  if p.kind == "boolean" then return g:int(1, 2) == 1 end
  if p.kind == "shape" then return shape_of(g) end
  return g:int(-2, 5)
end

local function arguments(g, entry)
  local args = {}
  for i, p in ipairs(entry.params) do
    if not p.optional or g:int(1, 3) == 1 then args[entry.loss and p.name or i] = value_for(g, p) end
  end
  return args
end

-- a call that succeeds must also survive being read and differentiated
local function call(f, ...)
  local y = f(...)
  y:totable()
  tostring(y)
  if y.requires_grad then y:sum():backward() end
end

for _, entry in ipairs(core.registry()) do
  check.test(entry.name, function()
    local g = random.new(1, entry.name)
    local f, succeeded = (entry.loss and pf.loss or pf)[entry.name], 0
    for _ = 1, rounds do
      local args = arguments(g, entry)
      local ok, message
      if entry.loss then
        ok, message = pcall(call, f, args)
      else
        ok, message = pcall(call, f, table.unpack(args, 1, #entry.params))
      end
      check.ok(ok or type(message) == "string", "an error that is no text")
      if ok then succeeded = succeeded + 1 end
    end
    if succeeded == 0 then blind[#blind + 1] = entry.name end
  end)
end

check.test("most are reached", function() check.ok(#blind <= 6, table.concat(blind, " ")) end)
check.done()
