-- Row 5: alignment solves more problems than supervised fine-tuning with as many updates.
local aft = require "aft_arms"

return {
  row = 5, paper = "Wang et al. 2023, arXiv 2309.02144",
  title = "Alignment solves more problems than supervised fine-tuning",
  better = "AFT, boundary", worse = "SFT, as many updates", metric = "greedy accuracy",
  minimum = 0.0, above_sd = true, settings = aft.settings, quick = aft.quick,
  run = function(_, c) return aft.compare(c, "boundary", "sft", "accuracy", "loss") end,
}
