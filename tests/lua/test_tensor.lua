-- Tensors as Lua sees them: making, reading, indexing, operators, gradients, steps.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pf = require "pofit"

check.test("what backward reads must not be written over after forward", function()
  for _, held in ipairs { true, false } do
    local x, w = pf.tensor({ 1, 2 }, { grad = true }), pf.tensor({ 3, 4 }, { grad = true })
    local kept = {}
    local function loss_of(product)
      if held then kept[1] = product end
      return (product * product):sum()
    end
    local loss = loss_of(x * w)
    collectgarbage()
    w:copy_ { 10, 10 }
    check.fails("which mul has read, was written over between forward and backward", loss.backward, loss)
    loss = ((x + w) * x):sum()
    w:copy_ { 3, 4 } -- which a sum does not read
    loss:backward()
    check.eq(w.grad:totable(), { 1.0, 2.0 })
  end
end)

check.test("nested tables become tensors and come back", function()
  local x = pf.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
  check.eq(x.shape, { 2, 3 })
  check.eq(x.dtype, "float32")
  check.eq(x:totable(), { { 1.0, 2.0, 3.0 }, { 4.0, 5.0, 6.0 } })
  check.eq(x:dim(), 2)
  check.eq(x:numel(), 6)
  check.eq(#x, 2)
  check.eq({ x:size(1), x:size(-1) }, { 2, 3 })
  check.eq(pf.tensor(5):item(), 5.0)
  check.eq(pf.tensor(5).shape, {})
  check.eq(pf.tensor({}).shape, { 0 })
  check.eq(pf.tensor({ true, false }):totable(), { 1.0, 0.0 })
  check.eq(pf.tensor({ 1, 2 }, { dtype = "int32" }):totable(), { 1, 2 })
  check.eq(pf.tensor({ 0.1 }, { dtype = "float64" }):item(), 0.1)
end)

check.test("bad tables are refused with the place", function()
  check.fails("a list of 1 where the first had 2", pf.tensor, { { 1, 2 }, { 3 } })
  check.fails("value 2 of the list is a string", pf.tensor, { 1, "x" })
  check.fails("a number where a list of 2 numbers", pf.tensor, { { 1, 2 }, 3 })
  check.fails("at most 4 dimensions", pf.tensor, { { { { { 1 } } } } })
  check.fails("whole number", pf.tensor, { 1.5 }, { dtype = "int32" })
  check.fails("cat joins tensors", pf.tensor, { pf.tensor(1) })
  check.fails("no option \"gard\"; did you mean \"grad\"", pf.tensor, { 1 }, { gard = true })
  check.fails("no type \"float\"", pf.tensor, { 1 }, { dtype = "float" })
end)

check.test("zeros, ones, full, randn, uniform", function()
  check.eq(pf.zeros({ 2, 2 }):totable(), { { 0.0, 0.0 }, { 0.0, 0.0 } })
  check.eq(pf.ones(3):totable(), { 1.0, 1.0, 1.0 })
  check.eq(pf.full({ 2 }, 0.5, { dtype = "float64", grad = true }).requires_grad, true)
  local a = pf.randn({ 1000 }, { seed = 3, stream = 1 })
  check.eq(a:totable(), pf.randn({ 1000 }, { seed = 3, stream = 1 }):totable())
  check.ok(a:totable()[1] ~= pf.randn({ 1000 }, { seed = 4, stream = 1 }):totable()[1], "the seed has no effect")
  check.near(a:mean():item(), 0, 0.1)
  check.near((a * a):mean():item(), 1, 0.15)
  local u = pf.uniform({ 1000 }, { seed = 1 })
  check.near(u:mean():item(), 0.5, 0.05)
  check.fails("below 0", pf.zeros, { -1 })
end)

check.test("operators broadcast and take numbers on both sides", function()
  local x = pf.tensor { { 1, 2 }, { 3, 4 } }
  local row = pf.tensor { 10, 20 }
  check.eq((x + row):totable(), { { 11.0, 22.0 }, { 13.0, 24.0 } })
  check.eq((2 * x - 1):totable(), { { 1.0, 3.0 }, { 5.0, 7.0 } })
  check.eq((1 - x):totable(), { { 0.0, -1.0 }, { -2.0, -3.0 } })
  check.eq((12 / x):totable(), { { 12.0, 6.0 }, { 4.0, 3.0 } })
  check.eq((x ^ 2):totable(), { { 1.0, 4.0 }, { 9.0, 16.0 } })
  check.eq((-x):totable(), { { -1.0, -2.0 }, { -3.0, -4.0 } })
  check.eq((pf.tensor({ 1 }, { dtype = "float64" }) * 0.1).dtype, "float64")
  check.fails("sizes must be equal or 1", function() return x + pf.tensor { 1, 2, 3 } end)
  check.fails("float32", function() return x + pf.tensor({ 1, 2 }, { dtype = "float64" }) end)
end)

check.test("dimensions count from 1, negative from the end", function()
  local x = pf.tensor { { 1, 2 }, { 3, 4 } }
  check.eq(x:sum(1):totable(), { 4.0, 6.0 })
  check.eq(x:sum(2):totable(), { 3.0, 7.0 })
  check.eq(x:sum(-1):totable(), { 3.0, 7.0 })
  check.eq(x:sum { dim = 1, keep = true }.shape, { 1, 2 })
  check.eq(pf.sum { x = x, dim = 2 }:totable(), { 3.0, 7.0 })
  check.fails("sum: dim is 0; dimensions count from 1", x.sum, x, 0)
  check.fails("dim", x.sum, x, 3)
  check.eq(x:reshape(4).shape, { 4 })
  check.eq(x:reshape({ 1, -1 }).shape, { 1, 4 })
  check.eq(x:reshape(4, 1).shape, { 4, 1 })
end)

check.test("rows", function()
  local x = pf.tensor({ { 1, 2 }, { 3, 4 } }, { grad = true })
  check.eq(x[2]:totable(), { 3.0, 4.0 })
  check.eq(x[-1]:totable(), { 3.0, 4.0 })
  check.eq(x[1][2]:item(), 2.0)
  check.eq(x[3], nil)
  check.fails("there is no row 0", function() return x[0] end)
  check.fails("there is no row 4; the tensor has 2", function() return x[4] end)
  local n = 0
  for _, row in ipairs(x) do n = n + row:sum():item() end
  check.eq(n, 10.0)
  x[2]:sum():backward()
  check.eq(x.grad:totable(), { { 0.0, 0.0 }, { 1.0, 1.0 } })
  local ids = pf.tensor({ { 5, 6 }, { 7, 8 } }, { dtype = "int32" })
  check.eq(ids[2]:totable(), { 7, 8 })
  check.eq(ids[2][1], 7)
end)

check.test("positions count from 1", function()
  local x = pf.tensor { 10, 30, 20 }
  local best = x:argmax(1)
  check.eq(best:item(), 2)
  check.eq(x:index({ 3, 1 }):totable(), { 20.0, 10.0 })
  check.eq(x:index(pf.tensor({ 3, 1 }, { dtype = "int32" })):totable(), { 20.0, 10.0 })
  check.fails("index", x.index, x, { 0 })
  check.fails("index", x.index, x, { 4 })
  check.eq(pf.sum_by(x, { 1, 2, 1 }, 2):totable(), { 30.0, 30.0 })
end)

check.test("gradients", function()
  local x = pf.tensor({ { 1, 2 }, { 3, 4 } }, { grad = true })
  local y = (x:exp() * 2 - 1):sum()
  check.eq(y.requires_grad, true)
  check.eq(x.grad, nil)
  y:backward()
  check.near(x.grad:totable()[1][1], 2 * math.exp(1), 1e-6)
  check.fails("no history", y.backward, y)
  check.fails("single value", x.backward, x)
  x:zero_grad()
  check.eq(x.grad, nil)
  local d = x:detach()
  check.eq(d.requires_grad, false)
  pf.no_grad(function() check.eq((x * 2).requires_grad, false) end)
  check.eq((x * 2).requires_grad, true)
  pcall(pf.no_grad, error)
  check.eq((x * 2).requires_grad, true, "recording comes back after an error")
  x.requires_grad = false
  check.eq((x * 2).requires_grad, false)
  check.fails("requires_grad", function() x.shape = 1 end)
  check.fails("int32", function() pf.tensor({ 1 }, { dtype = "int32", grad = true }) end)
end)

check.test("copies", function()
  local x = pf.tensor { 1, 2 }
  local y = x:clone()
  y:copy_ { 3, 4 }
  check.eq(x:totable(), { 1.0, 2.0 })
  check.eq(y:totable(), { 3.0, 4.0 })
  check.eq(x:to("float64").dtype, "float64")
  check.eq(pf.tensor(y, { grad = true }).requires_grad, true)
  check.fails("2 values", y.copy_, y, { 1, 2, 3 })
end)

check.test("what a step made ends with it", function()
  local x = pf.tensor({ 1, 2 }, { grad = true })
  local kept, lost
  local value = pf.step(function(factor)
    lost = x * factor
    kept = (x * 2):keep()
    local loss = lost:sum()
    loss:backward()
    return loss:item()
  end, 3)
  check.eq(value, 9.0)
  check.eq(x.grad:totable(), { 3.0, 3.0 })
  check.eq(kept:totable(), { 2.0, 4.0 })
  check.fails("training step that has ended", lost.totable, lost)
  check.fails("training step that has ended", function() return lost + 1 end)
  check.matches(tostring(lost), "step has ended")
  local escaped
  check.fails("mine", pf.step, function()
    escaped = x * 2
    error("mine")
  end)
  check.fails("training step that has ended", escaped.totable, escaped)
  pf.step(function()
    local inner
    pf.step(function() inner = x * 2 end)
    check.fails("ended", inner.totable, inner)
  end)
end)

check.test("printing", function()
  check.eq(tostring(pf.tensor({ { 1, 2.5 } }, { grad = true })), "tensor [1, 2] float32 requires_grad {1, 2.5}")
  check.matches(tostring(pf.zeros { 3, 5 }), "%[3, 5%] float32 {0, 0, 0, 0, 0, 0, 0, 0, %.%.%.}")
  check.eq(tostring(pf.tensor(7, { dtype = "int32" })), "tensor [] int32 {7}")
end)

check.test("unknown names raise with the nearest", function()
  local x = pf.tensor { 1 }
  check.fails("a tensor has no \"summ\"; did you mean \"sum\"", function() return x:summ() end)
  check.fails("a tensor has no \"shap\"; did you mean \"shape\"", function() return x.shap end)
  check.fails("pf has no \"tenzor\"; did you mean \"tensor\"", function() return pf.tenzor end)
  check.fails("pf.loss has no \"dpoo\"; did you mean \"dpo\"", function() return pf.loss.dpoo end)
  check.fails("read%-only", function() pf.tensor = 1 end)
end)

check.test("errors carry the line of the script", function()
  local line = debug.getinfo(1, "l").currentline + 1
  local ok, message = pcall(function() return pf.tensor { 1, 2 } + pf.tensor { 1, 2, 3 } end)
  check.ok(not ok)
  check.matches(message, "test_tensor%.lua:" .. line .. ": ")
  line = debug.getinfo(1, "l").currentline + 1
  ok, message = pcall(function() return pf.gradcheck(function() end, { x = 1 }) end)
  check.ok(not ok)
  check.matches(message, "test_tensor%.lua:" .. line .. ": ")
end)

check.test("memory follows what Lua holds", function()
  collectgarbage()
  local before = pf.memory()
  for _ = 1, 300 do pf.zeros { 1024, 1024 } end
  local used = pf.memory()
  check.ok(used - before < 200 * 2 ^ 20, ("%d MB are held"):format((used - before) // 2 ^ 20))
  check.fails("not enough memory", pf.zeros, { 2 ^ 20, 2 ^ 20, 2 ^ 20 })
end)

check.test("gradcheck", function()
  local ok, report = pf.gradcheck(function(a, b) return (a * b:exp()):sum() end, { { 1, 2 }, { 0.5, -1 } })
  check.eq(ok, true)
  check.ok(report.worst < 1e-6)
  check.eq(pf.gradcheck(function(t) return (t.a * t.b):sum() end, { a = pf.tensor { 1, 2 }, b = { 3, 4 } }), true)
  local message = check.fails("argument 1, element %d", pf.gradcheck,
    function(a) return (a * a:detach()):sum() end, { { 1, 2 } })
  check.matches(message, "backward gives")
  check.fails("mine", pf.gradcheck, function() error("mine") end, { { 1 } })
  check.fails("must return a tensor, it returned a number", pf.gradcheck, function() return 1 end, { { 1 } })
  check.fails("holds integers", pf.gradcheck, function(a) return a end, { pf.tensor({ 1 }, { dtype = "int32" }) })
end)

check.done()
