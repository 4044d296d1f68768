-- What recipes over steps and turns share: step pairs with injected mistakes, pairs and rows of credited steps, taught
-- conversations, the preference loss of a batch.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local tiny = dofile((arg[0]:match("^.*/") or "") .. "tiny.lua")
local pf = require "pofit"
local task, tok = tiny.task, tiny.tok
local model = tiny.model(1, 230)
local problems = task:problems("preference", 24)
local samples = pf.rollout(model, pf.problems.starts(problems), { n = 8, task = task, max_tokens = 40, seed = 5 })
local function text_of(ids) return tok:decode(ids, { skip_special = true }) end
local function joined(a, b) return table.move(b, 1, #b, #a + 1, table.move(a, 1, #a, 1, {})) end

local by_text = {}
for _, problem in ipairs(problems) do by_text[problem.text] = problem end

check.test("edits: after right steps a right one and a wrong one, from the policy's own right samples", function()
  local rows, told = pf.edits(task, problems, samples, { tokenizer = tok, n = 3, seed = 2 })
  assert(#rows > 5 and told:find("^%d+ step pairs of %d+ problems: "), told)
  local seen = {}
  for _, row in ipairs(rows) do
    local problem, before = by_text[row.prompt], text_of(row.prefix)
    local good, bad = text_of(row.chosen.ids), text_of(row.rejected.ids)
    local steps = task:verify(problem, before .. good).steps
    check.eq({ #steps, steps[row.step].ok }, { row.step, true })
    check.eq(task:verify(problem, before .. bad).error.step, row.step)
    check.eq(task:verify(problem, before .. bad).error.type, row.type)
    check.eq({ row.chosen.finish, row.rejected.finish }, { "length", "length" }, "neither has an end")
    local key = row.prompt .. before .. bad
    assert(not seen[key], "the same pair twice")
    seen[key] = true
  end
  check.eq(pf.json.encode((pf.edits(task, problems, samples, { tokenizer = tok, n = 3, seed = 2 }))),
    pf.json.encode(rows))
end)

check.test("edits at random: one token is another, and the answer is not right any more", function()
  local rows = pf.edits(task, problems, samples, { tokenizer = tok, n = 2, seed = 2, editor = "random" })
  assert(#rows > 3)
  for _, row in ipairs(rows) do
    local other = 0
    check.eq({ #row.chosen.ids, row.type }, { #row.rejected.ids, "random" })
    for t, id in ipairs(row.chosen.ids) do other = other + (id ~= row.rejected.ids[t] and 1 or 0) end
    check.eq(other, 1)
  end
end)

local wrong = {}
for i, problem in ipairs(problems) do
  for _, sample in ipairs(pf.keep.wrong(2)(samples[i])) do
    sample.problem = problem
    wrong[#wrong + 1] = sample
  end
end
local function gold(problem)
  local ids = tok:encode(task:solution(problem), { special = false })
  ids[#ids + 1] = tok.eos
  return { ids = ids, finish = "eos", correct = true, text = task:solution(problem) }
end
local credits = pf.credit(model, wrong, { task = task, n = 4, k = 2, max_tokens = 40, seed = 5 })

check.test("keep.wrong: different ones, so many", function()
  local list = { { ids = { 1 }, correct = false }, { ids = { 1 }, correct = false }, { ids = { 2 }, correct = true },
    { ids = { 3 }, correct = false }, { ids = { 4 }, correct = false } }
  check.eq(pf.keep.wrong(2)(list), { list[1], list[4] })
  check.eq(#pf.keep.wrong()(list), 3)
end)

check.test("credit.pairs: the wrong side ends with its pit, or goes on to its end", function()
  local full = pf.credit.pairs(model, credits, { task = task, right = gold })
  local whole = pf.credit.pairs(model, credits, { task = task, right = gold, source = "whole" })
  assert(#full > 3 and #whole >= #full)
  local shorter = 0
  for k, row in ipairs(whole) do
    local c = credits[k]
    check.eq(row.rejected.ids, c.answer.ids)
    check.eq({ row.step, row.advantage }, { pf.credit.pit(c), c.advantage })
  end
  for _, row in ipairs(full) do
    check.eq({ #row.prefix, row.chosen.finish }, { 0, "eos" })
    for _, c in ipairs(credits) do
      local last = c.steps[row.step] and c.steps[row.step].last
      if c.answer.problem.text == row.prompt and last == #row.rejected.ids and row.step == pf.credit.pit(c) then
        shorter = shorter + (last < #c.answer.ids and 1 or 0)
      end
    end
  end
  assert(shorter > 0, "no wrong answer was cut")
  for _, row in ipairs(pf.credit.pairs(model, credits, { task = task, right = gold, source = "same" })) do
    assert(text_of(joined(row.prefix, row.chosen.ids)) ~= text_of(joined(row.prefix, row.rejected.ids)))
  end
  local none = function() end
  for source, n in pairs { full = 0, whole = 0, same = #pf.credit.pairs(model, credits, { task = task, right = gold,
    source = "same" }) } do
    check.eq(#pf.credit.pairs(model, credits, { task = task, right = none, source = source }), n, source)
  end
  check.fails("source is", pf.credit.pairs, model, credits, { source = "half", right = gold })
end)

check.test("credit.data: the loss is that of the answers one by one", function()
  local data = pf.credit.data(credits, tok)
  local function loss_of(indices)
    local b = data:batch(indices)
    return pf.loss.advantage { logp = model:logp(b), step = b.of, advantage = b.advantage, temperature = 0.3, w_max = 5,
      sequences = b.sequences }:item()
  end
  local by_hand = 0
  for _, i in ipairs { 2, 3 } do
    local c = credits[i]
    local logp = model:logp(pf.batch(tok, { { prompt = c.answer.problem.text, completion = c.answer.ids,
      finished = false } })):totable()
    for t, x in ipairs(logp) do by_hand = by_hand - math.min(math.exp(c.advantage[c.of[t]] / 0.3), 5) * x / 2 end
  end
  check.near(loss_of { 2, 3 }, by_hand, 1e-5 * math.abs(by_hand))
end)

check.test("turns.collect: own attempts, then the teacher's turn", function()
  local o = { task = task, turns = 1, max_tokens = 24, seed = 4, gold = gold }
  local all = pf.turns.collect(model, problems, o)
  for i, list in ipairs(all) do
    check.eq({ #list, list[2].text, list[2].reward }, { 2, task:solution(problems[i]), 1 })
  end
  o.stop = true
  local stopped, taught = pf.turns.collect(model, problems, o), 0
  for _, list in ipairs(stopped) do
    check.eq(#list, list[1].correct and 1 or 2)
    taught = taught + #list - 1
  end
  assert(taught > 0 and taught < #problems)
  o.best_of, o.gold = 6, nil
  for i, list in ipairs((pf.turns.collect(model, problems, o))) do
    check.eq({ #list, list[1].text }, { #stopped[i], stopped[i][1].text })
  end
  o.turns, o.best_of, o.gold, o.stop = 0, 0, gold, false
  for _, list in ipairs((pf.turns.collect(model, problems, o))) do check.eq(#list, 1) end
end)

check.test("turns.measure: an oracle is never worse than the first turn, nor the last one", function()
  local result = pf.turns.measure(model, problems, { task = task, turns = 3, max_tokens = 24, seed = 1 })
  local by = {}
  for _, score in ipairs(result.scores) do by[score[1]] = score[2] end
  for _, name in ipairs { "m1@t1", "m3@t1", "m1@t3", "p1@t3", "last@t3" } do check.eq(#by[name], #problems, name) end
  for i = 1, #problems do
    check.eq(by["p1@t3"][i], result.attempts[i][1].correct or result.attempts[i][2].correct
      or result.attempts[i][3].correct)
  end
end)

check.test("loss.preference: DPO of the sums, and the chosen side's likelihood a token", function()
  local rows = pf.edits(task, problems, samples, { tokenizer = tok, n = 1, seed = 2 })
  local data = pf.data.preference(rows, tok, { model = model })
  data:reference(model)
  local b = data:batch { 1, 2, 3 }
  local plain = pf.loss.preference(model, b, { beta = 0.3 })
  check.near(plain:item(), math.log(2), 1e-5)
  local logp, n, sum = model:logp(b):totable(), 0, 0
  local of, chosen = b.sequence:totable(), {}
  for _, s in ipairs(b.chosen) do chosen[s] = true end
  for t, x in ipairs(logp) do
    if chosen[of[t]] then n, sum = n + 1, sum - x end
  end
  check.near(pf.loss.preference(model, b, { beta = 0.3, anchor = 2 }):item() - plain:item(), 2 * sum / n, 1e-5)
end)

check.test("mistakes by type: rates per 1000 steps over all answers", function()
  local scores = pf.evaluate.task { model = model, task = task, problems = problems, samples = 2, seed = 1,
    max_tokens = 40, quiet = true, errors = true }.scores
  local found = {}
  for _, score in ipairs(scores) do
    if score.unit then found[score[1]] = pf.stats.mean(score[2]) end
  end
  local steps, wrong_values = 0, 0
  for _, draw in ipairs { { n = 1, temperature = 0 }, { n = 2, seed = 1 } } do
    draw.max_tokens = 40
    local prompts = {}
    for i, problem in ipairs(problems) do prompts[i] = problem.text end
    for i, list in ipairs(model:generate(prompts, draw)) do
      for _, sample in ipairs(list) do
        local verdict = task:verify(problems[i], sample.text)
        steps = steps + math.max(1, #verdict.steps)
        wrong_values = wrong_values + (verdict.error and verdict.error.type == "value" and 1 or 0)
      end
    end
  end
  assert(wrong_values > 0)
  check.near(found.error_value, 1000 * wrong_values / steps, 1e-6)
end)

tiny.clean()
check.done()
