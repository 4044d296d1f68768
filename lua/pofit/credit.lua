-- pf.credit: which step of an answer earned or lost it. Values of steps by rollouts, advantages, first pits, and the
-- pairs and weights that follow from them (Setlur et al. 2024, arXiv 2406.14532).
--
--   Q_i = chance that a continuation after step i ends right,  Q_0 = V(x),  A_i = Q_i - Q_(i-1)
local core = require "pofit.core"
local stats = require "pofit.stats"
local steps_of = require "pofit.steps"
local rollout = require "pofit.rollout"
local triple = require "pofit.triple"

local M = {}

local ESTIMATORS <const> = {
  -- biased low for k > 1; c / n is at least 1 / n, so nothing cancels
  ["plug-in"] = function(c, n, k) return k == 1 and c / n or 1 - (1 - c / n) ^ k end,
  -- 1 - C(n - c, k) / C(n, k), for n >= k
  unbiased = function(c, n, k) return stats.pass_at_k(n, c, k) end,
}

--- Values of the steps of one answer. hits[i + 1] of n rollouts from after step i ended right (i = 0: before any step).
--- k: the policy whose values these are takes the best of k continuations (1: the sampled policy itself).
---@param hits integer[]
---@param n integer
---@param o? table k (1), estimator ("plug-in" or "unbiased")
---@return number v before any step
---@return number[] q after each step
---@return number[] advantage of each step
function M.values(hits, n, o)
  local k, estimator = o and o.k or 1, ESTIMATORS[o and o.estimator or "plug-in"]
  if not estimator then core.raise('credit: estimator is "plug-in" or "unbiased"') end
  local v, q, advantage = estimator(hits[1], n, k), {}, {}
  for i = 1, #hits - 1 do
    q[i] = estimator(hits[i + 1], n, k)
    advantage[i] = q[i] - (i == 1 and v or q[i - 1])
  end
  return v, q, advantage
end

--- The first pit of an answer: the first step of lowest value (min_q), of least advantage (min_adv), or the first whose
--- value is below a threshold (first_below). nil if there is none.
---@param c table q, advantage
---@param o? table rule ("min_q"), threshold (for first_below)
---@return integer? step
function M.pit(c, o)
  local rule, pit = o and o.rule or "min_q", nil
  if rule == "first_below" then
    if not o.threshold then core.raise("credit: first_below needs a threshold") end
    for i, q in ipairs(c.q) do
      if q < o.threshold then return i end
    end
    return nil
  end
  local list = rule == "min_q" and c.q or rule == "min_adv" and c.advantage
    or core.raise(('credit: rule is "min_q", "min_adv" or "first_below", not %q'):format(tostring(rule)))
  for i, x in ipairs(list) do
    if not pit or x < list[pit] then pit = i end
  end
  return pit
end

-- The steps of an answer, so that every token is in one: what stands between two steps is the second's, and what
-- follows the last one (the final answer and EOS, or what could not be read) is a step too.
local function cut(tok, task, answer)
  local steps, of = steps_of(answer.ids, task, { tokenizer = tok, problem = answer.problem })
  local last = 0
  for i, step in ipairs(steps) do
    step.first = last + 1
    for t = step.first, step.last do of[t] = i end
    last = math.max(last, step.last)
  end
  if last < #answer.ids then
    steps[#steps + 1] = { first = last + 1, last = #answer.ids, tail = true, ok = answer.correct }
    for t = last + 1, #answer.ids do of[t] = #steps end
  end
  return steps, of
end

--- Credit the steps of sampled answers by rollouts of a policy (the one that sampled them, and fixed from then on). The
--- tail of an answer counts as its last step; its value is known: the answer is right, or it is not.
---@param model table
---@param answers table[] {problem=, ids=, correct=, ...}, as pf.rollout gives them
---@param o table task, n (8), k (1), estimator; the rest goes to pf.rollout: seed, cache, max_tokens, run, ...
---@return table[] credits for each answer {answer=, steps=, of= (step of each token), hits=, n=, v=, q=, advantage=,
---  rollouts= {continuations from before step 1, 2, ...}}
---@return table counts as pf.rollout's
function M.steps(model, answers, o)
  local opts, prefixes, credits = {}, {}, {}
  for name, value in pairs(o) do opts[name] = value end
  opts.k, opts.estimator, opts.n, opts.label = nil, nil, o.n or 8, o.label or "crediting steps"
  for a, answer in ipairs(answers) do
    local c = { answer = answer, n = opts.n, hits = {}, rollouts = {} }
    c.steps, c.of = cut(model.tokenizer, o.task, answer)
    credits[a] = c
    for i = 1, #c.steps do -- the value before a step is that after the one before
      prefixes[#prefixes + 1] = { problem = answer.problem, owner = c,
        ids = table.move(answer.ids, 1, i == 1 and 0 or c.steps[i - 1].last, 1, {}) }
    end
  end
  local samples, counts = rollout(model, prefixes, opts)
  for i, prefix in ipairs(prefixes) do
    local c, hits = prefix.owner, 0
    for _, sample in ipairs(samples[i]) do hits = hits + (sample.correct and 1 or 0) end
    c.hits[#c.hits + 1], c.rollouts[#c.rollouts + 1] = hits, samples[i]
  end
  for _, c in ipairs(credits) do
    c.hits[#c.hits + 1] = c.answer.correct and c.n or 0
    c.v, c.q, c.advantage = M.values(c.hits, c.n, o)
  end
  return credits, counts
end

-- ---- what follows from it ----

--- Rows for DPO: a right answer to the problem against the wrong one up to its first pit, which has no EOS (the paper's
--- practice).
---@param c table a credit of a wrong answer
---@param right table a right answer to the same problem {ids=, finish=}
---@param o? table rule, threshold
---@return table? row nil if there is no pit, or if the right answer begins with all of the wrong prefix
function M.full_against_prefix(c, right, o)
  local pit = M.pit(c, o)
  if not pit then return nil end
  local last = c.steps[pit].last
  for t = 1, last do
    if right.ids[t] ~= c.answer.ids[t] then
      return triple { prompt = c.answer.problem.text, good = right, bad = c.answer, first = 1, bad_last = last }
    end
  end
  return nil
end

--- Rows for DPO after the paper's theorem: both sides go on from the same prefix, the bad one with the pit, the good
--- one with the first step of a rollout from there that ended right. nil if there is no pit or no such rollout.
---@param model table whose tokenizer it is
---@param c table a credit of a wrong answer
---@param o table task; rule, threshold
---@return table? row
function M.same_prefix(model, c, o)
  local pit = M.pit(c, o)
  if not pit then return nil end
  local answer, first = c.answer, c.steps[pit].first
  for _, sample in ipairs(c.rollouts[pit]) do
    if sample.correct then
      local ids = table.move(answer.ids, 1, first - 1, 1, {})
      local whole = { ids = table.move(sample.ids, 1, #sample.ids, first, ids), finish = sample.finish,
        problem = answer.problem, correct = true }
      local good, last = cut(model.tokenizer, o.task, whole)[pit], c.steps[pit].last
      local differ = good and good.last >= good.first
        and table.concat(ids, " ", first, good.last) ~= table.concat(answer.ids, " ", first, last)
      if differ then
        return triple { prompt = answer.problem.text, good = whole, bad = answer, first = first, good_last = good.last,
          bad_last = last }
      end
    end
  end
  return nil
end

--- Rows for advantage-weighted training: prompt, the whole answer, and the step of each token.
---@param c table a credit
---@return table row {prompt=, completion= ids, steps=}, and advantage= a list with one value a step
function M.weighted(c)
  return { prompt = c.answer.problem.text, completion = c.answer.ids, steps = c.of, advantage = c.advantage,
    finished = false }
end

-- source of pairs -> row, or nil where there is none
local SOURCES <const> = {
  full = function(_, c, right, o) return right and M.full_against_prefix(c, right, o) end,
  same = function(model, c, _, o) return M.same_prefix(model, c, o) end,
  whole = function(_, c, right) -- the paper's control
    return right and triple { prompt = c.answer.problem.text, good = right, bad = c.answer, first = 1 }
  end,
}

--- Preference rows of credited wrong answers, with what --dry-run shows of them: step = the pit, advantage.
---@param model table
---@param credits table[]
---@param o table source ("full": a right answer against the wrong one up to its pit, "same": both sides go on from
---  before the pit, "whole": whole answers), right = function(problem) -> right answer, or nil, which leaves the
---  problem's answers out of "full" and "whole"; task, rule, threshold
---@return table[] rows
function M.pairs(model, credits, o)
  local source, rows = SOURCES[o.source or "full"], {}
  if not source then core.raise(('credit: source is "full", "same" or "whole", not %q'):format(tostring(o.source))) end
  for _, c in ipairs(credits) do
    local row = source(model, c, o.right(c.answer.problem), o)
    if row then
      row.step, row.advantage = M.pit(c, o), c.advantage
      rows[#rows + 1] = row
    end
  end
  return rows
end

local Set = {}
Set.__index = Set

--- The batch of the rows numbered in indices, whose steps are numbered on from row to row: batch.of = number of each
--- entry's step, batch.advantage = a value a step, as pf.loss.advantage takes them.
function Set:batch(indices)
  local rows, of, advantage = {}, {}, {}
  for k, i in ipairs(indices) do
    local row = self.rows[i]
    rows[k] = { prompt = row.prompt, completion = row.completion, finished = row.finished }
    for t = 1, #row.completion do of[#of + 1] = #advantage + row.steps[t] end
    table.move(row.advantage, 1, #row.advantage, #advantage + 1, advantage)
  end
  local batch = require "pofit.batch"(self.tok, rows)
  batch.of, batch.advantage = of, advantage
  return batch
end

--- A fingerprint of the rows.
function Set:fingerprint()
  local h, hash = 0, require "pofit.sys".hash
  for _, row in ipairs(self.rows) do
    h = hash(table.concat(row.completion, " ") .. "/" .. table.concat(row.advantage, " "), h)
  end
  return h
end

--- A data set for pf.train of credited answers, right and wrong.
---@param credits table[]
---@param tok pofit.Tokenizer
---@return table set {n=, rows=}
function M.data(credits, tok)
  local set = setmetatable({ tok = tok, rows = {}, n = #credits }, Set)
  for i, c in ipairs(credits) do set.rows[i] = M.weighted(c) end
  if set.n == 0 then core.refuse("credit: there are no answers to learn from") end
  return set
end

return setmetatable(M, { __call = function(_, model, answers, o) return M.steps(model, answers, o) end })
