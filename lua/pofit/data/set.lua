-- A data set: rows of one kind as token sequences, counts of what was left out or changed, and batches made of them.
local core = require "pofit.core"
local sys = require "pofit.sys"
local batch_of = require "pofit.batch"
local encode = require "pofit.encode"
local mask = require "pofit.chat.mask"
local row_of = require "pofit.data.row"
local truncate = require "pofit.data.truncate"
local told = require "pofit.told"

local M = {}

local Set = {}
Set.__index = Set

local scored = truncate.scored

local TRUNCATIONS <const> = { drop = true, keep_start = true, keep_end = true }

--- An empty set. opts as for the functions of pf.data, or another set.
function M.new(kind, tok, opts)
  local context = opts.model and opts.model.max_position_embeddings or math.huge
  local truncation = opts.truncation or "drop"
  if not TRUNCATIONS[truncation] then
    core.raise(("truncation is %q; it is one of drop, keep_start, keep_end"):format(tostring(truncation)))
  end
  return setmetatable({
    kind = kind, tok = tok, rows = {}, n = 0, straddles = 0, eos = opts.eos or opts.model and opts.model.eos_token_id,
    max_length = math.min(opts.max_length or math.huge, context), truncation = truncation,
    max_prompt_length = opts.max_prompt_length, max_completion_length = opts.max_completion_length,
    assistant_only = opts.assistant_only, separator = opts.separator or "\n", date = opts.date,
    template = opts.template, variables = opts.variables,
    vocabulary = opts.vocabulary or opts.model and opts.model.vocab_size or tok and tok.size,
    dropped = { too_long = {}, empty = {}, nothing_left = {} },
    changed = { prompt = {}, completion = {}, rewrites = {}, straddles = {} },
  }, Set)
end

local function is_empty(answer)
  return answer == "" or type(answer) == "table" and #answer == 0
end

-- what the template of a row is given
local function options_of(set, row, where)
  local variables = set.variables
  if row.variables then
    variables = {}
    for name, v in pairs(set.variables or {}) do variables[name] = v end
    for name, v in pairs(row.variables) do variables[name] = v end
  end
  return { where = where, finished = row.finished, prefix = row.prefix, tools = row.tools, documents = row.documents,
    variables = variables, date = set.date, template = set.template, eos = set.eos, vocabulary = set.vocabulary,
    assistant_only = set.assistant_only }
end

-- prompt and steps as one sequence whose tokens know their step; each step ends with the separator
local function steps_of(set, row, o)
  if type(row.prompt) ~= "string" then core.raise(o.where .. ": prompt must be a text in rows of steps") end
  local text, ends = row.prompt, {}
  for i, step in ipairs(row.steps) do
    text = text .. step .. set.separator
    ends[i] = text
  end
  local sequences, notes = encode.answers(set.tok, row.prompt, { text:sub(#row.prompt + 1) }, o)
  local s = sequences[1]
  local step, at = {}, s.scored_from - 1
  for t = 1, #s.ids do step[t] = 0 end
  for i, upto in ipairs(ends) do
    local last = i == #ends and #s.ids or encode.shared(set.tok, upto, s.ids)
    for t = at + 1, last do step[t] = i end
    at = math.max(at, last)
  end
  s.step = step
  return sequences, notes
end

local function sequences_of(set, row, o)
  o.finished = row.finished and row.finished[1]
  if row.steps then return steps_of(set, row, o) end
  if row.text then return { (encode.text(set.tok, row.text, o)) }, {} end
  if row.messages then
    local s, notes = mask.conversation(set.tok, row.messages, o)
    return { s }, notes
  end
  o.finished = {}
  for i = 1, #row.answers do o.finished[i] = row.finished and row.finished[i] end
  if #row.answers > 0 then return encode.answers(set.tok, row.prompt, row.answers, o) end
  row.prompt = encode.prompt(set.tok, row.prompt, o).ids
  return {}, {}
end

-- f(...), whose errors name the row
local function at_row(where, f, ...)
  local ok, a, b = pcall(f, ...)
  if ok then return a, b end
  if type(a) ~= "string" or a == "not enough memory" or a == "interrupted" then error(a, 0) end
  local text = told.plain(a)
  return row_of.fail(where, text:find(where, 1, true) and text or where .. ": " .. text)
end

local function name_in(list, where) list[#list + 1] = where end

--- Tokenise a row (as data/row.lua gives it) and keep it, or count and name why not.
function Set:add(row, where)
  for _, answer in ipairs(row.answers) do
    if is_empty(answer) then return name_in(self.dropped.empty, where) end
  end
  if is_empty(row.text) or row.answers[1] == nil and is_empty(row.prompt) then
    return name_in(self.dropped.empty, where)
  end
  local sequences, notes = at_row(where, sequences_of, self, row, options_of(self, row, where))
  for _, s in ipairs(sequences) do
    if scored(s) == 0 then return name_in(self.dropped.empty, where) end
  end
  local limits = { max_length = self.max_length, truncation = self.truncation,
    max_prompt_length = self.kind ~= "language" and self.max_prompt_length or nil,
    max_completion_length = self.kind ~= "language" and self.max_completion_length or nil }
  local reason, cuts = truncate.apply(sequences, limits)
  if reason then return name_in(self.dropped[reason], where) end
  if #sequences == 0 and #row.prompt > self.max_length then return name_in(self.dropped.too_long, where) end
  for name in pairs(self.changed) do
    if cuts[name] or notes[name] then name_in(self.changed[name], where) end
  end
  self.straddles = #self.changed.straddles
  self.dated = self.dated or notes.dated
  self.n = self.n + 1
  self.rows[self.n] = { answers = sequences, prompt = #sequences == 0 and row.prompt or nil, label = row.label,
    labels = row.labels, score = row.score, correct = row.correct, where = where, boundary = notes.boundary }
end

local function some(list)
  local shown = table.move(list, 1, math.min(#list, 8), 1, {})
  return table.concat(shown, ", ") .. (#list > 8 and ", ..." or "")
end

local SAYINGS <const> = {
  { "dropped", "too_long", "%d longer than %s tokens dropped (%s)" },
  { "dropped", "nothing_left", "%d of which cutting to %s tokens leaves nothing to learn dropped (%s)" },
  { "dropped", "empty", "%d with an empty answer dropped (%s)" },
  { "changed", "prompt", "the prompt was cut in %d (%s)" },
  { "changed", "completion", "the end of an answer was cut off in %d (%s)" },
  { "changed", "rewrites", "in %d the template writes what comes first differently when an answer follows (%s)" },
}

--- What was kept and what was not, as text.
function Set:summary()
  local parts = { ("%d rows kept"):format(self.n) }
  for _, saying in ipairs(SAYINGS) do
    local list, text = self[saying[1]][saying[2]], saying[3]
    if #list > 0 then
      local both = select(2, text:gsub("%%s", "")) == 2
      local length = ("%.0f"):format(self.max_length)
      parts[#parts + 1] = both and text:format(#list, length, some(list)) or text:format(#list, some(list))
    end
  end
  if self.straddles > 0 then
    parts[#parts + 1] = ("in %d the boundary of prompt and answer falls inside a token"):format(self.straddles)
  end
  if self.n > 0 and self.tok and not (self.tok.eos or self.eos) then
    parts[#parts + 1] = "neither tokenizer nor model has an end token: answers are learned without one"
  end
  if self.dated then
    parts[#parts + 1] = self.date and ("the chat template writes the date %s"):format(self.date)
      or "the chat template writes today's date: pin it with the option date"
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
  if held >= self.n then core.refuse(("%d rows are too few to hold out %d of them"):format(self.n, held)) end
  local sets = {}
  for k, range in ipairs { { held + 1, self.n }, { 1, held } } do
    local part = M.new(self.kind, self.tok, self)
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

--- A fingerprint of the rows as they were tokenised.
---@return integer
function Set:fingerprint()
  local h = 0
  for _, row in ipairs(self.rows) do
    for _, answer in ipairs(row.answers) do
      local mark = answer.score and table.concat(answer.score) or ""
      h = sys.hash(table.concat(answer.ids, " ") .. ":" .. answer.scored_from .. mark .. tostring(row.label), h)
    end
  end
  return h
end

--- The prompt's ids of row i.
---@return integer[]
function Set:prompt(i)
  if self.rows[i].prompt then return self.rows[i].prompt end
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

-- what batches of a kind hold beside their sequences; of[k] lists the sequences of row k
local extras = {}

local function column(of, j)
  local out = {}
  for k, numbers in ipairs(of) do out[k] = numbers[j] end
  return out
end

function extras.preference(batch, _, of) batch.chosen, batch.rejected = column(of, 1), column(of, 2) end

function extras.completion(batch, rows)
  batch.label = {}
  for k, row in ipairs(rows) do batch.label[k] = row.label and 1 or 0 end
end
extras.unpaired = extras.completion

function extras.ranked(batch, rows, of)
  batch.answers, batch.score, batch.correct = of, {}, {}
  for k, row in ipairs(rows) do batch.score[k], batch.correct[k] = row.score, row.correct end
end

function extras.steps(batch, rows)
  batch.labels = {}
  for k, row in ipairs(rows) do batch.labels[k] = row.labels end
end

--- The forest batch of the rows numbered in indices. What it holds by kind:
---   preference   batch.chosen, batch.rejected: the numbers of the sequences
---   completion   batch.label: 1 or 0 (unpaired)
---   ranked       batch.answers[k], .score[k], .correct[k]: sequences, scores (higher is better), of row k's answers
---   steps        batch.step: the step of each entry; batch.labels[k][j]: is step j of row k right
--- After set:reference(), batch.ref_logp holds the reference's log-probs, entry by entry.
---@param indices integer[]
---@return table batch
function Set:batch(indices)
  if self.kind == "prompt" then core.raise("a set of prompts has no answers to train on: sample some first") end
  local sequences, rows, of, places = {}, {}, {}, {}
  for k, i in ipairs(indices) do
    local at = self.ref_first and self.ref_first[i]
    rows[k], of[k] = self.rows[i], {}
    for j, answer in ipairs(self.rows[i].answers) do
      sequences[#sequences + 1] = answer
      of[k][j] = #sequences
      for _ = 1, at and scored(answer) or 0 do
        places[#places + 1] = at
        at = at + 1
      end
    end
  end
  local batch = batch_of(self.tok, sequences)
  if extras[self.kind] then extras[self.kind](batch, rows, of) end
  if self.ref then batch.ref_logp = self.ref:index(places) end
  return batch
end

return M
