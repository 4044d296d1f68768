-- Row 6: on star graphs, does the likelihood of right answers give back what whole answers unlearn?
local step = require "step_arms"

return {
  row = 6, paper = "Setlur et al. 2024, arXiv 2406.14532",
  title = "Star graph: pits find the arm more often than whole answers, both with a likelihood term and alike",
  better = "per-step DPO, anchor 1", worse = "DPO, whole answers, anchor 1", metric = "greedy accuracy", minimum = 0.02,
  settings = step.with(step.star, { anchor = 1, whole_lr = step.star.lr, whole_beta = step.star.beta }),
  quick = step.star_quick,
  run = function(_, c) return step.compare(c, "full", "whole") end,
}
