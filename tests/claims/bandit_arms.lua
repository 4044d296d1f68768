-- The arms of the bandit claims (row 53): tabular policies over the actions of pf.task.bandit, each update exact in
-- expectation over its pairs or samples, so that nothing but the data's histogram depends on the seed.
--
-- Tajwar et al. 2024, arXiv 2404.14367, section 5: the policy starts as the histogram of the data. Off-policy arms
-- learn from actions of that start, on-policy arms from actions of the policy as it was at most `reuse` updates ago.
local pf = require "pofit"

local M = {}

M.settings = { draws = 10000, updates = 800, lr = 0.1, beta = 0.3, best_of = 10, reuse = 1, peak = 70 }

-- the data: a histogram of so many draws of the behaviour policy, with one more draw spread over all actions
function M.histogram(task, seed, draws)
  local count, n, g = {}, #task.behaviour, pf.random.new(seed, "bandit data")
  for a = 1, n do count[a] = 1 / n end
  for _ = 1, draws do
    local u, a = g:uniform(), 0
    repeat
      a = a + 1
      u = u - task.behaviour[a]
    until u < 0 or a == n
    count[a] = count[a] + 1
  end
  for a = 1, n do count[a] = count[a] / (draws + 1) end
  return count
end

-- P(the best of N draws is a), from the distribution of one draw; actions of equal reward share
function M.best_of(p, rewards, N)
  local order, out, below = {}, {}, 0.0
  for a = 1, #p do order[a] = a end
  table.sort(order, function(a, b)
    if rewards[a] ~= rewards[b] then return rewards[a] < rewards[b] end
    return a < b
  end)
  for _, a in ipairs(order) do
    out[a] = (below + p[a]) ^ N - below ^ N
    below = below + p[a]
  end
  return out
end

-- the losses: function(task, start = log-probabilities of the policy at the start [n], s) ->
-- function(logp = those of the policy now [n], p = distribution that is sampled from) -> loss, exact in expectation
M.losses = {}

-- imitation of the best of N: no negative gradient
function M.losses.best_of_n(task, _, s)
  return function(logp, p) return -(logp * pf.tensor(M.best_of(p, task.rewards, s.best_of))):sum() end
end

-- DPO over all pairs of two draws, the better one chosen: a negative gradient
function M.losses.dpo(task, start, s)
  local n, better, worse = #task.rewards, {}, {}
  for a = 1, n do
    for b = 1, n do
      if task.rewards[a] > task.rewards[b] then better[#better + 1], worse[#worse + 1] = a, b end
    end
  end
  local ref_chosen, ref_rejected = start:index(better), start:index(worse)
  return function(logp, p)
    local q = pf.tensor(p)
    local each = pf.loss.dpo { policy_chosen = logp:index(better), policy_rejected = logp:index(worse),
      ref_chosen = ref_chosen, ref_rejected = ref_rejected, beta = s.beta, reduction = "none" }
    return (each * (q:index(better) * q:index(worse))):sum() * 2
  end
end

--- Train one arm: {loss = "best_of_n" | "dpo", on_policy = bool}. Returns the expected reward after each update, and
--- the policy at the end.
function M.train(task, seed, s, arm)
  local n, start_p = #task.rewards, M.histogram(task, seed, s.draws)
  local start = pf.tensor(start_p):log()
  local theta, m, v = start:totable(), {}, {}
  for a = 1, n do m[a], v[a] = 0.0, 0.0 end
  local curve, sampled, p = {}, start_p, start_p
  local loss = M.losses[arm.loss](task, start, s)
  for t = 1, s.updates do
    if arm.on_policy and (t - 1) % s.reuse == 0 then sampled = p end
    pf.step(function()
      local x = pf.tensor(theta, { grad = true })
      local logp = x:log_softmax(1)
      loss(logp, sampled):backward()
      local g = x.grad:totable()
      for a = 1, n do -- Adam
        m[a], v[a] = 0.9 * m[a] + 0.1 * g[a], 0.999 * v[a] + 0.001 * g[a] ^ 2
        theta[a] = theta[a] - s.lr * m[a] / (1 - 0.9 ^ t) / (math.sqrt(v[a] / (1 - 0.999 ^ t)) + 1e-8)
      end
      p = pf.tensor(theta):softmax(1):totable()
    end)
    local reward = 0.0
    for a = 1, n do reward = reward + p[a] * task.rewards[a] end
    curve[t] = { t, reward }
  end
  return curve, p
end

-- the curve of an arm, trained once for its settings, whichever claim asks first
local function curve_of(seed, c, arm, peak)
  local words = { loss = arm.loss, on_policy = arm.on_policy or false, peak = peak or c.set.peak }
  for name, value in pairs(c.set) do words[name] = words[name] or value end
  return c:once("bandit", words, function()
    return { curve = M.train(pf.task.bandit { peak = words.peak }, seed, c.set, arm) }
  end).curve
end

--- Both arms of a claim: {better =, worse =} with one item, the expected reward at the end.
function M.compare(seed, c, better, worse, peak)
  local b, w = curve_of(seed, c, better, peak), curve_of(seed, c, worse, peak)
  local budget = { updates = c.set.updates }
  return { better = { b[#b][2] }, worse = { w[#w][2] }, budget = { better = budget, worse = budget },
    curves = { title = "expected reward", better = b, worse = w } }
end

return M
