-- What follows from the figures of the rounds: pure functions.
local M = {}

--- Median of a list, which is left as it is.
function M.median(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  local n = #sorted
  return n % 2 == 1 and sorted[(n + 1) // 2] or (sorted[n // 2] + sorted[n // 2 + 1]) / 2
end

local function collect(parts, name)
  local list = {}
  for _, part in ipairs(parts) do list[#list + 1] = part[name] end
  return list
end

local function largest(parts, name)
  local most
  for _, part in ipairs(parts) do most = part[name] and math.max(most or 0, part[name]) or most end
  return most
end

--- Median seconds with the spread (largest less smallest, of the median), processors' seconds, flops, peak and so on of
--- one work by one. first: what it said when it was ready; parts: of each round.
function M.summary(first, parts)
  local all = table.move(parts, 1, #parts, 2, { first })
  local s = { flops = first.flops, results = collect(all, "result"), bytes = largest(parts, "bytes") }
  for _, name in ipairs { "peak", "held" } do s[name] = largest(all, name) end
  s.all_seconds, s.all_cpu = collect(parts, "seconds"), collect(parts, "cpu")
  s.rates, s.rates_cpu = collect(parts, "rate"), collect(parts, "rate_cpu")
  if #s.all_cpu > 0 then s.cpu = M.median(s.all_cpu) end
  if #s.all_seconds > 0 then
    s.seconds = M.median(s.all_seconds)
    s.spread = (math.max(table.unpack(s.all_seconds)) - math.min(table.unpack(s.all_seconds))) / s.seconds
  end
  return s
end

--- b over a, round by round: median, smallest, largest; nil without a round that both have.
function M.ratio(a, b)
  local list = {}
  for i = 1, math.min(#a, #b) do list[i] = b[i] / a[i] end
  if #list == 0 then return nil end
  return M.median(list), math.min(table.unpack(list)), math.max(table.unpack(list))
end

--- Are the results of two the same, as far as the tolerance says, a share of the largest of a? nil if one has none.
--- The second result is how far they are apart.
function M.same(a, b, tolerance)
  local n, worst, scale = math.min(#a, #b), 0.0, 0.0
  for i = 1, n do scale = math.max(scale, math.abs(a[i])) end
  for i = 1, n do
    local off = a[i] == b[i] and 0.0 or math.abs(a[i] - b[i]) / scale
    if off > worst or off ~= off then worst = off end
  end
  if n == 0 then return nil end
  return worst <= tolerance, worst
end

--- The largest of each round among several lists.
function M.largest_each(lists)
  local most = {}
  for _, list in ipairs(lists) do
    for i, x in ipairs(list) do most[i] = math.max(most[i] or x, x) end
  end
  return most
end

--- The share of the rate of products that was reached, needed flops alone: of the rate that was measured in the same
--- round, as the machine is not as fast in each; median. nil without flops, seconds or rates of a round.
function M.share(flops, seconds, rates)
  local list, n = {}, flops and flops > 0 and math.min(#seconds, #rates) or 0
  for i = 1, n do list[i] = flops / seconds[i] / 1e9 / rates[i] end
  return #list > 0 and M.median(list) or nil
end

return M
