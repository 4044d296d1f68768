-- Alignment fine-tuning (Wang et al. 2023, arXiv 2309.02144, section 4.3) with tensor operations, for one question:
--   L = log(1 + sum over i better than j of [e^(s_j - s_i) + e^(T_ij - s_j)]),   T_ij = 2 (s*_j - beta) - s_i,
-- s*_j the smallest score better than j's rank. detached: the first term, s_j constant; none: the first term.

--- scores: [K] tensor; ranks: list of K numbers, smaller is better; constraint, beta, detach_T as pf.loss.rank.
return function(scores, ranks, constraint, beta, detach_T)
  local sum = 1
  for j = 1, #ranks do
    local better = {}
    for i = 1, #ranks do
      if ranks[i] < ranks[j] then better[#better + 1] = i end
    end
    local s_j = constraint == "detached" and scores[j]:detach() or scores[j]
    for _, i in ipairs(better) do
      sum = sum + (s_j - scores[i]):exp()
      local T = 2 * (scores:index(better):min() - beta) - scores[i]
      if constraint == "boundary" then sum = sum + ((detach_T and T:detach() or T) - s_j):exp() end
    end
  end
  return sum:log()
end
