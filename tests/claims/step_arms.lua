-- The arms of the claims on per-step preferences (row 6): the same start, wrong samples, rollouts, updates and rate.
--   full     recipes/step_advantage.lua: a right answer against the wrong one up to its first pit
--   whole    whole answers as pairs: DPO, the paper's control
--   rft      the likelihood of the right answers alone
-- On the tasks "cue" (CHAIN whose first operand tells, in the training split, which operation comes first, and in the
-- others a wrong one) and
-- "star" (star graphs), which the recipe gets as a user's own: rows with question and answer, and a verifier.
local pf = require "pofit"

local M = {}

-- chosen on the seeds from 101 on and the held-out split; measured on a split that nothing was chosen on
M.tasks = {
  cue = { kind = "chain", options = { modulus = 10, largest = 9, operands = { 3, 3 }, splits = { "final" },
    cue = { train = 0.98, preference = 0, heldout = 0, final = 0 } } },
  star = { kind = "star", options = { arms = 2, length = 2, nodes = 8, splits = { "final" } } },
}
M.settings = { task = "cue", base_problems = 600, base_steps = 600, problems = 400, heldout = 800, split = "final",
  samples = 8, wrong = 2, rollouts = 8, steps = 100, batch = 16, lr = "3e-4", anchor = 10,
  max_tokens = 24 }
M.star = { task = "star", base_problems = 20000, base_steps = 1500, problems = 15000, heldout = 1000, split = "final",
  samples = 4, wrong = 1, rollouts = 4, steps = 1000, batch = 32, lr = "1e-3", anchor = 1, max_tokens = 8 }
M.quick = { base_problems = 60, base_steps = 40, problems = 16, heldout = 40, samples = 4, rollouts = 2, steps = 4 }

local OPTIONS <const> = {
  full = {}, whole = { "--pairs", "whole" }, rft = { "--pairs", "whole", "--variant", "sft" } }

local function task_of(c)
  local t = M.tasks[c.set.task]
  return pf.task[t.kind](t.options), t
end

-- the seed's start on this task, by supervised fine-tuning on the training split; and its folder
local function base(c)
  local set = c.set
  local model, _, dir = c:arm("step-base-" .. set.task, { set.base_problems, set.base_steps }, function(dir)
    local task = task_of(c)
    local model = pf.base.new(dir .. "/new", task, c.seed)
    local data = pf.data.supervised(task:rows("train", set.base_problems), model.tokenizer, { model = model })
    pf.train { model = model, data = data, seed = c.seed, batch = 32, steps = set.base_steps, lr = 2e-3, warmup = 0.05,
      schedule = "cosine", quiet = true, label = "base",
      loss = function(m, batch) return pf.loss.nll { logp = m:logp(batch) } end }
    return model, {}
  end)
  return model, dir
end

-- the task as a user would bring it: a file of questions and answers, and a verifier
local function own(c)
  local _, dir = c:once("step-own-" .. c.set.task, c.set, function(dir)
    local task, t = task_of(c)
    local lines = {}
    for i, problem in ipairs(task:problems("preference", c.set.problems)) do
      lines[i] = pf.json.encode { question = problem.text, answer = task:solution(problem) } .. "\n"
    end
    pf.sys.write(dir .. "/rows.jsonl", table.concat(lines))
    pf.sys.write(dir .. "/verifier.lua", ([[
local task = require "pofit".task.%s(require "pofit".json.decode(%q))
return { verify = function(problem, text) return task:verify(problem.text, text) end,
  steps = function(text, problem) return task:steps(text, problem.text) end }
]]):format(t.kind, pf.json.encode(t.options)))
  end)
  return dir
end

local function arm(c, name)
  local _, start = base(c)
  local dir = own(c)
  return c:recipe("step_advantage", c:words({ "problems", "samples", "wrong", "rollouts", "steps", "batch", "lr",
    "max_tokens" }, "--model", start, "--data", dir .. "/rows.jsonl", "--verifier", dir .. "/verifier.lua",
    "--heldout_share", "0.01", "--cache", c.cache, "--anchor", name == "rft" and "0" or tostring(c.set.anchor),
    table.unpack(OPTIONS[name])))
end

local function accuracy(c, name, model) return c:accuracy("step-" .. name, model, (task_of(c))) end

-- a start that solves less than this share has not learned what the claim takes for granted
local LEAST <const> = 0.25

--- Results of a claim that compares the greedy accuracy of two arms, of which one may be "start".
function M.compare(c, better, worse)
  local start = pf.stats.mean(accuracy(c, "start", (base(c))))
  if start < LEAST and not c.quick then
    error(("the start solves %.1f %% of the problems, too few to compare anything"):format(100 * start))
  end
  local out = { budget = {}, curves = { title = "loss" } }
  for side, name in pairs { better = better, worse = worse } do
    local run = OPTIONS[name] and arm(c, name)
    out[side] = accuracy(c, name, run and run.model or (base(c)))
    out.budget[side] = run and run.result.budget or {}
    out.curves[side] = c:curve(run and run.rows or {}, "loss")
  end
  return out
end

return M
