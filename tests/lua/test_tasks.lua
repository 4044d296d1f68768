-- The tasks besides CHAIN: STAR, BANDIT, GSM8K; what CHAIN has in front of the expression; splits; exact values.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pf = require "pofit"
local random = pf.random
local data = os.getenv("POFIT_TESTDATA")

local function verdict(task, problem, text)
  local v = task:verify(problem, text)
  return v.correct and "correct" or ("%s@%d"):format(v.error.type, v.error.step)
end

-- ---- what every task that draws its problems promises ----

local drawn = {
  chain = { pf.task.chain, { modulus = 10, irrelevant = 1, cue = 0.9 } },
  star = { pf.task.star, { arms = 3, length = 2 } },
  bandit = { pf.task.bandit, {} },
}

for name, entry in pairs(drawn) do
  local new, base = entry[1], entry[2]
  local function make(extra)
    local o = {}
    for k, v in pairs(base) do o[k] = v end
    for k, v in pairs(extra or {}) do o[k] = v end
    return new(o)
  end

  check.test(name .. ": problems are a function of seed, split and index; splits share none", function()
    local a, b, owner = make(), make(), {}
    local late = b:problems("preference", 20, 11)
    for i, p in ipairs(a:problems("preference", 30)) do
      check.eq({ p.index, p.split }, { i, "preference" })
      if i > 10 then check.eq(p.text, late[i - 10].text) end
    end
    check.ok(make { seed = 2 }:problem("train", 1).text ~= a:problem("train", 1).text)
    for seed = 1, 2 do
      local t = make { seed = seed, splits = { "final" } }
      for _, split in ipairs { "train", "preference", "heldout", "final" } do
        for _, p in ipairs(t:problems(split, 100)) do
          local key = name == "chain" and p.text:match("[^,]*$") or p.text
          check.ok((owner[key] or split) == split, key)
          owner[key] = split
        end
      end
    end
    local few, seen = { chain = { operands = { 2, 2 } }, bandit = { context = 2 } }, {}
    local small = make(few[name])
    for _, p in ipairs(small:problems("train", 30)) do
      check.ok(not seen[p.text], "twice: " .. p.text)
      seen[p.text] = true
    end
    check.fails("no split \"valid\"", a.problem, a, "valid", 1)
    check.fails("unknown option armz", make, { armz = 1 })
    check.fails("seed is an integer", make, { seed = "x" })
  end)

  check.test(name .. ": problems can be read back, solutions are right, lengths and letters hold", function()
    local t, letters = make(), {}
    for _, c in ipairs(t:vocabulary()) do letters[c] = true end
    local long_problem, long_solution = t:longest()
    for i, row in ipairs(t:rows("train", 50)) do
      local p, solution = row.problem, t:solution(row.problem)
      check.eq(row.prompt, p.text)
      local again = t:read(p.text)
      check.eq(again.answer, p.answer)
      check.eq(verdict(t, p, solution), "correct")
      check.eq(verdict(t, p.text, solution), "correct")
      for c in (p.text .. solution .. row.completion):gmatch(".") do check.ok(letters[c], c) end
      check.ok(#p.text <= long_problem and #solution <= long_solution)
      local steps, whole = t:steps(solution, p), t:steps(p.text .. solution)
      check.eq(#steps, #whole)
      check.eq(whole[1].first, #p.text + 1)
      local right = {}
      for _, text in ipairs(t:solutions(p)) do
        check.eq(verdict(t, p, text), "correct")
        check.ok(not right[text], "twice")
        right[text] = true
      end
      check.ok(right[solution])
      check.eq(verdict(t, p, solution .. "?"), ("format@%d"):format(name == "bandit" and 1 or #steps + 1), i)
      check.eq(verdict(t, p, ""), "unfinished@1")
    end
  end)
end

-- ---- CHAIN: irrelevant operands and the cue ----

check.test("chain: irrelevant operands stand in front and change nothing else", function()
  local plain, with = pf.task.chain { modulus = 10 }, pf.task.chain { modulus = 10, irrelevant = 2 }
  for i = 1, 50 do
    local a, b = plain:problem("train", i), with:problem("train", i)
    check.eq(b.text:match("^%d,%d,(.*)$"), a.text)
    check.eq({ b.answer, #b.irrelevant, with:solution(b) }, { a.answer, 2, plain:solution(a) })
  end
  check.eq(with:read("7,3,1+2?").irrelevant, { 7, 3 })
  check.eq(verdict(with, "7,3,1+2?", "7+2=9;#9"), "operand@1")
  check.eq(verdict(with, "7,3,1+2?", "1+2=3;#3"), "correct")
  check.matches(select(2, with:read("1+2,3?")), "at character 4")
  check.matches(select(2, with:read(",1+2?")), "at character 1")
end)

check.test("chain: the cue tells the first operation as often as was said, by split", function()
  local task = pf.task.chain { modulus = 10, operands = { 3, 3 }, cue = { train = 0.9, heldout = 0 } }
  local function agreement(split)
    local n = 0
    for _, p in ipairs(task:problems(split, 600)) do
      local op = task:solution(p):match("^%d+(.)")
      check.ok(p.irrelevant[1] >= 1 and p.irrelevant[1] <= 3)
      if ("+-*"):sub(p.irrelevant[1], p.irrelevant[1]) == op then n = n + 1 end
    end
    return n / 600
  end
  check.near(agreement("train"), 0.9, 0.04)
  check.eq(agreement("heldout"), 0.0)
  check.near(agreement("preference"), 1 / 3, 0.06)
  check.fails("cue is a probability", pf.task.chain, { cue = 1.5 })
  check.fails("cue is a probability", pf.task.chain, { cue = "often" })
  check.fails("a cue needs two operations", pf.task.chain, { cue = 1, ops = "+" })
  check.fails("irrelevant is a number", pf.task.chain, { irrelevant = -1 })
end)

check.test("chain: no problem of the training split uses a gap, others do as often as the gaps are many", function()
  local task, used, all = pf.task.chain { modulus = 10, operands = { 3, 3 }, gaps = 0.3 }, {}, {}
  local function entries(p, f)
    for a, op, b in task:solution(p):gmatch("(%d+)([+*-])(%d+)=") do
      f(op ~= "-" and a > b and b .. op .. a or a .. op .. b)
    end
  end
  local function count(list)
    local n = 0
    for _ in pairs(list) do n = n + 1 end
    return n
  end
  for _, p in ipairs(task:problems("train", 1500)) do
    check.eq(task:in_gap(p), false)
    entries(p, function(entry) used[entry] = true end)
  end
  for _, p in ipairs(task:problems("heldout", 1500)) do
    local gap = false
    entries(p, function(entry)
      all[entry] = true
      gap = gap or not used[entry]
    end)
    check.eq(task:in_gap(p), gap, p.text)
  end
  check.eq(count(all), 210, "10 x 10 of -, and of + and * those with a <= b")
  check.near(count(used) / 210, 0.7, 0.06)
  check.eq(pf.task.chain { modulus = 10, operands = { 3, 3 } }:in_gap(task:problem("heldout", 1)), false)
  check.fails("gaps is a share", pf.task.chain, { gaps = 1 })
end)

check.test("chain: all right solutions, and no other text, are listed", function()
  local task = pf.task.chain { modulus = 10 }
  check.eq(#task:solutions("1+2+3+4?"), 6)
  check.eq(#task:solutions("1-2-3?"), 1)
  check.eq(#task:solutions("2*2-5+2*2?"), 2, "2*2 twice: which was first cannot be told")
  for _, p in ipairs(pf.task.chain { modulus = 10, operands = { 4, 5 } }:problems("train", 40)) do
    local listed = {}
    for _, text in ipairs(task:solutions(p)) do listed[text] = true end
    for seed = 1, 12 do check.ok(listed[task:solution(p, { order = "random", seed = seed })]) end
  end
end)

-- ---- STAR ----

check.test("star: mistakes have types", function()
  local task = pf.task.star { arms = 2, length = 3 }
  local p = "xa|ab|bc|xd|de|ef/xc="
  check.eq(verdict(task, p, "abc"), "correct")
  check.eq(verdict(task, p, "def"), "arm@1")
  check.eq(verdict(task, p, "dbc"), "arm@1")
  check.eq(verdict(task, p, "aec"), "edge@2")
  check.eq(verdict(task, p, "abf"), "edge@3")
  check.eq(verdict(task, p, "aba"), "back@3")
  check.eq(verdict(task, p, "abx"), "back@3")
  check.eq(verdict(task, p, "abz"), "node@3")
  check.eq(verdict(task, p, "abcf"), "end@4")
  check.eq(verdict(task, p, "ab"), "unfinished@3")
  check.eq(verdict(task, p, "a-c"), "format@2")
  local v = task:verify(p, "def")
  check.eq({ v.steps[1].ok, v.steps[2].ok, v.steps[3].ok }, { false, true, true })
  check.eq({ v.answer, v.answer_correct }, { "f", false })
  check.eq({ task:prove(task:read(p), "a", "b", "e") }, { "edge" })
  check.eq({ task:prove(task:read(p), "d", "b", "b") }, { nil, "comes after a mistake" })
  check.matches(select(2, task:read("xa|ab/xc=")), "no path leads from x to c")
  check.matches(select(2, task:read("xa|ba/xa=")), "two edges lead to a")
  check.matches(select(2, task:read("xa|a/xa=")), '"a" is not an edge')
  check.fails("need 7 nodes", pf.task.star, { arms = 2, length = 3, nodes = 6 })
  check.fails("arms is an integer from 2", pf.task.star, { arms = 1 })
end)

check.test("star: the goal is on each arm equally often, and edges tell nothing by their order", function()
  local task, first = pf.task.star { arms = 4, length = 2 }, 0
  for _, p in ipairs(task:problems("train", 800)) do
    if p.text:sub(1, 2):find(p.path[1]) then first = first + 1 end
    check.eq(#p.path, 2)
    check.eq(p.path[2], p.answer)
  end
  check.near(first / 800, 1 / 4, 0.05)
end)

-- ---- BANDIT ----

check.test("bandit: rewards and the behaviour policy are those of the formulas", function()
  local task = pf.task.bandit {}
  check.near(task.rewards[71], 1, 0)
  check.near(task.rewards[81], math.exp(-1), 1e-15)
  check.near(task.rewards[21], math.exp(-25), 1e-15)
  local sum, mode = 0, 2
  for a = 1, 100 do
    sum = sum + task.behaviour[a]
    if a > 1 and a < 100 and task.behaviour[a] > task.behaviour[mode] then mode = a end
  end
  check.near(sum, 1, 1e-12)
  check.ok(mode > 10 and mode < 25, "the data lie left: " .. mode)
  check.near(task.behaviour[1], 0.5 + math.atan((0.5 * math.log(0.02 / 1.98) + 0.7) / 0.4) / math.pi, 1e-12)
  -- the middle of the distribution: tanh(-0.7) = -0.604 is in the bin of action 19
  local below = 0
  for a = 1, 19 do below = below + task.behaviour[a] end
  check.ok(below < 0.5 and below + task.behaviour[20] > 0.5)
  local counts, n = {}, 4000
  for i, p in ipairs(task:problems("train", n / 4)) do
    for k = 1, 4 do
      local a = tonumber(task:act(p, k))
      check.eq(task:act(p, k), task:act(p, k))
      counts[a] = (counts[a] or 0) + 1
      check.ok(i > 0)
    end
  end
  for a = 0, 99 do
    local expected = task.behaviour[a + 1]
    check.near((counts[a] or 0) / n, expected, 5 * math.sqrt(expected / n) + 1e-3)
  end
end)

check.test("bandit: answers have a reward, and mistakes a side", function()
  local task = pf.task.bandit { peak = 20 }
  local p = task:problem("heldout", 1)
  check.eq(verdict(task, p, "20"), "correct")
  check.eq(verdict(task, p, "23"), "correct")
  check.eq(verdict(task, p, "24"), "above@1")
  check.eq(verdict(task, p, "16"), "below@1")
  check.eq(verdict(task, p, "2"), "unfinished@1")
  check.eq(verdict(task, p, "200"), "format@1")
  check.near(task:verify(p, "30").reward, math.exp(-1), 1e-15)
  check.eq(task:verify(p, "3").reward, 0.0)
  check.eq(task:solutions(p), { "17", "18", "19", "20", "21", "22", "23" })
  check.fails("peak is an action", pf.task.bandit, { peak = 100 })
  check.fails("target is a number above 0 and at most 1", pf.task.bandit, { target = 2 })
end)

-- ---- exact values ----

-- Writes right and wrong results of the first step of 1+2*3 with 3 : 1, takes the only right order always, and copies
-- without fail: P(right | nothing) = 3/4, by hand.
local function toy(head, tails)
  local out = {}
  for i, tail in ipairs(tails) do
    out[i] = head:find("=") and 0.0 or math.log(0.75)
    check.eq(tail, ("2*3=6;1+6=7;#7"):sub(#head - #"1+2*3?" + 1))
  end
  return out
end

check.test("exact: a policy worked out by hand", function()
  local task = pf.task.chain { modulus = 10 }
  local p = task:read("1+2*3?")
  check.near(pf.exact(task, toy, p), 0.75, 1e-15)
  check.near(pf.exact(task, toy, p, "2*3=6;"), 1, 0)
  check.eq(pf.exact(task, toy, p, "2*3=5;"), 0.0)
  check.eq(pf.exact(task, toy, p, "1+2=3;"), 0.0)
  -- two orders, the one from the left with 0.5, the other with 0.3
  p = task:read("1+2+3?")
  local value, paths = pf.exact(task, function(_, tails)
    local out = {}
    for i, tail in ipairs(tails) do out[i] = math.log(tail:find("^1") and 0.5 or 0.3) end
    return out
  end, p)
  check.near(value, 0.8, 1e-15)
  check.eq({ paths[1].text, paths[2].text }, { "1+2=3;3+3=6;#6", "2+3=5;1+5=6;#6" })
  check.fails("no list of its right solutions", pf.exact, {}, toy, p)
end)

local function trained(task, dir, steps, rows)
  pf.characters(dir, task:vocabulary())
  local config = { model_type = "llama", hidden_size = 32, intermediate_size = 64, num_hidden_layers = 2,
    num_attention_heads = 4, num_key_value_heads = 2, max_position_embeddings = 64, rms_norm_eps = 1e-5,
    rope_theta = 10000, vocab_size = #task:vocabulary() + 2, bos_token_id = 0, eos_token_id = 1,
    tie_word_embeddings = true }
  local model = pf.model.new(config, { seed = 1, tokenizer = pf.tokenizer.load(dir) })
  pf.train { model = model, data = pf.data.completion(rows, model.tokenizer), steps = steps, batch = 16, lr = 5e-3,
    seed = 1, quiet = true, loss = function(m, batch) return pf.loss.nll { logp = m:logp(batch) } end }
  return model
end

-- does sampling agree? Within four standard errors, and the exact value is no trivial one.
local function compare(task, model, problem, prefix, n)
  local exact = pf.exact(task, model, problem, prefix)
  local tok, right = model.tokenizer, 0
  for _, sample in ipairs(model:generate({ tok:encode(problem.text .. prefix) }, { n = n, seed = 7,
    max_tokens = 40 })[1]) do
    if sample.finish == "eos" and task:verify(problem, prefix .. sample.text).correct then right = right + 1 end
  end
  check.near(right / n, exact, 4 * math.sqrt(exact * (1 - exact) / n) + 1e-9, problem.text .. prefix)
  return exact
end

check.test("exact: sampling converges to it, on chain and on the star", function()
  local dir = os.tmpname()
  os.remove(dir)
  -- problems that the policy has half learned, and several of whose orders it has seen
  local chain = pf.task.chain { modulus = 6, operands = { 2, 3 }, ops = "+" }
  local model = trained(chain, dir, 150, chain:rows("train", 16, { order = "random" }))
  for i = 1, 6 do
    local p = chain:problem("train", i)
    local value = compare(chain, model, p, "", 400)
    check.ok(value > 0.1 and value < 0.95, "the policy is too good, or too bad, to test anything: " .. value)
    compare(chain, model, p, chain:solutions(p)[1]:match("^.-;"), 400)
    compare(chain, model, p, "3", 400)
  end
  local star = pf.task.star { arms = 2, length = 2 }
  model = trained(star, dir, 300, star:rows("train", 200))
  for i = 1, 5 do
    local p = star:problem("heldout", i)
    local value = compare(star, model, p, "", 400)
    check.ok(value > 0.02 and value < 0.95, "the policy is too good, or too bad, to test anything: " .. value)
    compare(star, model, p, p.path[1], 400)
  end
end)

-- ---- GSM8K ----

local arithmetic = require "pofit.task.gsm8k.arithmetic"

check.test("gsm8k: expressions are worked out, by Lua as second opinion", function()
  local g = random.new(1, "expressions")
  local function make(depth)
    if depth == 0 or g:int(4) == 1 then return tostring(g:int(1, 99)) end
    local text = make(depth - 1) .. g:pick { "+", "-", "*", "/" } .. make(depth - 1)
    return g:int(3) == 1 and "(" .. text .. ")" or text
  end
  for _ = 1, 300 do
    local text = make(4)
    local want, got = load("return " .. text)(), arithmetic.value(arithmetic.tokens(text))
    if want == want and math.abs(want) < math.huge then
      check.near(got, want, 1e-9 * math.max(1, math.abs(want)), text)
    else
      check.eq(got, nil, text)
    end
  end
  check.eq(arithmetic.value(arithmetic.tokens(".5*-4")), -2.0)
  check.eq(arithmetic.value(arithmetic.tokens("+1,200/2")), 600.0)
  for _, text in ipairs { "1+", "(1", "1)", "", "*2", "1//2", "1 2", "1/0", "((", "1.2.3" } do
    local tokens = arithmetic.tokens((text:gsub(" ", "")))
    if text ~= "1 2" then check.eq(tokens and arithmetic.value(tokens), nil, text) end
  end
  check.matches(select(2, arithmetic.tokens("2x3")), '"x" is neither')
end)

check.test("gsm8k: rounded results are accepted, wrong ones are not", function()
  check.eq(arithmetic.agrees(10 / 3, "3.33"), true)
  check.eq(arithmetic.agrees(10 / 3, "3.3"), true)
  check.eq(arithmetic.agrees(10 / 3, "3"), false)
  check.eq(arithmetic.agrees(2 / 3, "0.66"), true)
  check.eq(arithmetic.agrees(2 / 3, "0.65"), false)
  check.eq(arithmetic.agrees(1200, "1,200"), true)
  check.eq({ arithmetic.write(0.5), arithmetic.write(12), arithmetic.write(100), arithmetic.write(1 / 3) },
    { "0.5", "12", "100" })
end)

-- a file of two problems, made here
local function small()
  local path = os.tmpname()
  local f = assert(io.open(path, "w"))
  f:write('{"question": "Ann has 3 bags of 4 pears and eats 2. How many are left?", "answer": "She has 3*4 = ',
    '<<3*4=12>>12 pears.\\nShe keeps 12-2 = <<12-2=10>>10.\\n#### 10", "split": "test"}\n',
    '{"prompt": "How much is 1,000 and 1?", "completion": "It is <<1000+1=1001>>1001.\\n#### 1,001"}\n')
  f:close()
  return pf.task.gsm8k { path = path }, path
end

check.test("gsm8k: mistakes have types", function()
  local task, path = small()
  local p = task:problem("heldout", 1)
  local function of(text) return verdict(task, p, text) end
  check.eq(of(p.gold), "correct")
  check.eq(of("So <<3*4=12>>12.\n#### 10"), "correct")
  check.eq(of("She has <<3*4=13>>13 pears.\n#### 10"), "value@1")
  check.eq(of("She has pears.\nThat is <<3*4=12>>13.\n#### 10"), "copy@2")
  check.eq(of("She has <<3**4=12>>12.\n#### 10"), "format@1")
  check.eq(of("She has <<3*4>>12.\n#### 10"), "format@1")
  check.eq(of("She has <<3*4=12>>12.\n#### 12"), "answer@2")
  check.eq(of("She has <<3*4=12>>12.\n#### ten"), "format@2")
  check.eq(of("She has <<3*4=12>>12.\n"), "unfinished@2")
  check.eq(of(""), "unfinished@1")
  check.eq(of("A <<3*4=12>>12, then <<12-2=11>>11.\n#### 10"), "value@1")
  local right, after = p.gold:match("^(.-\n)(.*)$")
  local function prove(text) return { task:prove(p, "", right, text, after) } end
  check.eq(prove("She has 3*4 = <<3*4=13>>13 pears.\n"), { "value" })
  check.eq(prove("She has 3*5 = <<3*5=15>>15 pears.\n"), { "operand" })
  check.eq(prove("She has 3*5 = <<3*5=16>>16 pears.\n"), { nil, "has several causes" })
  check.eq(prove("She has 3*4 = <<3*4=13>>12 pears.\n"), { nil, "has several causes" })
  check.eq(prove("She has 2*5 = <<2*5=10>>10 pears.\n"), { nil, "has several causes" })
  check.eq(prove("She has 3*4 = 13 pears.\n"), { nil, "is not one step with one annotation" })
  check.eq(prove("She has 4*3 = <<4*3=12>>12 pears.\n"), { nil, "does not change the value" })
  local steps = task:steps(p.gold, p)
  check.eq({ #steps, steps[1].value, steps[2].state, p.gold:sub(steps[2].first, steps[2].last) },
    { 2, 12, "10", "She keeps 12-2 = <<12-2=10>>10.\n" })
  check.eq(#task:problems("train", math.huge) + #task:problems("preference", math.huge), 1)
  check.fails("split heldout has 1 problems; number 2", task.problem, task, "heldout", 2)
  check.fails("no split \"test\"", task.problem, task, "test", 1)
  os.remove(path)
end)

check.test("gsm8k: bad files are refused with the line", function()
  local path = os.tmpname()
  local function with(text)
    local f = assert(io.open(path, "w"))
    f:write(text)
    f:close()
    return pf.task.gsm8k, { path = path }
  end
  check.fails(":1: the answer does not end with ####", with('{"question": "a", "answer": "b"}\n'))
  check.fails(":2 has no text \"answer\"", with('{"question": "a", "answer": "#### 1"}\n{"question": "a"}\n'))
  check.fails(":1: expected a JSON object", with("[1]\n"))
  check.fails("expected path =", pf.task.gsm8k, {})
  os.remove(path)
end)

if not data then
  check.skip("every annotation of GSM8K", "POFIT_TESTDATA is not set")
else
  check.test("every annotation of GSM8K is worked out; the few that cannot be are named", function()
    local task, bad, n = pf.task.gsm8k { path = data .. "/data/gsm8k/gsm8k_sft.jsonl" }, {}, 0
    local annotations = 0
    for _, split in ipairs { "train", "preference", "heldout" } do
      for _, p in ipairs(task:problems(split, math.huge)) do
        n = n + 1
        local v = task:verify(p, p.gold)
        annotations = annotations + select(2, p.gold:gsub("<<", ""))
        if not v.correct then bad[#bad + 1] = v.error.type .. " " .. v.error.message:match("<<.->>") end
      end
    end
    table.sort(bad)
    check.eq(n, 8792)
    check.eq(annotations, 27998)
    for _, what in ipairs(bad) do print("does not verify: " .. what) end
    check.eq(bad, { "format <<180//3=60>>", "format <<3/4=3/4>>", "format <<560//10=56>>" })
  end)
end

check.done()
