-- Row 5: RRHF, which has no brake but a hinge, is behind alignment.
local aft = require "aft_arms"

return {
  row = 5, paper = "Wang et al. 2023, arXiv 2309.02144",
  title = "Alignment solves more problems than RRHF",
  better = "AFT, boundary", worse = "RRHF", metric = "greedy accuracy",
  minimum = 0.02, settings = aft.settings, quick = aft.quick,
  run = function(_, c) return aft.compare(c, "boundary", "rrhf", "accuracy") end,
}
