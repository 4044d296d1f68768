-- Row 43: the same as rise_errors, with a weight of the likelihood that suits full pairs alone better.
local rise = require "rise_arms"

return {
  row = 43, paper = "Xu et al. 2024, arXiv 2410.06638",
  title = "Typed mistakes fall more with step pairs than with full pairs alone, both with more likelihood",
  better = "RISE, anchor 30", worse = "full pairs alone, anchor 30", metric = "fall of typed mistakes",
  unit = "per 1000 steps", minimum = 10,
  settings = rise.tuned, quick = rise.quick,
  run = function(_, c) return rise.compare(c, "rise", "full", "fall") end,
}
