-- Direct preference optimisation with tensor operations: all variants of pf.loss.dpo, one line each.
--   r = beta (log pi - log ref);  sigmoid: -log s(r+ - r-)     (Rafailov et al. 2023, eq. 7; the others: pf.help "dpo")
local function f(u) return -u:logsigmoid() end
local function sorted(x)
  local value, order = x:totable(), {}
  for i = 1, #value do order[i] = i end
  table.sort(order, function(i, j) return value[i] < value[j] end)
  return x:index(order)
end
local function smooth(u, eps) return (1 - eps) * f(u) + eps * f(-u) end
local V = {}
function V.sigmoid(t) return f(t.u) end
function V.cdpo(t) return smooth(t.u, t.eps) end
function V.robust(t) return ((1 - t.eps) * f(t.u) - t.eps * f(-t.u)) / (1 - 2 * t.eps) end
function V.hinge(t) return (1 - t.u):relu() end
function V.ipo(t) return (t.c / t.len_c - t.r / t.len_r - 1 / (2 * t.beta)) ^ 2 end
function V.ipo_sum(t) return (t.c - t.r - 1 / (2 * t.beta)) ^ 2 end
function V.sigmoid_norm(t) return f(t.beta * (t.c / t.len_c - t.r / t.len_r)) end
function V.exo_pair(t)
  return t.u:sigmoid() * (-f(t.u) - math.log(1 - t.eps)) + (-t.u):sigmoid() * (-f(-t.u) - math.log(t.eps))
end
function V.nca_pair(t) return f(t.beta * t.c) + f(-t.beta * t.c) / 2 + f(-t.beta * t.r) / 2 end
function V.bco_pair(t) return f(t.beta * t.c) + f(-t.beta * t.r) end
function V.sppo_hard(t) return (t.c - 1 / (2 * t.beta)) ^ 2 + (t.r + 1 / (2 * t.beta)) ^ 2 end
function V.apo_zero(t) return (-t.beta * t.c):sigmoid() + (t.beta * t.r):sigmoid() end
function V.apo_down(t) return (t.beta * t.c):sigmoid() + (-t.u):sigmoid() end
function V.aot(t) return smooth(t.beta * (sorted(t.pc - t.pr) - sorted(t.rc - t.rr)), t.eps) end
function V.aot_unpaired(t) return smooth(t.beta * (sorted(t.c) - sorted(t.r)), t.eps) end
function V.sft(t) return -t.pc / t.len_c:mean() end
function V.discopop(t)
  local m = (t.u / t.tau):sigmoid()
  return (1 - m) * f(t.u) + m * (-t.u):exp()
end

-- scores of the f-divergences: S(l) in place of the log-ratio l
local S = {
  reverse_kl = function(l) return l end, forward_kl = function(l) return -(-l):exp() end,
  js_divergence = function(l) return l:logsigmoid() end,
  alpha_divergence = function(l, alpha) return ((alpha - 1) * l):exp() / (alpha - 1) end,
}

--- t as pf.loss.dpo takes it, with tensors; the mean over the pairs.
return function(t)
  local score = S[t.f_divergence or "reverse_kl"]
  local c = score(t.policy_chosen - t.ref_chosen, t.alpha)
  local r = score(t.policy_rejected - t.ref_rejected, t.alpha)
  return V[t.variant] { c = c, r = r, u = t.beta * (c - r), beta = t.beta, eps = t.label_smoothing or 0, tau = t.tau,
    pc = t.policy_chosen, pr = t.policy_rejected, rc = t.ref_chosen, rr = t.ref_rejected, len_c = t.len_chosen,
    len_r = t.len_rejected }:mean()
end
