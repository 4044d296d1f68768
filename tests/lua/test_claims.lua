-- What the figures of a claim say.
local here = arg[0]:match("^.*/") or ""
local check = dofile(here .. "check.lua")
package.path = here .. "../claims/?.lua;" .. package.path
local verdict = require "verdict"
local stats = require "pofit.stats"

local function claim(more)
  local c = { row = 5, title = "t", better = "a", worse = "b", metric = "m", minimum = 0.05, run = print }
  for name, value in pairs(more or {}) do c[name] = value end
  return c
end
local function s(difference, low, high, sd) return { difference = difference, low = low, high = high, sd = sd or 0,
  before = 0.5, after = 0.5 + difference } end

check.test("better: the whole interval above 0 and a difference that is large enough", function()
  local c = claim()
  check.eq(verdict.of(c, s(0.06, 0.01, 0.1)), "reproduced")
  check.eq(verdict.of(c, s(0.06, -0.01, 0.1)), "inconclusive")
  check.eq(verdict.of(c, s(0.04, 0.01, 0.06)), "inconclusive")
  check.eq(verdict.of(c, s(0.03, 0.01, 0.045)), "not reproduced")
  check.eq(verdict.of(c, s(-0.1, -0.2, -0.01)), "not reproduced")
  check.eq(verdict.of(claim { minimum = 0 }, s(0, -0.1, 0)), "not reproduced")
  check.eq(verdict.of(claim { above_sd = true }, s(0.06, 0.01, 0.1, 0.05)), "reproduced")
  check.eq(verdict.of(claim { above_sd = true }, s(0.06, 0.01, 0.1, 0.07)), "inconclusive")
end)

check.test("not worse: one point is allowed", function()
  local c = claim { relation = "not worse" }
  check.eq(verdict.of(c, s(0, -0.009, 0.01)), "reproduced")
  check.eq(verdict.of(c, s(0, -0.011, 0.01)), "inconclusive")
  check.eq(verdict.of(c, s(-0.03, -0.05, -0.011)), "not reproduced")
  check.eq(verdict.of(claim { relation = "not worse", unit = "nats", minimum = 0.2 }, s(0, -0.19, 1)), "reproduced")
end)

check.test("as text", function()
  local t = verdict.texts(claim(), s(0.06, 0.01, 0.1))
  check.eq(t, { better = "56.0 %", worse = "50.0 %", difference = "+6.0 points [+1.0, +10.0]", minimum = "+5 points" })
  check.eq(verdict.texts(claim { unit = "nats" }, s(0.06, 0.01, 0.1)).difference, "+0.06 nats [+0.01, +0.1]")
end)

check.test("a claim's file is checked", function()
  check.fails("x.lua returns a nil", verdict.check, nil, "x.lua")
  check.fails("x.lua: minimum is a string, expected a number", verdict.check, claim { minimum = "5" }, "x.lua")
  check.fails("x.lua: a claim has no field \"minimun\"", verdict.check, claim { minimun = 1 }, "x.lua")
  check.fails("not \"equal\"", verdict.check, claim { relation = "equal" }, "x.lua")
  verdict.check(claim(), "x.lua")
end)

check.test("by hand, from two seeds", function()
  local r = stats.clustered({ { 0, 0, 1, 0 }, { 0, 1, 0, 0 } }, { { 1, 1, 1, 1 }, { 1, 1, 1, 1 } })
  check.near(r.difference, 0.75)
  check.eq(verdict.of(claim(), r), "reproduced")
end)

check.done()
