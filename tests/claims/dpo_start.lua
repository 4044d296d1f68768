-- Row 58: preferences between samples of the supervised policy improve it.
local dpo = require "dpo_arms"

return {
  row = 58, paper = "Rafailov et al. 2023, arXiv 2305.18290",
  title = "DPO solves more problems than the supervised policy that it starts from",
  better = "DPO", worse = "the SFT start", metric = "greedy accuracy", minimum = 0.05,
  settings = dpo.settings, quick = dpo.quick,
  run = function(_, c) return dpo.compare(c, "start") end,
}
