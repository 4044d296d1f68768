-- Row 6: on star graphs the first node is the pit; whole answers spend their gradient on what follows.
local step = require "step_arms"

return {
  row = 6, paper = "Setlur et al. 2024, arXiv 2406.14532",
  title = "Star graph: pairs cut at the first pit find the arm more often than whole answers, each at its best",
  better = "per-step DPO", worse = "DPO, whole answers", metric = "greedy accuracy", minimum = 0.02,
  settings = step.star, quick = step.star_quick,
  run = function(_, c) return step.compare(c, "full", "whole") end,
}
