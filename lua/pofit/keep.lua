-- pf.keep: which samples of a problem are worth keeping. A rule is a function(samples, problem) -> list of samples; any
-- function of that form is one. samples: {ids=, text=, finish=, correct=, reward=, ...} in the order they were drawn.
local core = require "pofit.core"

local M = {}

local function right_of(samples)
  local out = {}
  for _, sample in ipairs(samples) do
    if sample.correct then out[#out + 1] = sample end
  end
  return out
end

--- All right ones, or the first `most` of them: rejection sampling (RFT, STaR).
---@param most? integer
---@return function rule
function M.right(most)
  return function(samples)
    local right = right_of(samples)
    return most and table.move(right, 1, math.min(most, #right), 1, {}) or right
  end
end

--- As many right ones as quota(share of wrong samples, problem) says, rounded up: by difficulty (DART-Math, Tong et al.
--- 2024, arXiv 2407.13690). quota: a function, or a number for the hardest problem, for shares of it ("Prop2Diff").
---@param quota number|function
---@return function rule
function M.quota(quota)
  local most = quota
  if type(quota) == "number" then quota = function(fail) return most * fail end end
  return function(samples, problem)
    local right = right_of(samples)
    local n = math.max(1, math.ceil(quota(1 - #right / math.max(1, #samples), problem) - 1e-9))
    return table.move(right, 1, math.min(n, #right), 1, {})
  end
end

--- The model's own right sample, else gold(problem) (S3FT, Gupta et al. 2025, arXiv 2502.08130), if there is a gold.
---@param gold? function(problem) -> sample {ids=} or {text=}
---@return function rule
function M.own_or(gold)
  return function(samples, problem)
    return { right_of(samples)[1] or gold and gold(problem) or nil }
  end
end

--- The one of highest score (default: reward, else whether it is right), the first of equal ones: best of n.
---@param score? function(sample) -> number
---@return function rule
function M.best(score)
  score = score or function(sample) return sample.reward or (sample.correct and 1 or 0) end
  return function(samples)
    local best, top
    for _, sample in ipairs(samples) do
      local s = score(sample)
      if type(s) ~= "number" then core.raise(("keep.best: the score of a sample is a %s"):format(type(s))) end
      if not top or s > top then best, top = sample, s end
    end
    return { best }
  end
end

--- The first `most` different wrong ones, or all: what there is to learn from mistakes.
---@param most? integer
---@return function rule
function M.wrong(most)
  return function(samples)
    local out, seen = {}, {}
    for _, sample in ipairs(samples) do
      local key = table.concat(sample.ids, " ")
      if sample.correct == false and #sample.ids > 0 and not seen[key] and #out < (most or math.huge) then
        out[#out + 1] = sample
      end
      seen[key] = true
    end
    return out
  end
end

--- Everything.
---@return function rule
function M.all()
  return function(samples) return samples end
end

return M
