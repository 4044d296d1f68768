-- What pofit saves and what it reaches, as ratios of things measured in turn in one run (medians).
--   build/pofit tests/bench/forest.lua [ROUNDS]
local pf = require "pofit"

local rounds = tonumber(arg[1]) or 5
local config = { model_type = "llama", vocab_size = 512, hidden_size = 128, intermediate_size = 384,
  num_hidden_layers = 4, num_attention_heads = 8, num_key_value_heads = 4, max_position_embeddings = 1024,
  tie_word_embeddings = true, eos_token_id = 0 }
local model = pf.model.new(config, { seed = 1 })
local random = pf.random.new(1, "bench")

local function ids(n)
  local list = {}
  for i = 1, n do list[i] = random:int(1, 511) end
  return list
end

-- answers of `length` tokens to one prompt
local function answers(prompt, count, length)
  local rows = {}
  for i = 1, count do rows[i] = { prompt = prompt, completion = ids(length) } end
  return rows
end

local function train_on(rows)
  pf.step(function() model:logp(pf.batch(nil, rows)):sum():backward() end)
  for _, name in ipairs(model:parameters()) do model:parameters()[name]:zero_grad() end
end

local function alone(rows)
  for _, row in ipairs(rows) do train_on { row } end
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

-- run both in turn; returns the medians in seconds
local function compare(a, b)
  local ta, tb = {}, {}
  for i = 1, rounds + 1 do
    local start = pf.sys.clock()
    a()
    local middle = pf.sys.clock()
    b()
    if i > 1 then ta[i - 1], tb[i - 1] = middle - start, pf.sys.clock() - middle end -- the first round warms up
  end
  return median(ta), median(tb)
end

local function row(name, ours, theirs)
  print(("%-58s %9.1f ms %9.1f ms %7.2f x"):format(name, 1e3 * ours, 1e3 * theirs, theirs / ours))
end

print(("%-58s %12s %12s %9s"):format("training step", "forest", "one by one", "ratio"))
local cases = {
  { "DPO pair, prompt 256, answers 32", 2, 256, 32 }, { "8 answers, prompt 128, answers 64", 8, 128, 64 },
  { "8 steps of 20 tokens after a prefix of 384", 8, 384, 20 },
}
for _, case in ipairs(cases) do
  local rows = answers(ids(case[3]), case[2], case[4])
  row(case[1], compare(function() train_on(rows) end, function() alone(rows) end))
end

print(("\n%-58s %12s %12s %9s"):format("32 samples of 64 tokens, prompt 128", "together", "one by one", "ratio"))
local prompt = ids(128)
row("sampling", compare(
  function() model:generate({ prompt }, { n = 32, max_tokens = 64 }) end,
  function() for i = 1, 32 do model:generate({ prompt }, { n = 1, seed = i, max_tokens = 64 }) end end))

local a, b = pf.randn { 512, 512 }, pf.randn { 512, 512 }
local rows = answers(ids(64), 16, 64)
local nodes = pf.batch(nil, rows).nodes
local step, product = compare(function() train_on(rows) end, function() for _ = 1, 20 do pf.matmul(a, b) end end)
local parameters = 0
for _, name in ipairs(model:parameters()) do parameters = parameters + model:parameters()[name]:numel() end
local rate, best = 6 * parameters * nodes / step, 20 * 2 * 512 ^ 3 / product
print(("\nshare of the matrix product's rate that a training step reaches: %.0f %% (%.1f of %.1f GFLOP/s)"):format(
  100 * rate / best, rate / 1e9, best / 1e9))
