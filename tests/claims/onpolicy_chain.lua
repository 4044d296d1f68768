-- Row 53 on a language model: with as many samples and updates, pairs that the policy samples as it learns are better
-- than imitation of the right answers that it sampled once.
local pf = require "pofit"

local WORDS <const> = { "problems", "samples", "steps", "batch", "max_tokens" }

-- accuracy on problems that nothing was chosen on, and what it cost
local function measure(c, name, ...)
  local _, base = c:base()
  local run = c:recipe("onpolicy", c:words(WORDS, "--model", base, "--heldout", "20", "--cache", c.cache, ...))
  return c:accuracy("onpolicy-" .. name, run.model, pf.task.chain(pf.base.task)), run.result.budget,
    c:curve(run.rows, "loss")
end

return {
  row = 53, paper = "Tajwar et al. 2024, arXiv 2404.14367",
  title = "On-policy DPO solves more problems than imitation of samples of the start",
  better = "DPO, on-policy", worse = "likelihood of right samples, off-policy", metric = "greedy accuracy",
  minimum = 0.02,
  settings = { problems = 600, heldout = 800, split = "final", samples = 8, steps = 200, batch = 16, max_tokens = 40 },
  quick = { problems = 60, heldout = 40, samples = 4, steps = 4 },
  run = function(_, c)
    local better, cost, curve = measure(c, "on")
    local worse, other_cost, other_curve = measure(c, "off", "--variant", "sft", "--sft_weight", "0", "--every", "0",
      "--lr", "3e-4")
    return { better = better, worse = worse, budget = { better = cost, worse = other_cost },
      curves = { title = "loss", better = curve, worse = other_curve } }
  end,
}
