-- Row 43: step pairs beside full pairs solve more problems than full pairs alone.
local rise = require "rise_arms"

return {
  row = 43, paper = "Xu et al. 2024, arXiv 2410.06638",
  title = "Step pairs and full pairs solve more than full pairs alone",
  better = "RISE", worse = "full pairs alone", metric = "greedy accuracy", minimum = 0.02,
  settings = rise.settings, quick = rise.quick,
  run = function(_, c) return rise.compare(c, "rise", "full", "accuracy") end,
}
