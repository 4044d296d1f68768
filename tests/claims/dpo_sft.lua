-- Row 58: with the same answers to imitate, what they are preferred to is worth something more.
local dpo = require "dpo_arms"

return {
  row = 58, paper = "Rafailov et al. 2023, arXiv 2305.18290",
  title = "DPO solves more problems than supervised fine-tuning on the chosen answers",
  better = "DPO", worse = "SFT on the chosen answers", metric = "greedy accuracy", minimum = 0.01,
  settings = dpo.settings, quick = dpo.quick,
  run = function(_, c) return dpo.compare(c, "sft") end,
}
