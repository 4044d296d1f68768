-- Direct preference optimisation: a policy learns from pairs of answers which of the two to prefer.
--
-- paper:   Rafailov et al. 2023, arXiv 2305.18290, eq. 7; likelihood term: Pang et al. 2024, arXiv 2404.19733
-- formula: L = -mean log sigmoid(beta [log pi/ref(y+|x) - log pi/ref(y-|x)]) + sft_weight NLL(y+|x)
-- data:    right and wrong samples of the policy itself on CHAIN problems, or --data: prompt, chosen, rejected
-- run:     pofit recipes/dpo.lua [--model DIR --data FILE]
-- cost:    two to three minutes on two cores, the base policy included
-- expect:  held-out accuracy rises, the whole 95 % interval of the difference above 0
local pf = require "pofit"

local opt = pf.options {
  "Direct preference optimisation. Without --model and --data: improves a small policy on CHAIN by its own samples.",
  { "name", "dpo", "the run: everything is kept in runs/NAME" },
  pf.model.options, -- model, adapter, lora_rank, ...
  { "data", "", "files of rows with prompt, chosen, rejected: a.jsonl:2,b.csv (none: sampled, verified pairs)" },
  { "beta", 0.1, "strength of the tie to the reference", above = 0 },
  { "variant", "sigmoid", "loss: TRL's loss_type", choices = pf.loss.variants() },
  { "label_smoothing", 0.0, "for the variants that have it", min = 0 },
  { "sft_weight", nil, "weight of the chosen answers' likelihood (default: 10 on CHAIN, else 0)", type = "number" },
  { "steps", nil, "updates (default: 300 on CHAIN, else one pass over the data)", type = "integer" },
  { "batch", 32, "pairs an update", min = 1 },
  { "lr", nil, "peak learning rate (default: 3e-3 on CHAIN, else 5e-6)", type = "number" },
  { "problems", 1500, "CHAIN problems to sample on", min = 1 },
  { "samples", 16, "samples a problem", min = 2 },
  { "temperature", 1.5, "of these samples: a policy that is sure of its mistakes shows little else at 1", above = 0 },
  { "per_prompt", 2, "pairs a problem", min = 1 },
  { "heldout", 1000, "CHAIN problems to measure on", min = 1 },
  { "heldout_share", 0.1, "share of --data to measure on", above = 0, max = 0.5 },
  pf.data.options, -- columns, max_length, truncation, ...
}
-- what suits a policy of 150 thousand parameters is too much for a larger one
pf.base.fill(opt, opt.data == "" and { lr = 3e-3, sft_weight = 10, steps = 300 } or { lr = 5e-6, sft_weight = 0 })
local run = pf.run(opt)
-- (1) the policy pi, and the reference: the policy as it is now
local policy = pf.model.open(opt, function() return pf.base.policy(opt.seed) end)
local reference = policy:reference(run)
-- (2) preferences: the user's, or a right and a wrong sample of the policy for each problem that has both
local task = pf.task.chain(pf.base.task)
local rows
if opt.data ~= "" then
  rows = pf.data.given(opt)
else
  local problems = task:problems("preference", opt.problems)
  local pool = pf.evaluate.sample { model = policy, task = task, problems = problems, n = opt.samples, seed = opt.seed,
    temperature = opt.temperature }
  rows = pf.pair(pool, { per_prompt = opt.per_prompt, seed = opt.seed })
  pf.data.save(run.dir .. "/pairs.jsonl", rows)
end
local preferences = pf.data.preference(rows, policy.tokenizer, pf.data.settings(opt, policy))
local train, heldout = preferences:split(opt.heldout_share, opt.seed)
run:note(preferences:summary())
train:reference(reference, run.dir .. "/reference.zst")
heldout:reference(reference)
local function measure(model)
  if opt.data ~= "" then return pf.evaluate.preferences(model, heldout) end
  local problems = task:problems("heldout", opt.heldout)
  return pf.evaluate.task { model = model, task = task, problems = problems, samples = 4, seed = opt.seed }
end
local before = measure(policy)
-- (3) theta <- theta - lr grad L
pf.train {
  model = policy, data = train, run = run, label = "dpo", seed = opt.seed, batch = opt.batch, lr = opt.lr,
  steps = opt.steps, warmup = 0.07, schedule = "linear", eval = heldout, eval_every = 50,
  loss = function(model, batch)
    local n, logp = batch.sequences, model:logp(batch)
    local lp = pf.sum_by(logp, batch.sequence, n)            -- [n] nats, summed over each answer
    local rf = pf.sum_by(batch.ref_logp, batch.sequence, n)
    local chosen, rejected = lp:index(batch.chosen), lp:index(batch.rejected)
    local loss, metrics = pf.loss.dpo {
      policy_chosen = chosen, policy_rejected = rejected, beta = opt.beta, variant = opt.variant,
      ref_chosen = rf:index(batch.chosen), ref_rejected = rf:index(batch.rejected),
      label_smoothing = opt.label_smoothing,
      len_chosen = batch.length:index(batch.chosen), len_rejected = batch.length:index(batch.rejected),
    }
    local nll = -chosen:sum() / batch.length:index(batch.chosen):sum() -- nats a token
    return pf.loss.mix { { loss, 1, metrics }, { nll, opt.sft_weight } }
  end,
}
-- (4) did it help, on problems nobody has seen?
run:finish { model = policy, before = before, after = measure(policy), title = "Direct preference optimisation" }
