-- Row 6: on CHAIN with a planted cue, reliance on it falls: where the cue tells a wrong operation, more is solved.
local step = require "step_arms"

return {
  row = 6, paper = "Setlur et al. 2024, arXiv 2406.14532",
  title = "Planted cue: per-step DPO solves more of the problems whose cue misleads",
  better = "per-step DPO", worse = "start", metric = "greedy accuracy", minimum = 0.1,
  settings = step.with(step.settings, { misled = true }), quick = step.quick,
  run = function(_, c) return step.compare(c, "full", "start") end,
}
