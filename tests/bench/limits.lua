-- What pofit alone is held to: for each group of works a sentence that says what was found, what it should be, and
-- whether it is so. rows: {{work =, summary =, tokens =}, ...} in the order of works.lua.
local M = {}

local function verdict(ok) return ok and "within" or "NOT within" end

--- Tokens a second, of the best round, do not depend on how much there is to do.
function M.cost(rows)
  local low, high = math.huge, 0
  for _, row in ipairs(rows) do
    local rate = row.tokens / math.min(table.unpack(row.summary.all_seconds))
    low, high = math.min(low, rate), math.max(high, rate)
  end
  local apart = (high - low) / high
  return ("cost against work: %.0f to %.0f tokens/s from %d to %d pairs, %.0f %% apart; %s 10 %%"):format(low, high,
    rows[1].work.prompts, rows[#rows].work.prompts, 100 * apart, verdict(apart <= 0.1))
end

--- Every further token costs as much memory as the one before.
function M.memory(rows)
  local low, high = math.huge, 0
  for i = 2, #rows do
    local slope = (rows[i].summary.held - rows[i - 1].summary.held) / (rows[i].tokens - rows[i - 1].tokens)
    low, high = math.min(low, slope), math.max(high, slope)
  end
  return ("memory: %.1f to %.1f KB a token from %d to %d tokens; %s 20 %%, so %slinear"):format(low / 1e3, high / 1e3,
    rows[1].tokens, rows[#rows].tokens, verdict(high <= 1.2 * low), high <= 1.2 * low and "" or "not ")
end

M["1.1B"] = function(rows)
  local peak = 0
  for _, row in ipairs(rows) do peak = math.max(peak, row.summary.peak) end
  return ("1.1B parameters of 4 bits under an adapter, 512 tokens: %.2f GiB; %s 3 GiB"):format(peak / 2 ^ 30,
    verdict(peak <= 3 * 2 ^ 30))
end

function M.size(rows)
  local parts = {}
  for i, row in ipairs(rows) do parts[i] = ("%s %.2f MB"):format(row.work.file, row.summary.bytes / 1e6) end
  return "stripped: " .. table.concat(parts, ", ")
end

--- The sentence of a group; groups of one row that compare nothing say nothing.
function M.sentence(group, rows)
  if #rows == 0 or ((group == "cost" or group == "memory") and #rows < 3) then return nil end
  return M[group](rows)
end

return M
