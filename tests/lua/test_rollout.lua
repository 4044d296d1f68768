-- Continuations from prefixes, their cache, steps' credit, triples.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local tiny = dofile((arg[0]:match("^.*/") or "") .. "tiny.lua")
local pf = require "pofit"
local task, tok, dir = tiny.task, tiny.tok, tiny.dir
local model = tiny.model(1, 230)
local problems = task:problems("preference", 12)

local function plain(samples) return pf.json.encode(samples) end

local function starts(first, last)
  local out = {}
  for i = first, last do out[#out + 1] = { problem = problems[i] } end
  return out
end

check.test("rollouts: judged whole, counted, equal to generate", function()
  local samples, counts = pf.rollout(model, starts(1, 12), { n = 6, task = task, max_tokens = 40, seed = 3 })
  check.eq({ #samples, #samples[1], counts.samples, counts.prefixes, counts.cached }, { 12, 6, 72, 12, 0 })
  local same = model:generate({ problems[2].text }, { n = 6, max_tokens = 40, seed = 3 })[1]
  local right = 0
  for i, list in ipairs(samples) do
    for k, s in ipairs(list) do
      if i == 2 then check.eq({ s.ids, s.text, s.finish }, { same[k].ids, same[k].text, same[k].finish }) end
      local verdict = task:verify(problems[i], s.text)
      check.eq(s.correct, verdict.correct and s.finish == "eos")
      check.eq(s.answer, verdict.answer)
      right = right + (s.correct and 1 or 0)
    end
  end
  check.eq(counts.right, right)
  check.ok(right > 5 and right < 67, right .. " of 72 are right: the test's policy knows too much or too little")
end)

check.test("from a prefix, the whole answer is judged; a continuation that was cut is wrong, and counted", function()
  local p = problems[1]
  local solution = tok:encode(task:solution(p), { special = false })
  local all = table.move(solution, 1, #solution, 1, {})
  local samples = pf.rollout(model, { { problem = p, ids = table.move(all, 1, #all - 1, 1, {}) } },
    { n = 8, task = task, max_tokens = 4, temperature = 0 })
  check.eq(samples[1][1].ids[1], all[#all], "the last digit follows from the rest")
  check.eq(samples[1][1].correct, samples[1][1].finish == "eos")
  local short, counts = pf.rollout(model, { { problem = p, ids = table.move(all, 1, #all - 1, 1, {}) } },
    { n = 8, task = task, max_tokens = 1, temperature = 0 })
  check.eq({ counts.cut, counts.right, short[1][1].correct }, { 8, 0, false })
end)

check.test("equal prefixes are sampled once; the draw does not depend on what else is asked", function()
  local twice, counts = pf.rollout(model, { starts(3, 3)[1], starts(4, 4)[1], starts(3, 3)[1] },
    { n = 4, task = task, max_tokens = 30, seed = 9 })
  check.eq({ counts.prefixes, counts.samples }, { 2, 8 })
  check.eq(plain(twice[1]), plain(twice[3]))
  local alone = pf.rollout(model, starts(3, 3), { n = 4, task = task, max_tokens = 30, seed = 9 })
  check.eq(plain(alone[1]), plain(twice[1]))
end)

-- ---- the cache ----

local cache = dir .. "/cache"
local function cached(o, first, last, m)
  local opts = { n = 4, task = task, max_tokens = 30, seed = 1, cache = cache, quiet = true }
  for name, value in pairs(o or {}) do opts[name] = value end
  return pf.rollout(m or model, starts(first or 1, last or 6), opts)
end
local function files()
  local list = {}
  for path in io.popen("ls " .. cache):lines() do list[#list + 1] = cache .. "/" .. path end
  return list
end

check.test("the cache gives the same samples and counts, and grows", function()
  local a, ca = cached()
  local b, cb = cached()
  check.eq(plain(a), plain(b))
  check.eq({ ca.cached, cb.cached, cb.tokens, cb.right, #files() }, { 0, 6, ca.tokens, ca.right, 1 })
  local c, cc = cached({}, 4, 9)
  check.eq({ cc.cached, #files() }, { 3, 1 })
  check.eq(plain(c[1]), plain(a[4]))
end)

check.test("texts from the cache are those that were sampled, with a tokenizer that drops a leading space", function()
  local data = os.getenv "POFIT_TESTDATA"
  if not data then return check.skip("texts from the cache", "POFIT_TESTDATA is not set") end
  local stories = pf.model.load(data .. "/data/stories260K/stories260K.gguf")
  local o = { n = 8, max_tokens = 30, seed = 5, stop = "the", cache = dir .. "/stories", quiet = true }
  local prompt = stories.tokenizer:encode("Tom and Lily")
  local went = stories.tokenizer:encode("went", { special = false })
  local starts_at = { { prompt = prompt }, { prompt = prompt, ids = went } }
  local first, again = pf.rollout(stories, starts_at, o), pf.rollout(stories, starts_at, o)
  check.eq(again, first)
  check.ok(first[1][1].text:find "^ ", "no leading space in " .. first[1][1].text)
  local judged = {}
  o.task = { verify = function(_, _, text)
    judged[#judged + 1] = text
    return { correct = false }
  end }
  starts_at = { { problem = { text = "Tom and Lily" }, ids = went } }
  local samples = pf.rollout(stories, starts_at, o)[1]
  for k, text in ipairs(judged) do check.eq(text, " went" .. samples[(k - 1) % 8 + 1].text) end
end)

check.test("another seed, option, model or task has a file of its own", function()
  local n = #files()
  for i, o in ipairs { { seed = 2 }, { n = 5 }, { temperature = 0.5 }, { max_tokens = 31 }, { stop = ";" } } do
    check.eq(select(2, cached(o)).cached, 0)
    check.eq(#files(), n + i)
    check.eq(select(2, cached(o)).cached, 6)
  end
  check.eq(select(2, cached({}, 1, 6, tiny.model(2))).cached, 0)
end)

check.test("verdicts are kept only of a task with an id", function()
  local asked = 0
  local counting = { verify = function(_, p, text)
    asked = asked + 1
    return task:verify(p, text)
  end }
  local a = cached { task = counting, seed = 21 }
  check.eq(plain(cached { task = counting, seed = 21 }), plain(a))
  check.eq(asked, 24 * 3, "judged when sampled, and anew each time")
  counting.id, asked = "chain 10, version 1", 0
  local b = cached { task = counting, seed = 21 }
  check.eq(plain(b), plain(a))
  check.eq(plain(cached { task = counting, seed = 21 }), plain(a))
  check.eq(asked, 24)
end)

check.test("a corrupt cache is named and made anew, one of another run put aside", function()
  os.execute("rm -rf " .. cache)
  local a = cached()
  local path = files()[1]
  for _, broken in ipairs { "", "no zstd", pf.sys.read(path):sub(1, -20) } do
    pf.sys.write(path, broken)
    local b, counts = cached()
    check.eq(plain(b), plain(a))
    check.eq(counts.cached, 0)
    check.eq(select(2, cached()).cached, 6)
  end
  local text = pf.sys.read_zst(path)
  pf.sys.write_zst(path, (text:gsub("seed 1", "seed 7", 1)))
  check.eq({ select(2, cached()).cached, select(2, cached()).cached }, { 0, 6 })
  pf.sys.write_zst(path, text:sub(1, #text // 2))
  check.eq(plain(cached()), plain(a))
end)

check.test("mistakes are named", function()
  check.fails("did you mean \"seed\"", pf.rollout, model, { "1+1?" }, { sed = 1 })
  check.fails("prefix 2: has neither prompt nor problem", pf.rollout, model, { "1+1?", { ids = { 3 } } })
  check.fails("prefix 1: prompt is a boolean", pf.rollout, model, { { prompt = true } })
end)

-- ---- credit ----

check.test("values, advantages and first pits: the worked case", function()
  local hits = { 5, 6, 5, 5, 1, 0, 0 }
  local v, q, a = pf.credit.values(hits, 8)
  check.eq({ v, q, a }, { 0.625, { 0.75, 0.625, 0.625, 0.125, 0.0, 0.0 }, { 0.125, -0.125, 0.0, -0.5, -0.125, 0.0 } })
  local c = { q = q, advantage = a }
  check.eq({ pf.credit.pit(c), pf.credit.pit(c, { rule = "min_adv" }) }, { 5, 4 })
  check.eq(pf.credit.pit(c, { rule = "first_below", threshold = 0.7 }), 2)
  check.eq(pf.credit.pit(c, { rule = "first_below", threshold = 0 }), nil)
  local v5, q5, a5 = pf.credit.values(hits, 8, { k = 5 })
  check.near(v5, 0.9925842285, 1e-10)
  for i, want in ipairs { .9990234375, .9925842285, .9925842285, .4870910645, 0, 0 } do
    check.near(q5[i], want, 1e-10)
  end
  for i, want in ipairs { .006439208984, -.006439208984, 0, -.5054931641, -.4870910645, 0 } do
    check.near(a5[i], want, 1e-10)
  end
  local vu, qu = pf.credit.values(hits, 8, { k = 5, estimator = "unbiased" })
  check.eq({ vu, qu }, { 1.0, { 1.0, 1.0, 1.0, 0.625, 0.0, 0.0 } })
  check.eq(pf.credit.pit({ q = { 0.5, 0.2, 0.2 }, advantage = { 0, -0.3, 0 } }), 2, "the first of equal ones")
  check.fails("estimator", pf.credit.values, hits, 8, { estimator = "biased" })
  check.fails("rule is", pf.credit.pit, c, { rule = "min" })
end)

local samples = pf.rollout(model, starts(1, 12), { n = 8, task = task, max_tokens = 40, seed = 5 })
local wrong, right = {}, {}
for i, list in ipairs(samples) do
  for _, s in ipairs(list) do
    s.problem = problems[i]
    if s.correct then right[i] = s else wrong[#wrong + 1] = s end
  end
end
local credits = pf.credit(model, wrong, { task = task, n = 8, k = 2, max_tokens = 40, seed = 5, cache = dir .. "/q" })

check.test("credit of sampled answers: prefixes cut on the sampled tokens, the tail is a step", function()
  for _, c in ipairs(credits) do
    local L = #c.steps
    check.eq({ #c.q, #c.hits, #c.rollouts, c.steps[1].first, c.steps[L].last }, { L, L + 1, L, 1, #c.answer.ids })
    check.eq(c.q[L], 0.0)
    local sum = 0
    for _, a in ipairs(c.advantage) do sum = sum + a end
    check.near(sum, c.q[L] - c.v, 1e-12, "advantages telescope")
    for t, i in ipairs(c.of) do check.ok(t >= c.steps[i].first and t <= c.steps[i].last) end
    for i = 1, L do
      local prefix = table.move(c.answer.ids, 1, i == 1 and 0 or c.steps[i - 1].last, 1, {})
      local again = pf.rollout(model, { { problem = c.answer.problem, ids = prefix } },
        { n = 8, task = task, max_tokens = 40, seed = 5 })[1]
      local hits = 0
      for _, s in ipairs(again) do hits = hits + (s.correct and 1 or 0) end
      check.eq(c.hits[i], hits)
    end
    if c.steps[1].ok == false then
      check.eq(c.hits[2] <= 2, true, "a first step that is wrong leaves little hope")
    end
  end
  local again, counts = pf.credit(model, wrong, { task = task, n = 8, k = 2, max_tokens = 40, seed = 5,
    cache = dir .. "/q" })
  check.eq({ counts.cached, again[1].q }, { counts.prefixes, credits[1].q })
end)

check.test("pairs: a right answer against the prefix that ends in the pit, without EOS", function()
  local made = 0
  for _, c in ipairs(credits) do
    local i = c.answer.problem.index
    local row = right[i] and pf.credit.full_against_prefix(c, right[i])
    if row then
      made = made + 1
      check.eq({ row.prompt, row.prefix, row.chosen.ids }, { problems[i].text, {}, right[i].ids })
      local last = c.steps[pf.credit.pit(c)].last
      check.eq(row.rejected.ids, table.move(c.answer.ids, 1, last, 1, {}))
      local b = pf.data.preference({ row }, tok):batch { 1 }
      local ids = b.rows[2].ids
      check.eq({ #ids - b.rows[2].scored_from + 1, ids[#ids] }, { last, row.rejected.ids[last] })
    end
  end
  check.ok(made > 5, made .. " pairs")
end)

check.test("pairs: both sides from one prefix, good step against pit", function()
  local made = 0
  for _, c in ipairs(credits) do
    local row = pf.credit.same_prefix(model, c, { task = task, rule = "min_adv" })
    if row then
      made = made + 1
      local pit = c.steps[pf.credit.pit(c, { rule = "min_adv" })]
      check.eq(row.prefix, table.move(c.answer.ids, 1, pit.first - 1, 1, {}))
      check.eq(row.rejected.ids, table.move(c.answer.ids, pit.first, pit.last, 1, {}))
      local ids = table.move(row.prefix, 1, #row.prefix, 1, {})
      table.move(row.chosen.ids, 1, #row.chosen.ids, pit.first, ids)
      local text = tok:decode(ids, { skip_special = true })
      local steps = pf.steps(text, task, { problem = c.answer.problem })
      for _, s in ipairs(steps) do
        if s.first > #row.prefix then check.eq(s.ok, true, text) end
      end
      local b = pf.data.preference({ row }, tok):batch { 1 }
      check.eq(b.entries, #row.chosen.ids + #row.rejected.ids, "only the continuations are scored")
    end
  end
  check.ok(made > 5, made .. " pairs")
end)

check.test("weighted rows: the step of each token, for pf.loss.advantage", function()
  local row = pf.credit.weighted(credits[1])
  local batch = pf.batch(tok, { row })
  check.eq(batch.step:totable(), credits[1].of)
  local loss = pf.loss.advantage { logp = model:logp(batch), step = batch.step, advantage = row.advantage,
    temperature = 0.5, sequences = 1 }
  local want, lp = 0, model:logp(batch):totable()
  for t, i in ipairs(credits[1].of) do want = want - math.exp(row.advantage[i] / 0.5) * lp[t] end
  check.near(loss:item(), want, 1e-3)
end)

-- ---- triples ----

check.test("a triple keeps its ids, on disk too, and scores what follows the prefix", function()
  local good, bad = { ids = { 5, 6, 7, 8, tok.eos }, finish = "eos" }, { ids = { 5, 6, 9, 9, 4 }, finish = "length" }
  local row = pf.triple { prompt = "1+2?", good = good, bad = bad }
  check.eq({ row.prefix, row.chosen, row.rejected }, { { 5, 6 }, { ids = { 7, 8, tok.eos }, finish = "eos" },
    { ids = { 9, 9, 4 }, finish = "length" } })
  local cut = pf.triple { prompt = "1+2?", good = good, bad = bad, first = 2, good_last = 3, bad_last = 4 }
  check.eq({ cut.prefix, cut.rejected.ids }, { { 5 }, { 6, 9, 9 } })
  check.eq(cut.chosen, { ids = { 6, 7 }, finish = "length" })
  local set = pf.data.preference({ row, cut }, tok)
  local b, head = set:batch { 1, 2 }, tok:encode "1+2?"
  check.eq(b.rows[1].ids, table.move({ 5, 6, 7, 8, tok.eos }, 1, 5, #head + 1, table.move(head, 1, #head, 1, {})))
  check.eq(b.target:totable(), { 7, 8, tok.eos, 9, 9, 4, 6, 7, 6, 9, 9 })
  pf.data.save(dir .. "/rows.jsonl", { row, cut })
  check.eq(pf.data.preference(pf.data.jsonl(dir .. "/rows.jsonl"), tok):fingerprint(), set:fingerprint())
  check.fails("differ in token 3, which is before first = 4", pf.triple,
    { prompt = "", good = good, bad = bad, first = 4 })
  check.fails("bad ends with the shared prefix, after token 2", pf.triple, { prompt = "", good = good, bad = { 5, 6 } })
  check.fails("the same tokens", pf.triple, { prompt = "", good = good, bad = bad, first = 2, good_last = 2,
    bad_last = 2 })
  check.fails("are the same", pf.triple, { prompt = "", good = good, bad = good })
  check.fails("tokens 3 to 9 of bad, which has 5", pf.triple, { prompt = "", good = good, bad = bad, bad_last = 9 })
  check.fails("bad is not a sample", pf.triple, { prompt = "", good = good, bad = "text" })
  check.fails("row 1: prefix is a string", pf.data.preference,
    { { prompt = "1+2?", prefix = "x", chosen = "#3", rejected = "#4" } }, tok)
end)

check.test("assessment accuracy: pairs of right and wrong samples by their mean log-probability", function()
  local groups = {}
  for i = 1, 12 do groups[i] = { prompt = problems[i].text, samples = samples[i] } end
  groups[13] = { prompt = "1+1?", samples = { { ids = {}, correct = false }, { ids = { 3 }, correct = true } } }
  local got, pairs_seen, won = pf.evaluate.assessment(model, groups), 0, 0
  for i = 1, 12 do
    local score = {}
    for k, s in ipairs(samples[i]) do
      local b = pf.batch(tok, { { prompt = problems[i].text, completion = s.ids } })
      score[k] = model:logp(b):mean():item()
    end
    for a, x in ipairs(samples[i]) do
      for b, y in ipairs(samples[i]) do
        if x.correct and not y.correct then
          pairs_seen = pairs_seen + 1
          won = won + (score[a] > score[b] + 1e-5 and 1 or math.abs(score[a] - score[b]) <= 1e-5 and 0.5 or 0)
        end
      end
    end
  end
  check.eq(got.pairs, pairs_seen)
  check.near(got.accuracy, won / pairs_seen, 0.01)
  check.ok(got.right > -20 and got.wrong < 0)
end)

tiny.clean()
check.done()
