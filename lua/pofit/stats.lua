--- Statistics for evaluations: intervals, paired comparisons, pass@k, and figures as text.
-- Lists hold numbers or booleans; true counts as 1 and false as 0.
local random = require "pofit.random"

local M = {}

local Z95 <const> = 1.959963984540054 -- 97.5 % quantile of the normal distribution

local function numeric(x)
  if x == true then
    return 1
  end
  return x == false and 0 or x
end

--- Arithmetic mean; not a number for an empty list.
---@param list (number|boolean)[]
---@return number
function M.mean(list)
  local sum = 0.0
  for i = 1, #list do
    sum = sum + numeric(list[i])
  end
  return sum / #list
end

--- Standard deviation of the population that the list is a sample of (n - 1).
---@param list (number|boolean)[]
---@return number
function M.sd(list)
  local mean, sum = M.mean(list), 0.0
  for i = 1, #list do
    sum = sum + (numeric(list[i]) - mean) ^ 2
  end
  return math.sqrt(sum / (#list - 1))
end

--- Metrics of several losses: add a value to the sums, then take the means of what each name got.
---@param sums table
---@param name string
---@param value number
function M.into(sums, name, value)
  local s = sums[name] or {0.0, 0}
  sums[name] = s
  s[1], s[2] = s[1] + value, s[2] + 1
end

--- The means of what M.into has added.
---@param sums table
---@return table<string, number>
function M.means(sums)
  local out = {}
  for name, s in pairs(sums) do
    out[name] = s[1] / s[2]
  end
  return out
end

--- Quantile of a sorted list, linear between neighbours (type 7 of Hyndman and Fan 1996).
---@param sorted number[]
---@param q number from 0 to 1
---@return number
function M.quantile(sorted, q)
  local place = 1 + q * (#sorted - 1)
  local low = math.floor(place)
  local high = math.min(low + 1, #sorted)
  return sorted[low] + (place - low) * (sorted[high] - sorted[low])
end

--- 95 % interval of a share: k hits of n tries (Wilson 1927).
---@param k number
---@param n number
---@return number low
---@return number high
function M.wilson(k, n)
  if n == 0 then
    return 0.0, 1.0
  end
  local p, z2 = k / n, Z95 * Z95
  local middle = (p + z2 / (2 * n)) / (1 + z2 / n)
  local half = Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
  return k == 0 and 0.0 or middle - half, k == n and 1.0 or middle + half
end

local function check_paired(before, after)
  if #before ~= #after or #before == 0 then
    error(("stats: paired lists are of one length above 0, not %d and %d"):format(#before, #after), 3)
  end
end

--- The mean difference after - before over the same items, with a percentile bootstrap interval over items
-- (Efron 1979). A pure function of its arguments.
---@param before (number|boolean)[]
---@param after (number|boolean)[]
---@param o? table resamples (5000), level (0.95), seed (1)
---@return table {n, before, after, difference, low, high}
function M.paired(before, after, o)
  check_paired(before, after)
  local n, resamples, level = #before, o and o.resamples or 5000, o and o.level or 0.95
  local difference = {}
  for i = 1, n do
    difference[i] = numeric(after[i]) - numeric(before[i])
  end
  local g, means = random.new(o and o.seed or 1, "bootstrap"), {}
  for r = 1, resamples do
    local sum = 0.0
    for _ = 1, n do
      sum = sum + difference[g:int(n)]
    end
    means[r] = sum / n
  end
  table.sort(means)
  return {
    n = n,
    before = M.mean(before),
    after = M.mean(after),
    difference = M.mean(difference),
    low = M.quantile(means, (1 - level) / 2),
    high = M.quantile(means, (1 + level) / 2),
  }
end

--- The mean difference after - before over several seeds, with a percentile bootstrap interval clustered by seed and by
-- item (the pigeonhole bootstrap, Owen 2007): seeds and items are drawn again, each with replacement, and with them all
-- that belongs to them. Items that are the same in all seeds are crossed with them; lists of different lengths, or
-- crossed = false, are drawn again within each seed. A pure function of its arguments.
---@param before (number|boolean)[][] a list a seed
---@param after (number|boolean)[][] as many, of the same lengths
---@param o? table resamples (5000), level (0.95), seed (1), crossed (true)
---@return table {n (items in all), seeds, before, after, difference, low, high, sd (of the seeds' differences),
-- by_seed = {difference of each}}
function M.clustered(before, after, o)
  check_paired(before, after)
  local difference, by_seed, b, a, n = {}, {}, 0.0, 0.0, 0
  local crossed = not (o and o.crossed == false)
  for s = 1, #before do
    check_paired(before[s], after[s])
    difference[s], crossed = {}, crossed and #before[s] == #before[1]
    for i = 1, #before[s] do difference[s][i] = numeric(after[s][i]) - numeric(before[s][i]) end
    by_seed[s], n = M.mean(difference[s]), n + #before[s]
    b, a = b + M.mean(before[s]) / #before, a + M.mean(after[s]) / #before
  end
  local g, means = random.new(o and o.seed or 1, "clustered"), {}
  local function items(m)
    local list = {}
    for i = 1, m do list[i] = g:int(m) end
    return list
  end
  for r = 1, o and o.resamples or 5000 do
    local total, drawn = 0.0, crossed and items(#difference[1])
    for _ = 1, #difference do
      local d, sum = difference[g:int(#difference)], 0.0
      local list = drawn or items(#d)
      for k = 1, #list do sum = sum + d[list[k]] end
      total = total + sum / #list
    end
    means[r] = total / #difference
  end
  table.sort(means)
  local level = o and o.level or 0.95
  return {
    n = n, seeds = #before, before = b, after = a, difference = M.mean(by_seed), by_seed = by_seed,
    sd = #by_seed > 1 and M.sd(by_seed) or 0.0,
    low = M.quantile(means, (1 - level) / 2), high = M.quantile(means, (1 + level) / 2),
  }
end

--- Majority vote. nil and false are no votes; of equally many votes the one that was given first wins, or with
-- tie = "last" the one that was given last.
---@param answers any[] may have holes
---@param o? table tie ("first"), n (how many there are, if the last ones may be nil)
---@return any winner nil without votes
---@return integer votes
function M.vote(answers, o)
  local count, place, best = {}, {}, nil
  local last = o ~= nil and o.tie == "last"
  if o and o.tie and o.tie ~= "first" and not last then error('stats: vote has tie = "first" or "last"', 2) end
  for i = 1, o and o.n or #answers do
    local answer = answers[i]
    if answer ~= nil and answer ~= false then
      count[answer] = (count[answer] or 0) + 1
      if last or not place[answer] then place[answer] = i end
    end
  end
  for answer, n in pairs(count) do -- the order of the walk does not matter: places differ
    local tied = best ~= nil and n == count[best]
    if best == nil or n > count[best] or tied and (place[answer] > place[best]) == last then best = answer end
  end
  return best, best ~= nil and count[best] or 0
end

--- Exact two-sided test of McNemar (1947): how often would chance alone split the changed items so unevenly?
---@param before (number|boolean)[]
---@param after (number|boolean)[]
---@return number p
---@return integer gained items wrong before and right after
---@return integer lost items right before and wrong after
function M.mcnemar(before, after)
  check_paired(before, after)
  local gained, lost = 0, 0
  for i = 1, #before do
    local b, a = numeric(before[i]) ~= 0, numeric(after[i]) ~= 0
    gained, lost = gained + (a and not b and 1 or 0), lost + (b and not a and 1 or 0)
  end
  local n, tail = gained + lost, 0.0
  local log_choose = 0.0 -- log of n over i
  for i = 0, math.min(gained, lost) do
    tail = tail + math.exp(log_choose - n * math.log(2))
    log_choose = log_choose + math.log((n - i) / (i + 1))
  end
  return math.min(1.0, 2 * tail), gained, lost
end

--- Chance that k of n samples hold a right one, c being right: 1 - C(n - c, k) / C(n, k) (Chen et al. 2021).
---@param n integer
---@param c integer
---@param k integer
---@return number
function M.pass_at_k(n, c, k)
  if k < 1 or k > n or c < 0 or c > n then
    error(("stats: pass_at_k needs 1 <= k <= n and 0 <= c <= n, not n = %d, c = %d, k = %d"):format(n, c, k), 2)
  end
  if n - c < k then
    return 1.0
  end
  local none = 1.0
  for i = n - c + 1, n do
    none = none * (1 - k / i)
  end
  return 1 - none
end

-- ---- figures as text ----

-- no "-0.0"
local function fixed(x, digits)
  local text = ("%.*f"):gsub("%*", digits):format(x)
  return text:find("[1-9]") and text or text:gsub("^-", "")
end

local function with_interval(text, low, high, sign)
  if not low then
    return text
  end
  local f = sign and "%+.1f" or "%.1f"
  return ("%s [%s, %s]"):format(text, (f:format(100 * low)), (f:format(100 * high)))
end

--- A share: "61.3 % [58.2, 64.1]".
---@param x number
---@param low? number
---@param high? number
---@return string
function M.percent(x, low, high)
  return with_interval(("%.1f %%"):format(100 * x), low, high)
end

--- A difference of shares: "+12.4 points [+9.1, +15.6]".
---@param x number
---@param low? number
---@param high? number
---@return string
function M.points(x, low, high)
  return with_interval(("%+.1f points"):format(100 * x), low, high, true)
end

--- Seconds: "0:07", "12:05", "3:02:09".
---@param seconds number
---@return string
function M.duration(seconds)
  local s = math.floor(seconds + 0.5)
  if s < 3600 then
    return ("%d:%02d"):format(s // 60, s % 60)
  end
  return ("%d:%02d:%02d"):format(s // 3600, s // 60 % 60, s % 60)
end

--- A large number: "950", "3.4k", "12k", "1.2M".
---@param x number
---@return string
function M.count(x)
  for _, unit in ipairs{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} do
    if math.abs(x) >= unit[1] * 0.9995 then
      local y = x / unit[1]
      return fixed(y, math.abs(y) < 9.95 and 1 or 0) .. unit[2]
    end
  end
  return fixed(x, 0)
end

--- A figure with about four digits: "0.6931", "-1.25", "1.2e-05".
---@param x number
---@return string
function M.number(x)
  if x ~= x then
    return "nan"
  elseif math.type(x) == "integer" or x == math.huge or x == -math.huge then
    return tostring(x)
  end
  local size = math.abs(x)
  if size == 0 then
    return "0"
  end
  if size < 1e-3 or size >= 1e6 then
    return (("%.2e"):format(x):gsub("e([+-])0", "e%1"):gsub("e%+", "e"))
  end
  return fixed(x, size < 10 and 4 or size < 100 and 3 or 1)
end

return M
