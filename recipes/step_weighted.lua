-- Advantage-weighted steps: a policy imitates its own answers, each step as much as it helped.
--
-- paper:   Setlur et al. 2024, arXiv 2406.14532, theorem 6.1, as a weighted likelihood
-- formula: L = -mean_y sum_i min(e^(A_i / temperature), w_max) log pi(y_i|x, y_<i), A_i = Q_i - Q_(i-1)
-- data:    the policy's own samples on CHAIN problems, right and wrong, or --data: question, answer
-- run:     pofit recipes/step_weighted.lua [--model DIR --data FILE --verifier FILE.lua]
-- cost:    about seven minutes on two cores, the base policy included
-- expect:  held-out accuracy rises; the weights are the pits' and turns' (--dry-run shows the advantages)
local pf = require "pofit"

local opt = pf.options(pf.problems.options {
  "Advantage-weighted steps. Without --model and --data: improves a small policy on CHAIN by its own samples.",
  { "name", "step_weighted", "the run: everything is kept in runs/NAME" },
  { "right", 2, "right samples of a problem to learn from, at most", min = 1 },
  { "wrong", 2, "different wrong samples of a problem, at most", min = 1 },
  { "rollouts", 8, "rollouts after each step", min = 1 },
  { "best_of", 5, "K: values are those of the best of K continuations", min = 1 },
  { "weight_temperature", 0.2, "advantage that makes a weight e times as large", above = 0 },
  { "w_max", 20.0, "the largest weight", above = 0 },
  { "steps", nil, "updates (default: 200 on CHAIN, else one pass over the data)", type = "integer" },
  { "batch", 16, "answers an update", min = 1 },
  { "lr", nil, "peak learning rate (default: 3e-4 on CHAIN, else 1e-6)", type = "number" },
})
pf.base.fill(opt, opt.data == "" and { lr = 3e-4, steps = 200 } or { lr = 1e-6 })
local run = pf.run(opt)

-- (1) pi_0: the policy after supervised fine-tuning, whose samples and rollouts these are
local set = pf.problems(opt, run)
local policy = set.model
local samples = set:sample(set.train)
local answers = set.chosen(set.train, samples, pf.keep.wrong(opt.wrong))
for _, answer in ipairs(set.chosen(set.train, samples, pf.keep.right(opt.right))) do answers[#answers + 1] = answer end

-- (2) the advantage of each step, by rollouts from before and after it
local data = pf.credit.data(pf.credit(policy, answers, { task = set.task, n = opt.rollouts, k = opt.best_of,
  seed = opt.seed, temperature = opt.temperature, max_tokens = set.max_tokens, cache = set.cache, run = run,
  quiet = opt.quiet }), policy.tokenizer)
if opt.dry_run then return pf.show(data.rows, policy.tokenizer, 20) end
run:note(("%d answers of %d problems"):format(data.n, #set.train))
local before = set:measure(policy, 4)

-- (3) theta <- theta - lr grad L
pf.train {
  model = policy, data = data, run = run, label = "step_weighted", seed = opt.seed, batch = opt.batch, lr = opt.lr,
  steps = opt.steps, warmup = 0.05, schedule = "linear",
  loss = function(model, batch)
    return pf.loss.advantage { logp = model:logp(batch), step = batch.of, advantage = batch.advantage,
      temperature = opt.weight_temperature, w_max = opt.w_max, sequences = batch.sequences }
  end,
}
run:finish { model = policy, before = before, after = set:measure(policy, 4), title = "Advantage-weighted steps" }
