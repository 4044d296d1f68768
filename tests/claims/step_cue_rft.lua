-- Row 6: on CHAIN with a planted cue, negatives cut at their pits add to right answers.
local step = require "step_arms"

return {
  row = 6, paper = "Setlur et al. 2024, arXiv 2406.14532",
  title = "Planted cue: pairs cut at the first pit solve more than right answers alone",
  better = "per-step DPO", worse = "likelihood of right answers", metric = "greedy accuracy", minimum = 0.02,
  settings = step.settings, quick = step.quick,
  run = function(_, c) return step.compare(c, "full", "rft") end,
}
