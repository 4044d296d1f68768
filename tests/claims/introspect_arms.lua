-- The arms of the introspection claims (row 10): the same start, problems, worked answers, updates and rate.
--   introspect   recipes/introspect.lua: the policy's own attempts in context, then the worked answer
--   sft          recipes/sft.lua on the worked answers of the same problems
local pf = require "pofit"

local M = {}

-- chosen on the seeds from 101 on and the held-out split; measured on a split that nothing was chosen on
M.settings = { problems = 600, heldout = 500, split = "final", steps = 600, batch = 16, lr = "1e-3", window = 2,
  turns = 5, max_tokens = 20 }
M.quick = { problems = 24, heldout = 40, steps = 6 }

local function words(c, ...)
  local _, base = c:base()
  return c:words({ "steps", "batch", "lr" }, "--model", base, ...)
end

local arms = {}

function arms.introspect(c)
  return c:recipe("introspect", words(c, "--heldout", "20", "--problems", tostring(c.set.problems), "--window",
    tostring(c.set.window), "--max_tokens", tostring(c.set.max_tokens)))
end

function arms.sft(c)
  local _, dir = c:once("introspect-rows", c.set, function(dir)
    local task, lines = pf.task.chain(pf.base.task), {}
    for i, row in ipairs(task:rows("preference", c.set.problems)) do
      lines[i] = pf.json.encode { prompt = row.prompt, completion = row.completion } .. "\n"
    end
    pf.sys.write(dir .. "/rows.jsonl", table.concat(lines))
  end)
  return c:recipe("sft", words(c, "--data", dir .. "/rows.jsonl", "--heldout_share", "0.01"))
end

--- What an arm ("start", "sft", "introspect") is worth over the turns: lists with a value a problem by the names of
--- pf.turns.measure, and budget.
function M.measure(c, name)
  local run = arms[name] and arms[name](c)
  local made = c:once("introspect-measured-" .. name, c.set, function()
    local task, out = pf.task.chain(pf.base.task), {}
    local result = pf.turns.measure(run and run.model or c:base(), task:problems(c.set.split, c.set.heldout),
      { task = task, turns = c.set.turns, window = c.set.window, max_tokens = c.set.max_tokens, seed = c.seed,
        quiet = true })
    for _, score in ipairs(result.scores) do
      local list = {}
      for i, right in ipairs(score[2]) do list[i] = right and 1 or 0 end
      out[score[1]] = pf.json.array(list)
    end
    return out
  end)
  return made, run and run.result.budget or {}
end

--- Of each problem, a minus b.
function M.gain(made, a, b)
  local out = {}
  for i, x in ipairs(made[a]) do out[i] = x - made[b][i] end
  return out
end

return M
