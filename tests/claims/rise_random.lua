-- Row 43: it is the typed mistakes that help, not any damage to a step.
local rise = require "rise_arms"

return {
  row = 43, paper = "Xu et al. 2024, arXiv 2410.06638",
  title = "Typed mistakes fall more with typed edits than with random corruption",
  better = "RISE", worse = "random corruption", metric = "fall of typed mistakes",
  unit = "per 1000 steps", minimum = 10,
  settings = rise.settings, quick = rise.quick,
  run = function(_, c) return rise.compare(c, "rise", "random", "fall") end,
}
