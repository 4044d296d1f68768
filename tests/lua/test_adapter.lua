-- Adapters as Lua sees them: options, references and what is said of them, merging, freezing, dropout.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pf = require "pofit"
local small = check.root .. "tests/golden/llama_a"
local dir = os.tmpname()
os.remove(dir)

local ids = { 1, 7, 30, 12, 9, 4 }
local function logits(m) return pf.no_grad(function() return m:logits(ids):totable() end) end
local function apart(a, b)
  local worst = 0
  for t, row in ipairs(a) do
    for v, x in ipairs(row) do worst = math.max(worst, math.abs(x - b[t][v])) end
  end
  return worst
end
local function train(m, steps)
  pf.train { model = m, steps = steps, batch = 1, lr = 1e-2, quiet = true,
    data = { n = 1, batch = function() return pf.batch(nil, { { ids = ids } }) end },
    loss = function(model, batch) return pf.loss.nll { logp = model:logp(batch) } end }
end
local function said(m)
  local text
  local reference = m:reference { note = function(_, what) text = what end }
  return reference, text
end

-- more blocks of rows than there are groups; gradients of more values than are added up at a time
check.test("what an adapter adds, by blocks, is what whole products make of it", function()
  local shapes = { { 1300, 270 }, { 1300, 300 }, { 8, 300 }, { 270, 8 } }
  local function leaves()
    local list = {}
    for i, shape in ipairs(shapes) do list[i] = pf.randn(shape, { seed = i, dtype = "float64", grad = true }) end
    return list
  end
  local one, other, weights = leaves(), leaves(), pf.randn(shapes[1], { seed = 9, dtype = "float64" })
  for _ = 1, 2 do -- the second time gradients are added to those of the first
    local y = pf.lora(one[1], one[2], one[3], one[4], 0.5)
    local z = other[1] + pf.matmul(pf.matmul(other[2], other[3]:transpose()), other[4]:transpose()) * 0.5
    check.near((y - z):abs():max():item(), 0, 1e-10)
    ;(y * weights):sum():backward()
    ;(z * weights):sum():backward()
    for i, leaf in ipairs(one) do
      check.near((leaf.grad - other[i].grad):abs():max():item(), 0, 1e-9, "gradient of input " .. i)
    end
  end
end)

check.test("a new adapter is trained alone, against the base it shares", function()
  local plain = pf.model.load(small)
  local m = pf.model.load(small, { lora = { rank = 2, alpha = 4, targets = { "q_proj" } } })
  check.eq(m.trainable_parameters, 2 * 2 * (32 + 32))
  check.eq(#m:parameters(), #plain:parameters() + 4)
  check.eq(apart(logits(m), logits(plain)), 0)
  local reference, text = said(m)
  check.eq(text, "policy = base + a new adapter (trains 256 of 17728 parameters); reference = base, adapter off")
  train(m, 3)
  assert(apart(logits(m), logits(plain)) > 1e-3, "nothing was learned")
  check.eq(apart(logits(reference), logits(plain)), 0)
  local q = m:parameters()["base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"]
  assert(q:abs():max():item() > 0)
  m:save_adapter(dir .. "/one")
  local config = pf.json.decode(pf.sys.read(dir .. "/one/adapter_config.json"))
  check.eq({ config.r, config.lora_alpha, config.inference_mode }, { 2, 4, true })
  check.eq(config.base_model_name_or_path, small)
  check.eq(config.target_modules[1], "q_proj")
end)

check.test("a loaded adapter is trained on against a copy of itself", function()
  local m = pf.model.load(small, { adapter = dir .. "/one" })
  local start = logits(m)
  local reference, text = said(m)
  check.eq(text, "policy = base + the adapter " .. dir .. "/one (trains 256 of 17728 parameters); "
    .. "reference = base + a frozen copy of that adapter")
  train(m, 2)
  check.eq(apart(logits(reference), start), 0)
  assert(apart(logits(m), start) > 1e-3)
  local learned = logits(m)
  m:merge()
  check.eq(m.adapter, nil)
  assert(apart(logits(m), learned) < 1e-4)
  check.eq(apart(logits(reference), start), 0)
  m:save(dir .. "/merged")
  check.eq(apart(logits(pf.model.load(dir .. "/merged")), logits(m)), 0)
  check.eq(select(2, said(m)), "policy = the whole model; reference = a frozen copy of it")
end)

check.test("sizes and names of PEFT by our names", function()
  local m = pf.model.load(small, { lora = { rank = 2, rank_pattern = { ["k_proj"] = 3 },
    alpha_pattern = { q_proj = 1.5 }, exclude = { "o_proj", "down_proj" }, layers = { 1 }, rslora = true, dora = true,
    dropout = 0.1, seed = 3 } })
  local p, config = m:parameters(), pf.json.decode(m.adapter)
  check.eq(p["base_model.model.model.layers.1.self_attn.k_proj.lora_A.weight"].shape, { 3, 32 })
  check.eq(p["base_model.model.model.layers.1.self_attn.q_proj.lora_magnitude_vector"].shape, { 32 })
  check.eq(p["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"], nil)
  check.eq({ config.use_rslora, config.use_dora, config.lora_dropout, config.alpha_pattern.q_proj },
    { true, true, 0.1, 1.5 })
  local usual = pf.model.load(small):adapt { targets = pf.json.null }
  check.eq(#usual:parameters() - #pf.model.load(small):parameters(), 2 * 2 * 2, "q_proj and v_proj")
end)

check.test("a run goes on with the adapter that it kept", function()
  local adapter = require "pofit.adapter"
  local m = pf.model.load(small, { lora = { rank = 2, dropout = 0.1, seed = 9 } })
  train(m, 1)
  local kept, text = logits(m), adapter.save(m, dir)
  local fingerprint = m:fingerprint()
  check.eq(text, "adapter: " .. dir .. "/adapter")
  train(m, 1)
  assert(apart(logits(m), kept) > 0)
  check.eq(adapter.restore(m, dir), m)
  check.eq(apart(logits(m), kept), 0)
  check.eq(m:fingerprint(), fingerprint)
end)

check.test("freezing by pattern", function()
  local m = pf.model.load(small, { freeze = { "*.mlp.*", "model.embed_tokens.weight" } })
  local before = m:copy():parameters()
  train(m, 2)
  local after = m:parameters()
  for _, name in ipairs(after) do
    local same = (after[name] - before[name]):abs():max():item() == 0
    check.eq(same, name:find("mlp") ~= nil or name == "model.embed_tokens.weight", name)
  end
  check.fails("\"*.mlq.*\" matches no parameter", function() m:freeze { "*.mlq.*" } end)
end)

check.test("what is refused", function()
  check.fails("adapt has no option \"rnak\"; did you mean \"rank\"?", function()
    pf.model.load(small):adapt { rnak = 1 }
  end)
  check.fails("has an adapter already", function() pf.model.load(small):adapt {}:adapt {} end)
  check.fails("no adapter", function() pf.model.load(small):merge() end)
  check.fails("no adapter to save", function() pf.model.load(small):save_adapter(dir .. "/no") end)
  check.fails("merge it into the base first", function() pf.model.load(small):adapt {}:save(dir .. "/no") end)
  check.fails("adapter_config.json", function() pf.model.load(small):load_adapter(small) end)
end)

os.execute("rm -rf '" .. dir .. "'")
check.done()
