-- The names that scripts rely on: each exists and does what is said of it. Details have tests of their own.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pf = require "pofit"
local sys = pf.sys

local dir = os.tmpname()
os.remove(dir)
sys.mkdirs(dir)

local task = pf.task.chain { modulus = 20, largest = 19, operands = { 2, 3 } }
pf.characters(dir .. "/tok", task:vocabulary())
local tok = pf.tokenizer.load(dir .. "/tok")
local function tiny(seed)
  return pf.model.new({ model_type = "llama", hidden_size = 16, intermediate_size = 24, num_hidden_layers = 1,
    num_attention_heads = 2, num_key_value_heads = 1, max_position_embeddings = 96, initializer_range = 0.3,
    rms_norm_eps = 1e-5, tie_word_embeddings = true, vocab_size = tok.size, bos_token_id = 0, eos_token_id = 1 },
    { seed = seed or 1, tokenizer = tok })
end

local function near_all(got, want, tolerance)
  check.eq(#got, #want)
  for i, x in ipairs(want) do
    if type(x) == "table" then near_all(got[i], x, tolerance) else check.near(got[i], x, tolerance or 1e-6) end
  end
end

-- ---- tensors ----

check.test("tensors: operators, reductions, gradients", function()
  local x = pf.tensor({ { 1, 2 }, { 3, 4 } }, { grad = true })
  check.eq(x.dtype, "float32")
  local y = (x:exp() * 2 - 1):sum()
  y:backward()
  check.near(y:item(), 2 * (math.exp(1) + math.exp(2) + math.exp(3) + math.exp(4)) - 4, 1e-4)
  near_all(x.grad:totable(), { { 2 * math.exp(1), 2 * math.exp(2) }, { 2 * math.exp(3), 2 * math.exp(4) } }, 1e-4)
  check.eq(x.shape, { 2, 2 })
  local z, e = pf.tensor { { 1, 2 }, { 3, 5 } }, math.exp
  near_all((-(z + 1) / z ^ 2):totable(), { { -2, -3 / 4 }, { -4 / 9, -6 / 25 } })
  for name, want in pairs {
    sum = { 11, { 4, 7 } }, mean = { 11 / 4, { 2, 3.5 } }, max = { 5, { 3, 5 } }, min = { 1, { 1, 2 } },
    logsumexp = { math.log(e(1) + e(2) + e(3) + e(5)), { math.log(e(1) + e(3)), math.log(e(2) + e(5)) } },
  } do
    check.near(z[name](z):item(), want[1], 1e-5, name)
    near_all(z[name](z, 1):totable(), want[2], 1e-5)
  end
  local s = 1 / (1 + e(-1))
  near_all(z:softmax(2):totable()[1], { 1 - s, s })
  near_all(z:log_softmax(-1):totable()[1], { math.log(1 - s), math.log(s) })
end)

check.test("tensors: detach and no_grad stop the gradient", function()
  local x = pf.tensor({ 2, 3 }, { grad = true })
  pf.sum(x * x:detach()):backward()
  near_all(x.grad:totable(), { 2, 3 })
  check.eq(pf.no_grad(function() return (x * x):sum() end).requires_grad, false)
  check.eq((x * x).requires_grad, true)
end)

check.test("sum_by and mean_by: an empty group sums to 0, its mean is an error", function()
  local x = pf.tensor({ 1, 2, 4 }, { grad = true })
  local sum = pf.sum_by(x, { 3, 1, 3 }, 3)
  near_all(sum:totable(), { 2, 0, 5 })
  sum[3]:backward()
  near_all(x.grad:totable(), { 1, 0, 1 })
  near_all(pf.mean_by(x, { 2, 1, 2 }, 2):totable(), { 2, 2.5 })
  check.fails("group 2", pf.mean_by, x, { 3, 1, 3 }, 3)
end)

-- ---- losses ----

local pairs_of_logps = { policy_chosen = { -1, -2 }, policy_rejected = { -3, -1 }, ref_chosen = { -1.5, -2 },
  ref_rejected = { -2.5, -1.5 } }
local function with(more)
  local t = {}
  for name, value in pairs(pairs_of_logps) do t[name] = value end
  for name, value in pairs(more or {}) do t[name] = value end
  return t
end

check.test("every variant of dpo, each value by itself and as their mean", function()
  local need = { ipo = { len_chosen = { 4, 5 }, len_rejected = { 3, 6 } }, sft = { len_chosen = { 4, 5 } },
    exo_pair = { label_smoothing = 1e-3 }, cdpo = { label_smoothing = 0.1 }, robust = { label_smoothing = 0.1 } }
  need.sigmoid_norm = need.ipo
  for variant in ([[sigmoid hinge ipo exo_pair nca_pair robust bco_pair sppo_hard aot aot_unpaired apo_zero apo_down
      discopop sft sigmoid_norm cdpo ipo_sum]]):gmatch "%S+" do
    local t = with(need[variant])
    t.variant = variant
    local loss, metrics = pf.loss.dpo(t)
    check.eq(loss.shape, {}, variant)
    check.ok(metrics["rewards/margins"] and metrics["rewards/accuracies"], variant .. " has no metrics")
    t.reduction = "none"
    local each = pf.loss.dpo(t)
    check.eq(each.shape, { 2 }, variant)
    check.near(each:mean():item(), loss:item(), 1e-6, variant)
  end
  for f in ("reverse_kl forward_kl js_divergence alpha_divergence"):gmatch "%S+" do
    check.ok(pf.loss.dpo(with { f_divergence = f, alpha = 0.3 }):item() > 0)
  end
  check.fails("cdpo", pf.loss.dpo, with { label_smoothing = 0.1 })
  check.fails("cannot be \"hing\"; it is one of: sigmoid hinge", pf.loss.dpo, with { variant = "hing" })
end)

check.test("every other loss by its name", function()
  local c, r = { -1, -0.5 }, { -2, -0.7 }
  local calls = {
    kto = { policy = { -3, -4 }, ref = { -3, -3 }, label = { true, false }, kl = 0.1, weight_desirable = 1.2,
      weight_undesirable = 0.8, beta = 0.1 },
    bco = { policy = { -3, -4 }, ref = { -3, -3 }, label = { 1, 0 } },
    orpo = { policy_chosen = c, policy_rejected = r }, simpo = { policy_chosen = c, policy_rejected = r },
    cpo = { policy_chosen = c, policy_rejected = r, nll = { 1, 2 } }, nll = { logp = c, weight = { 1, 0.5 } },
    rwr = { logp = c, reward = { 0, 1 } }, rrhf = { scores = c, rewards = { 1, 0 } },
    pro = { scores = c, rewards = { 1, 0 } }, mml = { logp = c },
    align = { positive = c, negative = r, constraint = "boundary", beta = 0.1, detach_T = true },
    rank = { scores = c, ranks = { 2, 1 }, constraint = "detached", beta = 0.1 },
    advantage = { logp = c, step = { 1, 1 }, advantage = { 0.5 }, temperature = 1, w_max = 20 },
    dpo = with(),
  }
  local list = pf.loss.list()
  for name, entry in pairs(list) do
    check.ok(entry.formula ~= "" and entry.source ~= "" and #entry.needs > 0, name .. " is not described")
    check.ok(calls[name], "no call of " .. name .. " here")
    local loss, metrics = pf.loss[name](calls[name])
    check.eq({ loss.shape, type(metrics) }, { {}, "table" }, name)
    check.ok(loss:item() == loss:item(), name .. " is not a number")
  end
  for name in pairs(calls) do check.ok(list[name], name .. " is not in the list") end
  local sum = pf.loss.mix { { pf.loss.nll { logp = c }, 2 }, { pf.loss.nll { logp = r }, 0.5 } }
  check.near(sum:item(), 2 * 0.75 + 0.5 * 1.35, 1e-6)
end)

check.test("gradcheck accepts a right gradient and refuses a wrong one", function()
  local ok, found = pf.gradcheck(function(x, y) return (x * y:tanh()):sum() end,
    { pf.tensor { 0.3, -1 }, pf.tensor { 0.5, 2 } })
  check.ok(ok and found.worst < 1e-6)
  local function wrong(x) return (x * x:detach()):sum() end
  check.fails("backward gives 0.3.*, differences give 0.6", pf.gradcheck, wrong, { pf.tensor { 0.3, -1 } })
end)

-- ---- models ----

check.test("a model: logits, logp, parameters, generate, save and load", function()
  local m = tiny()
  local ids = tok:encode "3+4?"
  check.eq(tok:decode(ids, { skip_special = true }), "3+4?")
  local logits = m:logits(ids)
  check.eq(logits.shape, { #ids, tok.size })
  local batch = pf.batch(m.tokenizer, { { prompt = "3+4?", completion = "3+4=7;#7" },
    { prompt = "3+4?", completion = "#7" } })
  local lp = m:logp(batch)
  check.eq(lp.shape, { 9 + 3 })
  check.near(lp:totable()[1], logits:log_softmax(-1):totable()[#ids][tok:id "3" + 1], 1e-5)
  check.eq(pf.sum_by(lp, batch.sequence, batch.sequences).shape, { 2 })
  check.eq({ batch.sequences, batch.step:totable()[1] }, { 2, 0 })
  local names = m:parameters()
  check.eq(names[1], "model.embed_tokens.weight")
  check.eq(names[names[1]].shape, { tok.size, 16 })
  local out = m:generate({ "3+4?", ids }, { n = 2, max_tokens = 6, temperature = 0.9, top_p = 0.9, top_k = 8,
    min_p = 0.01, stop = "#", seed = 5 })
  check.eq({ #out, #out[1], out[1][1].ids }, { 2, 2, out[2][1].ids })
  for _, s in ipairs(out[1]) do
    check.eq(#s.ids, #s.logp)
    check.ok(s.finish == "eos" or s.finish == "stop" or s.finish == "length", tostring(s.finish))
    check.eq(type(s.text), "string")
  end
  local halves = m:generate({ "3+4?" }, { max_tokens = 6, temperature = 0, kv = "float16", compute = "bfloat16" })
  check.near(halves[1][1].logp[1], m:generate({ "3+4?" }, { max_tokens = 1, temperature = 0 })[1][1].logp[1], 1e-2)
  check.fails("keys and values are float32 or float16, not q8_0", m.generate, m, { "3+4?" }, { kv = "q8_0" })
  check.fails("compute must be a name", m.generate, m, { "3+4?" }, { compute = 16 })
  local said = m:generate({ { role = "user", content = "1+1?" } }, { max_tokens = 2 })
  check.eq(#said[1][1].ids <= 2, true)
  check.matches(tok:chat({ { role = "user", content = "1+1?" } }, { generation_prompt = true }), "1%+1%?.*assistant\n$")
  m:save(dir .. "/model")
  local again = pf.model.load(dir .. "/model", { dtype = "float32" })
  check.eq(again:logits(ids):totable(), logits:totable())
  check.eq(again.tokenizer:encode "3", tok:encode "3")
  check.eq(pf.model.load(dir .. "/model", { dtype = "float64" }):logits(ids).dtype, "float64")
end)

-- ---- data ----

check.test("data.jsonl: plain and .zst, errors carry the line", function()
  local text = '{"prompt": "1+1?", "chosen": "#2", "rejected": "#3"}\n\n'
    .. '{"prompt": "1+2?", "chosen": "#3", "rejected": "#4"}\n'
  sys.write(dir .. "/a.jsonl", text)
  sys.write_zst(dir .. "/a.jsonl.zst", text)
  for _, path in ipairs { dir .. "/a.jsonl", dir .. "/a.jsonl.zst" } do
    local seen = {}
    for row, line in pf.data.jsonl(path) do seen[#seen + 1] = row.prompt .. line end
    check.eq(seen, { "1+1?1", "1+2?3" })
    check.eq(pf.data.preference(pf.data.jsonl(path), tok).n, 2)
  end
  sys.write(dir .. "/bad.jsonl", text .. '{"prompt": "1?", "chosen": "2"}\n')
  check.fails("bad.jsonl:4: field \"rejected\" is missing", pf.data.preference, pf.data.jsonl(dir .. "/bad.jsonl"), tok)
  sys.write(dir .. "/bad.jsonl", text .. "{\n")
  check.fails("bad.jsonl:4", pf.data.preference, pf.data.jsonl(dir .. "/bad.jsonl"), tok)
end)

check.test("data.preference: standard, conversational, and with an implicit prompt", function()
  local function user(text) return { role = "user", content = text } end
  local function assistant(text) return { role = "assistant", content = text } end
  local standard = pf.data.preference({ { prompt = "1+1?", chosen = "#2", rejected = "#3" } }, tok)
  local b = standard:batch { 1 }
  check.eq({ b.chosen, b.rejected, b.sequences, b.ref_logp }, { { 1 }, { 2 }, 2 })
  check.eq(b.target:totable(), { tok:id "#", tok:id "2", tok.eos, tok:id "#", tok:id "3", tok.eos })
  local messages = { prompt = { user "1+1?" }, chosen = { assistant "#2" }, rejected = { assistant "#3" } }
  local whole = { chosen = { user "1+1?", assistant "#2" }, rejected = { user "1+1?", assistant "#3" } }
  local talk = pf.data.preference({ messages }, tok):batch { 1 }
  local implicit = pf.data.preference({ whole }, tok):batch { 1 }
  check.eq(talk.target:totable(), b.target:totable())
  for i = 1, 2 do
    check.eq(implicit.rows[i], talk.rows[i])
    check.eq(tok:decode(talk.rows[i].ids, { skip_special = true }):sub(-2), i == 1 and "#2" or "#3")
  end
  local m = tiny()
  check.eq(standard:reference(m, dir .. "/ref.zst"), false)
  check.eq(standard:reference(m, dir .. "/ref.zst"), true)
  near_all(standard:batch({ 1 }).ref_logp:totable(), m:logp(b):totable(), 1e-5)
end)

-- ---- steps ----

check.test("steps: spans of tokens, and the state after each", function()
  local problem, text = "3+4*2-5?", "4*2=8;3+8=11;11-5=6;#6"
  local ids = tok:encode(text, { special = false })
  ids[#ids + 1] = tok.eos
  local steps, of = pf.steps(ids, task, { tokenizer = tok, problem = problem })
  local seen = {}
  for i, s in ipairs(steps) do seen[i] = { s.first, s.last, s.text, s.state, s.ok } end
  check.eq(seen, { { 1, 6, "4*2=8;", "3+8-5", true }, { 7, 13, "3+8=11;", "11-5", true },
    { 14, 20, "11-5=6;", "6", true } })
  check.eq(table.concat(of, " "), "1 1 1 1 1 1 2 2 2 2 2 2 2 3 3 3 3 3 3 3 0 0 0")
  local batch = pf.batch(tok, { { prompt = tok:encode(problem), completion = ids, steps = of } })
  check.eq(batch.step:totable(), of)
  local whole = tok:encode(problem .. text)
  check.eq(pf.steps(whole, task, { tokenizer = tok })[1].first, #problem + 2, "BOS and the problem are before it")
  check.eq(pf.steps(text, task, { problem = problem, tokenizer = tok })[3].last, 20)
  check.eq(pf.steps(problem .. text, task)[1].first, #problem + 1)
  local wrong = pf.steps("4*2=9;3+9=12;#12", task, { problem = "3+4*2?" })
  check.eq({ wrong[1].ok, wrong[2].ok, wrong[2].state }, { false, true, "12" })
  check.fails("ids need a tokenizer", pf.steps, ids, task)
  check.fails("no option \"problm\"", pf.steps, text, task, { problm = problem })
  check.fails("got a number", pf.steps, 3, task)
end)

check.test("steps are cut between tokens that are longer than a character", function()
  local pieces = { [1] = "4*2", [2] = "=8;3", [3] = "+8=", [4] = "11;", [5] = "", [6] = "11-5=6;#", [7] = "6" }
  local words = { decode = function(_, ids)
    local out = {}
    for i, id in ipairs(ids) do out[i] = pieces[id] end
    return table.concat(out)
  end }
  local function spans(ids)
    local steps, of = pf.steps(ids, task, { tokenizer = words, problem = "3+4*2-5?" })
    local out = {}
    for i, s in ipairs(steps) do out[i] = { s.first, s.last } end
    return out, table.concat(of, " ")
  end
  local cut, of = spans { 1, 2, 3, 4, 5, 6, 7 }
  check.eq(cut, { { 1, 2 }, { 3, 4 }, { 6, 6 } })
  check.eq(of, "1 1 2 2 0 3 0")
  pieces[1] = "4*2=8;3+8=11;1"
  pieces[2] = "1-5=6;#6"
  cut, of = spans { 1, 2 }
  check.eq(cut, { { 1, 1 }, { 2, 1 }, { 2, 2 } }, "the second step has no token of its own")
  check.eq(of, "1 3")
  pieces[1], pieces[2] = "4*2=8;3+8=11;", "11-5=6;#6"
  cut = spans { 1, 2 }
  check.eq(cut, { { 1, 1 }, { 2, 1 }, { 2, 2 } }, "nor if it ends with that token")
end)

-- ---- the rest ----

check.test("pair, json, options, task, version", function()
  local samples = { { text = "a", correct = true }, { text = "b", correct = false } }
  local pairs_made, counts = pf.pair({ { prompt = "p", samples = samples } },
    { by = "verdict", per_prompt = 1, balance = true })
  check.eq({ pairs_made[1].chosen.text, pairs_made[1].rejected.text, counts.pairs }, { "a", "b", 1 })
  local text = '{"z": [], "a": {}, "n": null}'
  local value = pf.json.decode(text)
  check.eq({ value.n, pf.json.encode(value) }, { pf.json.null, text })
  local given, old = { [0] = "x.lua", "--beta", "0.5", "--no-fast", "--set", "a,b" }, _G.arg
  _G.arg = given
  local opt = pf.options { "what it does", { "beta", 0.1, "" }, { "fast", true, "" }, { "set", { "x" }, "" },
    { "lora_rank", 8, "" } }
  _G.arg = old
  check.eq({ opt.beta, opt.fast, opt.set, opt.lora_rank }, { 0.5, false, { "a", "b" }, 8 })
  check.eq(task:verify("3+4?", "3+4=7;#7").correct, true)
  check.matches(pf.version, "^%d+%.%d+%.%d+$")
  check.fails("did you mean \"tensor\"", function() return pf.tensr end)
end)

check.test("train: the loop as it is written for a new loss", function()
  local policy = tiny(3)
  local rows = {}
  for i, p in ipairs(task:problems("train", 8)) do
    rows[i] = { prompt = p.text, chosen = task:solution(p), rejected = "#0" }
  end
  local data = pf.data.preference(rows, tok)
  data:reference(policy:copy())
  local seen = {}
  local result = pf.train { model = policy, data = data, steps = 3, lr = 0.01, batch = 4, quiet = true,
    schedule = "constant", loss = function(model, batch)
      local n = batch.sequences
      local lp, rf = pf.sum_by(model:logp(batch), batch.sequence, n), pf.sum_by(batch.ref_logp, batch.sequence, n)
      local loss, metrics = pf.loss.dpo { beta = 0.1,
        policy_chosen = lp:index(batch.chosen), policy_rejected = lp:index(batch.rejected),
        ref_chosen = rf:index(batch.chosen), ref_rejected = rf:index(batch.rejected) }
      seen[#seen + 1] = loss:item()
      return loss, metrics
    end }
  check.near(seen[1], math.log(2), 1e-6)
  check.ok(seen[3] < seen[1], "the loss does not fall")
  check.eq({ #seen, result.steps }, { 3, 3 })
  check.near(result.loss, seen[3], 1e-6)
  check.ok(result.metrics["rewards/margins"] > 0)
  check.fails("did you mean \"steps\"", pf.train, { model = policy, data = data, loss = print, step = 3 })
end)

check.test("train: ends early when asked, and a resumed run does not go on", function()
  local data = pf.data.completion({ { prompt = "1+1?", completion = "1+1=2;#2" } }, tok)
  local counted, asked, evaluations = {}, {}, 0
  local function nothing() end
  local run = { dir = dir, checkpoint = dir .. "/stopped.zst", opt = { checkpoint_every = 50 }, quiet = true,
    start_log = nothing, note = nothing, log = nothing, logged = function() return 0 end,
    count = function(_, amounts) counted[#counted + 1] = amounts.updates end }
  local function go(policy)
    return pf.train { model = policy, data = data, run = run, steps = 9, lr = 0.01, batch = 1, eval_every = 2,
      loss = function(model, batch) return pf.loss.nll { logp = model:logp(batch) } end,
      eval = function()
        evaluations = evaluations + 1
        return { so_far = evaluations }
      end,
      stop = function(figures, step)
        asked[#asked + 1] = step
        return figures.eval_so_far == 2
      end }
  end
  local policy = tiny(3)
  local result = go(policy)
  check.eq({ result.steps, result.updates, result.metrics.eval_so_far }, { 4, 4, 2 })
  check.eq({ asked, counted }, { { 2, 4 }, { 4 } })
  local left = policy:fingerprint()
  run.resuming = true
  local resumed = tiny(3)
  check.eq({ go(resumed).updates, resumed:fingerprint(), evaluations }, { 0, left, 2 })
  check.fails("it needs eval and eval_every", pf.train, { model = policy, data = data, loss = print, stop = print })
end)

os.execute("rm -rf " .. dir)
check.test("an error in a coroutine leaves no step and no quiet scope open", function()
  for _, scope in ipairs { pf.step, pf.no_grad } do
    local co = coroutine.create(function() scope(function() error("stop") end) end)
    check.eq(coroutine.resume(co), false)
    collectgarbage()
    local x = pf.tensor({ 1, 2 }, { grad = true })
    local y = x * 2
    collectgarbage()
    y:sum():backward()
    check.eq(x.grad:totable(), { 2.0, 2.0 })
  end
end)

check.done()
