-- The arms of the AFT claims (row 5), each trained once for a seed: the same start, questions, samples, updates, rate.
--   start      the base policy as it is
--   sft        the likelihood of the reference answers alone
--   boundary, detached, none      recipes/aft.lua with this brake
--   rrhf       RRHF's ranking loss in the place of the alignment loss (Yuan et al. 2023, arXiv 2304.05302)
local pf = require "pofit"

local M = {}

-- chosen on the seeds from 101 on and the held-out split; measured on a split that nothing was chosen on
M.settings = { problems = 600, heldout = 800, split = "final", samples = 8, steps = 200, batch = 8, lr = "1e-3",
  align_weight = 3, max_tokens = 40 }
M.quick = { problems = 24, heldout = 60, samples = 4, steps = 6 }

local WORDS <const> = { "problems", "samples", "steps", "batch", "lr", "max_tokens" }

local function words(c, ...)
  local _, base = c:base()
  return c:words(WORDS, "--model", base, "--heldout", "20", "--cache", c.cache, ...)
end

local function rollout(c, problems)
  return (pf.rollout(c:base(), pf.problems.starts(problems), { n = c.set.samples, seed = c.seed, temperature = 1.0,
    task = pf.task.chain(pf.base.task), max_tokens = c.set.max_tokens, cache = c.cache, quiet = true }))
end

-- RRHF on the groups of the other arms
local function rrhf(c)
  return c:arm("aft-rrhf", c.set, function()
    local task, model = pf.task.chain(pf.base.task), c:base()
    local problems = task:problems("preference", c.set.problems)
    local data = pf.groups(problems, rollout(c, problems), model.tokenizer, { model = model,
      solution = function(problem) return task:solution(problem) end })
    pf.train { model = model, data = data, seed = c.seed, batch = c.set.batch, steps = c.set.steps, quiet = true,
      lr = tonumber(c.set.lr), warmup = 0.05, schedule = "linear", label = "rrhf",
      loss = function(m, batch)
        local s = pf.mean_by(m:logp(batch), batch.sequence, batch.sequences)
        local sum = 0
        for q = 1, #batch.reference do
          local list, rewards = {}, {}
          for reward, side in ipairs { "negative", "positive" } do
            for _, k in ipairs(batch[side][q]) do list[#list + 1], rewards[#rewards + 1] = k, reward end
          end
          sum = sum + pf.loss.rrhf { scores = s:index(list), rewards = rewards }
        end
        local length = batch.length:index(batch.reference)
        return sum / #batch.reference - (s:index(batch.reference) * length):sum() / length:sum()
      end }
    return model, { budget = { updates = c.set.steps } }
  end)
end

local CONSTRAINT <const> = { sft = "boundary", boundary = "boundary", detached = "detached", none = "none" }

-- model, budget, metrics
local function arm(c, name)
  if name == "start" then return c:base(), {}, {} end
  if name == "rrhf" then
    local model, info = rrhf(c)
    return model, info.budget, {}
  end
  local run = c:recipe("aft", words(c, "--constraint", CONSTRAINT[name], "--align_weight",
    tostring(name == "sft" and 0 or c.set.align_weight)))
  return run.model, run.result.budget, run.rows
end

--- What an arm is worth on held-out problems: accuracy (greedy, a value a problem), assessment (a share a question that
--- has right and wrong samples of the start), right and wrong = their mean scores, nats a token; budget; rows.
function M.measure(c, name)
  local model, budget, rows = arm(c, name)
  local made = c:once("aft-measured-" .. name, c.set, function()
    local task = pf.task.chain(pf.base.task)
    local problems, pool = task:problems(c.set.split, c.set.heldout), {}
    for i, list in ipairs(rollout(c, problems)) do pool[i] = { prompt = problems[i].text, samples = list } end
    local assessed = pf.evaluate.assessment(model, pool)
    local accuracy = pf.evaluate.task { model = model, task = task, problems = problems, quiet = true,
      max_tokens = c.set.max_tokens }.scores[1][2]
    if assessed.pairs == 0 then error("no question has right and wrong samples of the start") end
    return { accuracy = pf.json.array(accuracy), assessment = pf.json.array(assessed.questions), right = assessed.right,
      wrong = assessed.wrong }
  end)
  made.budget, made.rows = budget, rows
  return made
end

--- Results of a claim that compares a figure of two arms. figure: "accuracy", "assessment" (values), "right", "wrong".
function M.compare(c, better, worse, figure, curve)
  local b, w = M.measure(c, better), M.measure(c, worse)
  local function values(m) return type(m[figure]) == "table" and m[figure] or { m[figure] } end
  return { better = values(b), worse = values(w), budget = { better = b.budget, worse = w.budget },
    curves = curve and { title = curve, better = c:curve(b.rows, curve), worse = c:curve(w.rows, curve) } }
end

return M
