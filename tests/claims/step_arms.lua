-- The arms of the claims on per-step preferences (row 6): the same start, samples, updates.
--   full     recipes/step_advantage.lua: a right answer against the wrong one up to its first pit
--   whole    whole answers as pairs: DPO, the paper's control
--   rft      recipes/sft.lua on the start's own right samples: rejection sampling
-- Tasks, which the recipe gets as a user's own (rows with question and answer, and a verifier):
--   cue      CHAIN whose first operand tells, in the training split, which operation comes first, and elsewhere a wrong
--            one every second time; what a start learned from 2000 problems is to follow it. The verifier compares
--            final answers, as the paper's does: some right ones are right by luck. Right answers are the start's own.
--   star     star graphs of eight arms; the verifier follows the path. From scratch a small policy stays at chance,
--            so it learns stars of two arms first, then also of three and few of eight, until it solves 30 % of
--            these. Right answers are the start's own
local pf = require "pofit"

local M = {}

-- chosen on the seeds from 101 on and the held-out split; measured on splits that nothing was chosen on
M.tasks = {
  cue = { kind = "chain", judged = "answer_correct", options = { modulus = 10, largest = 9, operands = { 3, 3 },
    splits = { "final" }, cue = { train = 1, preference = 0.5, heldout = 0.5, final = 0.5 } } },
  star = { kind = "star", judged = "correct",
    options = { arms = 8, length = 2, nodes = 17, splits = { "final", "stop" } } },
}
M.settings = { task = "cue", problems = 800, heldout = 800, split = "final", samples = 32, wrong = 3, rollouts = 8,
  steps = 240, batch = 32, lr = "2e-5", beta = 0.1, rft_lr = "1e-4", anchor = 0, right = "own", max_tokens = 24,
  lessons = { { rows = { { n = 2000 } }, steps = 1000, lr = 2e-3, schedule = "cosine", warmup = 0.05 } } }
M.star = { task = "star", problems = 4000, heldout = 1000, split = "final", samples = 8, wrong = 8, rollouts = 4,
  steps = 400, batch = 32, lr = "2e-3", beta = 0.05, whole_lr = "1e-3", whole_beta = 0.3, rft_lr = "4e-3", anchor = 0,
  right = "own", max_tokens = 6,
  model = { num_key_value_heads = 4, rope_theta = 100, initializer_range = 0.1 }, -- with these it plans at all
  lessons = {
    { rows = { { n = 40000, arms = 2 } }, steps = 8000, lr = 1e-3, beta2 = 0.98, warmup = 100,
      schedule = "constant", arms = 2, enough = 0.9, every = 250 },
    { rows = { { n = 20000, arms = 2 }, { n = 20000, arms = 3 }, { n = 1000, arms = 8 } }, steps = 4000, lr = 1e-3,
      beta2 = 0.98, warmup = 100, schedule = "constant", arms = 8, enough = 0.3, every = 50 },
  } }
M.quick = { lessons = { { rows = { { n = 300 } }, steps = 200, lr = 2e-3 } }, problems = 40, heldout = 40, samples = 8,
  rollouts = 2, steps = 4, right = "own_or_worked" }

--- The settings with some of them changed.
function M.with(settings, changed)
  local out = {}
  for name, value in pairs(settings) do out[name] = value end
  for name, value in pairs(changed) do out[name] = value end
  return out
end

M.star_quick = M.with(M.quick, { lessons = { { rows = { { n = 1000 } }, steps = 300, lr = 2e-3 } },
  model = M.star.model, problems = 200 })

local function task_of(c, arms)
  local t = M.tasks[c.set.task]
  return pf.task[t.kind](arms and M.with(t.options, { arms = arms }) or t.options), t
end

-- problems of a lesson for supervised training, n of each kind
local function rows_of(c, kinds)
  local all = {}
  for _, kind in ipairs(kinds) do
    table.move(task_of(c, kind.arms):rows("train", kind.n), 1, kind.n, #all + 1, all)
  end
  return all
end

-- a lesson may end early: once the policy solves the share `enough` of problems of so many arms
local function watch(c, lesson)
  if not lesson.enough then return {} end
  local task = task_of(c, lesson.arms)
  local problems = task:problems("stop", 300)
  return { eval_every = lesson.every, eval = function(model)
    return { solved = pf.stats.mean(pf.evaluate.task { model = model, task = task, problems = problems, quiet = true,
      max_tokens = c.set.max_tokens }.scores[1][2]) }
  end, stop = function(figures) return figures.eval_solved >= lesson.enough end }
end

-- the seed's start on this task, by supervised fine-tuning on the training split; and its folder
local function base(c)
  local set = c.set
  local model, _, dir = c:arm("step-base-" .. set.task, { set.lessons, M.tasks[set.task], set.model }, function(dir)
    local model = pf.base.new(dir .. "/new", (task_of(c)), c.seed, set.model)
    for _, lesson in ipairs(set.lessons) do
      pf.train(M.with(watch(c, lesson), { model = model, seed = c.seed, batch = 32, steps = lesson.steps,
        lr = lesson.lr, beta2 = lesson.beta2, warmup = lesson.warmup, schedule = lesson.schedule, quiet = true,
        data = pf.data.supervised(rows_of(c, lesson.rows), model.tokenizer, { model = model }), label = "base",
        loss = function(m, batch) return pf.loss.nll { logp = m:logp(batch) } end }))
    end
    return model, {}
  end)
  return model, dir
end

-- the task as a user would bring it: a file of questions and answers, and a verifier
local function own(c)
  local _, dir = c:once("step-own-" .. c.set.task, { c.set.problems, M.tasks[c.set.task] }, function(dir)
    local task, t = task_of(c)
    local lines = {}
    for i, problem in ipairs(task:problems("preference", c.set.problems)) do
      lines[i] = pf.json.encode { question = problem.text, answer = task:solution(problem) } .. "\n"
    end
    pf.sys.write(dir .. "/rows.jsonl", table.concat(lines))
    pf.sys.write(dir .. "/verifier.lua", ([[
local task = require "pofit".task.%s(require "pofit".json.decode(%q))
return { verify = function(problem, text) return task:verify(problem.text, text).%s end,
  steps = function(text, problem) return task:steps(text, problem.text) end }
]]):format(t.kind, pf.json.encode(t.options), t.judged))
  end)
  return dir
end

-- different right samples of a problem that rejection sampling imitates
local KEPT <const> = 4

-- the start's own right samples, as rows for recipes/sft.lua
local function accepted(c, model, from, dir)
  local set = c.set
  local key = { from, dir, KEPT, set.samples, set.max_tokens }
  local _, made = c:once("step-accepted-" .. set.task, key, function(out)
    local task, starts, lines = pf.task.own { verifier = dir .. "/verifier.lua" }, {}, {}
    for i, problem in ipairs(require "pofit.task.own".problems(pf.data.jsonl(dir .. "/rows.jsonl"))) do
      starts[i] = { problem = problem }
    end
    local samples = pf.rollout(model, starts, { n = set.samples, task = task, seed = c.seed, cache = c.cache,
      max_tokens = set.max_tokens, quiet = true })
    for i, start in ipairs(starts) do
      local seen, n = {}, 0
      for _, sample in ipairs(pf.keep.right()(samples[i], start.problem)) do
        if not seen[sample.text] and n < KEPT then
          n, seen[sample.text] = n + 1, true
          lines[#lines + 1] = pf.json.encode { prompt = start.problem.text, completion = sample.text } .. "\n"
        end
      end
    end
    pf.sys.write(out .. "/rows.jsonl", table.concat(lines))
  end)
  return made .. "/rows.jsonl"
end

local function per_step(c, pairs_of, lr, beta)
  local _, start = base(c)
  local dir = own(c)
  return c:recipe("step_advantage", c:words({ "problems", "samples", "wrong", "rollouts", "steps", "batch", "anchor",
    "right", "max_tokens" }, "--model", start, "--data", dir .. "/rows.jsonl", "--verifier", dir .. "/verifier.lua",
    "--heldout_share", "0.01", "--cache", c.cache, "--pairs", pairs_of, "--lr", lr, "--beta", tostring(beta)))
end

local ARMS <const> = {
  full = function(c) return per_step(c, "full", c.set.lr, c.set.beta) end,
  whole = function(c) return per_step(c, "whole", c.set.whole_lr or c.set.lr, c.set.whole_beta or c.set.beta) end,
  rft = function(c)
    local model, start = base(c)
    return c:recipe("sft", c:words({ "steps", "batch" }, "--model", start, "--lr", c.set.rft_lr, "--data",
      accepted(c, model, start, own(c)), "--heldout_share", "0.01"))
  end,
}

-- does the cue name another operation than the one that comes first?
local function misled(task, problem)
  return task.ops[tonumber(problem.text:match("^(%d+),"))] ~= task:solution(problem):match("^%d+(%D)")
end

-- greedy accuracy a problem; on CHAIN with `misled`, of the problems whose cue misleads alone
local function accuracy(c, name, model)
  local task = task_of(c)
  local all, out = c:accuracy("step-" .. name, model, task), {}
  for i, problem in ipairs(task:problems(c.set.split, c.set.heldout)) do
    if not c.set.misled or misled(task, problem) then out[#out + 1] = all[i] end
  end
  return out
end

-- a start that solves less than this share has not learned what the claim takes for granted
local LEAST <const> = 0.25

--- Results of a claim that compares the greedy accuracy of two arms, of which one may be "start".
function M.compare(c, better, worse)
  local start = pf.stats.mean(accuracy(c, "start", (base(c))))
  if start < LEAST and not c.quick and not c.set.misled then
    error(("the start solves %.1f %% of the problems, too few to compare anything"):format(100 * start))
  end
  local out = { budget = {}, curves = { title = "loss" } }
  for side, name in pairs { better = better, worse = worse } do
    local run = ARMS[name] and ARMS[name](c)
    out[side] = accuracy(c, name, run and run.model or (base(c)))
    out.budget[side] = run and run.result.budget or {}
    out.curves[side] = c:curve(run and run.rows or {}, "loss")
  end
  return out
end

return M
