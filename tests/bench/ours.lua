-- A work of `make bench` by pofit, in a process of its own. It says that it is ready, and after each line that it gets
-- does the work once more and says how that went: lines of JSON.
--   echo | build/pofit tests/bench/ours.lua --work "dpo lora float32 128+128 (2 pairs)"
local pf = require "pofit"
local core = require "pofit.core"
local here = arg[0]:match "^(.*/)" or ""
local function part(name) return dofile(here .. name .. ".lua") end
local works, material, session = part "works", part "material", part "session"

local opt = pf.options {
  "A work of make bench by pofit.",
  { "work", nil, "which", type = "string", required = true },
  { "dir", "build/bench", "where models are" },
  { "layers", 0, "of the model; 0: its own number", min = 0 },
}
if opt.threads > 0 then pf.threads(opt.threads) end
local work = works[opt.work] or error("there is no work " .. opt.work)
local rows, path = material.rows(work), material.model(opt.dir, work, opt.layers)

local sequences = {}
for _, row in ipairs(rows) do
  for _, answer in ipairs(row.answers) do sequences[#sequences + 1] = { prompt = row.prompt, completion = answer } end
end

local function open_model()
  local lora = work.mode == "lora"
  return pf.model.load(path, { dtype = work.dtype, adapter = lora and not work.stored and path .. "/adapter" or nil,
    lora = lora and work.stored and { rank = 8, alpha = 16, seed = 1 } or nil })
end

local function logps(model, batch) return pf.sum_by(model:logp(batch), batch.sequence, batch.sequences) end

-- answers 1, 3, ... are preferred to 2, 4, ...
local function sides()
  local chosen, rejected = {}, {}
  for i = 1, #sequences, 2 do chosen[#chosen + 1], rejected[#rejected + 1] = i, i + 1 end
  return chosen, rejected
end

-- a loss, and the log-probs that it is made of
local loss_of = {}

function loss_of.dpo(model, batch, reference)
  local chosen, rejected = sides()
  local lp, rf = logps(model, batch), pf.tensor(reference)
  return pf.loss.dpo { policy_chosen = lp:index(chosen), policy_rejected = lp:index(rejected),
    ref_chosen = rf:index(chosen), ref_rejected = rf:index(rejected), beta = 0.1 }, lp
end

function loss_of.sft(model, batch)
  local lp = model:logp(batch)
  return pf.loss.nll { logp = lp }, lp
end

function loss_of.aft(model, batch)
  local chosen, rejected = sides()
  local mean = pf.mean_by(model:logp(batch), batch.sequence, batch.sequences)
  return pf.loss.align { positive = mean:index(chosen), negative = mean:index(rejected), constraint = "none" }, mean
end

-- Each kind: a function that does the work once and returns what came of it, a number; a peer returns the same.
local kinds = {}

-- the trainer follows what --memory would plan for this one batch; the plan goes to standard error
local function limit(model, trainer, batch)
  local all = { n = 1, batch = function() return batch end }
  require "pofit.memory".keep({ model = model, data = all, steps = 1, accumulate = 1, memory = work.memory }, trainer,
    function() return { 1 } end, function(text) io.stderr:write(text, "\n") end)
end

local function training(loss)
  local model = open_model()
  local trainer = pf.trainer(model, { lr = work.lr, steps = 1000, schedule = "constant", optimizer = work.optimizer })
  local batch, reference = pf.batch(nil, sequences), nil
  if work.memory then limit(model, trainer, batch) end
  if work.kind == "dpo" then
    pf.no_grad(function() pf.step(function() reference = logps(model, batch):totable() end) end)
  end
  return function()
    local value
    for _ = 1, work.updates do
      pf.step(function()
        local l, lp = loss(model, batch, reference)
        value = work.compare == "logp" and lp:mean():item() or l:item()
        trainer:accumulate(l, 1)
      end)
      trainer:step()
    end
    return value
  end
end
for kind, loss in pairs(loss_of) do kinds[kind] = function() return training(loss) end end

function kinds.score()
  local model, batch = open_model(), pf.batch(nil, sequences)
  return function()
    local sum
    pf.no_grad(function() pf.step(function() sum = model:logp(batch):sum():item() end) end)
    return sum
  end
end

-- what it samples differs from a peer's; there must be as much of it
function kinds.sampling()
  local model, prompts, n = open_model(), {}, 0
  for k = work.prefixes or 1, 1, -1 do
    prompts[k] = table.move(rows[1].prompt, 1, #rows[1].prompt * k // (work.prefixes or 1), 1, {})
  end
  return function()
    n = n + 1
    local tokens = 0
    for _, list in ipairs(model:generate(prompts, { n = work.answers, max_tokens = work.answer, seed = n,
      compute = work.compute, kv = work.kv })) do
      for _, sample in ipairs(list) do tokens = tokens + #sample.ids end
    end
    return tokens
  end
end
kinds.rollouts = kinds.sampling

-- a number that all the ids and their order make
local function checksum(sum, ids)
  for _, id in ipairs(ids) do sum = (sum * 31 + id) % 2147483647 end
  return sum
end

function kinds.tokenise()
  local tok, lines = pf.tokenizer.load(material.tokenizer(opt.dir)), material.text(work.megabytes)
  return function()
    local lists = {}
    for i, line in ipairs(lines) do lists[i] = tok:encode(line, { special = false }) end
    return nil, function()
      local sum = 0
      for _, ids in ipairs(lists) do sum = checksum(sum, ids) end
      return sum
    end
  end
end

function kinds.load()
  return function() return open_model():logits(rows[1].prompt)[#rows[1].prompt]:logsumexp():item() end
end

-- ---- measuring ----

-- the rate of a matrix product, GFLOP/s, by the clock and by the processors' time: the best of some, for whoever else
-- uses the machine only slows it down
local function measure_rate()
  local a, b = pf.randn { 1024, 1024 }, pf.randn { 1024, 1024 }
  local best, best_cpu = 0, 0
  for _ = 1, 16 do
    local start, cpu = pf.sys.clock(), os.clock()
    for _ = 1, 2 do pf.matmul(a, b) end
    best = math.max(best, 4 * 1024 ^ 3 / (pf.sys.clock() - start) / 1e9)
    best_cpu = math.max(best_cpu, 4 * 1024 ^ 3 / (os.clock() - cpu) / 1e9)
  end
  return best, best_cpu
end

local held -- bytes of tensors at most, the first time
local function say(figures)
  figures.peak = session.peak(pf.sys.read "/proc/self/status")
  figures.held = held
  print(pf.json.encode(figures))
  io.stdout:flush()
end

-- once, timed; what was made is freed before the next time
local function timed(run)
  collectgarbage()
  local start, spent = pf.sys.clock(), os.clock()
  local result, later = run()
  local seconds, cpu = pf.sys.clock() - start, os.clock() - spent
  return { seconds = seconds, cpu = cpu, result = later and later() or result }
end

local run = kinds[work.kind]()
core.memory_high(true) -- what loading took does not count
local profile = core.profile() -- of the first time, which is not counted: what it needs
local first = timed(run)
profile:stop()
held = core.memory_high()
local flops = 0
for _, row in ipairs(profile:rows()) do flops = flops + row.flops end
say { flops = flops, result = first.result }
for _ in io.lines() do
  local rate, rate_cpu = measure_rate()
  local figures = timed(run)
  figures.rate, figures.rate_cpu = rate, rate_cpu
  say(figures)
end
