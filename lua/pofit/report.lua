--- The report of a run: one HTML file that needs nothing else, made from tables in memory.
local chart = require "pofit.report.chart"
local html = require "pofit.report.html"
local stats = require "pofit.stats"
local style = require "pofit.report.style"
local value = require "pofit.options.value"

local M = {}

-- the curves that are known by name; what else is in the metrics gets a figure of its own
local FIGURES <const> = {
  {title = "Loss", series = {{key = "loss", label = "loss"}}},
  {title = "Rewards", series = {
    {key = "rewards/chosen", label = "chosen"},
    {key = "rewards/rejected", label = "rejected"},
    {key = "rewards/margins", label = "margin"},
  }},
  {title = "Accuracy", range = {0, 1}, series = {
    {key = "rewards/accuracies", label = "rewards"},
    {key = "accuracy", label = "answers"},
    {key = "mean_token_accuracy", label = "tokens"},
  }},
  {title = "Log-probabilities", series = {
    {key = "logps/chosen", label = "chosen"},
    {key = "logps/rejected", label = "rejected"},
  }},
  {title = "Learning rate", exact = true, series = {{key = "learning_rate", label = "learning rate"}}},
  {title = "Gradient norm", series = {{key = "grad_norm", label = "gradient norm"}}},
}
local NO_CURVE <const> = {step = true, epoch = true, tokens = true, num_tokens = true}

local function keys_of(metrics)
  local seen, out = {}, {}
  for _, row in ipairs(metrics) do
    for key, figure in pairs(row) do
      if not seen[key] and type(figure) == "number" and not NO_CURVE[key] then
        seen[key] = true
        out[#out + 1] = key
      end
    end
  end
  table.sort(out)
  return out, seen
end

-- the known figures with the curves that are there (and their eval_ twins, dashed), then one for each other key
local function figures(metrics)
  local keys, seen = keys_of(metrics)
  local out, used = {}, {}
  for _, known in ipairs(FIGURES) do
    local figure = {title = known.title, range = known.range, exact = known.exact, series = {}}
    for colour, s in ipairs(known.series) do
      for _, prefix in ipairs{"", "eval_", "eval/"} do
        local key = prefix .. s.key
        if seen[key] then
          local name = #known.series > 1 and s.label .. " " or ""
          local label = prefix == "" and s.label or name .. "held out"
          used[key] = true
          table.insert(figure.series, {key = key, label = label, colour = colour, dashed = prefix ~= ""})
        end
      end
    end
    out[#out + 1] = figure
  end
  for _, key in ipairs(keys) do
    if not used[key] then
      out[#out + 1] = {title = key, series = {{key = key, label = key}}}
    end
  end
  return out
end

-- ---- the parts of the page: each takes `add` and its own piece of the input ----

local function change_text(c)
  local text = ("<b>%s</b>"):format(stats.points(c.after - c.before))
  if c.low then
    text = ("%s, 95 %% interval %+.1f to %+.1f"):format(text, 100 * c.low, 100 * c.high)
    if c.low <= 0 and c.high >= 0 then
      text = text .. " (not to be told from no change)"
    end
  end
  return text
end

local function hero(add, c)
  add('<section class="card hero"><div><div class="what">%s</div>', html.escape(c.label))
  add('<div class="big"><span class="from">%.1f</span> <span class="arrow">→</span>', 100 * c.before)
  add('<span class="to%s">%.1f %%</span></div>', c.after < c.before and " worse" or "", 100 * c.after)
  add('<div class="change">%s</div></div><div>%s</div></section>', change_text(c), chart.comparison(c))
end

local function comparisons(summary)
  local out = {}
  if summary.accuracy_before and summary.accuracy_after then
    local interval = summary.interval or {}
    out[1] = {
      label = summary.label or "Held-out accuracy",
      before = summary.accuracy_before,
      after = summary.accuracy_after,
      low = interval[1],
      high = interval[2],
      before_interval = summary.before_interval,
      after_interval = summary.after_interval,
    }
  end
  return table.move(summary.comparisons or {}, 1, #(summary.comparisons or {}), #out + 1, out)
end

local function summarise(add, summary)
  for _, c in ipairs(comparisons(summary)) do
    hero(add, c)
  end
  local facts = {}
  local function fact(name, figure)
    if figure ~= nil then
      facts[#facts + 1] = ("<div><dt>%s</dt><dd>%s</dd></div>"):format(html.escape(name), html.escape(figure))
    end
  end
  fact("held-out problems", summary.problems)
  fact("seed", summary.seed)
  fact("time", summary.seconds and stats.duration(summary.seconds))
  for _, item in ipairs(summary.more or {}) do
    fact(item[1], item[2])
  end
  if #facts > 0 then
    add('<dl class="facts">%s</dl>', table.concat(facts))
  end
end

local function draw(add, metrics)
  local out = {}
  for _, figure in ipairs(figures(metrics)) do
    out[#out + 1] = #metrics > 0 and chart.figure(figure, metrics) or nil
  end
  if #out > 0 then
    add('<h2>Training</h2><div class="charts">%s</div>', table.concat(out, "\n"))
  end
end

local function side(add, name, text, ok, mark)
  local class, badge = "", ""
  if ok ~= nil then
    class = ok and " right" or " wrong"
    badge = ('<span class="badge">%s</span>'):format(ok and "✓ right" or "✗ wrong")
  end
  mark = mark or {}
  add('<div class="side%s"><div class="what">%s%s</div><div class="text">%s</div></div>', class, name, badge,
    html.marked(text, mark[1] or mark.first, mark[2] or mark.last))
end

local function show_samples(add, samples)
  if #samples == 0 then
    return
  end
  add("<h2>Sampled answers</h2>")
  for _, s in ipairs(samples) do
    add('<section class="card sample"><div class="prompt text">%s</div><div class="sides">', html.escape(s.prompt))
    side(add, "before", s.before or "", s.before_ok, s.before_mark)
    side(add, "after", s.after or "", s.after_ok, s.after_mark)
    add("</div></section>")
  end
end

local function show_options(add, options)
  if #options == 0 then
    return
  end
  add('<h2>Options</h2><dl class="card options">')
  for _, item in ipairs(options) do
    local text = item[2] == nil and "" or value.text(item[2])
    add("<div><dt>%s</dt><dd>%s</dd></div>", html.escape(item[1]), text == "" and "–" or html.escape(text))
  end
  add("</dl>")
end

local function show_notes(add, notes)
  if type(notes) == "string" then
    notes = {notes}
  end
  if notes and #notes > 0 then
    add('<h2>Notes</h2><ul class="notes">')
    for _, note in ipairs(notes) do
      add("<li>%s</li>", html.escape(note))
    end
    add("</ul>")
  end
end

--- The report as HTML text; writing it to a file is the caller's.
---@param r table
--- title, description: texts;
--- summary: accuracy_before, accuracy_after, interval = {low, high} of their difference, before_interval,
---   after_interval, label; comparisons: more of them, {{label =, before =, after =, low =, high =, before_interval =,
---   after_interval =}, ...}; problems, seed, seconds, more = {{name, value}, ...}; all may be missing;
--- options: {{name, value}, ...};
--- metrics: {{step =, loss =, ["rewards/chosen"] =, ...}, ...} in order of step;
--- samples: {{prompt =, before =, after =, before_ok =, after_ok =, before_mark = {first, last}, after_mark =}, ...},
---   marks in characters;
--- notes: a text or a list of them
---@return string
function M.write(r)
  local out = {}
  local function add(format, ...)
    out[#out + 1] = select("#", ...) > 0 and format:format(...) or format
  end
  local title = html.escape(r.title or "pofit")
  add('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">')
  add('<meta name="viewport" content="width=device-width, initial-scale=1">')
  add("<title>%s</title>\n<style>\n%s</style></head>\n<body><main>", title, style)
  add("<header><h1>%s</h1>", title)
  if r.description then
    add('<p class="lead">%s</p>', html.escape(r.description))
  end
  add("</header>")
  summarise(add, r.summary or {})
  show_notes(add, r.notes)
  draw(add, r.metrics or {})
  show_samples(add, r.samples or {})
  show_options(add, r.options or {})
  add("</main></body></html>\n")
  return table.concat(out, "\n")
end

return M
