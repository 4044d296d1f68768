-- The arms of the claims on DPO (row 58), and of the table of control.lua: the same start, rows, order and updates.
--   start   the base policy as it is
--   dpo     recipes/dpo.lua as it comes
--   sft     the likelihood of the chosen answers alone
local pf = require "pofit"

local M = {}

-- chosen on the seeds from 101 on and the held-out split; measured on a split that nothing was chosen on
M.settings = { problems = 1500, heldout = 800, split = "final", samples = 16, steps = 300, batch = 32, lr = "3e-3" }
M.quick = { problems = 40, heldout = 40, samples = 6, steps = 4 }

--- Train a policy by the likelihood of the chosen answers of a finished run of recipes/dpo.lua, on the rows that it was
--- trained on, for as many updates.
---@param policy table the run's start; it is trained
---@param dir string the run's folder
---@param o table seed, lr, quiet
function M.imitate(policy, dir, o)
  local config, steps = pf.json.decode(pf.sys.read(dir .. "/config.json")), 0
  for _ in pf.sys.lines(dir .. "/metrics.jsonl") do steps = steps + 1 end
  local rows = pf.data.preference(pf.data.jsonl(dir .. "/pairs.jsonl"), policy.tokenizer)
  pf.train {
    model = policy, data = rows:split(config.heldout_share, o.seed), seed = o.seed, batch = config.batch, steps = steps,
    lr = o.lr, warmup = 0.07, schedule = "linear", label = "sft", quiet = o.quiet,
    loss = function(model, batch)
      local logp = pf.sum_by(model:logp(batch), batch.sequence, batch.sequences):index(batch.chosen)
      return -logp:sum() / batch.length:index(batch.chosen):sum()
    end,
  }
  return steps
end

-- model, budget
local function arm(c, name, run)
  if name == "start" then return c:base(), {} end
  local samples = c.set.problems * c.set.samples
  if name == "dpo" then return run.model, { samples = samples, updates = #run.rows } end
  local model, made = c:arm("dpo-sft", c.set, function()
    local policy = c:base()
    return policy, { updates = M.imitate(policy, run.dir, { seed = c.seed, lr = tonumber(c.set.lr), quiet = true }) }
  end)
  return model, { samples = samples, updates = made.updates }
end

--- Results of a claim that compares the greedy accuracy of DPO with that of another arm ("start", "sft").
function M.compare(c, other)
  local _, base = c:base()
  local run = c:recipe("dpo", c:words({ "problems", "samples", "steps", "batch", "lr" }, "--model", base, "--heldout",
    "20"))
  local task = pf.task.chain(pf.base.task)
  local out = { budget = {}, curves = { title = "loss", better = c:curve(run.rows, "loss"), worse = {} } }
  for side, name in pairs { better = "dpo", worse = other } do
    local model, budget = arm(c, name, run)
    out[side], out.budget[side] = c:accuracy("dpo-" .. name, model, task), budget
  end
  return out
end

return M
