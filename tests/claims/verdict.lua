-- What the figures of a claim say: reproduced, not reproduced or inconclusive; and the same as text.
local pf = require "pofit"

local M = {}

M.MARGIN = 0.01 -- "not worse" allows for one point

-- what a claim has to have; the rest is optional
local NEEDS <const> = { row = "number", title = "string", better = "string", worse = "string", metric = "string",
  minimum = "number", run = "function" }
local MAY <const> = { unit = "string", relation = "string", above_sd = "boolean", settings = "table", quick = "table",
  paper = "string", crossed = "boolean", seeds = "table", check = "function" }

--- Raise if a claim's file does not say what the driver needs.
function M.check(claim, path)
  if type(claim) ~= "table" then error(("%s returns a %s, expected a claim"):format(path, type(claim)), 0) end
  for name, kind in pairs(NEEDS) do
    if type(claim[name]) ~= kind then
      error(("%s: %s is a %s, expected a %s"):format(path, name, type(claim[name]), kind), 0)
    end
  end
  for name, value in pairs(claim) do
    local kind = NEEDS[name] or MAY[name]
    if not kind then error(("%s: a claim has no field %q"):format(path, tostring(name)), 0) end
    if type(value) ~= kind then error(("%s: %s is a %s, expected a %s"):format(path, name, type(value), kind), 0) end
  end
  if claim.relation and claim.relation ~= "better" and claim.relation ~= "not worse" then
    error(("%s: relation is \"better\" or \"not worse\", not %q"):format(path, claim.relation), 0)
  end
end

--- s: pf.stats.clustered of the worse and the better arm. A claim that one arm is better holds if the whole interval
--- of the difference is above 0 and the difference itself reaches the claim's minimum (and, with above_sd, is more than
--- one standard deviation of the seeds' differences); it fails if the whole interval is below the minimum. A claim that
--- one is not worse holds if the interval is above minus one point (if it is no share, above minus the minimum).
function M.of(claim, s, quick)
  if quick then -- one seed and little training: a direction, and no more
    local margin = claim.relation == "not worse" and (claim.unit and claim.minimum or M.MARGIN) or 0
    return s.difference > -margin and "quick: the direction is right" or "quick: the direction is wrong"
  end
  if claim.relation == "not worse" then
    local margin = claim.unit and claim.minimum or M.MARGIN
    return s.low > -margin and "reproduced" or s.high < -margin and "not reproduced" or "inconclusive"
  end
  local large = s.difference >= claim.minimum and not (claim.above_sd and s.difference <= s.sd)
  if s.low > 0 and large then return "reproduced" end
  return (s.high < claim.minimum or s.high <= 0) and "not reproduced" or "inconclusive"
end

local function figure(claim, x)
  return claim.unit and pf.stats.number(x) or ("%.1f %%"):format(100 * x)
end

--- {better, worse, difference, minimum} as text.
function M.texts(claim, s)
  local difference
  if claim.unit then
    difference = ("%+.3g %s [%+.3g, %+.3g]"):format(s.difference, claim.unit, s.low, s.high)
  else
    difference = pf.stats.points(s.difference, s.low, s.high)
  end
  local minimum = claim.relation == "not worse" and "not worse"
    or claim.unit and ("%+.3g"):format(claim.minimum) or ("%+.0f points"):format(100 * claim.minimum)
  if claim.above_sd then minimum = minimum .. (", above %s sd"):format(pf.stats.number(100 * s.sd)) end
  return { better = figure(claim, s.after), worse = figure(claim, s.before), difference = difference,
    minimum = minimum }
end

return M
