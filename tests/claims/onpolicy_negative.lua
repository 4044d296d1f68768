-- Row 53: where the reward lies away from the data, a negative gradient finds it from the same data.
local bandit = require "bandit_arms"

return {
  row = 53, paper = "Tajwar et al. 2024, arXiv 2404.14367",
  title = "A negative gradient reaches a reward peak that the data hardly hold",
  better = "DPO, off-policy", worse = "best of 10, off-policy", metric = "expected reward", unit = "reward",
  minimum = 0.3, settings = bandit.settings, quick = { updates = 200 },
  run = function(seed, c) return bandit.compare(seed, c, { loss = "dpo" }, { loss = "best_of_n" }) end,
}
