-- The ratios of `make bench` as a picture: for each work a bar a peer, from 1 to how many times pofit's time the peer
-- took, on a scale on which twice and half are as long. An SVG file that is readable on light and dark pages.
local html = require "pofit.report.html"

local M = {}

local WIDTH <const>, LEFT <const>, RIGHT <const>, TOP <const> = 780, 270, 72, 76
local BAR <const>, GAP <const> = 13, 11
local MOST <const> = 64 -- a longer bar ends at the edge
local TITLE <const> = "How many times as long as pofit the others take"
local PEERS <const> = { { "trl", "TRL's trainers" }, { "torch", "transformers, tokenizers" },
  { "tuned", "PyTorch by hand" }, { "llama", "llama.cpp" } }

local STYLE <const> = [[<style>
text { font: 12px system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; fill: #57606a; }
.title { font-weight: 600; font-size: 14px; fill: #24292f; } .page { fill: #ffffff; stroke: #d8dee4; }
.value { font-weight: 600; fill: #24292f; } .name { fill: #24292f; }
.grid { stroke: #d8dee4; } .one { stroke: #57606a; stroke-width: 1.5; }
.spread { stroke: #24292f; stroke-opacity: 0.55; }
.trl { fill: #0072b2; } .torch { fill: #00805c; } .tuned { fill: #c75100; } .llama { fill: #a5548a; }
@media (prefers-color-scheme: dark) {
  text { fill: #9aa4ae; } .value, .name, .title { fill: #e7eaed; } .page { fill: #161b22; stroke: #30363d; }
  .grid { stroke: #30363d; } .one { stroke: #9aa4ae; } .spread { stroke: #e7eaed; }
  .trl { fill: #5cb8ee; } .torch { fill: #34c79a; } .tuned { fill: #f2914a; } .llama { fill: #dd9bc5; }
}
</style>]]

-- works with the rows that have a ratio, in their order; and the smallest and largest of all
local function grouped(rows)
  local groups, low, high = {}, 1, 1
  for _, row in ipairs(rows) do
    if row.ratio then
      local group = groups[#groups]
      if not group or group.work ~= row.work then
        group = { work = row.work }
        groups[#groups + 1] = group
      end
      group[#group + 1] = row
      low, high = math.min(low, row.ratio, row.low), math.max(high, row.ratio, row.high)
    end
  end
  return groups, low, high
end

-- powers of two from one that is not above low to one that is not below high
local function scale(low, high)
  low, high = math.max(low, 1 / MOST), math.min(high, MOST)
  local from, to = math.floor(math.log(low, 2)), math.max(1, math.ceil(math.log(high, 2)))
  local function px(x)
    x = math.max(2.0 ^ from, math.min(x, 2.0 ^ to))
    return LEFT + (math.log(x, 2) - from) / (to - from) * (WIDTH - LEFT - RIGHT)
  end
  return from, to, px
end

local function add(out, format, ...) out[#out + 1] = format:format(...) end

local function legend(out, groups)
  local x, there = 20, {}
  for _, group in ipairs(groups) do
    for _, row in ipairs(group) do there[row.who] = true end
  end
  for _, peer in ipairs(PEERS) do
    if there[peer[1]] then
      add(out, '<rect class="%s" x="%d" y="36" width="11" height="11" rx="2"/>', peer[1], x)
      add(out, '<text x="%d" y="46">%s</text>', x + 16, html.escape(peer[2]))
      x = x + 34 + 6.4 * #peer[2] // 1
    end
  end
end

local function axis(out, from, to, px, bottom)
  for k = from, to do
    local x = px(2.0 ^ k)
    add(out, '<line class="%s" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>', k == 0 and "one" or "grid", x, x, TOP - 8,
      bottom)
    add(out, '<text x="%.1f" y="%d" text-anchor="middle">%s x</text>', x, bottom + 16,
      k < 0 and ("1/%d"):format(1 << -k) or ("%d"):format(1 << k))
  end
end

local function bars(out, group, y, px)
  add(out, '<text class="name" x="%d" y="%.1f" text-anchor="end">%s</text>', LEFT - 10, y + #group * BAR / 2 + 4,
    html.escape(group.work.name))
  for _, row in ipairs(group) do
    local a, b = math.min(px(1), px(row.ratio)), math.max(px(1), px(row.ratio))
    add(out, '<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d" rx="2">' ..
      "<title>%s: %.2f x, %.2f to %.2f</title></rect>", row.who, a, y + 1, math.max(b - a, 1), BAR - 2,
      row.who, row.ratio, row.low, row.high)
    add(out, '<line class="spread" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>', px(row.low), px(row.high), y + BAR / 2,
      y + BAR / 2)
    add(out, '<text class="value" x="%.1f" y="%.1f">%s x</text>', math.max(b, px(row.high)) + 6, y + BAR / 2 + 4,
      (row.ratio < 100 and "%.2f" or "%.0f"):format(row.ratio))
    y = y + BAR
  end
  return y + GAP
end

--- The picture, or nil if no row has a ratio.
function M.svg(rows)
  local groups, low, high = grouped(rows)
  if #groups == 0 then return nil end
  local from, to, px = scale(low, high)
  local body, y = {}, TOP
  for _, group in ipairs(groups) do y = bars(body, group, y, px) end
  local out = {}
  add(out, '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">', WIDTH,
    y + 30, WIDTH, y + 30)
  add(out, "<title>%s</title>%s", TITLE, STYLE)
  add(out, '<rect class="page" x="0.5" y="0.5" width="%d" height="%d" rx="8"/>', WIDTH - 1, y + 29)
  add(out, '<text class="title" x="20" y="24">%s</text>', TITLE)
  legend(out, groups)
  axis(out, from, to, px, y)
  return table.concat(out, "\n") .. "\n" .. table.concat(body, "\n") .. "\n</svg>\n"
end

return M
