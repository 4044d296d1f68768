-- Statistics; the figures are worked by hand.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local stats = require "pofit.stats"

local function repeated(n, k)
  local out = {}
  for i = 1, n do
    out[i] = i <= k
  end
  return out
end

check.test("mean and sd", function()
  check.near(stats.mean{1, 2, 3, 6}, 3)
  check.near(stats.mean{true, false, false, true}, 0.5)
  check.near(stats.sd{1, 2, 3, 6}, math.sqrt(14 / 3))
  check.ok(stats.mean{} ~= stats.mean{})
end)

check.test("quantiles", function()
  check.near(stats.quantile({1, 2, 3, 4}, 0.25), 1.75)
  check.near(stats.quantile({1, 2, 3, 4}, 0), 1)
  check.near(stats.quantile({1, 2, 3, 4}, 1), 4)
end)

check.test("Wilson's interval", function()
  -- roots of (p - k/n)^2 = z^2 p (1 - p) / n
  for _, case in ipairs{{8, 10}, {1, 40}, {300, 500}, {0, 10}, {10, 10}} do
    local k, n = case[1], case[2]
    local low, high = stats.wilson(k, n)
    for _, p in ipairs{low, high} do
      check.near((p - k / n) ^ 2, 1.959963984540054 ^ 2 * p * (1 - p) / n, 1e-12)
    end
    check.ok(low <= k / n and k / n <= high and low < high)
  end
  local low, high = stats.wilson(8, 10)
  check.near(low, 0.4901625, 1e-6)
  check.near(high, 0.9433178, 1e-6)
  check.eq({stats.wilson(0, 0)}, {0.0, 1.0})
end)

check.test("the paired bootstrap", function()
  local before, after = repeated(400, 200), repeated(400, 260)
  local r = stats.paired(before, after)
  check.near(r.difference, 0.15)
  check.near(r.before, 0.5)
  check.near(r.after, 0.65)
  -- 60 of 400 differences are 1: the interval is nearly that of a share of 0.15
  local half = 1.96 * math.sqrt(0.15 * 0.85 / 400)
  check.near(r.low, 0.15 - half, 0.004)
  check.near(r.high, 0.15 + half, 0.004)
  check.eq(stats.paired(before, after), r)
  local one, two = {seed = 1, resamples = 500}, {seed = 2, resamples = 500}
  check.ok(stats.paired(before, after, one).low ~= stats.paired(before, after, two).low, "the seed does nothing")
  local wide = stats.paired(before, after, {level = 0.5})
  check.ok(wide.low > r.low and wide.high < r.high, "a lower level is a narrower interval")
end)

check.test("pairs count, not only the two means", function()
  -- the same two shares, but no item in common: much more uncertain
  local before, after = {}, {}
  for i = 1, 400 do
    before[i], after[i] = i <= 200, i > 140
  end
  local r = stats.paired(before, after)
  check.near(r.difference, 0.15)
  check.ok(r.high - r.low > 0.15, "the pairing is lost")
end)

check.test("equal lists have no difference", function()
  local r = stats.paired(repeated(50, 20), repeated(50, 20))
  check.eq({r.difference, r.low, r.high}, {0.0, 0.0, 0.0})
  check.fails("of one length above 0, not 0 and 0", stats.paired, {}, {})
  check.fails("not 1 and 2", stats.mcnemar, {true}, {true, true})
end)

check.test("McNemar's exact test", function()
  -- 9 gained, 1 lost: 2 * (1 + 10) / 2^10
  local before, after = {}, {}
  for i = 1, 30 do
    before[i], after[i] = i <= 11, i <= 10 or (i > 11 and i <= 20)
  end
  local p, gained, lost = stats.mcnemar(before, after)
  check.eq({gained, lost}, {9, 1})
  check.near(p, 22 / 1024, 1e-12)
  check.near((stats.mcnemar({true, false}, {false, true})), 1.0)
  check.near((stats.mcnemar({true}, {true})), 1.0)
  -- 1600 gained, 1400 lost: the normal approximation with continuity correction has z = 199 / sqrt(3000)
  before, after = {}, {}
  for i = 1, 3000 do
    before[i], after[i] = i > 1600, i <= 1600
  end
  check.near((stats.mcnemar(before, after)), 2.8e-4, 5e-6)
  local many = stats.mcnemar(repeated(3000, 1000), repeated(3000, 2500))
  check.ok(many >= 0 and many < 1e-300, "no overflow")
end)

check.test("pass@k", function()
  check.near(stats.pass_at_k(10, 3, 1), 0.3)
  check.near(stats.pass_at_k(5, 2, 2), 1 - 3 / 10)
  check.near(stats.pass_at_k(5, 0, 3), 0)
  check.near(stats.pass_at_k(5, 3, 3), 1)
  check.fails("needs 1 <= k <= n", stats.pass_at_k, 5, 2, 6)
end)

check.test("figures as text", function()
  check.eq(stats.percent(0.613, 0.582, 0.641), "61.3 % [58.2, 64.1]")
  check.eq(stats.percent(1), "100.0 %")
  check.eq(stats.points(0.124, 0.091, 0.156), "+12.4 points [+9.1, +15.6]")
  check.eq(stats.points(-0.02), "-2.0 points")
  check.eq({stats.duration(7.4), stats.duration(725), stats.duration(10929)}, {"0:07", "12:05", "3:02:09"})
  check.eq({stats.count(950), stats.count(3420), stats.count(12345), stats.count(999.9), stats.count(1.2e6)},
    {"950", "3.4k", "12k", "1.0k", "1.2M"})
  check.eq({stats.number(0.693147), stats.number(-12.3456), stats.number(1.234e-5), stats.number(123456.7)},
    {"0.6931", "-12.346", "1.23e-5", "123456.7"})
  check.eq({stats.number(-1e-9), stats.number(-0.0), stats.number(7), stats.number(0 / 0)},
    {"-1.00e-9", "0", "7", "nan"})
end)

check.test("clustered: seeds and items are drawn again together", function()
  local before, after = {}, {}
  for s = 1, 5 do
    before[s], after[s] = {}, {}
    for i = 1, 40 do
      before[s][i] = (i * 7 + s) % 3 == 0
      after[s][i] = (i * 7 + s) % 3 == 0 or (i * 5 + s * 3) % 4 == 0
    end
  end
  local c = stats.clustered(before, after, {seed = 3})
  check.eq({c.n, c.seeds, #c.by_seed}, {200, 5, 5})
  local sum = 0
  for s = 1, 5 do
    local d = stats.mean(after[s]) - stats.mean(before[s])
    check.near(c.by_seed[s], d)
    sum = sum + d / 5
  end
  check.near(c.difference, sum)
  check.near(c.after - c.before, sum)
  check.near(c.sd, stats.sd(c.by_seed))
  check.ok(c.low < sum and sum < c.high)
  check.eq(stats.clustered(before, after, {seed = 3}), c, "a pure function")
end)

check.test("clustered: what seeds have in common widens the interval", function()
  -- the whole difference lies between seeds: drawing items alone would see none of it
  local before, after = {}, {}
  for s = 1, 5 do
    before[s], after[s] = {}, {}
    for i = 1, 100 do before[s][i], after[s][i] = 0, s / 10 end
  end
  local c = stats.clustered(before, after, {resamples = 2000})
  check.near(c.difference, 0.3, 1e-9)
  -- mean of 5 of {.1 ... .5}: standard deviation .1414 / sqrt(5) = .0632
  check.near(c.high - c.low, 2 * 1.96 * 0.0632, 0.03)
  -- crossed items: an item that is the same in all seeds counts as one observation, not as five
  for s = 1, 5 do
    for i = 1, 100 do after[s][i] = i % 2 end
  end
  local crossed = stats.clustered(before, after, {resamples = 2000})
  local nested = stats.clustered(before, after, {resamples = 2000, crossed = false})
  check.near(crossed.high - crossed.low, 2 * 1.96 * 0.05, 0.02)
  check.near(nested.high - nested.low, 2 * 1.96 * 0.05 / math.sqrt(5), 0.02)
  check.fails("paired lists are of one length", stats.clustered, {{1}}, {{1, 2}})
  check.fails("paired lists are of one length", stats.clustered, {}, {})
end)

check.test("majority vote: no answer is no vote, ties are decided as asked", function()
  local function vote(...)
    local winner, n = stats.vote(...)
    return {winner, n}
  end
  check.eq(vote{3, 5, 5, 5, 4}, {5, 3})
  check.eq(vote{7, 7, 8, 9, 9}, {7, 2})
  check.eq(vote({7, 7, 8, 9, 9}, {tie = "last"}), {9, 2})
  check.eq(vote{5, 3, 3, 4, 4}, {3, 2})
  check.eq(vote({nil, 4, nil, false, nil, 4, 3, nil}, {n = 8}), {4, 2})
  check.eq(vote({3, 4, 3, 4}, {tie = "first"}), {3, 2})
  check.eq(vote({3, 4, 3, 4}, {tie = "last"}), {4, 2})
  check.eq({stats.vote({nil, nil}, {n = 2})}, {nil, 0})
  check.fails('tie = "first" or "last"', stats.vote, {1}, {tie = "random"})
end)

check.done()
