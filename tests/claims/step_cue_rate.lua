-- Row 6: whole wrong answers hold right steps after the pit, and DPO on them unlearns those; at three times the rate
-- that suits both best, it shows.
local step = require "step_arms"

return {
  row = 6, paper = "Setlur et al. 2024, arXiv 2406.14532",
  title = "Planted cue: at a high rate, whole answers lose more than pairs cut at the first pit",
  better = "per-step DPO", worse = "DPO, whole answers", metric = "greedy accuracy", minimum = 0.02,
  settings = step.with(step.settings, { lr = "6e-5" }), quick = step.quick,
  run = function(_, c) return step.compare(c, "full", "whole") end,
}
