-- The outcome of the claims as a Markdown table and as a page with curves.
local pf = require "pofit"
local chart = require "pofit.report.chart"
local html = require "pofit.report.html"
local style = require "pofit.report.style"
local verdict = require "verdict"

local M = {}

local function budget_text(budget)
  if not budget then return "" end
  local names, parts = {}, {}
  for name in pairs(budget) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = ("%s %s"):format(name:gsub("_", " "), pf.stats.count(budget[name])) end
  return table.concat(parts, ", ")
end

--- outcomes: {{name=, claim=, s=, texts=, verdict=, seeds=, budget= {better=, worse=}, curves=}, ...}
function M.markdown(outcomes)
  local out = {
    "| row | claim | better | worse | difference [95 %] | asked | seeds | verdict |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
  }
  for _, o in ipairs(outcomes) do
    out[#out + 1] = ("| %d | %s (%s) | %s %s | %s %s | %s | %s | %d | *%s* |"):format(o.claim.row, o.claim.title,
      o.claim.metric, o.claim.better, o.texts.better, o.claim.worse, o.texts.worse, o.texts.difference,
      o.texts.minimum, #o.seeds, o.verdict)
  end
  return table.concat(out, "\n") .. "\n"
end

-- the interval on a line with 0, the minimum, and a dot a seed
local function interval(o)
  local s, minimum = o.s, o.claim.minimum
  if o.claim.relation == "not worse" then minimum = -(o.claim.unit and minimum or verdict.MARGIN) end
  local low, high = math.min(0, s.low, minimum), math.max(0, s.high, minimum)
  for _, d in ipairs(s.by_seed) do low, high = math.min(low, d), math.max(high, d) end
  local margin = math.max(1e-9, (high - low) * 0.08)
  local function px(x) return 12 + (x - low + margin) / (high - low + 2 * margin) * 496 end
  local out = { '<svg viewBox="0 0 520 60" role="img" aria-label="difference with interval">' }
  local function rule(x, text, class)
    out[#out + 1] = ('<line class="%s" x1="%.1f" x2="%.1f" y1="6" y2="42"/>'):format(class, px(x), px(x))
    out[#out + 1] = ('<text class="tick" x="%.1f" y="56" text-anchor="middle">%s</text>'):format(px(x), text)
  end
  rule(0, "0", "zero")
  if minimum ~= 0 then rule(minimum, o.claim.relation == "not worse" and "allowed" or "asked", "grid") end
  out[#out + 1] = ('<line class="bar is" x1="%.1f" x2="%.1f" y1="24" y2="24"/>'):format(px(s.low), px(s.high))
  for i, d in ipairs(s.by_seed) do
    out[#out + 1] = ('<circle class="dot was" cx="%.1f" cy="24" r="3"><title>seed %d: %s</title></circle>'):format(
      px(d), o.seeds[i], pf.stats.number(d))
  end
  out[#out + 1] = ('<circle class="dot is" cx="%.1f" cy="24" r="6"/></svg>'):format(px(s.difference))
  return table.concat(out, "\n")
end

-- curves of the seeds, their mean at each step: {title=, better = {{step, value}, ...} a seed, worse = ...}
local function figure(o, curves)
  local at, steps = {}, {}
  for _, arm in ipairs { "better", "worse" } do
    for _, list in ipairs(curves[arm] or {}) do
      for _, p in ipairs(list) do
        local row = at[p[1]]
        if not row then
          row = { step = p[1], n = {} }
          at[p[1]], steps[#steps + 1] = row, row
        end
        row.n[arm] = (row.n[arm] or 0) + 1
        row[arm] = (row[arm] or 0) + (p[2] - (row[arm] or 0)) / row.n[arm]
      end
    end
  end
  if #steps == 0 then return "" end
  table.sort(steps, function(a, b) return a.step < b.step end)
  return chart.figure({ title = curves.title, series = { { key = "better", label = o.claim.better },
    { key = "worse", label = o.claim.worse, dashed = true } } }, steps) or ""
end

--- The page.
function M.html(outcomes, note)
  local out = {}
  local function add(format, ...) out[#out + 1] = select("#", ...) > 0 and format:format(...) or format end
  add('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">')
  add('<meta name="viewport" content="width=device-width, initial-scale=1"><title>Claims</title>')
  add("<style>\n%s\n</style></head><body><main><header><h1>Claims</h1><p class=\"lead\">%s</p></header>", style,
    html.escape(note))
  for _, o in ipairs(outcomes) do
    local word = o.verdict == "reproduced" and "✓ " or o.verdict == "not reproduced" and "✗ " or ""
    add('<section class="card"><div class="what">row %d%s</div><h2>%s</h2>', o.claim.row,
      o.claim.paper and " · " .. html.escape(o.claim.paper) or "", html.escape(o.claim.title))
    add("<p><b>%s%s</b>: %s. %s %s, %s %s; asked: %s.</p>", word, html.escape(o.verdict),
      html.escape(o.texts.difference), html.escape(o.claim.better), html.escape(o.texts.better),
      html.escape(o.claim.worse), html.escape(o.texts.worse), html.escape(o.texts.minimum))
    add(interval(o))
    for _, arm in ipairs { "better", "worse" } do
      local text = budget_text(o.budget and o.budget[arm])
      if text ~= "" then add('<p class="small">%s: %s</p>', html.escape(o.claim[arm]), html.escape(text)) end
    end
    if o.curves then add('<div class="charts">%s</div>', figure(o, o.curves)) end
    add("</section>")
  end
  add("</main></body></html>\n")
  return table.concat(out, "\n")
end

M.budget_text = budget_text
return M
