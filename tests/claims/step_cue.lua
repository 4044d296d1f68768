-- Row 6: on CHAIN with a planted cue, pits are worth more than whole wrong answers, both at the rate that suits them.
local step = require "step_arms"

return {
  row = 6, paper = "Setlur et al. 2024, arXiv 2406.14532",
  title = "Planted cue: pairs cut at the first pit solve more than whole answers, each at its best rate",
  better = "per-step DPO", worse = "DPO, whole answers", metric = "greedy accuracy", minimum = 0.02,
  settings = step.settings, quick = step.quick,
  run = function(_, c) return step.compare(c, "full", "whole") end,
}
