-- Per-step advantage (Setlur et al. 2024, arXiv 2406.14532, section 6) with tensor operations:
--   L = -(1 / sequences) sum over tokens t of w(step t) log pi_t,   w = min(e^(A / temperature), w_max), constant
local pf = require "pofit"

--- logp, advantage: tensors; step: list, from 1, 0 outside any step.
return function(logp, step, advantage, temperature, w_max, sequences)
  local w = (advantage / temperature):exp():clamp(0, w_max):detach()
  local first = pf.zeros({ 1 }, { dtype = w.dtype }) -- the weight of tokens outside
  local place = {}
  for t, s in ipairs(step) do place[t] = s + 1 end
  return -(pf.cat(first, w):index(place) * logp):sum() / sequences
end
