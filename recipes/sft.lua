-- Supervised fine-tuning: imitate written answers. The start of every preference method.
--
-- paper:   Radford et al. 2018, "Improving language understanding by generative pre-training", eq. 1
-- formula: L = -mean over answer tokens of log pi(y_t | x, y_<t)
-- data:    CHAIN problems with worked solutions (generated), or --data: prompt and completion, text, or messages
-- run:     pofit recipes/sft.lua [--model DIR --data FILE]
-- cost:    about a minute on two cores
-- expect:  held-out accuracy settles at 40-70 %, the range in which sampling gives both right and wrong answers
local pf = require "pofit"

local opt = pf.options {
  "Supervised fine-tuning. Without --model and --data: trains a small policy on CHAIN from nothing.",
  { "name", "sft", "the run: everything is kept in runs/NAME" },
  pf.model.options, -- model, adapter, lora_rank, ...
  { "data", "", "files of rows with prompt and completion, text, or messages: a.jsonl:2,b.csv (none: CHAIN)" },
  { "problems", 600, "CHAIN problems to learn from", min = 1 },
  { "heldout", 500, "CHAIN problems to measure on", min = 1 },
  { "steps", nil, "updates (default: 1200 on CHAIN, else one pass over the data)", type = "integer" },
  { "batch", 32, "answers an update", min = 1 },
  { "lr", nil, "peak learning rate (default: 2e-3 on CHAIN, else 2e-5)", type = "number" },
  { "weight_decay", 0.0, "AdamW's weight decay", min = 0 },
  { "heldout_share", 0.1, "share of --data to measure on", above = 0, max = 0.5 },
  pf.data.options, -- columns, max_length, truncation, ...
}
-- what suits a new small policy is too much for a larger one that is trained already
pf.base.fill(opt, opt.data == "" and { lr = 2e-3, steps = 1200 } or { lr = 2e-5 })
local run = pf.run(opt)
local task = pf.task.chain(pf.base.task)

-- (1) the policy: the user's, or a small one with random weights
local policy = pf.model.open(opt, function() return pf.base.new(run.dir .. "/model", task, opt.seed) end)

-- (2) answers to imitate
local rows = opt.data ~= "" and pf.data.given(opt) or task:rows("train", opt.problems)
local data = pf.data.supervised(rows, policy.tokenizer, pf.data.settings(opt, policy))
local heldout
run:note(data:summary())
if opt.data ~= "" then data, heldout = data:split(opt.heldout_share, opt.seed) end

-- how often is a held-out problem solved? On the user's own rows: how likely are their answers?
local function measure(model, samples)
  if opt.data ~= "" then return pf.evaluate.completions(model, heldout, { answers = samples }) end
  local problems = task:problems("heldout", opt.heldout)
  return pf.evaluate.task { model = model, task = task, problems = problems, samples = samples, seed = opt.seed }
end

-- (3) theta <- theta - lr grad L, with L the mean over all answer tokens of the batch
pf.train {
  model = policy, data = data, run = run, label = "sft", seed = opt.seed, steps = opt.steps, batch = opt.batch,
  lr = opt.lr, warmup = 0.01, schedule = "cosine", weight_decay = opt.weight_decay, eval_every = 250,
  eval = function(model)
    local score = measure(model, 0).scores[1]
    return { [score[1]] = pf.stats.mean(score[2]) }
  end,
  loss = function(model, batch)
    return pf.loss.nll { logp = model:logp(batch) } -- every answer token counts alike
  end,
}
run:finish { model = policy, after = measure(policy, 4), title = "Supervised fine-tuning" }
