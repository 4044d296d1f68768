-- One measurement of `make bench` by pofit, in a process of its own: prints one line of JSON.
--   build/pofit tests/bench/ours.lua --work "dpo full float32 128+128"
local pf = require "pofit"
local core = require "pofit.core"
local here = arg[0]:match "^(.*/)" or ""
local works, material = dofile(here .. "works.lua"), dofile(here .. "material.lua")

local opt = pf.options {
  "One measurement by pofit.",
  { "work", nil, "what", type = "string", required = true },
  { "dir", "build/bench", "where the model is" },
  { "layers", 30, "of the model", min = 1 },
  { "repeats", 2, "that are timed, after one that is not", min = 1 },
}
if opt.threads > 0 then pf.threads(opt.threads) end
local work = works[opt.work] or error("there is no work " .. opt.work)
local rows = material.rows(work)
local loaded = pf.sys.clock()
local model = pf.model.load(material.model(opt.dir, opt.layers), { dtype = work.dtype,
  lora = work.mode == "lora" and { rank = 8, alpha = 16, seed = 1 } or nil })
loaded = pf.sys.clock() - loaded

-- the rate of a matrix product, GFLOP/s, by the clock and by the processors' time: the best of some, for whoever else
-- uses the machine only slows it down
local best, best_cpu = 0, 0
local function rate()
  local a, b = pf.randn { 1024, 1024 }, pf.randn { 1024, 1024 }
  for _ = 1, 8 do
    local start, cpu = pf.sys.clock(), os.clock()
    for _ = 1, 4 do pf.matmul(a, b) end
    best = math.max(best, 8 * 1024 ^ 3 / (pf.sys.clock() - start) / 1e9)
    best_cpu = math.max(best_cpu, 8 * 1024 ^ 3 / (os.clock() - cpu) / 1e9)
  end
end

local sequences = {}
for _, row in ipairs(rows) do
  for _, answer in ipairs(row.answers) do sequences[#sequences + 1] = { prompt = row.prompt, completion = answer } end
end

-- answers 1, 3, ... are preferred to 2, 4, ...
local function sides()
  local chosen, rejected = {}, {}
  for i = 1, #sequences, 2 do chosen[#chosen + 1], rejected[#rejected + 1] = i, i + 1 end
  return chosen, rejected
end

local losses = {}

local function logps(batch) return pf.sum_by(model:logp(batch), batch.sequence, batch.sequences) end

local loss_of = {
  dpo = function(batch, reference)
    local chosen, rejected = sides()
    local lp, rf = logps(batch), pf.tensor(reference)
    return (pf.loss.dpo { policy_chosen = lp:index(chosen), policy_rejected = lp:index(rejected),
      ref_chosen = rf:index(chosen), ref_rejected = rf:index(rejected), beta = 0.1 })
  end,
  sft = function(batch) return (pf.loss.nll { logp = model:logp(batch) }) end,
  aft = function(batch)
    local chosen, rejected = sides()
    local mean = pf.mean_by(model:logp(batch), batch.sequence, batch.sequences)
    return (pf.loss.align { positive = mean:index(chosen), negative = mean:index(rejected), constraint = "none" })
  end,
}

local function training()
  local trainer = pf.trainer(model, { lr = 1e-6, steps = 100, schedule = "constant" })
  local batch, reference = pf.batch(nil, sequences), nil
  if work.kind == "dpo" then
    pf.no_grad(function() pf.step(function() reference = logps(batch):totable() end) end)
  end
  return function()
    pf.step(function()
      local loss = loss_of[work.kind](batch, reference)
      losses[#losses + 1] = loss:item()
      trainer:accumulate(loss, 1)
    end)
    trainer:step()
  end
end

local function scoring()
  local batch = pf.batch(nil, sequences)
  return function() pf.no_grad(function() pf.step(function() model:logp(batch):sum():item() end) end) end
end

local function sampling()
  local prompts, n = {}, 0
  for k = work.prefixes or 1, 1, -1 do
    prompts[k] = table.move(rows[1].prompt, 1, #rows[1].prompt * k // (work.prefixes or 1), 1, {})
  end
  return function()
    n = n + 1
    model:generate(prompts, { n = work.answers, max_tokens = work.answer, seed = n })
  end
end

local function peak()
  for line in io.lines "/proc/self/status" do
    local kib = line:match "^VmHWM:%s+(%d+)"
    if kib then return tonumber(kib) * 1024 end
  end
end

local run = ({ score = scoring, rollouts = sampling, sampling = sampling })[work.kind]
run = (run or training)()
local profile = core.profile() -- of the one that is not timed: what it needs
run()
profile:stop()
local flops = 0
for _, row in ipairs(profile:rows()) do flops = flops + row.flops end
local seconds, cpu = {}, {}
rate()
for i = 1, opt.repeats do
  local start, spent = pf.sys.clock(), os.clock()
  run()
  seconds[i], cpu[i] = pf.sys.clock() - start, os.clock() - spent
end
rate()
print(pf.json.encode { seconds = seconds, cpu = cpu, flops = flops, peak = peak(), rate = best, rate_cpu = best_cpu,
  loss = losses[2] or 0, load = loaded })
