-- Models, tokenizers, batches and the trainer as Lua sees them.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pf = require "pofit"
local json, sys = pf.json, pf.sys

local small = check.root .. "tests/golden/llama_a"
local data = os.getenv("POFIT_TESTDATA")
local stories = data and data .. "/data/stories260K"
local dir = os.tmpname()
os.remove(dir)
sys.mkdirs(dir)

local function rows()
  return { { ids = { 1, 2, 3, 4 } }, { ids = { 1, 2, 5 }, scored_from = 3 } }
end

check.test("a batch is a forest", function()
  local b = pf.batch(nil, rows())
  check.eq({ b.sequences, b.entries, b.tokens }, { 2, 4, 7 })
  check.eq(b.nodes, 3, "inputs 1, 1 2 and 1 2 3")
  check.eq(b.sequence:totable(), { 1, 1, 1, 2 })
  check.eq(b.target:totable(), { 2, 3, 4, 5 })
  check.eq(b.length:totable(), { 3.0, 1.0 })
  check.eq(b.chosen, nil)
  b.chosen = { 1 }
  check.eq(b.chosen, { 1 })
  check.fails("a batch has no \"lenght\"", function() return b.lenght end)
end)

check.test("steps, scores and targets of a row", function()
  local b = pf.batch(nil, { { ids = { 1, 2, 3, 4 }, score = { false, true, false, true }, step = { 0, 1, 1, 2 },
    target = { 1, 9, 3, 4 } } })
  check.eq(b.step:totable(), { 1, 2 })
  check.eq(b.target:totable(), { 9, 4 })
  b = pf.batch(nil, { { prompt = { 1, 2 }, completion = { 3, 4, 5 }, steps = { 1, 1, 2 } } })
  check.eq(b.step:totable(), { 1, 1, 2 })
  check.eq(b.target:totable(), { 3, 4, 5 }, "ids are taken as they are")
end)

check.test("what a batch refuses", function()
  check.fails("row 1: has no completion", pf.batch, nil, { { prompt = { 1 } } })
  check.fails("row 2: is a number", pf.batch, nil, { { ids = { 1, 2 } }, 3 })
  check.fails("needs a tokenizer", pf.batch, nil, { { prompt = "a", completion = "b" } })
  check.fails("scored_from is 1; the first token", pf.batch, nil, { { ids = { 1, 2 }, scored_from = 1 } })
  check.fails("step has 1 values for 2 ids", pf.batch, nil, { { ids = { 1, 2 }, step = { 1 } } })
  local long = { prompt = { 1 }, completion = { 2 }, steps = { 1, 1, 1 } }
  check.fails("steps has 3 values for 1", pf.batch, nil, { long })
  check.fails("value 2 of the list is a string", pf.batch, nil, { { ids = { 1, "x" } } })
  check.fails("expected a list of rows", pf.batch, nil, {})
  check.fails("prompt is empty", pf.batch, nil, { { prompt = {}, completion = { 1 } } })
end)

check.test("log-probabilities are those of the logits", function()
  local m = pf.model.load(small)
  local b = pf.batch(nil, rows())
  local lp = m:logp(b):totable()
  local full = m:logits({ 1, 2, 3 }):log_softmax(-1):totable()
  for i, id in ipairs { 2, 3, 4 } do check.near(lp[i], full[i][id + 1], 1e-5) end
  check.near(lp[4], full[2][6], 1e-5)
  local again, stats = m:logp(b, { stats = true })
  check.eq(again:totable(), lp)
  check.eq(stats.shape, { 4, 4 })
  check.fails("expected a batch", m.logp, m, {})
  check.fails("expected a batch", m.logp, m, nil)
end)

check.test("parameters stand in order and collect gradients", function()
  local m = pf.model.load(small)
  local p = m:parameters()
  check.eq(p[1], "model.embed_tokens.weight")
  local n = 0
  for _, name in ipairs(p) do
    check.eq(p[name].name, name)
    n = n + p[name]:numel()
  end
  check.ok(n > 1000)
  m:logp(pf.batch(nil, rows())):sum():backward()
  for _, name in ipairs(p) do check.ok(p[name].grad, name .. " has no gradient") end
  check.eq(m:copy():parameters()[p[1]].requires_grad, false)
end)

check.test("save, load, copy, fingerprint, new", function()
  local m = pf.model.load(small)
  m:save(dir .. "/m")
  local again = pf.model.load(dir .. "/m")
  check.eq(again:fingerprint(), m:fingerprint())
  check.eq(m:copy():logits({ 1, 2 }):totable(), m:logits({ 1, 2 }):totable())
  local config = json.decode(sys.read(small .. "/config.json"))
  local a, b = pf.model.new(config, { seed = 1 }), pf.model.new(config, { seed = 2 })
  check.ok(a:fingerprint() ~= b:fingerprint())
  check.eq(a.vocab_size, config.vocab_size)
  check.eq(a.tokenizer, nil)
  check.eq(pf.model.load(small, { dtype = "float64" }):logits({ 1 }).dtype, "float64")
  check.fails("no option \"dtypes\"; did you mean \"dtype\"", pf.model.load, small, { dtypes = "float64" })
  check.fails("nowhere", pf.model.load, dir .. "/nowhere")
  for name, type in pairs { bf16 = "bfloat16", float16 = "float16", stored = "float32" } do
    local narrow = pf.model.load(small, { dtype = name })
    local w = narrow:parameters()["model.layers.0.mlp.up_proj.weight"]
    check.eq({ w.dtype, w.requires_grad, narrow:logits({ 1 }).dtype }, { type, false, "float32" })
    check.eq(#narrow:generate({ { 1, 2 } }, { n = 1, max_tokens = 2 })[1], 1)
  end
  check.fails("cannot be held as \"bf15\"; dtype is one of: float32", pf.model.load, small, { dtype = "bf15" })
  check.fails("a model has no \"vocabsize\"", function() return m.vocabsize end)
  config.eos_token_id, config.bos_token_id = json.null, json.null
  m = pf.model.new(config)
  check.eq({ m.eos_token_id, m.bos_token_id }, {})
end)

check.test("sampling", function()
  local m = pf.model.load(small)
  local out = m:generate({ { 1, 2 }, { 3 } }, { n = 2, max_tokens = 5, seed = 7 })
  check.eq({ #out, #out[1] }, { 2, 2 })
  local s = out[1][1]
  check.eq(#s.ids, #s.logp)
  check.ok(#s.ids <= 5)
  check.eq(s.text, nil, "no tokenizer, no text")
  check.eq(m:generate({ 3 }, { n = 2, max_tokens = 5, seed = 7 })[1][2].ids, out[2][2].ids, "alone as in the batch")
  local lp = m:logp(pf.batch(nil, { { prompt = { 1, 2 }, completion = s.ids } })):totable()
  for i, x in ipairs(s.logp) do check.near(lp[i], x, 1e-4) end
  check.eq(m:generate({ { 1 } }, { max_tokens = 1, temperature = 0 })[1][1].ids[1],
    m:logits({ 1 })[1]:argmax(1):item() - 1)
  check.fails("no option \"temprature\"; did you mean \"temperature\"", m.generate, m, { 1 }, { temprature = 0 })
  check.fails("has no tokenizer", m.generate, m, "text")
  check.fails("prompt 1 is a boolean", m.generate, m, { true })
  check.fails("n must be a whole number, got a string", m.generate, m, { 1 }, { n = "2" })
end)

check.test("the reference's log-probabilities are cached", function()
  local m = pf.model.load(small)
  local ref, file = m:copy(), dir .. "/ref"
  local lp, cached = ref:reference_logp(rows(), file)
  check.eq(cached, false)
  local direct = m:logp(pf.batch(nil, rows())):totable()
  for i, x in ipairs(lp:totable()) do check.near(x, direct[i], 1e-5) end
  local again
  again, cached = ref:reference_logp(rows(), file)
  check.eq(cached, true)
  check.eq(again:totable(), lp:totable())
  local _, other = ref:reference_logp({ rows()[1] }, file)
  check.eq(other, false, "other rows")
end)

check.test("the trainer learns, saves and restores", function()
  local m = pf.model.load(small)
  local b = pf.batch(nil, rows())
  local t = pf.trainer(m, { lr = 0.01, steps = 10, schedule = "constant", groups = { { "*norm*", weight_decay = 0 } } })
  local losses = {}
  local function update()
    pf.step(function() t:accumulate(-m:logp(b):mean()) end)
    local info = t:step()
    losses[#losses + 1] = info.loss
    return info
  end
  for _ = 1, 3 do update() end
  check.ok(losses[3] < losses[1], "the loss does not fall")
  t:save(dir .. "/checkpoint", "mine \0 too")
  local info = update()
  check.eq(info.step, 4)
  local after = m:fingerprint()
  check.eq(t:restore(dir .. "/checkpoint"), "mine \0 too")
  update()
  check.eq(losses[5], losses[4])
  check.eq(m:fingerprint(), after)
  check.fails("optimizer", pf.trainer, m, { optimizer = "adam" })
  check.fails("no option \"learning_rate\"", pf.trainer, m, { learning_rate = 1 })
  check.fails("group 1 has no pattern", pf.trainer, m, { groups = { {} } })
end)

if not (stories and sys.exists(stories .. "/tokenizer.json")) then
  check.skip("stories260K", "POFIT_TESTDATA is not set")
else
  local m = pf.model.load(stories)
  local tok = m.tokenizer

  check.test("tokenizer", function()
    local ids = tok:encode("Once upon a time")
    check.eq(ids[1], tok.bos)
    check.eq(tok:decode(ids, { skip_special = true }), "Once upon a time")
    check.eq(tok:encode("Once", { special = false })[1] ~= tok.bos, true)
    check.eq(tok:id(tok:token(tok.eos)), tok.eos)
    check.eq(tok:id("no such token"), nil)
    check.eq(tok:token(-1), nil)
    check.eq(tok.size, m.vocab_size)
    check.fails("expected a text, got a table", tok.encode, tok, {})
    check.fails("UTF", tok.encode, tok, "\xff")
    check.fails("id", tok.decode, tok, { 100000 })
    check.fails("nowhere", pf.tokenizer.load, dir .. "/nowhere")
    check.eq(pf.tokenizer.load(stories):encode("cat"), tok:encode("cat"))
  end)

  check.test("texts in a batch", function()
    local head = tok:encode("Once upon")
    local b = pf.batch(tok, { { prompt = "Once upon", completion = " a time" },
      { prompt = "Once upon", completion = " a time", finished = false } })
    local row, open = b.rows[1], b.rows[2]
    check.eq(row.ids[#row.ids], tok.eos)
    check.eq(#open.ids, #row.ids - 1)
    check.eq(row.scored_from, #head + 1)
    check.eq(b.straddles, 0)
    local cut = pf.batch(tok, { { prompt = "Once up", completion = "on a time" } })
    check.eq(cut.straddles, 1)
    local mixed = pf.batch(tok, { { prompt = "Once upon", completion = { 5, 6 } } })
    check.eq(mixed.target:totable(), { 5, 6 })
  end)

  check.test("conversations", function()
    local messages = { { role = "user", content = "Hi" } }
    local text = tok:chat(messages, { generation_prompt = true })
    check.eq(text, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    check.eq(tok:chat(messages, { tokenize = true })[1], tok.bos)
    check.fails("role", tok.chat, tok, { { role = "me", content = "x" } })
    check.fails("no option", tok.chat, tok, messages, { add = true })
    local b = pf.batch(tok, { { prompt = messages, completion = { { role = "assistant", content = "Yo" } } } })
    local n = 0
    for _, id in ipairs(b.rows[1].ids) do n = n + (id == tok.eos and 1 or 0) end
    check.eq(n, 1, "one EOS")
    check.eq(#m:generate({ messages, messages }, { n = 1, max_tokens = 2 }), 2)
    check.eq(#m:generate(messages, { n = 1, max_tokens = 2 }), 1)
  end)

  check.test("a story", function()
    local out = m:generate("Once upon a time", { temperature = 0, max_tokens = 20 })
    check.matches(out[1][1].text, "^, there was a little girl named L")
    check.eq(out[1][1].finish, "length")
    local stop = m:generate("Once upon a time", { temperature = 0, max_tokens = 60, stop = { "girl", "zzz" } })[1][1]
    check.eq({ stop.text, stop.finish }, { ", there was a little ", "stop" })
  end)
end

os.execute("rm -rf " .. dir)
check.done()
