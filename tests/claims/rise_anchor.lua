-- Row 43: without the likelihood of the right side accuracy falls behind.
local rise = require "rise_arms"

return {
  row = 43, paper = "Xu et al. 2024, arXiv 2410.06638",
  title = "Without the likelihood term accuracy falls behind",
  better = "RISE", worse = "RISE without likelihood", metric = "greedy accuracy", minimum = 0.02,
  settings = rise.settings, quick = rise.quick,
  run = function(_, c) return rise.compare(c, "rise", "bare", "accuracy") end,
}
