-- Random numbers drawn in Lua.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local random = require "pofit.random"

check.test("the bits are fixed for ever", function()
  check.eq(("%016x"):format(random.bits(1, 2, 3)), "c905f88bf43479c8")
  check.eq(("%016x"):format(random.hash("chain")), "073bbf8a6a151012")
end)

check.test("a generator walks the indices of its stream", function()
  local g = random.new(7, "pairs")
  for i = 1, 5 do
    check.eq(g:uniform(), random.uniform(7, "pairs", i))
  end
  local again = random.new(7, "pairs")
  again.index = 5
  check.eq(again:uniform(), g:uniform())
end)

check.test("seed, stream and index all count", function()
  local seen = {}
  for seed = 0, 9 do
    for stream = 0, 9 do
      for index = 0, 9 do
        local b = random.bits(seed, stream, index)
        check.ok(not seen[b], "the same bits twice")
        seen[b] = true
      end
    end
  end
end)

check.test("uniform and int are flat", function()
  local g, sum, cells, n = random.new(3, 0), 0, {0, 0, 0, 0, 0, 0}, 60000
  for _ = 1, n do
    local u = g:uniform()
    check.ok(u >= 0 and u < 1)
    sum = sum + u
    local k = g:int(6)
    cells[k] = cells[k] + 1
  end
  check.near(sum / n, 0.5, 4 * math.sqrt(1 / 12 / n))
  local chi2 = 0
  for k = 1, 6 do
    chi2 = chi2 + (cells[k] - n / 6) ^ 2 / (n / 6)
  end
  check.ok(chi2 < 20.5, "chi squared " .. chi2) -- 5 degrees of freedom, p = 0.001
end)

check.test("int keeps to its range", function()
  local g, low, high = random.new(4, 0), math.huge, -math.huge
  for _ = 1, 1000 do
    local k = g:int(-2, 3)
    low, high = math.min(low, k), math.max(high, k)
  end
  check.eq(low, -2)
  check.eq(high, 3)
  check.fails("no integer from 1 to 0", g.int, g, 0)
end)

check.test("shuffle is a permutation, and every order comes up equally often", function()
  local g, seen, n = random.new(5, 0), {}, 6000
  for _ = 1, n do
    local k = table.concat(g:shuffle{1, 2, 3})
    seen[k] = (seen[k] or 0) + 1
  end
  local chi2, total = 0, 0
  for _, k in ipairs{"123", "132", "213", "231", "312", "321"} do
    chi2, total = chi2 + (seen[k] - n / 6) ^ 2 / (n / 6), total + seen[k]
  end
  check.eq(total, n)
  check.ok(chi2 < 20.5, "chi squared " .. chi2)
end)

check.test("what is no integer is refused", function()
  check.fails("seed must be an integer, not 1.5", random.uniform, 1.5, 0, 0)
  check.fails("index must be an integer, not nil", random.uniform, 1, 0)
end)

check.done()
