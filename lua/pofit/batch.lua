-- pf.batch: token sequences for a model, from texts or from ids.
--
-- A row is one of
--   {prompt=, completion=}          texts (or conversations), or lists of ids: sampled answers travel as ids;
--                                   prefix= (ids): the beginning of the answer, which is not scored
--   {ids=, scored_from=, step=}     ids as they are; tokens from number scored_from on are scored (default 2)
-- with, in both, score= (list: which tokens), target= (what to predict, where it is not the input itself), step= (list:
-- the step of each token from 1, 0 outside). {prompt=, completion=} may give steps= for the completion's tokens alone.
--
-- How texts and conversations are encoded is said in lua/pofit/encode.lua. A row of a conversation may give tools,
-- documents, variables and date for the template. Rows whose boundary of prompt and completion falls inside of a token
-- are counted in batch.straddles.
--
-- Fields of a batch: sequence, step, target [entries], length [sequences] (tensors); sequences, entries, tokens, nodes,
-- longest, straddles (numbers); rows (the encoded rows, as given to the model). chosen, rejected, label and ref_logp
-- are for the caller to set.
local core = require "pofit.core"
local encoder = require "pofit.encode"

local encode = {}

local function fail(i, text, ...)
  return core.raise(("batch: row %d: "):format(i) .. text:format(...))
end

local function completion_steps(row, n, prompt, i)
  if not row.steps then return row.step end
  if #row.steps > n - prompt then fail(i, "steps has %d values for %d completion tokens", #row.steps, n - prompt) end
  local step = {}
  for t = 1, n do step[t] = row.steps[t - prompt] or 0 end
  return step
end

--- One row as the model takes it: {ids=, scored_from=, score=, step=, target=}, and whether it straddles.
---@param tok pofit.Tokenizer?
---@param row table
---@param i? integer number of the row, for messages
---@return table, boolean
function encode.row(tok, row, i)
  i = i or 1
  if type(row) ~= "table" then fail(i, "is a %s, expected {prompt=, completion=} or {ids=}", type(row)) end
  if row.ids then
    return { ids = row.ids, scored_from = row.scored_from, score = row.score, step = row.step or row.steps,
      target = row.target }, false
  end
  if row.prompt == nil or row.completion == nil then
    fail(i, "has no %s", row.prompt == nil and "prompt" or "completion")
  end
  local sequences, notes = encoder.answers(tok, row.prompt, { row.completion }, { where = ("batch: row %d"):format(i),
    finished = row.finished, tools = row.tools, documents = row.documents, variables = row.variables,
    date = row.date, prefix = row.prefix })
  local ids, from = sequences[1].ids, sequences[1].scored_from
  return { ids = ids, scored_from = from, score = row.score, target = row.target,
    step = completion_steps(row, #ids, from - 1, i) }, notes.straddles
end

local settable = { chosen = true, rejected = true, ref_logp = true, label = true }

local metatable = {
  __name = "pofit.batch",
  __index = function(batch, name)
    if settable[name] then return nil end
    local value = rawget(batch, "handle")[name]
    rawset(batch, name, value)
    return value
  end,
}

--- A batch of rows, and the encoded rows it was made of in batch.rows.
---@param tok pofit.Tokenizer?
---@param rows table[]
---@return pofit.Batch
function encode.batch(tok, rows)
  if type(rows) ~= "table" or #rows == 0 then core.raise("batch: expected a list of rows") end
  local encoded, straddles = {}, 0
  for i, row in ipairs(rows) do
    local straddled
    encoded[i], straddled = encode.row(tok, row, i)
    if straddled then straddles = straddles + 1 end
  end
  return setmetatable({ handle = core.batch_new(encoded), rows = encoded, straddles = straddles }, metatable)
end

return setmetatable(encode, { __call = function(_, tok, rows) return encode.batch(tok, rows) end })
