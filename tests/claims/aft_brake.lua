-- Row 5: without the brake, accuracy falls behind.
local aft = require "aft_arms"

return {
  row = 5, paper = "Wang et al. 2023, arXiv 2309.02144",
  title = "Without the constraint accuracy falls behind",
  better = "AFT, boundary", worse = "AFT without constraint", metric = "greedy accuracy",
  minimum = 0.05, settings = aft.settings, quick = aft.quick,
  run = function(_, c) return aft.compare(c, "boundary", "none", "accuracy", "logps/rejected") end,
}
