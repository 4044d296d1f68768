-- What rounds of sampling, keeping and training are made of: keep-rules, buffers, the user's own problems, online data.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local tiny = dofile((arg[0]:match("^.*/") or "") .. "tiny.lua")
local pf = require "pofit"
local dir, tok = tiny.dir, tiny.tok

local function answers(letters) -- capital letters are right
  local out = {}
  for c in letters:gmatch(".") do out[#out + 1] = { text = c, correct = c:find("%u") ~= nil } end
  return out
end
local function letters(samples)
  local out = {}
  for i, s in ipairs(samples) do out[i] = s.text end
  return table.concat(out)
end

check.test("keep: the rules", function()
  local s, p = answers "aBcDEf", { text = "p" }
  check.eq(letters(pf.keep.right()(s, p)), "BDE")
  check.eq(letters(pf.keep.right(2)(s, p)), "BD")
  check.eq(letters(pf.keep.all()(s, p)), "aBcDEf")
  -- targets by share of wrong samples: 8, 5, 2, 1 for 1, .6, .25, .01
  for _, case in ipairs { { 0.6, 5 }, { 0.25, 2 }, { 0.01, 1 } } do
    local many = {}
    for i = 1, 100 do many[i] = { text = "x", correct = i > 100 * case[1] } end
    check.eq(#pf.keep.quota(8)(many, p), math.min(case[2], math.floor(100 - 100 * case[1] + 0.5)))
  end
  check.eq(letters(pf.keep.quota(function(fail) return fail < 0.6 and 2 or 9 end)(s, p)), "BD")
  check.eq(letters(pf.keep.quota(8)(answers "ab", p)), "")
  local gold = function(problem) return { text = "gold of " .. problem.text } end
  check.eq(letters(pf.keep.own_or(gold)(s, p)), "B")
  check.eq(letters(pf.keep.own_or(gold)(answers "ab", p)), "gold of p")
  check.eq({ letters(pf.keep.own_or()(s, p)), #pf.keep.own_or()(answers "ab", p) }, { "B", 0 })
  check.eq(letters(pf.keep.best()(s, p)), "B")
  local scored = { { text = "a", reward = -1 }, { text = "b", reward = 0 }, { text = "c", reward = 0 } }
  check.eq(letters(pf.keep.best()(scored, p)), "b")
  check.eq(pf.keep.best()({}, p), {})
  check.fails("score of a sample is a nil", pf.keep.best(function() end), s)
end)

check.test("buffer: each different answer once, best so far, on disk", function()
  local b = pf.buffer()
  local problems = { { text = "1+1?" }, { text = "1+2?" } }
  local function sample(ids, reward)
    return { ids = ids, reward = reward, correct = reward == 1, text = "t", round = 1 }
  end
  check.eq(b:add(problems[1], sample({ 1, 2 }, 0)), true)
  check.eq(b:add("1+1?", sample({ 1, 2 }, 1)), false)
  check.eq(b:keep(problems, { { sample({ 1, 2 }, 0), sample({ 3 }, 1) }, { sample({ 12 }, 1) } }, pf.keep.all()), 2)
  check.eq({ b.n, #b:get(problems[1]), #b:get("1+2?"), #b:get("9?") }, { 3, 2, 1, 0 })
  check.eq(b:rows(), { { prompt = "1+1?", completion = { 1, 2 } }, { prompt = "1+1?", completion = { 3 } },
    { prompt = "1+2?", completion = { 12 } } })
  b:save(dir .. "/buffer.zst")
  local again = pf.buffer():load(dir .. "/buffer.zst")
  check.eq(again:rows(), b:rows())
  check.eq({ again:get("1+1?")[2].reward, again:get("1+1?")[2].correct, again:get("1+1?")[2].round }, { 1, true, 1 })
  again:only(pf.keep.best())
  check.eq({ again.n, again:get("1+1?")[1].ids, again:add("1+1?", sample({ 1, 2 }, 0)) }, { 2, { 3 }, true })
  local text = pf.sys.read_zst(dir .. "/buffer.zst")
  pf.sys.write_zst(dir .. "/cut.zst", text:match("^[^\n]*\n[^\n]*\n"))
  check.fails("cut.zst is cut: 2 samples of 3", function() return pf.buffer():load(dir .. "/cut.zst") end)
  pf.sys.write_zst(dir .. "/bad.zst", '{"problems": 1, "samples": 1}\n\n{"problem": 5x}\n')
  check.fails("bad.zst:3:14: not valid JSON", function() return pf.buffer():load(dir .. "/bad.zst") end)
  check.fails("neither ids nor text", function() return pf.buffer():add("p", {}) end)
end)

-- ---- the user's own problems ----

check.test("own: final answers are compared, as numbers where they are", function()
  local task = pf.task.own()
  local p = { text = "q", answer = "He has 1,200.\n#### 1200" }
  for text, right in pairs { ["3*400=1200\n#### 1,200"] = true, ["#1200.0"] = true, ["work\n$1200."] = true,
    ["#### 1201"] = false, ["1200 it is"] = false, [""] = false, ["#"] = false } do
    check.eq(task:verify(p, text).correct, right, text)
  end
  check.eq(task:verify({ text = "q", answer = "Paris" }, "I think\nParis\n\n").correct, true)
  check.eq(task:verify(p, "#### 7").answer, task:verify(p, "x # 7.0").answer, "votes for a number count together")
  check.eq(task:steps("a\nb\nc"), { { first = 1, last = 2, text = "a\n" }, { first = 3, last = 4, text = "b\n" } })
end)

check.test("own: a verifier from a file", function()
  local path = dir .. "/my_verifier.lua"
  pf.sys.write(path, "return function(problem, text) return text == problem.answer:rep(2) end")
  local task = pf.task.own { verifier = path }
  check.eq({ task:verify({ answer = "a" }, "aa").correct, task:verify({ answer = "a" }, "a").correct }, { true, false })
  local id = task.id
  pf.sys.write(path, [[return { verify = function(p, text) return { correct = #text > 2, answer = #text } end,
    steps = function(text) return { { first = 1, last = #text, text = text } } end }]])
  local other = pf.task.own { verifier = path }
  check.ok(other.id ~= id, "another file is another verifier")
  check.eq({ other:verify({}, "abc"), other:steps("abc")[1].last }, { { correct = true, answer = 3 }, 3 })
  pf.sys.write(path, "return 7")
  check.fails("my_verifier.lua: expected a function.*returns a number", pf.task.own, { verifier = path })
  pf.sys.write(path, "return function( return end")
  check.fails("my_verifier.lua:1: ", pf.task.own, { verifier = path })
  local says_nothing = pf.task.own { verifier = function() end }
  check.fails("verifier returned a nil", function() return says_nothing:verify({}, "a") end)
end)

local function words(list)
  local old = _G.arg
  _G.arg = table.move(list, 1, #list, 1, { [0] = "x.lua" })
  local opt = pf.options(pf.problems.options { "what", { "name", "x", "run" }, { "problems", 20, "how many" } })
  _G.arg = old
  return opt
end
local function open(list) return pf.problems(words(list), { dir = dir, count = function() end }) end

check.test("problems: the user's rows, split without overlap", function()
  local lines = {}
  for i = 1, 30 do lines[i] = ('{"question": "%d+1?", "answer": "%d+1=%d;#%d"}'):format(i % 10, i % 10, i, i) end
  pf.sys.write(dir .. "/mine.jsonl", table.concat(lines, "\n"))
  tiny.model(1):save(dir .. "/m")
  local set = open { "--model", dir .. "/m", "--data", dir .. "/mine.jsonl", "--heldout_share", "0.2" }
  check.eq({ #set.train, #set.heldout, set.max_tokens }, { 20, 6, 400 })
  local seen = {}
  for _, list in ipairs { set.train, set.heldout } do
    for _, p in ipairs(list) do
      check.ok(not seen[p.index])
      seen[p.index] = true
    end
  end
  check.eq(set.task:verify(set.train[1], set.train[1].answer).correct, true)
  local samples = set:sample(set.heldout, { n = 2, max_tokens = 5 })
  check.eq({ #samples, #samples[1], samples[1][1].correct, pf.sys.exists(dir .. "/rollouts") }, { 6, 2, false, true })
  check.eq(#set:measure(set.model, 1).scores[2][2], 6)
  check.eq(pf.problems.solutions(set.task, set.train)[1].completion, set.train[1].answer)
  check.fails("--data needs %-%-model", open, { "--data", dir .. "/mine.jsonl" })
  pf.sys.write(dir .. "/mine.jsonl", '{"question": "1+1?", "answer": "#2"}\n{"question": "1+1?"}\n')
  check.fails("mine.jsonl:2: field \"answer\" is missing", open,
    { "--model", dir .. "/m", "--data", dir .. "/mine.jsonl" })
end)

-- ---- online data ----

check.test("online: made anew every so many updates, from the policy as it is", function()
  local model, made, updates = tiny.model(2), {}, 0
  local solutions = pf.problems.solutions(tiny.task, tiny.task:problems("preference", 8))
  local data = pf.online { every = 2, n = 8, data = function(rows) return pf.data.completion(rows, tok) end,
    make = function(m, k)
      made[#made + 1] = { k, m:fingerprint(), updates }
      return table.move(solutions, 1, 5, 1, {})
    end }
  pf.train { model = model, data = data, steps = 5, batch = 8, lr = 1e-2, quiet = true, schedule = "constant",
    loss = function(m, b)
      updates = updates + 1
      check.eq(b.sequences, 8, "rows wrap around")
      return pf.loss.nll { logp = m:logp(b) }
    end }
  check.eq({ #made, made[1][1], made[2][1], made[3][1] }, { 3, 0, 1, 2 })
  check.eq({ made[1][3], made[2][3], made[3][3] }, { 0, 2, 4 }, "before updates 1, 3 and 5")
  check.ok(made[1][2] ~= made[2][2] and made[2][2] ~= made[3][2])
  local empty = pf.online { every = 1, n = 1, data = print, make = function() return {} end }
  check.fails("the first making gave no rows", function() empty:at(1, model) end)
  check.fails("online needs make=", pf.online, { every = 1, n = 1 })
end)

-- ---- groups ----

check.test("groups: reference, right and wrong samples of a question, equal ones once", function()
  local problems = { { text = "1+2?" }, { text = "2+2?" } }
  local function sample(text, correct)
    local ids = tok:encode(text, { special = false })
    ids[#ids + 1] = tok.eos
    return { ids = ids, correct = correct }
  end
  local samples = { { sample("#3", true), sample("#4", false), sample("#4", false), sample("#33", false) },
    { { ids = {}, correct = false } } }
  local function solution(p) return p.text == "1+2?" and "1+2=3;#3" or "2+2=4;#4" end
  local set = pf.groups(problems, samples, tok, { solution = solution })
  local b = set:batch { 2, 1 }
  check.eq({ b.sequences, b.reference, b.positive, b.negative }, { 5, { 1, 2 }, { { 1 }, { 2, 3 } }, { {}, { 4, 5 } } })
  local first = b.target:totable()
  check.eq(tok:decode(table.move(first, 1, 9, 1, {}), { skip_special = true }), "2+2=4;#4")
  local without = pf.groups(problems, samples, tok, { solution = solution, reference_positive = false })
  check.eq(without:batch({ 2, 1 }).positive, { {}, { 3 } })
  check.eq(without:fingerprint(), set:fingerprint())
  check.matches(set:summary(), "2 questions, 1 with something to compare; 1 different right and 2 wrong")
  -- a question without wrong samples adds nothing but its reference
  local m = tiny.model(1)
  local s = pf.mean_by(m:logp(b), b.sequence, b.sequences)
  check.eq(pf.loss.align({ positive = s:index(b.positive[1]), negative = s:index(b.negative[1]) }):item(), 0.0)
  check.fails("no questions left.*2 questions too long", pf.groups, problems, samples, tok,
    { solution = solution, max_length = 9 })
end)

check.test("rounds: mistakes are named", function()
  check.fails("rounds needs run=", pf.rounds, { model = 1 })
  check.fails("no option \"round\"", pf.rounds, { round = 1 })
end)

tiny.clean()
check.done()
