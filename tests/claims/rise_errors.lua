-- Row 43: typed mistakes fall more with injected ones to learn from than with whole pairs alone.
local rise = require "rise_arms"

return {
  row = 43, paper = "Xu et al. 2024, arXiv 2410.06638",
  title = "Typed mistakes fall more with step pairs than with full pairs alone",
  better = "RISE", worse = "full pairs alone", metric = "fall of typed mistakes",
  unit = "per 1000 steps", minimum = 10,
  settings = rise.settings, quick = rise.quick,
  run = function(_, c) return rise.compare(c, "rise", "full", "fall") end,
}
