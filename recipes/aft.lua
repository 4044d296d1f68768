-- Alignment fine-tuning: a policy learns to score its own right answers above its wrong ones, with a brake on these.
--
-- paper:   Wang et al. 2023, arXiv 2309.02144, section 4.3
-- formula: L = NLL(c_ref) + w log(1 + sum_p sum_n [e^(s_n - s_p) + e^(T_p - s_n)]), T_p = 2 min s_p - 2 beta - s_p
-- data:    the policy's own samples on CHAIN problems, split by the verifier, or --data: question, answer
-- run:     pofit recipes/aft.lua [--model DIR --data FILE --verifier FILE.lua]
-- cost:    about five minutes on two cores, the base policy included
-- expect:  right answers outscore wrong ones more often, by at least 5 points (make claims ARGS="--only aft")
local pf = require "pofit"

local opt = pf.options(pf.problems.options {
  "Alignment fine-tuning. Without --model and --data: improves a small policy on CHAIN by its own samples.",
  { "name", "aft", "the run: everything is kept in runs/NAME" },
  { "constraint", "boundary", "the brake", choices = { "boundary", "detached", "none" } },
  { "beta", 0.15, "boundary: how far below the weakest right answer a wrong one is let fall, nats a token", min = 0 },
  { "align_weight", 1.0, "weight of the alignment loss", min = 0 },
  { "steps", nil, "updates (default: 200 on CHAIN, else three passes over the data)", type = "integer" },
  { "batch", 16, "questions an update", min = 1 },
  { "lr", nil, "peak learning rate (default: 5e-4 on CHAIN, else 2e-5)", type = "number" },
})
pf.base.fill(opt, opt.data == "" and { lr = 5e-4, steps = 200 } or { lr = 2e-5 })
local run = pf.run(opt)

-- (1) theta_0: the policy after supervised fine-tuning, which is also the sampler
local set = pf.problems(opt, run)
local policy = set.model

-- (2) G_P and G_N: the different right and wrong samples of each question; c_ref is a right answer, too
local data = pf.groups(set.train, set:sample(set.train), policy.tokenizer, { model = policy,
  solution = function(problem) return set.task:solution(problem) end })
if opt.dry_run then return pf.show(data.questions, policy.tokenizer) end
run:note(data:summary())

-- greedy accuracy, and on the start's own samples: how often does a right answer outscore a wrong one?
local pool = {}
for i, list in ipairs((set:sample(set.heldout))) do pool[i] = { prompt = set.heldout[i].text, samples = list } end
local function measure(model)
  local result, assessed = set:measure(model), pf.evaluate.assessment(model, pool)
  if #assessed.questions > 0 then table.insert(result.scores, { "assessment", assessed.questions }) end
  return result
end
local before = measure(policy)

-- (3) theta <- theta - lr grad (L_VFT + w L_A), s = mean log-probability of an answer's tokens
pf.train {
  model = policy, data = data, run = run, label = "aft", seed = opt.seed, batch = opt.batch, lr = opt.lr,
  steps = opt.steps, epochs = 3, warmup = 0.05, schedule = "linear",
  loss = function(model, batch)
    local s = pf.mean_by(model:logp(batch), batch.sequence, batch.sequences) -- nats a token
    local align, sums, n = nil, {}, #batch.reference
    for q = 1, n do
      local loss, metrics = pf.loss.align { positive = s:index(batch.positive[q]), beta = opt.beta,
        negative = s:index(batch.negative[q]), constraint = opt.constraint }
      align = align and align + loss or loss
      for name, value in pairs(metrics) do pf.stats.into(sums, name, value) end
    end
    local length = batch.length:index(batch.reference)
    local vft = -(s:index(batch.reference) * length):sum() / length:sum()    -- nats a token
    return pf.loss.mix { { vft, 1, pf.stats.means(sums) }, { align / n, opt.align_weight } }
  end,
}
run:finish { model = policy, before = before, after = measure(policy), title = "Alignment fine-tuning" }
