-- Pairing right with wrong answers.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pair = require "pofit.pair"

local function answers(letters)
  local out = {}
  for c in letters:gmatch(".") do
    out[#out + 1] = {text = c, correct = c:find("%u") ~= nil}
  end
  return out
end

local function written(list)
  local out = {}
  for i, p in ipairs(list) do
    out[i] = p.prompt .. p.chosen.text .. p.rejected.text
  end
  return table.concat(out, " ")
end

local samples = {
  {prompt = "1", samples = answers("AAbBccd")},
  {prompt = "2", samples = answers("AB")},
  {prompt = "3", samples = answers("aba")},
  {prompt = "4", samples = answers("Ab")},
}

local function sorted(list)
  local out = {}
  for word in written(list):gmatch("%S+") do
    out[#out + 1] = word
  end
  table.sort(out)
  return table.concat(out, " ")
end

check.test("all pairs of right and wrong, equal answers once", function()
  local list, counts = pair(samples)
  check.eq(sorted(list), "1Ab 1Ac 1Ad 1Bb 1Bc 1Bd 4Ab")
  check.eq(counts, {prompts = 4, paired = 2, pairs = 7, no_right = 1, no_wrong = 1, duplicates = 3, unjudged = 0})
  check.eq(list[7].index, 4)
  check.eq(list[1].chosen.correct, true)
end)

check.test("balanced: the same pairs in another order", function()
  check.eq(sorted((pair(samples, {balance = true}))), sorted((pair(samples))))
end)

check.test("per_prompt limits, the seed decides", function()
  local two, counts = pair(samples, {per_prompt = 2, seed = 5})
  check.eq(counts.pairs, 3)
  check.eq(written(two), written((pair(samples, {per_prompt = 2, seed = 5}))))
  local kinds, seen = 0, {}
  for seed = 1, 30 do
    local words = written((pair(samples, {per_prompt = 2, seed = seed})))
    kinds, seen[words] = kinds + (seen[words] and 0 or 1), true
  end
  check.ok(kinds > 8, kinds .. " different choices")
end)

check.test("a prompt's pairs do not depend on the prompts before", function()
  local other = {{prompt = "0", samples = answers("ABCdef")}, samples[2], samples[3], samples[4]}
  local a, b = pair(samples, {seed = 3}), pair(other, {seed = 3})
  check.eq(a[#a].chosen.text, b[#b].chosen.text)
  local third = {samples[2], samples[1]}
  local fourth = {samples[4], samples[1]}
  local c, d = pair(third, {seed = 3, per_prompt = 6}), pair(fourth, {seed = 3, per_prompt = 6})
  table.remove(d, 1)
  check.eq(written(c), written(d))
end)

check.test("balance uses each answer equally often to within one, and no pair twice", function()
  for right = 1, 6 do
    for wrong = 1, 6 do
      local letters = ("ABCDEF"):sub(1, right) .. ("uvwxyz"):sub(1, wrong)
      for limit = 1, right * wrong do
        local one = {{prompt = "", samples = answers(letters)}}
        local list = pair(one, {balance = true, per_prompt = limit, seed = limit})
        check.eq(#list, limit)
        local used, seen = {}, {}
        for _, p in ipairs(list) do
          local words = p.chosen.text .. p.rejected.text
          check.ok(not seen[words], "twice " .. words)
          seen[words] = true
          used[p.chosen.text] = (used[p.chosen.text] or 0) + 1
          used[p.rejected.text] = (used[p.rejected.text] or 0) + 1
        end
        for c in letters:gmatch(".") do
          local n = c:find("%u") and right or wrong
          check.ok(math.abs((used[c] or 0) - limit / n) < 1, ("%s: %s of %d"):format(letters, used[c], limit))
        end
      end
    end
  end
end)

check.test("ids decide equality where they are given", function()
  local list, counts = pair{{prompt = "p", samples = {
    {ids = {1, 23}, text = "same", correct = true},
    {ids = {12, 3}, text = "same", correct = false},
    {ids = {1, 23}, text = "other", correct = true},
  }}}
  check.eq(#list, 1)
  check.eq(counts.duplicates, 1)
end)

check.test("a function may judge, and abstain", function()
  local list, counts = pair({{prompt = "", samples = answers("AbCd")}}, {by = function(sample)
    if sample.text ~= "C" then
      return sample.text == "d"
    end
  end})
  check.eq(sorted(list), "dA db")
  check.eq(counts.unjudged, 1)
end)

check.test("mistakes are named", function()
  check.fails("test_pair.*unknown option balanced", function()
    return (pair(samples, {balanced = true}))
  end)
  check.fails("per_prompt is a number from 1, not 0", pair, samples, {per_prompt = 0})
  check.fails("by is .verdict. or a function", pair, samples, {by = "length"})
  check.fails("sample 1 of prompt 1 has neither ids nor text", pair, {{prompt = "", samples = {{correct = true}}}})
end)

check.done()
