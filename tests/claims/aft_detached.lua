-- Row 5: the detached constraint, too, keeps accuracy where none lets it fall.
local aft = require "aft_arms"

return {
  row = 5, paper = "Wang et al. 2023, arXiv 2309.02144",
  title = "The detached constraint, too, keeps accuracy up",
  better = "AFT, detached", worse = "AFT without constraint", metric = "greedy accuracy",
  minimum = 0.05, settings = aft.settings, quick = aft.quick,
  run = function(_, c) return aft.compare(c, "detached", "none", "accuracy", "logps/rejected") end,
}
