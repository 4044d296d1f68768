-- The rows of `make bench`: what is in one, and how it is written for people, for programs and for the README.
local here = debug.getinfo(1, "S").source:match "^@(.*/)" or ""
local figures = dofile(here .. "figures.lua")

local M = {}

--- The rows of a work: pofit's and each peer's. found: who -> summary; missing: who -> why there is none.
function M.of(work, found, missing)
  local list, rates, ours = {}, {}, found.pofit
  for _, s in pairs(found) do rates[#rates + 1] = s.rates end
  for _, who in ipairs { "pofit", table.unpack(work.peers) } do
    local s = found[who]
    local row = { work = work, who = who, s = s, missing = not s and (missing[who] or "no figure") or nil }
    list[#list + 1] = row
    if s and who == "pofit" then
      row.share = figures.share(s.flops, s.all_seconds, figures.largest_each(rates))
      row.share_cpu = figures.share(s.flops, s.all_cpu, s.rates_cpu)
    elseif s and ours then
      row.ratio, row.low, row.high = figures.ratio(ours.all_seconds, s.all_seconds)
      row.more = s.flops and (ours.flops or 0) > 0 and s.flops > 0 and s.flops / ours.flops or nil
      row.same, row.off = figures.same(ours.results, s.results, work.tolerance)
    end
  end
  return list
end

local function cell(format, value) return value and format:format(value) or "" end

local function seconds(s) return s < 0.1 and ("%.2f ms"):format(1e3 * s) or ("%.3f s"):format(s) end

local function same(row) return row.same == nil and "" or row.same and "yes" or ("NO: %.1e off"):format(row.off) end

local function memory(s)
  return s.bytes and ("%.2f MB"):format(s.bytes / 1e6) or cell("%.0f MB", s.peak and s.peak / 1e6)
end

-- ---- for people ----

local LINE <const> = "%-38s %-6s %10s %6s %7s %14s %9s %9s %7s %8s %7s %9s %s"

function M.heading()
  return LINE:format("work", "who", "seconds", "spread", "ratio", "", "cpu", "GFLOP", "of ours", "of sgemm", "by cpu",
    "memory", "same")
end

function M.line(row)
  local s, name = row.s, row.who == "pofit" and row.work.name or ""
  if not s then return ("%-38s %-6s is missing: %s"):format(name, row.who, row.missing) end
  local function percent(x) return cell("%.0f %%", x and 100 * x) end
  return (LINE:format(name, row.who, s.seconds and seconds(s.seconds) or "", percent(s.spread),
    cell("%.2f x", row.ratio), row.low and ("%.2f to %.2f"):format(row.low, row.high) or "", cell("%.2f s", s.cpu),
    cell("%.1f", (s.flops or 0) > 0 and s.flops / 1e9), cell("%.2f x", row.more), percent(row.share),
    percent(row.share_cpu), memory(s), same(row)):gsub("%s+$", ""))
end

M.legend = [[
seconds   median of the rounds; spread: largest less smallest, of the median
ratio     the peer's time over pofit's: median of the rounds, smallest to largest
cpu       seconds of all processors together, which other users of the machine disturb less
GFLOP     pofit: what the products need, by its profile; peers in Python: what theirs do, by FlopCounterMode
of ours   the peer's GFLOP over pofit's
of sgemm  GFLOP over seconds, of the best rate of a 1024 x 1024 x 1024 product that pofit or a peer measured in the same
          round; median of the rounds. By cpu: both over the processors' seconds, pofit's own product
memory    the most that the process held
same      the results (losses of the updates, sums of log-probs, numbers of tokens, ids, logits) agree as closely as
          works.lua asks]]

-- ---- for programs ----

local COLUMNS <const> = { "work", "who", "seconds", "spread", "ratio", "ratio_low", "ratio_high", "cpu_seconds",
  "gflop", "gflop_of_ours", "share_of_sgemm", "share_of_sgemm_by_cpu", "peak_bytes", "file_bytes", "same", "off",
  "missing" }

local function field(value)
  if value == nil then return "" end
  if type(value) == "number" then return ("%.6g"):format(value) end
  local text = tostring(value)
  return text:find '[,"\n]' and '"' .. text:gsub('"', '""') .. '"' or text
end

function M.csv(rows)
  local lines = { table.concat(COLUMNS, ",") }
  for _, row in ipairs(rows) do
    local s, out = row.s or {}, {}
    local values = { row.work.name, row.who, s.seconds, s.spread, row.ratio, row.low, row.high, s.cpu,
      s.flops and s.flops / 1e9, row.more, row.share, row.share_cpu, s.peak, s.bytes, row.same, row.off, row.missing }
    for i = 1, #COLUMNS do out[i] = field(values[i]) end
    lines[#lines + 1] = table.concat(out, ",")
  end
  return table.concat(lines, "\n") .. "\n"
end

-- ---- for the README ----

function M.markdown(rows)
  local lines = { "| work | pofit | of sgemm | memory | peer | time | ratio | work | memory |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |" }
  local ours
  for _, row in ipairs(rows) do
    if row.who == "pofit" then ours = row end
    local s = row.s
    if s and ours.s and s.seconds and (row ~= ours or #row.work.peers == 0) then
      local peer = row == ours and { "", "", "", "", "" } or { row.who, seconds(s.seconds),
        ("%.2f x [%.2f, %.2f]"):format(row.ratio, row.low, row.high), cell("%.2f x", row.more), memory(s) }
      lines[#lines + 1] = "| " .. table.concat({ row.work.name, seconds(ours.s.seconds),
        cell("%.0f %%", ours.share and 100 * ours.share), memory(ours.s), table.unpack(peer) }, " | ") .. " |"
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
