-- What the allocation-failure host runs: each part of the binding once.
local pf = require "pofit"
local small = "tests/golden/llama_a"

local x = pf.tensor({ { 1, 2 }, { 3, 4 } }, { grad = true })
tostring(x[1])
x:reshape(4):argmax(1):item()
x:detach():clone():to("float64"):copy_ { { 1, 2 }, { 3, 4 } }
pf.no_grad(function() return (x + 1):totable() end)
pf.gradcheck(function(a) return (a * a):sum() end, { { 1, 2 } })
pf.json.encode(pf.json.decode '{"a": [1, 2.5, null], "b": {"c": "x"}}')
for _ in pf.sys.lines(small .. "/config.json") do end

local m = pf.model.load(small)
local b = pf.batch(nil, { { ids = { 1, 2, 3 } }, { prompt = { 1 }, completion = { 4, 5 }, steps = { 1, 2 } } })
pf.step(function()
  local lp = pf.sum_by(m:logp(b), b.sequence, b.sequences)
  local loss = pf.loss.dpo { policy_chosen = lp:index { 1 }, policy_rejected = lp:index { 2 }, beta = 0.1 }
  loss:backward()
end)
m:generate({ { 1, 2 } }, { n = 2, max_tokens = 2, stop_ids = { 3 }, on_token = function(t) return t.id ~= nil end })
m:copy():reference_logp { { ids = { 1, 2 } } }
local adapted = pf.model.load(small, { lora = { rank = 1, dora = true, targets = { "k_proj" } } })
adapted:freeze { "*.lora_A.*" }:reference()
local t = pf.trainer(m, { lr = 0.1, steps = 3, groups = { { "*norm*", weight_decay = 0 } } })
t:accumulate(m:logp(b):mean())
t:step()
