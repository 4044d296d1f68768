-- Training within a limit of memory: sizes, the plan, what is computed under it, and runs that go on.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local tiny = dofile((arg[0]:match("^.*/") or "") .. "tiny.lua")
local pf = require "pofit"
local memory = require "pofit.memory"

local MIB <const> = 2 ^ 20

check.test("sizes", function()
  for text, n in pairs { ["4GiB"] = 4 << 30, ["4G"] = 4 << 30, ["4g"] = 4 << 30, ["500MB"] = 500000000,
    ["1.5 MiB"] = 1572864,
    ["2e9"] = 2000000000, ["1048576"] = 1048576, ["8192KiB"] = 8388608 } do
    check.eq(memory.bytes(text), n)
  end
  for _, text in ipairs { "", "4 apples", "GiB", "-4G", "0", "1e40", "4.5.6G", "5" } do
    check.fails("expected a size like 4GiB", memory.bytes, text)
  end
end)

local function wide(seed)
  return pf.model.new({ model_type = "llama", hidden_size = 64, intermediate_size = 256, num_hidden_layers = 4,
    num_attention_heads = 4, num_key_value_heads = 2, max_position_embeddings = 128, initializer_range = 0.05,
    rms_norm_eps = 1e-5, tie_word_embeddings = true, vocab_size = tiny.tok.size, bos_token_id = 0, eos_token_id = 1 },
    { seed = seed or 1, tokenizer = tiny.tok })
end

local rows = tiny.task:rows("preference", 600)

-- weights after some updates, as one list, and the plan
local function trained(limit)
  local model, list = wide(), {}
  pf.train { model = model, data = pf.data.completion(rows, tiny.tok), steps = 3, batch = 200, lr = 1e-3, seed = 1,
    memory = limit, quiet = true,
    loss = function(m, b) return pf.loss.nll { logp = m:logp(b) } end,
    run = { opt = {}, dir = tiny.dir, checkpoint = tiny.dir .. "/none", resuming = false,
      start_log = function() end, log = function() end, count = function() end, logged = function() return 0 end } }
  local parameters = model:parameters()
  for _, name in ipairs(parameters) do
    for _, x in ipairs(parameters[name]:reshape { -1 }:totable()) do list[#list + 1] = x end
  end
  local path = tiny.dir .. "/memory.json"
  local plan = limit and pf.json.decode(pf.sys.read(path), path)
  return list, plan
end

-- MiB that will just do, as the refusal of less says
local function least()
  local _, why = pcall(trained, "1MiB")
  return assert(tonumber(tostring(why):match "training takes (%d+) MiB at least"), why)
end

local function apart(a, b)
  local worst = 0
  for i, x in ipairs(a) do worst = math.max(worst, math.abs(x - b[i])) end
  return worst
end

check.test("enough is as without a limit; less, and layers are computed again, to the same bits", function()
  local free = trained(nil)
  local same, plan = trained("4GiB")
  check.eq({ plan.recompute, plan.part }, { 0, 0 })
  check.eq(apart(same, free), 0)
  local limit = plan.total - 2 * MIB
  local again, tight = trained(tostring(limit))
  assert(tight.recompute > 0 and tight.part == 0, pf.json.encode(tight))
  assert(tight.total <= limit)
  check.eq(apart(again, free), 0)
end)

check.test("less still, and batches are computed in parts, whose mean is that of the whole", function()
  local free = trained(nil)
  local parts, tight = trained(("%dMiB"):format(least() + 4))
  assert(tight.part > 0 and tight.part < 4000, pf.json.encode(tight))
  local far = apart(parts, free)
  assert(far > 0 and far < 1e-4, ("weights are %g away"):format(far))
end)

check.test("too little is refused, and what would do is said", function()
  local enough = least()
  trained(("%dMiB"):format(enough))
  check.fails("are too little", trained, ("%dMiB"):format(enough - 8))
end)

check.test("what a data set makes while the policy learns is planned for in parts", function()
  local model = wide()
  local set = pf.data.completion(rows, tiny.tok)
  local online = { n = 10, at = function() end, batch = function(_, indices) return set:batch(indices) end }
  local trainer = pf.trainer(model, { lr = 1e-3 })
  local plan = trainer:plan { memory = 300 * MIB // 1, outside = 0 }
  assert(plan.part > 0 and plan.part % 64 == 0, pf.json.encode(plan))
  pf.train { model = model, data = online, steps = 2, batch = 4, memory = "300MiB", quiet = true,
    loss = function(m, b) return pf.loss.nll { logp = m:logp(b) } end }
  check.fails("memory are too little", function() trainer:plan { memory = 100000, longest = 50 } end)
end)

check.test("moments of 8 bits take a quarter, but for small matrices, and learn as much", function()
  local bytes, last = {}, {}
  for _, optimizer in ipairs { "adamw", "adamw_8bit" } do
    local model = wide()
    bytes[optimizer] = pf.trainer(model, { optimizer = optimizer }):plan { memory = 2 ^ 32 // 1 }.optimizer
    last[optimizer] = pf.train { model = model, data = pf.data.completion(rows, tiny.tok), steps = 40, batch = 16,
      lr = 3e-3, seed = 1, quiet = true, optimizer = optimizer,
      loss = function(m, b) return pf.loss.nll { logp = m:logp(b) } end }.loss
  end
  local share, far = bytes.adamw_8bit / bytes.adamw, math.abs(last.adamw_8bit - last.adamw) / last.adamw
  assert(share < 0.33, ("moments take %g of what they took"):format(share))
  assert(far > 0 and far < 0.05, ("the loss is %g, before %g"):format(last.adamw_8bit, last.adamw))
end)

tiny.clean()
check.done()
