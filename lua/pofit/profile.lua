-- Where the time of a run went: by operation and by layer, as text, and event by event for the viewers of Chrome and
-- Perfetto. What a recipe does with --profile.
local core = require "pofit.core"
local sys = require "pofit.sys"

local Profile = {}
Profile.__index = Profile

-- sums of the rows that have the same key, the slowest first
local function summed(rows, key)
  local by, list = {}, {}
  for _, row in ipairs(rows) do
    local k = key(row)
    local sum = by[k]
    if not sum then
      sum = { key = k, calls = 0, seconds = 0, flops = 0, bytes = 0 }
      by[k], list[#list + 1] = sum, sum
    end
    for _, name in ipairs { "calls", "seconds", "flops", "bytes" } do sum[name] = sum[name] + row[name] end
  end
  table.sort(list, function(a, b)
    if a.seconds ~= b.seconds then return a.seconds > b.seconds end
    return a.key < b.key
  end)
  return list, by
end

local function line(name, sum, all)
  local rate = sum.flops > 0 and ("%9.1f %9.1f"):format(sum.flops / 1e9, sum.flops / 1e9 / sum.seconds) or (" "):rep(19)
  return ("%-24s %9d %9.2f %5.1f %% %s %9.2f %7.2f"):format(name, sum.calls, sum.seconds, 100 * sum.seconds / all, rate,
    sum.bytes / 1e9, sum.bytes / 1e9 / sum.seconds)
end

local function operations(rows, all)
  local lines = { ("%-24s %9s %9s %7s %9s %9s %9s %7s"):format("operation", "calls", "seconds", "share", "GFLOP",
    "GFLOP/s", "GB", "GB/s") }
  local list = summed(rows, function(row) return row.name .. (row.backward and " backward" or "") end)
  for _, sum in ipairs(list) do lines[#lines + 1] = line(sum.key, sum, all) end
  return table.concat(lines, "\n")
end

local function layers(rows)
  local _, by = summed(rows, function(row) return (row.layer or 0) * 2 + (row.backward and 1 or 0) end)
  local lines, last = { ("%-24s %19s %19s"):format("layer", "forward", "backward") }, 0
  for _, row in ipairs(rows) do last = math.max(last, row.layer or 0) end
  local function part(sum)
    if not sum then return (" "):rep(19) end
    local rate = sum.flops > 0 and ("%5.0f GFLOP/s"):format(sum.flops / 1e9 / sum.seconds) or (" "):rep(13)
    return ("%8.2f s %s"):format(sum.seconds, rate)
  end
  for layer = 0, last do
    local forward, backward = by[layer * 2], by[layer * 2 + 1]
    if forward or backward then
      lines[#lines + 1] = ("%-20s %s %s"):format(layer == 0 and "outside of layers" or layer, part(forward),
        part(backward))
    end
  end
  return table.concat(lines, "\n")
end

--- Time, needed floating-point operations of products, their rate, and bytes of the tensors read and written: by
--- operation, and time and rate by layer. "Elsewhere" is Lua, tokens, files, and what is not an operation.
---@return string
function Profile:text()
  local rows, inside = self.core:rows(), 0
  local all = (self.seconds or sys.clock() - self.clock)
  for _, row in ipairs(rows) do inside = inside + row.seconds end
  return ("%.2f s, of which %.2f s in operations and %.2f s elsewhere\n%s\n\n%s\n"):format(all, inside, all - inside,
    operations(rows, all), layers(rows))
end

--- The events in the trace format of Chrome, which Perfetto reads too, to a file.
---@param path string
function Profile:trace(path)
  local out = { '{"displayTimeUnit":"ms","traceEvents":[' }
  local i, first = 1, nil
  local e = self.core:event(i)
  while e do
    first = first or e.start
    out[#out + 1] = ('%s{"name":%q,"cat":%q,"ph":"X","pid":1,"tid":1,"ts":%.3f,"dur":%.3f,' ..
      '"args":{"layer":%d,"GFLOP":%.6g,"GB":%.6g}}'):format(i > 1 and "," or "", e.name,
      e.backward and "backward" or "forward", (e.start - first) * 1e6, e.seconds * 1e6, e.layer or 0, e.flops / 1e9,
      e.bytes / 1e9)
    i = i + 1
    e = self.core:event(i)
  end
  out[#out + 1] = "]}"
  sys.write(path, table.concat(out, "\n") .. "\n")
end

--- The end of a run: both, and where the trace is.
---@param dir string
function Profile:finish(dir)
  self.core:stop()
  self.seconds = sys.clock() - self.clock
  self:trace(dir .. "/trace.json")
  local rest = self.core:left_out()
  io.stdout:write("\n", self:text(), ("trace: %s/trace.json%s\n"):format(dir,
    rest > 0 and (" (the first events; %d more are in the sums alone)"):format(rest) or ""))
end

local M = {}

--- Observe all that is computed from here on.
---@return table profile text(), trace(path), finish(dir)
function M.start() return setmetatable({ core = core.profile(), clock = sys.clock() }, Profile) end

return M
