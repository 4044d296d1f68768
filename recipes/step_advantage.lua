-- Per-step preferences: a policy's wrong answers, up to the step that lost them, against right ones.
--
-- paper:   Setlur et al. 2024, arXiv 2406.14532, section 4
-- formula: Q_i = 1 - (1 - p_i)^K, p_i = share of rollouts after step i that end right; c = first argmin_i Q_i;
--          L = -log sigmoid(beta [log pi/ref(y+|x) - log pi/ref(y-_1:c|x)]) + anchor NLL(y+|x)
-- data:    the policy's own samples on CHAIN problems, judged by the verifier, or --data: question, answer
-- run:     pofit recipes/step_advantage.lua [--model DIR --data FILE --verifier FILE.lua]
-- cost:    about seven minutes on two cores, the base policy included
-- expect:  more problems solved than with whole answers as pairs (make claims ARGS="--only step")
local pf = require "pofit"

local opt = pf.options(pf.problems.options {
  "Per-step preferences. Without --model and --data: improves a small policy on CHAIN by its own samples.",
  { "name", "step_advantage", "the run: everything is kept in runs/NAME" },
  { "wrong", 2, "different wrong samples of a problem to find the pits of, at most", min = 1 },
  { "rollouts", 8, "rollouts after each step", min = 1 },
  { "best_of", 5, "K: values are those of the best of K continuations", min = 1 },
  { "pit", "min_q", "which step lost it: the first of least value, of least advantage, or below --threshold",
    choices = { "min_q", "min_adv", "first_below" } },
  { "threshold", 0.2, "for first_below: the value", min = 0, max = 1 },
  { "pairs", "full", "what is compared: a right answer with the wrong one up to its pit; steps after the same prefix; "
    .. "whole answers", choices = { "full", "same", "whole" } },
  { "right", "own_or_worked", "right answers: the policy's own and, where it has none, the worked ones; or its own "
    .. "alone", choices = { "own_or_worked", "own" } },
  { "beta", 0.1, "strength of the tie to the reference", above = 0 },
  { "variant", "sigmoid", "loss: TRL's loss_type", choices = pf.loss.variants() },
  { "anchor", nil, "weight of the right side's likelihood (default: 1 on CHAIN, else 0)", type = "number" },
  { "steps", nil, "updates (default: 200 on CHAIN, else one pass over the data)", type = "integer" },
  { "batch", 16, "pairs an update", min = 1 },
  { "lr", nil, "peak learning rate (default: 3e-4 on CHAIN, else 5e-7)", type = "number" },
})
pf.base.fill(opt, opt.data == "" and { anchor = 1, lr = 3e-4, steps = 200 } or { anchor = 0, lr = 5e-7 })
local run = pf.run(opt)

-- (1) pi_0: the policy after supervised fine-tuning; it samples, its rollouts give the values, it is the reference
local set = pf.problems(opt, run)
local policy = set.model
local samples = set:sample(set.train)
local wrong = set.chosen(set.train, samples, pf.keep.wrong(opt.wrong))

-- (2) Q after each step of the wrong ones, their pits, and pairs with right ones
local credits = pf.credit(policy, wrong, { task = set.task, n = opt.rollouts, k = opt.best_of, seed = opt.seed,
  temperature = opt.temperature, max_tokens = set.max_tokens, cache = set.cache, run = run, quiet = opt.quiet })
local worked = opt.right == "own_or_worked" and function(problem) return set:gold(problem) end or nil
local right = pf.keep.own_or(worked)
local by = {}
for i, problem in ipairs(set.train) do by[problem] = right(samples[i], problem)[1] end
local rows = pf.credit.pairs(policy, credits, { source = opt.pairs, task = set.task, rule = opt.pit,
  threshold = opt.threshold, right = function(problem) return by[problem] end })
if opt.dry_run then return pf.show(rows, policy.tokenizer) end
local data = pf.data.preference(rows, policy.tokenizer, { model = policy })
data:reference(policy:reference(run), run.dir .. "/reference.zst")
run:note(("%d wrong samples; %s"):format(#wrong, data:summary()))
local before = set:measure(policy, 4)

-- (3) theta <- theta - lr grad L
pf.train {
  model = policy, data = data, run = run, label = "step_advantage", seed = opt.seed, batch = opt.batch, lr = opt.lr,
  steps = opt.steps, warmup = 0.05, schedule = "linear",
  loss = function(model, batch)
    return pf.loss.preference(model, batch, { beta = opt.beta, variant = opt.variant, anchor = opt.anchor })
  end,
}
run:finish { model = policy, before = before, after = set:measure(policy, 4), title = "Per-step preferences" }
