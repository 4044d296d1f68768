-- Row 5: without the brake, the scores of wrong answers slide down.
local aft = require "aft_arms"

return {
  row = 5, paper = "Wang et al. 2023, arXiv 2309.02144",
  title = "Without the constraint the scores of wrong answers slide",
  better = "AFT, boundary", worse = "AFT without constraint", metric = "mean score of wrong answers",
  unit = "nats a token",
  minimum = 0.1, settings = aft.settings, quick = aft.quick,
  run = function(_, c) return aft.compare(c, "boundary", "none", "wrong", "logps/rejected") end,
}
