-- On-policy preference optimisation: the policy learns from pairs that it samples itself while it learns.
--
-- paper:   Tajwar et al. 2024, arXiv 2404.14367, section 4; losses: Saeidi et al. 2024, arXiv 2404.14723
-- formula: L = E_{y+, y- ~ pi_k} l(beta, log pi/ref(y+|x) - log pi/ref(y-|x)), pi_k the policy every so many updates
-- data:    right and wrong samples of the present policy on CHAIN problems, or --data: question, answer
-- run:     pofit recipes/onpolicy.lua [--model DIR --data FILE --verifier FILE.lua]
-- cost:    about five minutes on two cores, the base policy included
-- expect:  with on-policy samples or a negative gradient higher than with neither (make claims ARGS="--only onpolicy")
local pf = require "pofit"

-- The grid: on-policy sampling (every: 0 samples once, before learning), negative gradient (variant: "sft" has none),
-- reuse of samples (steps * batch / pairs). All of it samples each problem once: the budgets are equal.
local opt = pf.options(pf.problems.options {
  "On-policy preference optimisation, online and iterative DPO. Without --model and --data: on CHAIN.",
  { "name", "onpolicy", "the run: everything is kept in runs/NAME" },
  { "every", 20, "updates between two samplings (0: sample once, from the start)", min = 0 },
  { "variant", "sigmoid", "loss: TRL's loss_type; sft has no negative gradient", choices = pf.loss.variants() },
  { "beta", 0.1, "strength of the tie to the reference", above = 0 },
  { "iterative", false, "the reference is the policy as it last sampled, not the start" },
  { "sft_weight", nil, "weight of the right answers' likelihood (default: 10 on CHAIN, else 0)", type = "number" },
  { "temperature", nil, "of the samples (default: 1.5 on CHAIN, else 1)", type = "number", min = 0 },
  { "per_prompt", 2, "pairs a problem", min = 1 },
  { "label_smoothing", 0.0, "for the variants that have it", min = 0 },
  { "steps", nil, "updates (default: 200 on CHAIN, else 100)", type = "integer" },
  { "batch", 16, "pairs an update", min = 1 },
  { "lr", nil, "peak learning rate (default: 1e-4 on CHAIN, else 5e-7)", type = "number" },
})
pf.base.fill(opt, opt.data == "" and { lr = 1e-4, steps = 200, sft_weight = 10, temperature = 1.5 }
  or { lr = 5e-7, steps = 100, sft_weight = 0, temperature = 1.0 })
local run = pf.run(opt)
local set = pf.problems(opt, run)
local policy, start = set.model, set.model:reference(run)

-- (1) pairs of the policy as it now is, on problems that were not asked yet
local every = opt.every > 0 and math.min(opt.every, opt.steps) or opt.steps
local share = math.max(1, #set.train * every // opt.steps)
local reference = start
local function make(model, k)
  local problems = table.move(set.train, k * share + 1, math.min((k + 1) * share, #set.train), 1, {})
  local pool = {}
  for i, list in ipairs((set:sample(problems, { model = model }))) do
    pool[i] = { prompt = problems[i].text, samples = list }
  end
  return (pf.pair(pool, { per_prompt = opt.per_prompt, seed = opt.seed, balance = true }))
end
if opt.dry_run then return pf.show(make(policy, 0), policy.tokenizer) end
local data = pf.online { every = every, n = share * opt.per_prompt, run = run, make = make, data = function(rows)
  local pairs_now = pf.data.preference(rows, policy.tokenizer, { model = policy })
  reference = opt.iterative and policy:copy() or start
  pairs_now:reference(reference)
  return pairs_now
end }
local before = set:measure(policy, 4)

-- (2) theta <- theta - lr grad L
pf.train {
  model = policy, data = data, run = run, label = "onpolicy", seed = opt.seed, batch = opt.batch, lr = opt.lr,
  steps = opt.steps, warmup = 0.05, schedule = "linear",
  loss = function(model, batch)
    return pf.loss.preference(model, batch, { beta = opt.beta, variant = opt.variant,
      label_smoothing = opt.label_smoothing, anchor = opt.sft_weight })
  end,
}
run:finish { model = policy, before = before, after = set:measure(policy, 4), title = "On-policy preferences" }
