-- The losses in C against their twins in Lua, in float32 and float64: values and gradients on random inputs.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local here = arg[0]:match("^.*/") or ""
local pf = require "pofit"
local twin = { dpo = dofile(here .. "twins/dpo.lua"), align = dofile(here .. "twins/align.lua"),
  advantage = dofile(here .. "twins/advantage.lua") }

local TOLERANCE = { float32 = 1e-5, float64 = 1e-12 }
local N, SEEDS = 7, 3

local function draw(n, dtype, stream, scale, shift)
  return (pf.randn({ n }, { seed = 4, stream = stream, dtype = dtype }) * scale + shift):detach()
end

-- the same values twice, as leaves that collect gradients
local function leaves(x)
  local values, opts = x:totable(), { dtype = x.dtype, grad = true }
  return pf.tensor(values, opts), pf.tensor(values, opts)
end

local function gradient(x)
  return x.grad and x.grad:totable() or pf.zeros(x.shape):totable()
end

-- loss: f(inputs) in C; other: its twin; inputs: list of tensors. Values and the gradient by each input agree.
local function agree(what, dtype, loss, other, inputs)
  local a, b = {}, {}
  for i, x in ipairs(inputs) do a[i], b[i] = leaves(x) end
  local y, z = loss(table.unpack(a)), other(table.unpack(b))
  what = what .. " in " .. dtype
  check.eq({ y.dtype, z.dtype }, { dtype, dtype })
  check.near(y:item(), z:item(), TOLERANCE[dtype] * math.max(1, math.abs(z:item())), what)
  y:backward()
  z:backward()
  local largest, any = 1e-3, false
  for i in ipairs(inputs) do
    for _, g in ipairs(gradient(b[i])) do largest, any = math.max(largest, math.abs(g)), any or g ~= 0 end
  end
  check.ok(any, what .. ": the gradient is 0")
  for i in ipairs(inputs) do
    local got = gradient(a[i])
    for k, g in ipairs(gradient(b[i])) do
      check.near(got[k], g, TOLERANCE[dtype] * largest, ("%s: gradient %d of input %d"):format(what, k, i))
    end
  end
end

local function each(f)
  for _, dtype in ipairs { "float32", "float64" } do
    for seed = 1, SEEDS do f(dtype, 100 * seed) end
  end
end

local SMOOTH <const> = { exo_pair = 0.01, cdpo = 0.2, robust = 0.2, aot = 0.1, aot_unpaired = 0.1 }

local function dpo(variant, more)
  each(function(dtype, at)
    local t = { variant = variant, beta = 0.3, label_smoothing = SMOOTH[variant], tau = 0.5, alpha = 0.5,
      ref_chosen = draw(N, dtype, at + 1, 2, -12), ref_rejected = draw(N, dtype, at + 2, 2, -14),
      len_chosen = pf.tensor({ 3, 4, 5, 6, 7, 8, 9 }, { dtype = dtype }),
      len_rejected = pf.tensor({ 5, 5, 2, 9, 1, 8, 4 }, { dtype = dtype }) }
    for name, value in pairs(more or {}) do t[name] = value end
    local function with(f)
      return function(c, r)
        t.policy_chosen, t.policy_rejected = c, r
        return (f(t))
      end
    end
    local c, r = t.ref_chosen + draw(N, dtype, at + 3, 1.5, 0), t.ref_rejected + draw(N, dtype, at + 4, 1.5, 0)
    agree("dpo " .. variant .. (t.f_divergence or ""), dtype, with(pf.loss.dpo), with(twin.dpo), { c, r })
  end)
end

for variant in ([[sigmoid hinge ipo exo_pair nca_pair robust bco_pair sppo_hard aot aot_unpaired apo_zero apo_down
    discopop sft sigmoid_norm cdpo ipo_sum]]):gmatch "%S+" do
  check.test("dpo " .. variant, function() dpo(variant) end)
end

check.test("dpo with f-divergences", function()
  for _, f in ipairs { "reverse_kl", "forward_kl", "js_divergence", "alpha_divergence" } do
    dpo("sigmoid", { f_divergence = f })
    dpo("ipo", { f_divergence = f })
  end
end)

check.test("align and rank", function()
  for _, constraint in ipairs { "none", "detached", "boundary" } do
    for _, detach_T in ipairs { true, false } do
      local function ranked(ranks)
        return function(s) return twin.align(s, ranks, constraint, 0.15, detach_T) end
      end
      each(function(dtype, at)
        local s = draw(N, dtype, at + 9, 0.6, -1.5)
        local rest = { constraint = constraint, beta = 0.15, detach_T = detach_T }
        agree("align " .. constraint, dtype, function(x)
          rest.positive, rest.negative = x:index { 1, 2, 3 }, x:index { 4, 5, 6, 7 }
          return (pf.loss.align(rest))
        end, ranked { 0, 0, 0, 1, 1, 1, 1 }, { s })
        local ranks = { 3, 1, 2, 2, 5, 4, 1 }
        rest = { constraint = constraint, beta = 0.15, detach_T = detach_T, ranks = ranks }
        agree("rank " .. constraint, dtype, function(x)
          rest.scores = x
          return (pf.loss.rank(rest))
        end, ranked(ranks), { s })
      end)
    end
  end
end)

check.test("advantage", function()
  local step = { 0, 1, 1, 3, 2, 0, 3 }
  each(function(dtype, at)
    local advantage = draw(3, dtype, at + 9, 0.8, 0.2)
    for _, w_max in ipairs { 1.5, 20 } do
      agree("advantage", dtype, function(logp)
        return (pf.loss.advantage { logp = logp, step = step, advantage = advantage, temperature = 0.6, w_max = w_max,
          sequences = 2 })
      end, function(logp) return twin.advantage(logp, step, advantage, 0.6, w_max, 2) end,
        { draw(N, dtype, at + 8, 1, -2) })
    end
  end)
end)

check.done()
