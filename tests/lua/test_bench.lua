-- The parts of the bench that compute and write, on figures that are made up: nothing here is timed.
local check = dofile((arg[0]:match "^.*/" or "") .. "check.lua")
local pf = require "pofit"
local function part(name) return dofile(check.root .. "tests/bench/" .. name .. ".lua") end
local works, figures, limits, rows = part "works", part "figures", part "limits", part "rows"
local chart, material, gguf = part "chart", part "material", part "gguf"

check.test("works have names of their own, known peers, kinds and shapes, and pairs where two are compared", function()
  local kinds, peers, names = {}, { trl = true, torch = true, tuned = true, llama = true }, {}
  for word in ("dpo sft aft limited score sampling rollouts tokenise load startup program size"):gmatch "%a+" do
    kinds[word] = true
  end
  for _, work in ipairs(works) do
    check.ok(not names[work.name], work.name .. " is there twice")
    check.ok(not work.name:find ",", work.name .. ": --only takes no comma")
    names[work.name] = true
    check.eq(works[work.name], work)
    check.ok(kinds[work.kind], work.name .. ": kind")
    check.ok(material.shapes[work.shape], work.name .. ": shape")
    for _, who in ipairs(work.peers) do check.ok(peers[who], work.name .. ": peer " .. who) end
    if work.kind == "dpo" or work.kind == "aft" then check.eq(work.answers % 2, 0, work.name) end
    check.ok(not work.group or limits[work.group], work.name .. ": group")
    if work.prompts then
      local most = material.shapes[work.shape][7]
      check.ok(work.prompt + (work.answer or 0) <= most, work.name .. ": longer than the model's context")
    end
  end
end)

check.test("rows are the same in every run, and answers end with the last token", function()
  local work = works["embedded dpo (50 updates of 16 pairs)"]
  local list = material.rows(work)
  check.eq(list, material.rows(work))
  check.eq({ #list, #list[1].answers, #list[1].prompt, #list[1].answers[1] }, { 16, 2, 4, 2 })
  check.eq(list[1].answers[2][2], 0)
  check.eq(material.tokens(work), 50 * 16 * 2 * 6)
end)

check.test("medians, ratios round by round, and results that agree", function()
  check.eq(figures.median { 3, 1, 2 }, 2)
  check.eq(figures.median { 4, 1, 2, 3 }, 2.5)
  check.eq({ figures.ratio({ 1, 2, 4 }, { 2, 2, 12 }) }, { 2.0, 1.0, 3.0 })
  check.eq({ figures.ratio({}, { 1 }) }, {})
  check.eq({ figures.same({ 1.0, 2.0 }, { 1.0, 2.2, 9 }, 0.11) }, { true, (2.2 - 2.0) / 2.0 })
  check.eq(figures.same({ 5 }, { 6 }, 0), false)
  check.eq(figures.same({ 5 }, { 5 }, 0), true)
  check.eq(figures.same({ 1.0 }, { 0 / 0 }, 0.1), false)
  check.eq(figures.same({}, { 1 }, 0), nil)
end)

local function summary(seconds, result, more)
  local first, parts = { peak = 2e6, result = 1.0, flops = 4e9 }, {}
  for name, value in pairs(more or {}) do first[name] = value end
  for i, s in ipairs(seconds) do
    parts[i] = { seconds = s, cpu = 2 * s, result = result, peak = 1e6 * i, rate = 8 * i, rate_cpu = 1 }
  end
  return figures.summary(first, parts)
end

check.test("a summary takes the largest memory, the median time, and all results", function()
  local s = summary({ 1.0, 2.0, 4.0 }, 0.5)
  check.eq({ s.seconds, s.spread, s.cpu, s.peak, s.flops }, { 2.0, 1.5, 4.0, 3e6, 4e9 })
  check.eq({ s.results, s.rates, s.all_cpu }, { { 1.0, 0.5, 0.5, 0.5 }, { 8, 16, 24 }, { 2.0, 4.0, 8.0 } })
end)

check.test("the share of the rate is that of each round, of whoever measured the best", function()
  local rates = figures.largest_each { { 8, 1, 10 }, { 2, 16, 4, 3 } }
  check.eq(rates, { 8, 16, 10, 3 })
  check.eq(figures.share(4e9, { 1, 1, 1 }, rates), 0.4) -- 4/8, 4/16, 4/10
  check.eq(figures.share(4e9, {}, rates), nil)
  check.eq(figures.share(0, { 1 }, rates), nil)
  check.eq(figures.share(nil, { 1 }, rates), nil)
end)

local work = { name = "a, b", kind = "dpo", tolerance = 0.01, peers = { "trl", "llama", "tuned" } }
local found = { pofit = summary({ 1.0, 1.0 }, 0.5), trl = summary({ 2.0, 4.0 }, 0.5, { flops = 8e9 }),
  llama = summary({ 0.5, 0.5 }, 0.9) }
local list = rows.of(work, found, { tuned = "no torch" })

check.test("rows hold ratios, and say which peer is missing and which computes something else", function()
  check.eq({ list[2].ratio, list[2].low, list[2].high, list[2].more, list[2].same }, { 3.0, 2.0, 4.0, 2.0, true })
  check.eq(list[3].same, false)
  check.matches(rows.line(list[1]), "^a, b +pofit +1%.000 s")
  check.matches(rows.line(list[2]), "trl .*3%.00 x +2%.00 to 4%.00.*2%.00 x.* yes$")
  check.matches(rows.line(list[3]), "llama .*0%.50 x.*NO: 4%.0e%-01 off$")
  check.matches(rows.line(list[4]), "tuned +is missing: no torch$")
end)

check.test("the same for programs and for the README", function()
  local lines = {}
  for line in rows.csv(list):gmatch "[^\n]+" do lines[#lines + 1] = line end
  check.eq(#lines, 5)
  local _, commas = lines[1]:gsub(",", "")
  for i = 2, 5 do
    check.matches(lines[i], '^"a, b",')
    check.eq(select(2, lines[i]:gsub('^"a, b"', ""):gsub(",", "")), commas, lines[i])
  end
  check.matches(lines[5], "tuned,.*,no torch$")
  check.ok(rows.markdown(list):find(
    "\n| a, b | 1.000 s | 38 % | 2 MB | trl | 3.000 s | 3.00 x [2.00, 4.00] | 2.00 x | 2 MB |", 1, true))
  for line in rows.markdown(list):gmatch "[^\n]+" do check.eq(select(2, line:gsub("|", "")), 10, line) end
end)

check.test("the picture: a bar for each ratio, longer than none to the left and the right of 1", function()
  check.eq(chart.svg { list[1], list[4] }, nil)
  local svg = chart.svg(list)
  local x, width = svg:match '<rect class="trl" x="([%d.]+)" y="%d+" width="([%d.]+)" height="%d+" rx="2"><title>'
  local left, other = svg:match '<rect class="llama" x="([%d.]+)" y="%d+" width="([%d.]+)" height="%d+" rx="2"><title>'
  local one = tonumber(svg:match '<line class="one" x1="([%d.]+)"')
  check.near(tonumber(x), one, 0.11)
  check.near(tonumber(left) + tonumber(other), one, 0.21)
  check.near(tonumber(width) / tonumber(other), math.log(3, 2), 0.01)
  check.eq(select(2, svg:gsub("<title>", "")), 3)
  check.ok(not svg:find "tuned: ", "a bar of who is missing")
end)

local function group(name, sums)
  local out = {}
  for i, s in ipairs(sums) do
    out[i] = { work = { name = "w", prompts = 4 ^ i // 1, file = "f" }, tokens = 1000 * 2 ^ i, summary = s }
  end
  return limits.sentence(name, out)
end

check.test("limits: flat, linear, below, and the same when they are not kept", function()
  local function seconds(...)
    local out = {}
    for i, s in ipairs { ... } do out[i] = { all_seconds = { s, 9 } } end
    return out
  end
  check.matches(group("cost", seconds(2.0, 4.0, 8.0)), "1000 to 1000 tokens/s from 4 to 64 pairs, 0 %% .*; within")
  check.matches(group("cost", seconds(2.0, 4.0, 9.0)), "11 %% apart; NOT within 10 %%")
  check.eq(group("cost", seconds(2.0)), nil)
  check.matches(group("memory", { { held = 7e6 }, { held = 9e6 }, { held = 13e6 } }), "1%.0 to 1%.0 KB.* so linear")
  check.matches(group("memory", { { held = 7e6 }, { held = 9e6 }, { held = 17e6 } }), "1%.0 to 2%.0 KB.* not linear")
  check.matches(group("1.1B", { { peak = 2 ^ 31 } }), "2%.00 GiB; within 3 GiB")
  check.matches(group("1.1B", { { peak = 2 ^ 31 }, { peak = 2 ^ 32 } }), "4%.00 GiB; NOT within")
  check.matches(group("size", { { bytes = 1.5e6 } }), "f 1%.50 MB")
end)

check.test("the GGUF files of random 4-bit blocks are models", function()
  local config = material.config("tinyllama", 1)
  config.hidden_size, config.intermediate_size, config.vocab_size = 256, 512, 64
  config.num_attention_heads, config.num_key_value_heads = 4, 2
  local path = os.tmpname()
  for _, type in ipairs { "q4_0", "q4_k" } do
    gguf.write(path .. ".gguf", config, type)
    local model = pf.model.load(path .. ".gguf", { dtype = "stored", lora = { rank = 2, seed = 1 } })
    local sum = model:logits({ 1, 2, 3 }):sum():item()
    check.ok(sum == sum and math.abs(sum) < 1e6, type)
    check.eq(model.num_hidden_layers, 1)
    os.remove(path .. ".gguf")
  end
  os.remove(path)
end)

check.test("the tokenizer has as many tokens as the model, most of a word each, and its text comes back", function()
  local vocabulary, dir = part "vocabulary", os.tmpname()
  os.remove(dir)
  vocabulary.write(dir, 49152)
  local tok = pf.tokenizer.load(dir)
  check.eq(tok.size, 49152)
  for _, line in ipairs(vocabulary.text(0.01)) do
    local ids = tok:encode(line, { special = false })
    check.eq(tok:decode(ids), line)
    check.ok(#line / #ids > 2.8, ("%d bytes in %d tokens"):format(#line, #ids))
  end
  for _, name in ipairs { "tokenizer.json", "tokenizer_config.json" } do os.remove(dir .. "/" .. name) end
  os.remove(dir)
end)

check.done()
