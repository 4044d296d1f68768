-- Row 53: where reward and data coincide, what a negative gradient gains over imitation all but vanishes.
local bandit = require "bandit_arms"

local function gap(seed, c, peak)
  local r = bandit.compare(seed, c, { loss = "dpo" }, { loss = "best_of_n" }, peak)
  return { r.better[1] - r.worse[1] }, r.budget.better
end

return {
  row = 53, paper = "Tajwar et al. 2024, arXiv 2404.14367",
  title = "The gain of a negative gradient is there only if reward and data lie apart",
  better = "peak at 70, data at 20", worse = "peak at 20", metric = "expected reward, DPO minus best of 10",
  unit = "reward", minimum = 0.3, settings = bandit.settings, quick = { updates = 200 },
  run = function(seed, c)
    local apart, budget = gap(seed, c, 70)
    local together = gap(seed, c, 20)
    return { better = apart, worse = together, budget = { better = budget, worse = budget } }
  end,
}
