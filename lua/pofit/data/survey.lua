-- What a data set is like: lengths, and what may be wrong with its rows.
local stats = require "pofit.stats"

local M = {}

-- share of the tokens of the longer one that two answers have in common at their beginnings and ends
local function overlap(a, b)
  local m, n = #a.ids - a.scored_from + 1, #b.ids - b.scored_from + 1
  local short, from, to = math.min(m, n), 0, 0
  while from < short and a.ids[a.scored_from + from] == b.ids[b.scored_from + from] do from = from + 1 end
  while to < short - from and a.ids[#a.ids - to] == b.ids[#b.ids - to] do to = to + 1 end
  return (from + to) / math.max(m, n, 1)
end

local function key(ids, first, last) return table.concat(ids, " ", first or 1, last or #ids) end

local function spread(values)
  table.sort(values)
  local mean = stats.mean(values)
  return { min = values[1], median = stats.quantile(values, 0.5), p95 = stats.quantile(values, 0.95),
    max = values[#values], mean = mean }
end

local NAMES <const> = { preference = { "chosen", "rejected" }, ranked = { "answer" }, steps = { "steps" },
  language = { "text" } }

--- The name of answer j of a row.
function M.answer_name(kind, j)
  local names = NAMES[kind] or { "completion" }
  return #names == 1 and kind == "ranked" and ("answer %d"):format(j) or names[j] or names[1]
end

-- tokens by part of the row
local function lengths(set)
  local parts, order = {}, {}
  local function count(name, n)
    if not parts[name] then parts[name], order[#order + 1] = {}, name end
    table.insert(parts[name], n)
  end
  for _, row in ipairs(set.rows) do
    local first, longest = row.answers[1], 0
    if set.kind ~= "language" then count("prompt", first and first.scored_from - 1 or #row.prompt) end
    for j, s in ipairs(row.answers) do
      count(set.kind == "ranked" and "answer" or M.answer_name(set.kind, j),
        #s.ids - (set.kind == "language" and 0 or s.scored_from - 1))
      longest = math.max(longest, #s.ids)
    end
    if first and set.kind ~= "language" then count("row", longest) end
  end
  local out = {}
  for i, name in ipairs(order) do out[i] = { name = name, spread = spread(parts[name]) } end
  return out
end

-- keys of a row: its prompt, and each of its answers
local function keys_of(row)
  if not row.answers[1] then return key(row.prompt), {} end
  local answers = {}
  for j, s in ipairs(row.answers) do answers[j] = key(s.ids, s.scored_from) end
  return key(row.answers[1].ids, 1, row.answers[1].scored_from - 1), answers
end

local function look_at_pair(found, row, prompt, answers, seen)
  local where = row.where
  if answers[1] == answers[2] then
    table.insert(found.identical, where)
  elseif overlap(row.answers[1], row.answers[2]) >= M.NEAR then
    table.insert(found.near, where)
  end
  local swapped = prompt .. "|" .. answers[2] .. "|" .. answers[1]
  if seen[swapped] and answers[1] ~= answers[2] then
    table.insert(found.contrary, ("%s against %s"):format(where, seen[swapped]))
  end
end

--- From this share of common tokens on, at beginning and end, two answers count as nearly equal.
M.NEAR = 0.9

local function look_at_answers(found, set, row)
  local eos = set.tok.eos or set.eos
  for j, s in ipairs(row.answers) do
    local name = M.answer_name(set.kind, j)
    if eos and s.ids[#s.ids] ~= eos then found.no_eos[name] = (found.no_eos[name] or 0) + 1 end
  end
end

--- What was found: lists of rows (where they stand) by name, lengths, and shares.
---@param set table
---@return table
function M.survey(set)
  local found = { repeated = {}, identical = {}, near = {}, contrary = {}, no_eos = {}, same_prompt = 0, right = 0,
    longer = 0, lengths = lengths(set) }
  local seen, prompts = {}, {}
  for _, row in ipairs(set.rows) do
    local prompt, answers = keys_of(row)
    local whole = prompt .. "|" .. table.concat(answers, "|") .. "|" .. tostring(row.label)
    local pair_key = prompt .. "|" .. table.concat(answers, "|")
    if seen[whole] then table.insert(found.repeated, ("%s as %s"):format(row.where, seen[whole])) end
    if set.kind == "preference" then look_at_pair(found, row, prompt, answers, prompts) end
    seen[whole] = seen[whole] or row.where
    prompts[pair_key] = prompts[pair_key] or row.where
    if prompts[prompt] and set.kind ~= "language" then found.same_prompt = found.same_prompt + 1 end
    prompts[prompt] = prompts[prompt] or row.where
    look_at_answers(found, set, row)
    found.right = found.right + (row.label and 1 or 0)
    if set.kind == "preference" and #row.answers[1].ids > #row.answers[2].ids then found.longer = found.longer + 1 end
  end
  return found
end

return M
