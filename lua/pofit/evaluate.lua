-- Measuring a model: on a task whose answers can be verified, and on held-out preferences.
local core = require "pofit.core"
local sys = require "pofit.sys"
local M = {}

-- model:generate in portions, with a line on the terminal that says how far it is; a sample does not depend on what
-- else is sampled with it, so the portions change nothing
local function generate(model, prompts, opts, what, quiet)
  local all, portion, show = {}, 250, sys.isatty(2) and not quiet
  for first = 1, #prompts, portion do
    if show then io.stderr:write(("\r%s %d/%d\27[K"):format(what, first - 1, #prompts)) end
    local part = table.move(prompts, first, math.min(first + portion - 1, #prompts), 1, {})
    for _, list in ipairs(model:generate(part, opts)) do all[#all + 1] = list end
  end
  if show then io.stderr:write("\r\27[K") end
  return all
end

local function judge(task, problem, sample)
  local verdict = task:verify(problem, sample.text)
  if sample.finish ~= "eos" then verdict.correct = false end
  return verdict
end

-- The ledger of mistakes: how many of each type a problem's answers hold, and how many steps. An answer's first mistake
-- counts; the steps after it stand on it.
local function enter(ledger, i, verdict)
  local kind = verdict.error and verdict.error.type
  if kind then
    ledger.of[kind] = ledger.of[kind] or {}
    ledger.of[kind][i] = (ledger.of[kind][i] or 0) + 1
  end
  ledger.steps = ledger.steps + math.max(1, #(verdict.steps or {}))
end

-- the scores "error TYPE": a value a problem, whose mean is the rate over all problems
local function rates(ledger, task, n)
  local out = {}
  for k, kind in ipairs(task.types and task:types() or {}) do
    local list = {}
    for i = 1, n do list[i] = 1000 * (ledger.of[kind] and ledger.of[kind][i] or 0) * n / math.max(1, ledger.steps) end
    out[k] = { "error_" .. kind, list, unit = "per 1000 steps" }
  end
  return out
end

--- Answer every problem once greedily and `samples` times at temperature 1, and verify each step of each answer.
--- scores: "accuracy" (greedy, true or false a problem) and "accuracy_sampled" (share of right samples a problem); with
--- errors also "error_TYPE" for each type of mistake of the task, per 1000 steps of all answers;
--- answers: the greedy ones, {prompt=, text=, ok=, mark= {first, last} of the first mistake}.
---@param o {model: table, task: table, problems: table, samples: integer?, seed: integer?, max_tokens: integer?,
---  quiet: boolean?, errors: boolean?}
---@return {scores: table, answers: table}
function M.task(o)
  local prompts, greedy, sampled, answers, ledger = {}, {}, {}, {}, { of = {}, steps = 0 }
  for i, problem in ipairs(o.problems) do prompts[i] = problem.text end
  for i, list in ipairs(generate(o.model, prompts, { n = 1, temperature = 0, max_tokens = o.max_tokens },
    "measuring", o.quiet)) do
    local verdict = judge(o.task, o.problems[i], list[1])
    local wrong = verdict.error
    enter(ledger, i, verdict)
    greedy[i] = verdict.correct
    answers[i] = { prompt = prompts[i], text = list[1].text, ok = verdict.correct,
      mark = wrong and wrong.first and { wrong.first, wrong.last } or nil }
  end
  local scores = { { "accuracy", greedy } }
  if (o.samples or 0) > 0 then
    for i, list in ipairs(generate(o.model, prompts, { n = o.samples, seed = o.seed, max_tokens = o.max_tokens },
      "measuring", o.quiet)) do
      local right = 0
      for _, sample in ipairs(list) do
        local verdict = judge(o.task, o.problems[i], sample)
        enter(ledger, i, verdict)
        right = right + (verdict.correct and 1 or 0)
      end
      sampled[i] = right / #list
    end
    scores[2] = { "accuracy_sampled", sampled }
  end
  for _, score in ipairs(o.errors and rates(ledger, o.task, #o.problems) or {}) do scores[#scores + 1] = score end
  return { scores = scores, answers = answers }
end

--- Sample n answers to every problem and verify them: {{prompt=, samples={{ids=, text=, correct=}, ...}}, ...}, as
--- pf.pair takes them.
---@param o {model: table, task: table, problems: table, n: integer, seed: integer?, temperature: number?,
---  max_tokens: integer?, quiet: boolean?}
---@return table
function M.sample(o)
  local prompts, pool = {}, {}
  for i, problem in ipairs(o.problems) do prompts[i] = problem.text end
  local opts = { n = o.n, seed = o.seed, temperature = o.temperature, max_tokens = o.max_tokens }
  for i, list in ipairs(generate(o.model, prompts, opts, "sampling", o.quiet)) do
    for _, sample in ipairs(list) do sample.correct = judge(o.task, o.problems[i], sample).correct end
    pool[i] = { prompt = prompts[i], samples = list }
  end
  return pool
end

--- Does the model think more of right answers than of wrong ones? Assessment accuracy (Wang et al. 2023, arXiv
--- 2309.02144): over all pairs of a right and a wrong answer of one question, how often has the right one the higher
--- mean log-probability per token; ties count half. Questions without both kinds are left out.
---@param model table
---@param groups table[] {{prompt =, samples = {{ids =, correct =}, ...}}, ...}, as pf.evaluate.sample gives them
---@return table {accuracy (over all pairs), pairs, questions = {share of each question that has both}, index = {its
--- number}, right, wrong = mean score of right and of wrong answers, nats a token}
function M.assessment(model, groups)
  local rows, owner = {}, {}
  for i, group in ipairs(groups) do
    for _, sample in ipairs(group.samples) do
      if #sample.ids > 0 then
        rows[#rows + 1], owner[#rows + 1] = { prompt = group.prompt, completion = sample.ids }, { i, sample.correct }
      end
    end
  end
  local logp, at, sides = model:reference_logp(rows):totable(), 1, {}
  for k, row in ipairs(rows) do
    local sum, n = 0.0, #row.completion
    for t = at, at + n - 1 do sum = sum + logp[t] end
    at = at + n
    local side = sides[owner[k][1]] or { {}, {} }
    sides[owner[k][1]] = side
    table.insert(side[owner[k][2] and 1 or 2], sum / n)
  end
  local stats = require "pofit.stats"
  local out, won, right, wrong = { pairs = 0, questions = {}, index = {} }, 0, {}, {}
  for i = 1, #groups do
    local side, wins = sides[i] or { {}, {} }, 0
    for _, p in ipairs(side[1]) do
      for _, n in ipairs(side[2]) do wins = wins + (p > n and 1 or p == n and 0.5 or 0) end
    end
    local count = #side[1] * #side[2]
    if count > 0 then
      table.insert(out.questions, wins / count)
      table.insert(out.index, i)
      table.move(side[1], 1, #side[1], #right + 1, right)
      table.move(side[2], 1, #side[2], #wrong + 1, wrong)
    end
    won, out.pairs = won + wins, out.pairs + count
  end
  out.accuracy, out.right, out.wrong = won / out.pairs, stats.mean(right), stats.mean(wrong)
  return out
end

-- what the model writes for the prompts of the first few rows
local function first_answers(model, set, count)
  local prompts, answers = {}, {}
  if count == 0 then return answers end
  for i = 1, math.min(count, set.n) do prompts[i] = set:prompt(i) end
  for i, list in ipairs(model:generate(prompts, { n = 1, temperature = 0, max_tokens = 80 })) do
    answers[i] = { prompt = model.tokenizer:decode(prompts[i], { skip_special = true }), text = list[1].text }
  end
  return answers
end

--- For every preference row of a set: has the chosen answer the higher log-probability, as a sum over its tokens
--- ("accuracy") and as a mean ("accuracy_mean")? After set:reference(), also whether its reward is higher
--- ("reward_accuracy"; a tie, up to rounding, counts as wrong).
---@param opts? {batch: integer?, answers: integer?} rows at once (16); prompts to answer greedily for the report (5)
---@return {scores: table, answers: table}
function M.preferences(model, set, opts)
  opts = opts or {}
  local by_sum, by_mean, reward, size = {}, {}, {}, opts.batch or 16
  for first = 1, set.n, size do
    local rows = {}
    for i = first, math.min(first + size - 1, set.n) do rows[#rows + 1] = i end
    core.step(function()
      core.no_grad(function()
        local b = set:batch(rows)
        local logp, n = model:logp(b), b.sequences
        local sums = core.op.sum_by(logp, b.sequence, n):totable()
        local means = core.op.mean_by(logp, b.sequence, n):totable()
        local refs = set.ref and core.op.sum_by(b.ref_logp, b.sequence, n):totable()
        for k, i in ipairs(rows) do
          local c, r = b.chosen[k], b.rejected[k]
          by_sum[i] = sums[c] > sums[r]
          by_mean[i] = means[c] > means[r]
          if refs then
            -- what stands around a sequence in its batch may change its log-probability by this much
            local rounding = 1e-5 * math.max(1, -sums[c], -sums[r])
            reward[i] = sums[c] - refs[c] - (sums[r] - refs[r]) > rounding
          end
        end
      end)
    end)
  end
  local scores = { { "accuracy", by_sum }, { "accuracy_mean", by_mean } }
  if set.ref then scores[3] = { "reward_accuracy", reward } end
  return { scores = scores, answers = first_answers(model, set, opts.answers or 5) }
end

--- Mean negative log-likelihood a token ("nll", nats) of each row of a completion set.
---@param opts? {batch: integer?, answers: integer?} as for preferences
---@return {scores: table, answers: table}
function M.completions(model, set, opts)
  opts = opts or {}
  local nll, size = {}, opts.batch or 16
  for first = 1, set.n, size do
    local rows = {}
    for i = first, math.min(first + size - 1, set.n) do rows[#rows + 1] = i end
    core.step(function()
      core.no_grad(function()
        local b = set:batch(rows)
        local means = core.op.mean_by(model:logp(b), b.sequence, b.sequences):totable()
        for k, i in ipairs(rows) do nll[i] = -means[k] end
      end)
    end)
  end
  return { scores = { { "nll", nll, unit = "nats a token" } }, answers = first_answers(model, set, opts.answers or 5) }
end

return M
