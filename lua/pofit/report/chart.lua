--- Curves as SVG: axes with round ticks, the last value at each curve's end, the figures of a step as hover text.
-- Colours and type come from the page's style sheet (pofit.report.style).
local html = require "pofit.report.html"
local stats = require "pofit.stats"

local M = {}

local WIDTH <const>, HEIGHT <const> = 520, 250
local LEFT <const>, TOP <const>, BOTTOM <const> = 56, 14, 30
local POINTS <const> = 500 -- more are averaged in groups
local SMOOTH <const> = 60 -- from so many points on a thick mean is drawn over the thin curve
local COLUMNS <const> = 160 -- hover areas at most
local LABEL_GAP <const> = 14
local HUGE <const> = 1e100 -- what is larger is drawn as if it were infinite

local function is_finite(y)
  return type(y) == "number" and math.abs(y) < HUGE
end

-- ---- the data ----

-- the rows in groups of k: mean of each key's finite values, step of the last row; "broken" where none was finite
local function thin(rows, keys, k)
  local out = {}
  for from = 1, #rows, k do
    local to = math.min(from + k - 1, #rows)
    local point = {step = rows[to].step or to}
    for _, key in ipairs(keys) do
      local sum, n, broken = 0.0, 0, false
      for i = from, to do
        local y = rows[i][key]
        if is_finite(y) then
          sum, n = sum + y, n + 1
        elseif type(y) == "number" then
          broken = true
        end
      end
      point[key] = n > 0 and sum / n or (broken and "broken" or nil)
    end
    out[#out + 1] = point
  end
  return out
end

-- {x =, y =} of a key; y is nil where the curve is broken; steps without the key are not in it
local function curve(points, key)
  local out = {}
  for _, point in ipairs(points) do
    local y = point[key]
    if y ~= nil then
      out[#out + 1] = {x = point.step, y = is_finite(y) and y or nil}
    end
  end
  return out
end

local function mean_around(list, w)
  local out = {}
  for i = 1, #list do
    local sum, n = 0.0, 0
    for j = math.max(1, i - w // 2), math.min(#list, i + w // 2) do
      if list[j].y then
        sum, n = sum + list[j].y, n + 1
      end
    end
    out[i] = {x = list[i].x, y = list[i].y and sum / n}
  end
  return out
end

local function last_value(rows, key)
  for i = #rows, 1, -1 do
    if type(rows[i][key]) == "number" then
      return rows[i][key]
    end
  end
end

-- ---- the axes ----

local function round_step(span, count)
  local rough = span / count
  local power = 10.0 ^ math.floor(math.log(rough, 10) + 1e-9)
  for _, m in ipairs{1, 2, 5, 10} do
    if m * power >= rough * (1 - 1e-9) then
      return m * power
    end
  end
end

local function ticks(low, high, count, whole)
  local step = round_step(high - low, count)
  if whole then
    step = math.max(1, step)
  end
  local out = {}
  for i = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) do
    out[#out + 1] = i * step
  end
  return out, step
end

local function tick_text(y, step)
  if math.abs(y) < step / 2 then
    return "0"
  elseif step < 1e-3 or step >= 1e6 then
    return (("%.1e"):format(y):gsub("%.0e", "e"):gsub("e([+-])0", "e%1"):gsub("e%+", "e"):gsub("^-", "\u{2212}"))
  end
  local digits = math.max(0, -math.floor(math.log(step, 10) + 1e-9))
  return (("%." .. digits .. "f"):format(y):gsub("^-", "\u{2212}"))
end

local function bounds(series, range)
  local low, high = math.huge, -math.huge
  for _, s in ipairs(series) do
    for _, p in ipairs(s.curve) do
      if p.y then
        low, high = math.min(low, p.y), math.max(high, p.y)
      end
    end
  end
  if range then
    return math.min(low, range[1]), math.max(high, range[2])
  elseif low == high then
    local margin = low == 0 and 1 or math.abs(low) * 0.1
    return low - margin, high + margin
  end
  local margin = (high - low) * 0.06
  -- a curve that stays on one side of 0 does not reach over it
  local under, over = low - margin, high + margin
  return (low >= 0 and under < 0) and 0 or under, (high <= 0 and over > 0) and 0 or over
end

-- ---- the drawing ----

local function path(list, px, py)
  local out, pen = {}, false
  for _, p in ipairs(list) do
    if p.y then
      out[#out + 1] = ("%s%.1f %.1f"):format(pen and "L" or "M", px(p.x), py(p.y))
    end
    pen = p.y ~= nil
  end
  return table.concat(out)
end

local function draw_axes(out, scale)
  local y_ticks, step = ticks(scale.y0, scale.y1, 5)
  for _, y in ipairs(y_ticks) do
    local at = scale.py(y)
    local class = math.abs(y) < step / 2 and "zero" or "grid"
    out[#out + 1] = ('<line class="%s" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>'):format(class, LEFT, scale.right, at, at)
    out[#out + 1] = ('<text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>'):format(LEFT - 8, at + 3.5,
      tick_text(y, step))
  end
  for _, x in ipairs((ticks(scale.x0, scale.x1, 5, true))) do
    out[#out + 1] = ('<text class="tick" x="%.1f" y="%d" text-anchor="middle">%.0f</text>'):format(scale.px(x),
      HEIGHT - BOTTOM + 17, x)
  end
  out[#out + 1] = ('<text class="tick" x="%d" y="%d" text-anchor="end">step</text>'):format(WIDTH - 4,
    HEIGHT - BOTTOM + 17)
end

-- where the labels stand: at their curves' ends, pushed apart
local function place_labels(series, py)
  local labels = {}
  for i, s in ipairs(series) do
    local y
    for _, p in ipairs(s.thick) do
      y = p.y or y
    end
    if y then
      labels[#labels + 1] = {series = s, order = i, y = py(y)}
    end
  end
  table.sort(labels, function(a, b)
    if a.y ~= b.y then
      return a.y < b.y
    end
    return a.order < b.order
  end)
  for i = 2, #labels do
    labels[i].y = math.max(labels[i].y, labels[i - 1].y + LABEL_GAP)
  end
  local floor = HEIGHT - BOTTOM
  for i = #labels, 1, -1 do
    labels[i].y = math.min(labels[i].y, floor)
    floor = labels[i].y - LABEL_GAP
  end
  return labels
end

local function draw_series(out, s, scale)
  local dash = s.dashed and ' stroke-dasharray="5 4"' or ""
  if s.thick ~= s.curve then
    out[#out + 1] = ('<path class="line thin s%d" d="%s"/>'):format(s.colour, path(s.curve, scale.px, scale.py))
  end
  out[#out + 1] = ('<path class="line s%d"%s d="%s"/>'):format(s.colour, dash, path(s.thick, scale.px, scale.py))
  for i, p in ipairs(s.thick) do
    if p.y and (#s.thick <= 25 or i == #s.thick) then
      local radius = i == #s.thick and 3.2 or 2.2
      out[#out + 1] = ('<circle class="f%d" cx="%.1f" cy="%.1f" r="%.1f"/>'):format(s.colour, scale.px(p.x),
        scale.py(p.y), radius)
    end
  end
end

local function hover(out, points, series, scale)
  local every = math.ceil(#points / COLUMNS)
  local width = (scale.right - LEFT) / math.ceil(#points / every)
  for i = 1, #points, every do
    local point = points[math.min(i + every - 1, #points)]
    local text = {("step %d"):format(point.step)}
    for _, s in ipairs(series) do
      local y = point[s.key]
      if y ~= nil then
        text[#text + 1] = ("%s %s"):format(s.label, is_finite(y) and stats.number(y) or "not finite")
      end
    end
    local x = scale.px(point.step)
    out[#out + 1] = ('<g class="hover"><line x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>'
      .. '<rect x="%.1f" y="%d" width="%.1f" height="%d"/><title>%s</title></g>'):format(x, x, TOP, HEIGHT - BOTTOM,
      x - width / 2, TOP, width, HEIGHT - TOP - BOTTOM, html.escape(table.concat(text, "\n")))
  end
end

local function label_text(s, several, rows)
  local name = several and s.label .. " " or ""
  return name, (stats.number(last_value(rows, s.key)):gsub("^-", "\u{2212}"))
end

-- room for the longest label, at about 7 units a letter
local function right_edge(series, rows)
  local room = 8
  for _, s in ipairs(series) do
    local name, value = label_text(s, #series > 1, rows)
    room = math.max(room, utf8.len(name) + utf8.len(value))
  end
  return WIDTH - math.min(220, 16 + 7 * room)
end

local function make_scale(series, points, range, right)
  local y0, y1 = bounds(series, range)
  local x0, x1 = points[1].step, points[#points].step
  local span = math.max(x1 - x0, 1e-9)
  return {
    x0 = x0, x1 = x1 > x0 and x1 or x0 + 1, y0 = y0, y1 = y1, right = right,
    px = function(x)
      return LEFT + (x - x0) / span * (right - LEFT)
    end,
    py = function(y)
      return TOP + (y1 - y) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
    end,
  }
end

local function prepare(spec, rows)
  local keys = {}
  for i, s in ipairs(spec.series) do
    keys[i] = s.key
  end
  local group = math.ceil(#rows / POINTS)
  local points, series, window = thin(rows, keys, group), {}, 1
  for _, s in ipairs(spec.series) do
    local list = curve(points, s.key)
    local has = false
    for _, p in ipairs(list) do
      has = has or p.y ~= nil
    end
    if has then
      local w = #list >= SMOOTH and not spec.exact and (#list // 20) | 1 or 1
      window = w > 1 and math.max(window, w * group) or window
      series[#series + 1] = {
        key = s.key, label = s.label, dashed = s.dashed, colour = s.colour or #series + 1,
        curve = list, thick = w > 1 and mean_around(list, w) or list,
      }
    end
  end
  return points, series, window, group
end

--- A figure with one set of curves; nil when none of them has a finite value.
---@param spec table {title =, series = {{key =, label =, dashed =, colour =}, ...}, range = {low, high}, exact =};
--- exact is true for curves without noise, which are not smoothed
---@param rows table[] the metrics, one table a step, ordered by step
---@return string?
function M.figure(spec, rows)
  local points, series, window, group = prepare(spec, rows)
  if #series == 0 then
    return nil
  end
  local scale, out = make_scale(series, points, spec.range, right_edge(series, rows)), {}
  local title = html.escape(spec.title)
  out[1] = ("<figure><figcaption>%s</figcaption>"):format(title)
  out[2] = ('<svg viewBox="0 0 %d %d" role="img" aria-label="%s over steps">'):format(WIDTH, HEIGHT, title)
  draw_axes(out, scale)
  for _, s in ipairs(series) do
    draw_series(out, s, scale)
  end
  for _, label in ipairs(place_labels(series, scale.py)) do
    local name, value = label_text(label.series, #series > 1, rows)
    out[#out + 1] = ('<text class="label t%d" x="%d" y="%.1f">%s<tspan>%s</tspan></text>'):format(label.series.colour,
      scale.right + 10, label.y + 4, html.escape(name), value)
  end
  hover(out, points, series, scale)
  out[#out + 1] = "</svg>"
  local each = group > 1 and ("means of %d rows"):format(group) or "every row"
  if window > 1 then
    each = ("thin: %s, thick: mean of the %d around"):format(each, window)
  end
  if window > 1 or group > 1 then
    out[#out + 1] = ('<p class="small">%s; figures: last value</p>'):format(each)
  end
  out[#out + 1] = "</figure>"
  return table.concat(out, "\n")
end

--- Before and after on one scale from 0 to 100 %, with their intervals.
---@param c table {before =, after =, before_interval =, after_interval =}
---@return string
function M.comparison(c)
  local width, left, right = 520, 56, 12
  local function px(x)
    return left + x * (width - left - right)
  end
  local out = {('<svg viewBox="0 0 %d 92" role="img" aria-label="before and after with intervals">'):format(width)}
  for i = 0, 4 do
    local x = px(i / 4)
    out[#out + 1] = ('<line class="grid" x1="%.1f" x2="%.1f" y1="6" y2="68"/>'):format(x, x)
    out[#out + 1] = ('<text class="tick" x="%.1f" y="84" text-anchor="middle">%d%s</text>'):format(x, 25 * i,
      i == 4 and " %" or "")
  end
  local function row(name, value, interval, y, class)
    out[#out + 1] = ('<text class="tick" x="%d" y="%d" text-anchor="end">%s</text>'):format(left - 10, y + 4, name)
    if interval then
      out[#out + 1] = ('<line class="bar %s" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>'):format(class, px(interval[1]),
        px(interval[2]), y, y)
    end
    local text = stats.percent(value, interval and interval[1], interval and interval[2])
    out[#out + 1] = ('<circle class="dot %s" cx="%.1f" cy="%d" r="6"><title>%s</title></circle>'):format(class,
      px(value), y, text)
  end
  row("before", c.before, c.before_interval, 24, "was")
  row("after", c.after, c.after_interval, 50, "is")
  out[#out + 1] = "</svg>"
  return table.concat(out, "\n")
end

return M
