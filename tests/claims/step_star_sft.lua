-- Row 6: on star graphs, whose first node is what the start gets wrong.
local step = require "step_arms"

return {
  row = 6, paper = "Setlur et al. 2024, arXiv 2406.14532",
  title = "Star graph: per-step DPO finds the arm more often than supervised fine-tuning",
  better = "per-step DPO", worse = "start", metric = "greedy accuracy", minimum = 0.02,
  settings = step.star, quick = step.star_quick,
  run = function(_, c) return step.compare(c, "full", "start") end,
}
