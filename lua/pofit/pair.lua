--- Preference pairs from sampled answers: each right answer of a prompt against each wrong one.
--
--   local pairs, counts = pf.pair(samples, {per_prompt = 4, balance = true, seed = 1})
--
-- samples: {{prompt = ..., samples = {{text =, ids =, correct = true|false, ...}, ...}}, ...}
local random = require "pofit.random"

local KNOWN <const> = {by = true, per_prompt = true, balance = true, seed = true}

local function verdict(sample)
  return sample.correct
end

local function judge(by)
  if by == nil or by == "verdict" then
    return verdict
  elseif type(by) == "function" then
    return by
  end
  error(('pair: by is "verdict" or a function(sample), not %s'):format(tostring(by)), 3)
end

local function key(sample, where)
  if sample.ids then
    return table.concat(sample.ids, " ")
  end
  return sample.text and "text " .. sample.text or error(("pair: %s has neither ids nor text"):format(where), 4)
end

-- the different answers of one prompt, right and wrong
local function sort_out(samples, is_right, i, counts)
  local right, wrong, seen = {}, {}, {}
  for j, sample in ipairs(samples) do
    local k = key(sample, ("sample %d of prompt %d"):format(j, i))
    local verdict_of = is_right(sample)
    if seen[k] then
      counts.duplicates = counts.duplicates + 1
    elseif verdict_of == nil then
      counts.unjudged = counts.unjudged + 1
    else
      local list = verdict_of and right or wrong
      list[#list + 1] = sample
    end
    seen[k] = true
  end
  return right, wrong
end

local function gcd(a, b)
  while b ~= 0 do
    a, b = b, a % b
  end
  return a
end

-- All r * w places of the grid, in an order whose every beginning uses rows, and columns, equally often to within one:
-- diagonal after diagonal, each shifted by one when it has come round.
local function diagonals(r, w)
  local out, round = {}, r * w // gcd(r, w)
  for k = 0, r * w - 1 do
    out[k + 1] = {k % r + 1, (k + k // round) % w + 1}
  end
  return out
end

local function grid(r, w)
  local out = {}
  for i = 1, r do
    for j = 1, w do
      out[#out + 1] = {i, j}
    end
  end
  return out
end

--- Pair right with wrong answers. Equal answers of a prompt (same ids, else same text) count once.
---@param samples table[] see the top of the file
---@param o? table by ("verdict": the field `correct`; or a function(sample) that returns true, false, or nil for
--- neither), per_prompt (most pairs of a prompt; default all), balance (use each answer about equally often), seed (1)
---@return table[] pairs {prompt =, chosen = sample, rejected = sample, index = number of the prompt}
---@return table counts prompts, paired (prompts), pairs, no_right, no_wrong (prompts), duplicates, unjudged (answers)
return function(samples, o)
  o = o or {}
  for name in pairs(o) do
    if not KNOWN[name] then
      error(("pair: unknown option %s; there are by, per_prompt, balance, seed"):format(tostring(name)), 2)
    end
  end
  local limit = o.per_prompt or math.huge
  if type(limit) ~= "number" or limit < 1 then
    error(("pair: per_prompt is a number from 1, not %s"):format(tostring(limit)), 2)
  end
  local is_right = judge(o.by)
  local out = {}
  local counts = {
    prompts = #samples, paired = 0, pairs = 0, no_right = 0, no_wrong = 0, duplicates = 0, unjudged = 0,
  }
  for i, item in ipairs(samples) do
    local right, wrong = sort_out(item.samples, is_right, i, counts)
    counts.no_right = counts.no_right + (#right == 0 and 1 or 0)
    counts.no_wrong = counts.no_wrong + (#wrong == 0 and 1 or 0)
    counts.paired = counts.paired + (#right > 0 and #wrong > 0 and 1 or 0)
    -- one stream a prompt: what is drawn for it does not depend on the prompts before
    local g = random.new(o.seed or 1, i)
    local places
    if o.balance then
      g:shuffle(right)
      g:shuffle(wrong)
      places = diagonals(#right, #wrong)
    else
      places = g:shuffle(grid(#right, #wrong))
    end
    for k = 1, math.min(#places, limit) do
      local chosen, rejected = right[places[k][1]], wrong[places[k][2]]
      out[#out + 1] = {prompt = item.prompt, chosen = chosen, rejected = rejected, index = i}
    end
  end
  counts.pairs = #out
  return out, counts
end
