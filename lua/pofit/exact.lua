-- pf.exact: the probability that a solution which begins with a prefix ends right, exactly, by enumeration.
--
-- The right solutions of a small problem are finitely many, and the verifier accepts no others; so the value of a
-- prefix (Q in Setlur et al. 2024, arXiv 2406.14532, section 4) is the sum of the probabilities of those that begin
-- with it. It is what pf.rollout estimates, and what an estimator can be graded against.
local core = require "pofit.core"

local LIMIT <const> = 20000 -- right solutions
local ROWS <const> = 256    -- scored together

-- the summed log-probabilities of continuations, EOS included; the forest computes what they share once
local function scored(model, head, tails)
  local tok, out = model.tokenizer, {}
  local prompt = require("pofit.chat").encode(tok, head)
  for first = 1, #tails, ROWS do
    local rows = {}
    for i = first, math.min(first + ROWS - 1, #tails) do
      rows[#rows + 1] = { prompt = prompt, completion = tails[i] }
    end
    core.step(function()
      core.no_grad(function()
        local b = require "pofit.batch"(tok, rows)
        local sums = core.op.sum_by(model:logp(b), b.sequence, b.sequences):totable()
        table.move(sums, 1, #sums, #out + 1, out)
      end)
    end)
  end
  return out
end

--- P(the whole solution is right and ends | problem, prefix) for samples at temperature 1.
--- For a prefix that cannot become right it is 0. The tokens of prefix and rest are those of the tokenizer, cut at the
--- prefix: one that writes across that place is none for this.
---@param task table with solutions(problem): every text that its verifier accepts
---@param model pofit.Model|function a model; or a function(head, tails) that returns the log-probabilities of the
--- texts `tails`, each with its end, after the text `head`
---@param problem table
---@param prefix? string of the solution, cut anywhere
---@return number probability
---@return {text: string, logp: number}[] paths the right continuations, most probable first
return function(task, model, problem, prefix)
  if not task.solutions then core.raise("exact: this task has no list of its right solutions") end
  prefix = prefix or ""
  local tails = {}
  for _, text in ipairs(task:solutions(problem)) do
    if text:sub(1, #prefix) == prefix then tails[#tails + 1] = text:sub(#prefix + 1) end
  end
  if #tails > LIMIT then
    core.raise(("exact: %s has %d right solutions, the limit is %d"):format(problem.text, #tails, LIMIT))
  end
  if #tails == 0 then return 0.0, {} end
  local head = problem.text .. prefix
  local logp = type(model) == "function" and model(head, tails) or scored(model, head, tails)
  local sum, paths = 0.0, {}
  for i, tail in ipairs(tails) do
    sum = sum + math.exp(logp[i])
    paths[i] = { text = tail, logp = logp[i] }
  end
  table.sort(paths, function(a, b) return a.logp > b.logp or a.logp == b.logp and a.text < b.text end)
  return sum, paths
end
