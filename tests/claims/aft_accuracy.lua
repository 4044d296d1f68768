-- Row 5: alignment solves more problems than the start.
local aft = require "aft_arms"

return {
  row = 5, paper = "Wang et al. 2023, arXiv 2309.02144",
  title = "Alignment solves more problems than its SFT start",
  better = "AFT, boundary", worse = "the SFT start", metric = "greedy accuracy",
  minimum = 0.0, above_sd = true, settings = aft.settings, quick = aft.quick,
  run = function(_, c) return aft.compare(c, "boundary", "start", "accuracy", "loss") end,
}
