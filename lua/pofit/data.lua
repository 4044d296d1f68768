-- Data: rows from files or from memory, tokenised once, as data sets that make batches.
--
-- A data set has n rows; set:batch{3, 1, 7} is the forest batch of those rows. Rows that cannot be used are counted
-- and named (set.dropped), never lost silently.
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"
local batch_of = require "pofit.batch"

local M = {}

--- Rows of a JSON lines file (.jsonl or .jsonl.zst), one after the other: for row, line in pf.data.jsonl(path).
--- Errors name the file and the line.
---@param path string
---@return function
function M.jsonl(path)
  local lines = sys.lines(path)
  return function()
    local text, line = lines()
    if not text then return nil end
    local where = ("%s:%d"):format(path, line)
    local row = json.decode(text, where)
    if type(row) ~= "table" or row[1] ~= nil then core.raise(where .. ": expected a JSON object, one a line") end
    return row, line, path
  end
end

local function field_error(where, name, value, wanted)
  core.raise(("%s: field %q is %s, expected %s"):format(where, name, value == nil and "missing" or type(value), wanted))
end

local function is_text(value)
  return type(value) == "string" or type(value) == "table"
end

-- TRL's implicit prompt: chosen and rejected are whole conversations that begin alike
local function implicit_prompt(row)
  local a, b, prompt = row.chosen, row.rejected, {}
  if type(a) ~= "table" or type(b) ~= "table" then return nil end
  local i = 1
  while a[i] and b[i] and i < #a and i < #b and a[i].role == b[i].role and a[i].content == b[i].content do
    prompt[i] = a[i]
    i = i + 1
  end
  if i == 1 then return nil end
  return prompt, table.move(a, i, #a, 1, {}), table.move(b, i, #b, 1, {})
end

-- an answer from a sample ({ids=}), or the text or messages as they stand
local function answer_of(value)
  if type(value) == "table" and value.ids then return value.ids end
  return value
end

--- Write preference rows (text, or samples with text) as JSON lines: prompt, chosen, rejected, and whose answer was cut
--- off before its end: chosen_finished, rejected_finished = false. Rows with a prefix keep its ids and the answers'.
---@param path string
---@param rows table[]
function M.save(path, rows)
  local lines = {}
  for i, row in ipairs(rows) do
    local values, keys = {}, {}
    local function put(name, value)
      if value ~= nil then keys[#keys + 1], values[name] = name, value end
    end
    for _, name in ipairs { "prompt", "chosen", "rejected" } do
      local value = row[name]
      if row.prefix and name ~= "prompt" and type(value) == "table" and value.ids then
        put(name, json.object({ ids = json.array(value.ids), text = value.text }, { "ids", value.text and "text" }))
      else
        put(name, type(value) == "table" and value.text or value)
      end
      if name == "prompt" and row.prefix then put("prefix", json.array(row.prefix)) end
      if type(value) == "table" and value.finish == "length" then put(name .. "_finished", false) end
    end
    lines[i] = json.encode(json.object(values, keys)) .. "\n"
  end
  sys.write(path, table.concat(lines))
end

-- ---- data sets ------------------------------------------------------------------------------------------------------

local Set = {}
Set.__index = Set

local function new_set(kind, tok, opts)
  local context = opts.model and opts.model.max_position_embeddings or math.huge
  return setmetatable({
    kind = kind, tok = tok, rows = {}, n = 0, straddles = 0, eos = opts.eos or opts.model and opts.model.eos_token_id,
    max_length = math.min(opts.max_length or math.huge, context), dropped = { too_long = {}, empty = {} },
  }, Set)
end

local function is_empty(answer)
  return answer == "" or type(answer) == "table" and #answer == 0
end

-- Tokenise the answers to a prompt and keep the row, unless an answer is empty or too long.
local function add(set, where, prompt, answers, row)
  local longest, straddles = 0, false
  row.answers = {}
  for i, answer in ipairs(answers) do
    if is_empty(answer) then
      table.insert(set.dropped.empty, where)
      return
    end
    local finished = row.finished
    if type(finished) == "table" then finished = finished[i] end
    local ok, encoded, straddled = pcall(batch_of.row, set.tok, { prompt = prompt, prefix = row.prefix,
      completion = answer, finished = finished })
    if not ok then core.raise(where .. ": " .. tostring(encoded):gsub("^.-row 1: ", "")) end
    row.answers[i], straddles = encoded, straddles or straddled
    if type(answer) == "string" and finished ~= false and not set.tok.eos and set.eos then
      table.insert(encoded.ids, set.eos) -- the tokenizer names no end, the model does
    end
    if #encoded.ids < encoded.scored_from then
      table.insert(set.dropped.empty, where)
      return
    end
    longest = math.max(longest, #encoded.ids)
  end
  if longest > set.max_length then
    table.insert(set.dropped.too_long, where)
    return
  end
  set.straddles = set.straddles + (straddles and 1 or 0)
  set.n = set.n + 1
  set.rows[set.n] = row
end

-- walk rows given as a list or an iterator; f(row, where)
local function each_row(rows, f)
  if type(rows) == "function" then
    for row, line, path in rows do f(row, line and ("%s:%d"):format(path, line) or "row") end
    return
  end
  if type(rows) ~= "table" then
    core.raise(("expected rows: a list or pf.data.jsonl(path), got a %s"):format(type(rows)))
  end
  for i, row in ipairs(rows) do
    if type(row) ~= "table" then core.raise(("row %d is a %s, expected a table of fields"):format(i, type(row))) end
    f(row, "row " .. i)
  end
end

local function finish(set, what)
  if set.n == 0 then
    core.raise(("no %s left: %s"):format(what, set:summary()))
  end
  return set
end

--- Preference rows: {prompt=, chosen=, rejected=} as text (TRL's standard form), messages (conversational; the prompt
--- may be implicit) or samples with ids (from generate: never tokenised again). With prefix= (ids) both answers go on
--- from there, and only what follows it is scored. Rows longer than
--- opts.max_length tokens, or than the context of opts.model, are dropped and named.
---@return table set
function M.preference(rows, tok, opts)
  opts = opts or {}
  local set = new_set("preference", tok, opts)
  each_row(rows, function(row, where)
    local prompt, chosen, rejected = row.prompt, row.chosen, row.rejected
    if prompt == nil and is_text(chosen) and is_text(rejected) then
      prompt, chosen, rejected = implicit_prompt(row)
      if not prompt then field_error(where, "prompt", nil, "text or messages (or conversations that begin alike)") end
    end
    for _, f in ipairs { { "prompt", prompt }, { "chosen", chosen }, { "rejected", rejected } } do
      if not is_text(f[2]) then field_error(where, f[1], f[2], "text, messages or token ids") end
    end
    local function finished(flag)
      if flag == nil then return row.finished end
      return flag
    end
    add(set, where, prompt, { answer_of(chosen), answer_of(rejected) },
      { prefix = row.prefix, finished = { finished(row.chosen_finished), finished(row.rejected_finished) } })
  end)
  return finish(set, "preference rows")
end

--- Rows {prompt=, completion=} for supervised training; a label (true or false) makes them unpaired preferences (KTO):
--- the batch then has batch.label, a list of 1 and 0. opts as for preference.
---@return table set
function M.completion(rows, tok, opts)
  opts = opts or {}
  local set = new_set("completion", tok, opts)
  each_row(rows, function(row, where)
    for _, name in ipairs { "prompt", "completion" } do
      if not is_text(row[name]) then field_error(where, name, row[name], "text, messages or token ids") end
    end
    if row.label == nil and set.labelled or row.label ~= nil and type(row.label) ~= "boolean" then
      field_error(where, "label", row.label, "true or false")
    end
    set.labelled = set.labelled or row.label ~= nil
    add(set, where, row.prompt, { answer_of(row.completion) },
      { prefix = row.prefix, finished = row.finished, label = row.label })
  end)
  return finish(set, "rows")
end

local function some(list)
  local shown = table.move(list, 1, math.min(#list, 8), 1, {})
  return table.concat(shown, ", ") .. (#list > 8 and ", ..." or "")
end

--- What was kept and what was not, as text.
function Set:summary()
  local parts = { ("%d rows kept"):format(self.n) }
  if #self.dropped.too_long > 0 then
    parts[#parts + 1] = ("%d longer than %d tokens dropped (%s)"):format(#self.dropped.too_long, self.max_length,
      some(self.dropped.too_long))
  end
  if #self.dropped.empty > 0 then
    parts[#parts + 1] = ("%d with an empty answer dropped (%s)"):format(#self.dropped.empty, some(self.dropped.empty))
  end
  if self.straddles > 0 then
    parts[#parts + 1] = ("in %d the boundary of prompt and answer falls inside a token"):format(self.straddles)
  end
  return table.concat(parts, "; ")
end

--- Two sets: the rows that are not held out, and those that are (at least one; which ones is drawn by seed).
---@return table train, table heldout
function Set:split(share, seed)
  local random = require "pofit.random"
  local order = {}
  for i = 1, self.n do order[i] = i end
  random.new(seed or 0, "split"):shuffle(order)
  local held = math.max(1, math.floor(self.n * share + 0.5))
  if held >= self.n then core.raise(("%d rows are too few to hold out %d of them"):format(self.n, held)) end
  local sets = {}
  for k, range in ipairs { { held + 1, self.n }, { 1, held } } do
    local part = new_set(self.kind, self.tok, self)
    local chosen = table.move(order, range[1], range[2], 1, {})
    table.sort(chosen)
    for _, i in ipairs(chosen) do
      part.n = part.n + 1
      part.rows[part.n] = self.rows[i]
    end
    sets[k] = part
  end
  return sets[1], sets[2]
end

-- scored tokens of an answer
local function scored(answer)
  return #answer.ids - answer.scored_from + 1
end

--- A fingerprint of the rows as they were tokenised.
---@return integer
function Set:fingerprint()
  local h = 0
  for _, row in ipairs(self.rows) do
    for _, answer in ipairs(row.answers) do
      h = sys.hash(table.concat(answer.ids, " ") .. ":" .. answer.scored_from .. tostring(row.label), h)
    end
  end
  return h
end

--- The prompt's ids of row i.
---@return integer[]
function Set:prompt(i)
  local answer = self.rows[i].answers[1]
  return table.move(answer.ids, 1, answer.scored_from - 1, 1, {})
end

--- Log-probabilities of every row under a reference model, once; batches then carry batch.ref_logp. cache: a file
--- that keeps them (bound to weights, tokenizer and rows), or nothing. Returns true if they came from the cache.
---@return boolean
function Set:reference(model, cache)
  local sequences, first, at = {}, {}, 1
  for i = 1, self.n do
    first[i] = at
    for _, answer in ipairs(self.rows[i].answers) do
      sequences[#sequences + 1] = answer
      at = at + scored(answer)
    end
  end
  local logp, cached = model:reference_logp(sequences, cache)
  self.ref, self.ref_first = logp, first
  return cached
end

--- The forest batch of the rows numbered in indices. Preference rows: batch.chosen and batch.rejected are the numbers
--- of their sequences. After set:reference(), batch.ref_logp holds the reference's log-probs, entry by entry.
---@param indices integer[]
---@return table batch
function Set:batch(indices)
  local sequences, sides, label, places = {}, { {}, {} }, {}, {}
  for k, i in ipairs(indices) do
    local at = self.ref_first and self.ref_first[i]
    for j, answer in ipairs(self.rows[i].answers) do
      sequences[#sequences + 1] = answer
      sides[j][k] = #sequences
      for _ = 1, at and scored(answer) or 0 do
        places[#places + 1] = at
        at = at + 1
      end
    end
    label[k] = self.rows[i].label and 1 or 0
  end
  local batch = batch_of(self.tok, sequences)
  if self.kind == "preference" then
    batch.chosen, batch.rejected = sides[1], sides[2]
  else
    batch.label = label
  end
  if self.ref then batch.ref_logp = self.ref:index(places) end
  return batch
end

return M
