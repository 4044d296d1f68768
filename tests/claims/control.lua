-- Does the contrast help? DPO against plain supervised fine-tuning on the same chosen answers: the same start, the same
-- rows in the same order, as many updates. For seeds 1 to 5, each with a base policy of its own, on the problems of a
-- split that no setting was chosen on; as the table of README.
--   pofit tests/claims/control.lua [--seeds 1,2,3,4,5] [--control-lr 3e-3] [--split final]
local here = arg[0]:match("^(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local pf = require "pofit"
local imitate = require "dpo_arms".imitate

local opt = pf.options {
  "DPO and its control, seed by seed.",
  { "name", "control", "the runs are kept in runs/NAME-..." },
  { "seeds", { 1, 2, 3, 4, 5 }, "seeds to run", of = "integer" },
  { "control_lr", 3e-3, "peak learning rate of the control; chosen, as DPO's, on the seeds from 101 on", above = 0 },
  { "split", "final", "the split of CHAIN to measure on; settings were chosen on heldout" },
  { "problems", 800, "problems to measure on", min = 1 },
}

local task = pf.task.chain(pf.base.task)
local problems = task:problems(opt.split, opt.problems)
local function measure(model, seed)
  return pf.evaluate.task { model = model, task = task, problems = problems, samples = 4, seed = seed }
end
local function percent(list) return ("%.1f %%"):format(100 * pf.stats.mean(list)) end
local function points(a, b, seed)
  local s = pf.stats.paired(a, b, { seed = seed })
  return ("%+.1f [%+.1f, %+.1f]"):format(100 * s.difference, 100 * s.low, 100 * s.high)
end

print("| seed | base | DPO | control | DPO - base [95 %] | DPO - control [95 %] |")
print("| --- | --- | --- | --- | --- | --- |")
for _, seed in ipairs(opt.seeds) do
  local name = ("%s-%d"):format(opt.name, seed)
  if not pf.sys.exists("runs/" .. name .. "/result.json") then
    pf.run.recipe("recipes/dpo.lua", { "--name", name, "--seed", tostring(seed), "--quiet" })
  end
  local base = pf.base.policy(seed)
  local before = measure(base, seed)
  local dpo = measure(pf.model.load("runs/" .. name .. "/model"), seed)
  imitate(base, "runs/" .. name, { seed = seed, lr = opt.control_lr, quiet = opt.quiet })
  local sft = measure(base, seed)
  for k, score in ipairs(before.scores) do
    local b, d, c = score[2], dpo.scores[k][2], sft.scores[k][2]
    print(("| %d %s | %s | %s | %s | %s | %s |"):format(seed, k == 1 and "greedy" or "sampled", percent(b), percent(d),
      percent(c), points(b, d, seed), points(c, d, seed)))
  end
  io.stdout:flush()
end
