-- Row 5: after alignment, right answers outscore wrong ones more often.
local aft = require "aft_arms"

return {
  row = 5, paper = "Wang et al. 2023, arXiv 2309.02144",
  title = "Alignment makes right answers outscore wrong ones more often",
  better = "AFT, boundary", worse = "the SFT start", metric = "assessment accuracy",
  minimum = 0.05, crossed = false, settings = aft.settings, quick = aft.quick,
  run = function(_, c) return aft.compare(c, "boundary", "start", "assessment", "rewards/accuracies") end,
}
