-- The arms of the claims on error-injected self-editing (row 43): recipes/rise.lua, same start, samples and updates.
--   rise         step pairs with typed mistakes and full pairs
--   full         full pairs alone: DPO on sampled pairs
--   random       step pairs with a random token in them, and full pairs
--   bare         rise without the likelihood of the right side
local pf = require "pofit"

local M = {}

-- chosen on the seeds from 101 on and the held-out split; measured on a split that nothing was chosen on
M.settings = { problems = 1500, heldout = 800, split = "final", samples = 5, steps = 150, batch = 16, lr = "3e-4",
  anchor = 10, max_tokens = 40 }
-- the same with a weight of the likelihood that suits full pairs alone better
M.tuned = { anchor = 30 }
for name, value in pairs(M.settings) do M.tuned[name] = M.tuned[name] or value end
M.quick = { problems = 60, heldout = 60, steps = 6 }

local OPTIONS <const> = { rise = {}, full = { "--edits", "0", "--full", "2" }, random = { "--editor", "random" },
  bare = {} }

local function arm(c, name)
  local _, base = c:base()
  local words = c:words({ "problems", "samples", "steps", "batch", "lr", "max_tokens" }, "--model", base, "--heldout",
    "20", "--cache", c.cache, "--anchor", name == "bare" and "0" or tostring(c.set.anchor), table.unpack(OPTIONS[name]))
  return c:recipe("rise", words)
end

-- accuracy (greedy) and typed mistakes per 1000 steps, a value a problem
local function measured(c, name, model)
  return c:once("rise-measured-" .. name, c.set, function()
    local task = pf.task.chain(pf.base.task)
    local scores = pf.evaluate.task { model = model, task = task, problems = task:problems(c.set.split, c.set.heldout),
      samples = 4, seed = c.seed, max_tokens = c.set.max_tokens, quiet = true, errors = true }.scores
    local errors = {}
    for _, score in ipairs(scores) do
      for i, x in ipairs(score[1]:find "^error_" and score[2] or {}) do errors[i] = (errors[i] or 0) + x end
    end
    return { accuracy = pf.json.array(scores[1][2]), errors = pf.json.array(errors) }
  end)
end

--- Results of a claim that compares two arms. figure: "accuracy", or "fall": how much rarer the typed mistakes are than
--- the start's, per 1000 steps.
function M.compare(c, better, worse, figure)
  local function values(name)
    local run = arm(c, name)
    local made = measured(c, name, run.model)
    if figure == "accuracy" then return made.accuracy, run end
    local start, out = measured(c, "start", (c:base())).errors, {}
    for i, x in ipairs(made.errors) do out[i] = start[i] - x end
    return out, run
  end
  local b, b_run = values(better)
  local w, w_run = values(worse)
  return { better = b, worse = w, budget = { better = b_run.result.budget, worse = w_run.result.budget },
    curves = { title = "loss", better = c:curve(b_run.rows, "loss"), worse = c:curve(w_run.rows, "loss") } }
end

return M
