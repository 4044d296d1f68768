-- Row 5: after alignment, right answers outscore wrong ones more often than after supervised fine-tuning.
local aft = require "aft_arms"

return {
  row = 5, paper = "Wang et al. 2023, arXiv 2309.02144",
  title = "Alignment makes right answers outscore wrong ones more often than SFT does",
  better = "AFT, boundary", worse = "SFT, as many updates", metric = "assessment accuracy",
  minimum = 0.05, crossed = false, settings = aft.settings, quick = aft.quick,
  run = function(_, c) return aft.compare(c, "boundary", "sft", "assessment", "rewards/accuracies") end,
}
