-- Error-injected self-editing: a policy learns to prefer its own right steps to the same steps with a small mistake.
--
-- paper:   Xu et al. 2024 (RISE), arXiv 2410.06638, section 3
-- formula: L = -log sigmoid(beta [log pi/ref(y+_i|x,y_<i) - log pi/ref(y-_i|x,y_<i)]) + anchor NLL(y+_i), and the same
--          for whole right and wrong samples
-- data:    the policy's own samples on CHAIN problems, judged by the verifier, or --data: question, answer
-- run:     pofit recipes/rise.lua [--model DIR --data FILE --verifier FILE.lua]
-- cost:    about five minutes on two cores, the base policy included
-- expect:  mistakes of the injected types fall more than with whole pairs alone (make claims ARGS="--only rise")
local pf = require "pofit"

local opt = pf.options(pf.problems.options {
  "Error-injected self-editing. Without --model and --data: improves a small policy on CHAIN by its own samples.",
  { "name", "rise", "the run: everything is kept in runs/NAME" },
  { "samples", 5, "samples a problem", min = 1 },
  { "edits", 1, "step pairs with an injected mistake, a problem", min = 0 },
  { "full", 1, "pairs of a whole right and a whole wrong sample, a problem", min = 0 },
  { "editor", "script", "who makes the mistakes; random, for comparison: any token for another",
    choices = { "script", "model", "random" } },
  { "beta", nil, "strength of the tie to the reference (default: 0.1 on CHAIN, else 0.4)", type = "number" },
  { "variant", "sigmoid", "loss: TRL's loss_type", choices = pf.loss.variants() },
  { "anchor", nil, "weight of the right side's likelihood (default: 10 on CHAIN, else 0.05)", type = "number" },
  { "steps", nil, "updates (default: 150 on CHAIN, else 8 passes over the data)", type = "integer" },
  { "batch", 16, "pairs an update", min = 1 },
  { "lr", nil, "peak learning rate (default: 3e-4 on CHAIN, else 5e-7)", type = "number" },
})
pf.base.fill(opt, opt.data == "" and { beta = 0.1, anchor = 10, lr = 3e-4, steps = 150 }
  or { beta = 0.4, anchor = 0.05, lr = 5e-7 })
local run = pf.run(opt)

-- (1) pi_0: the policy after supervised fine-tuning; it samples, it is the reference, and with --editor model it edits
local set = pf.problems(opt, run)
local policy = set.model
local samples = set:sample(set.train)

-- (2) step pairs: one step of a right sample against itself with a mistake, after the right steps before it; and full
-- pairs: a right sample against a wrong one
local rows, told = pf.edits(set.task, set.train, samples, { tokenizer = policy.tokenizer, n = opt.edits,
  seed = opt.seed, editor = opt.editor == "model" and policy or opt.editor })
for _, row in ipairs(opt.full > 0 and pf.pair(set.paired(set.train, samples), { per_prompt = opt.full,
  seed = opt.seed }) or {}) do rows[#rows + 1] = row end
if opt.dry_run then return pf.show(rows, policy.tokenizer, 20) end
local data = pf.data.preference(rows, policy.tokenizer, { model = policy })
data:reference(policy:reference(run), run.dir .. "/reference.zst")
run:note(told .. "; with full pairs " .. data:summary())
local before = set:measure(policy, 4, { errors = true })

-- (3) theta <- theta - lr grad L, on both kinds of pairs as they come
pf.train {
  model = policy, data = data, run = run, label = "rise", seed = opt.seed, batch = opt.batch, lr = opt.lr,
  steps = opt.steps, epochs = 8, warmup = 0.1, schedule = "cosine",
  loss = function(model, batch)
    return pf.loss.preference(model, batch, { beta = opt.beta, variant = opt.variant, anchor = opt.anchor })
  end,
}
run:finish { model = policy, before = before, after = set:measure(policy, 4, { errors = true }),
  title = "Error-injected self-editing" }
