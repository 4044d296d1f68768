-- Row 5: without the brake, the scores of right answers slide after them.
local aft = require "aft_arms"

return {
  row = 5, paper = "Wang et al. 2023, arXiv 2309.02144",
  title = "Without the constraint the scores of right answers slide, too",
  better = "AFT, boundary", worse = "AFT without constraint", metric = "mean score of right answers",
  unit = "nats a token",
  minimum = 0.05, settings = aft.settings, quick = aft.quick,
  run = function(_, c) return aft.compare(c, "boundary", "none", "right", "logps/chosen") end,
}
