-- Row 6: on CHAIN with a planted cue, imitation of one's own right answers keeps the cue, which many of them followed.
local step = require "step_arms"

return {
  row = 6, paper = "Setlur et al. 2024, arXiv 2406.14532",
  title = "Planted cue: pairs cut at the first pit solve more than rejection sampling on the same questions",
  better = "per-step DPO", worse = "SFT on own right samples", metric = "greedy accuracy", minimum = 0.02,
  settings = step.settings, quick = step.quick,
  run = function(_, c) return step.compare(c, "full", "rft") end,
}
