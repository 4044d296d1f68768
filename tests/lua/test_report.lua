-- The report: what is in it, that it is sound HTML, and that it holds out against odd input.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local report = require "pofit.report"
local html = require "pofit.report.html"

local VOID <const> = {meta = true}

-- every tag that is opened is closed, in order; attributes are quoted
local function sound(text)
  local open = {}
  check.ok(utf8.len(text), "not UTF-8")
  text = text:gsub("<!DOCTYPE html>", ""):gsub("<style>.-</style>", "")
  local at = 1
  while true do
    local from, to, slash, name, rest = text:find("<(/?)(%a[%w]*)([^<>]*)>", at)
    local stray = text:sub(at, (from or #text + 1) - 1)
    check.ok(not stray:find("[<>]"), "stray < or >: " .. stray:sub(1, 80))
    if not from then
      break
    elseif slash == "/" then
      check.eq(table.remove(open), name, "closing tag")
    else
      local left = rest:gsub('%s[%w:-]+="[^"]*"', "")
      check.ok(left == "" or left == "/", "attributes: " .. rest)
      if left ~= "/" and not VOID[name] then
        open[#open + 1] = name
      end
    end
    at = to + 1
  end
  check.eq(open, {})
end

local function rows(n, f)
  local out = {}
  for i = 1, n do
    out[i] = f(i)
    out[i].step = i
  end
  return out
end

local function count(text, pattern)
  return select(2, text:gsub(pattern, ""))
end

local full = {
  title = "DPO",
  description = "a run",
  summary = {
    accuracy_before = 0.523, accuracy_after = 0.671, interval = {0.104, 0.192}, before_interval = {0.48, 0.567},
    after_interval = {0.63, 0.71}, problems = 500, seed = 3, seconds = 143, more = {{"pairs", 2048}},
    comparisons = {{label = "sampled", before = 0.4, after = 0.39, low = -0.03, high = 0.01}},
  },
  options = {{"beta", 0.1}, {"lr", 1e-5}, {"targets", {"q", "v"}}, {"model", ""}, {"data", nil}, {"shuffle", true}},
  metrics = rows(100, function(i)
    return {
      loss = 0.7 - i / 500,
      ["rewards/chosen"] = i / 100, ["rewards/rejected"] = -i / 50, ["rewards/margins"] = 3 * i / 100,
      ["rewards/accuracies"] = 0.5 + i / 250, learning_rate = 1e-4 * (1 - i / 100), grad_norm = 2 + i % 7,
      eval_loss = i % 20 == 0 and 0.6 or nil, own = i,
    }
  end),
  samples = {{
    prompt = "3+4?", before = "3+4=8;#8", after = "3+4=7;#7", before_ok = false, after_ok = true, before_mark = {1, 6},
  }},
  notes = "a note",
}

check.test("everything that is given is shown", function()
  local text = report.write(full)
  sound(text)
  for _, want in ipairs{
    "<title>DPO</title>", ">52.3<", ">67.1 %<", "+14.8 points", "interval +10.4 to +19.2", ">500<", ">3<", ">2:23<",
    ">2048<", "sampled", "-1.0 points", "not to be told from no change", "a note", ">3+4?<", "✗ wrong", "✓ right",
    "<mark>3+4=8;</mark>#8", ">lr<", ">1e-5<", ">q,v<", ">yes<", "<figcaption>own<", "52.3 % [48.0, 56.7]",
  } do
    check.ok(text:find(want, 1, true), "missing: " .. want)
  end
  check.eq(count(text, "not to be told"), 1)
  -- loss, rewards, accuracy, learning rate, gradient norm, own
  check.eq(count(text, "<figure>"), 6)
  check.eq(count(text, "worse\""), 1)
  check.ok(text:find('held out <tspan>0.6000</tspan>', 1, true), "the last value of eval_loss")
  check.ok(text:find('<tspan>0.5000</tspan>', 1, true), "the last value of the loss")
  check.ok(text:find("step 100\nchosen 1.0000\nrejected %-2.0000\nmargin 3.0000"), "hover text")
end)

check.test("it needs nothing from elsewhere", function()
  local text = report.write(full)
  for _, pattern in ipairs{"https?:", "src=", "url%(", "@import", "<script", "<link", "<iframe"} do
    check.ok(not text:find(pattern), pattern)
  end
end)

check.test("equal input gives equal bytes", function()
  check.eq(report.write(full), report.write(full))
end)

check.test("keys that are not known get figures in the order of their names", function()
  local names = {}
  for i = 1, 20 do
    names[i] = ("own%02d"):format(i * 7 % 20)
  end
  local text = report.write{metrics = rows(3, function(i)
    local row = {}
    for _, name in ipairs(names) do
      row[name] = i
    end
    return row
  end)}
  table.sort(names)
  local order = {}
  for caption in text:gmatch("<figcaption>([^<]*)<") do
    order[#order + 1] = caption
  end
  check.eq(order, names)
end)

check.test("what was averaged is said", function()
  local text = report.write{metrics = rows(1000, function(i)
    return {loss = i, learning_rate = 1e-4 * i}
  end)}
  check.ok(text:find("thin: means of 2 rows, thick: mean of the 50 around; figures", 1, true))
  check.ok(text:find(">means of 2 rows; figures: last value<", 1, true))
end)

check.test("an empty report is a page", function()
  sound(report.write{})
  local text = report.write{title = "x", metrics = {}, samples = {}, options = {}, summary = {}}
  sound(text)
  check.eq(count(text, "<h2>"), 0)
end)

check.test("text cannot break out", function()
  local evil = '</title><script>alert("1")</script>\'&'
  local text = report.write{
    title = evil, description = evil, notes = {evil}, options = {{evil, evil}}, summary = {more = {{evil, evil}}},
    metrics = rows(3, function(i)
      return {[evil] = i}
    end),
    samples = {{prompt = evil, before = evil, after = evil, before_ok = true, before_mark = {3, 12}}},
  }
  sound(text)
  check.ok(not text:find("<script", 1, true))
end)

check.test("bytes that are no UTF-8 and control characters become visible", function()
  check.eq(html.escape("a\xFFb\xC3"), "a\u{FFFD}b\u{FFFD}")
  check.eq(html.escape("a\0\27\127\n\t"), "a\u{2400}\u{241B}\u{2421}\n\t")
  sound(report.write{samples = {{prompt = "\xE2\x82", before = "\xF0\x9F", after = "\0", before_mark = {1, 1}}}})
end)

check.test("marks count characters, and are seen beyond the end", function()
  check.eq(html.marked("äöü<", 2, 3), "ä<mark>öü</mark>&lt;")
  check.eq(html.marked("abc", 4, 3), "abc<mark>…</mark>")
  check.eq(html.marked("abc", 3, 9), "ab<mark>c</mark>")
  check.eq(html.marked("\xFFbc", 2, 2), "\u{FFFD}<mark>b</mark>c")
  check.eq(html.marked("abc"), "abc")
end)

check.test("numbers in coordinates are finite whatever the metrics are", function()
  local cases = {
    one_row = rows(1, function() return {loss = 0.7} end),
    constant = rows(9, function() return {loss = 5, grad_norm = 0, ["rewards/chosen"] = -3} end),
    huge = rows(9, function(i) return {loss = 1e300 * i, grad_norm = 1e30 * i, own = 1e-30 * i} end),
    not_finite = rows(9, function(i) return {loss = i == 4 and 0 / 0 or (i == 6 and math.huge or i)} end),
    all_nan = rows(9, function() return {loss = 0 / 0} end),
    many = rows(12345, function(i) return {loss = math.sin(i), grad_norm = i % 100 == 0 and 1 or nil} end),
    text = rows(3, function(i) return {loss = i, note = "x"} end),
  }
  local drawn = {one_row = 1, constant = 3, huge = 2, not_finite = 1, all_nan = 0, many = 2, text = 1}
  for _, name in ipairs{"one_row", "constant", "huge", "not_finite", "all_nan", "many", "text"} do
    local text = report.write{metrics = cases[name]}
    sound(text)
    for attribute in text:gmatch(' [%w]+="([^"]*)"') do
      check.ok(not attribute:find("nan") and not attribute:find("inf"), name .. ": " .. attribute)
    end
    check.eq(count(text, "<figure>"), drawn[name], name)
    check.ok(#text < 200000, name .. " is large: " .. #text)
  end
end)

check.test("a value that is not finite breaks the curve; a missing one does not", function()
  local function pieces(f)
    local d = report.write{metrics = rows(9, f)}:match('<path class="line s1" d="([^"]*)"')
    return count(d, "M"), count(d, "L")
  end
  check.eq({pieces(function(i) return {loss = i} end)}, {1, 8})
  check.eq({pieces(function(i) return {loss = i == 5 and 0 / 0 or i} end)}, {2, 6})
  check.eq({pieces(function(i) return {loss = i ~= 5 and i or nil} end)}, {1, 7})
end)

check.test("curves stand where their values are", function()
  local text = report.write{metrics = rows(11, function(i)
    return {["rewards/accuracies"] = (i - 1) / 10}
  end)}
  local d = text:match('<path class="line s1" d="([^"]*)"')
  local x0, y0, x1, y1 = d:match("^M([%d.]+) ([%d.]+)L.*L([%d.]+) ([%d.]+)$")
  -- the axis from 0 to 1 fills the height; ticks of 0 and 1 are at the ends of the curve
  check.eq({x0, y0, y1}, {"56.0", "220.0", "14.0"})
  check.ok(tonumber(x1) > 300)
  check.ok(text:find('y="223.5" text-anchor="end">0</text>', 1, true), "tick 0")
  check.ok(text:find('y="17.5" text-anchor="end">1.0</text>', 1, true), "tick 1")
end)

check.done()
