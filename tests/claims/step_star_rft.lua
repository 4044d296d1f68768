-- Row 6: on star graphs, where every step is judged and one answer is right: the same samples, imitated.
local step = require "step_arms"

return {
  row = 6, paper = "Setlur et al. 2024, arXiv 2406.14532",
  title = "Star graph: per-step DPO finds the arm more often than rejection sampling on the same questions",
  better = "per-step DPO", worse = "SFT on own right samples", metric = "greedy accuracy", minimum = 0.02,
  settings = step.star, quick = step.star_quick,
  run = function(_, c) return step.compare(c, "full", "rft") end,
}
