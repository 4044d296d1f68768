-- Row 53: without a negative gradient, sampling from the policy itself finds what imitation of the data misses.
local pf = require "pofit"
local bandit = require "bandit_arms"

return {
  row = 53, paper = "Tajwar et al. 2024, arXiv 2404.14367",
  title = "On-policy sampling reaches a reward peak that the data hardly hold",
  better = "best of 10, on-policy", worse = "best of 10, off-policy", metric = "expected reward", unit = "reward",
  minimum = 0.3, settings = bandit.settings, quick = { updates = 200 },
  run = function(seed, c)
    return bandit.compare(seed, c, { loss = "best_of_n", on_policy = true }, { loss = "best_of_n" })
  end,
  -- imitation ends at the distribution of the best of N draws of the data, whose reward is a closed form
  check = function(results, c)
    local task, limit = pf.task.bandit { peak = c.set.peak }, 0.0
    local data = bandit.histogram(task, c.seed, c.set.draws)
    for a, p in ipairs(bandit.best_of(data, task.rewards, c.set.best_of)) do limit = limit + p * task.rewards[a] end
    local got = results.worse[1]
    if math.abs(got - limit) > 0.01 then
      error(("imitation ends at %.4f, the closed form is %.4f"):format(got, limit))
    end
  end,
}
