-- pf.batch: token sequences for a model, from texts or from ids.
--
-- A row is one of
--   {prompt=, completion=}          texts (or conversations), or lists of ids: sampled answers travel as ids;
--                                   prefix= (ids): the beginning of the answer, which is not scored
--   {ids=, scored_from=, step=}     ids as they are; tokens from number scored_from on are scored (default 2)
-- with, in both, score= (list: which tokens), target= (what to predict, where it is not the input itself), step= (list:
-- the step of each token from 1, 0 outside). {prompt=, completion=} may give steps= for the completion's tokens alone.
--
-- Texts are encoded together, as TRL does: the completion is what follows the prompt's tokens in the encoding of both.
-- If that encoding does not begin with the prompt's own tokens, the boundary falls inside a token: the row is counted
-- in batch.straddles. EOS is added unless the row says finished = false or it stands there already. Ids are taken as
-- they are; a text after a prompt of ids is encoded by itself.
--
-- Fields of a batch: sequence, step, target [entries], length [sequences] (tensors); sequences, entries, tokens, nodes,
-- straddles (numbers); rows (the encoded rows, as given to the model). chosen, rejected, label and ref_logp are for the
-- caller to set.
local core = require "pofit.core"
local chat = require "pofit.chat"

local encode = {}

local function starts_with(ids, prefix)
  for i = 1, #prefix do
    if ids[i] ~= prefix[i] then return false end
  end
  return true
end

local function text_of(tok, value, generation_prompt)
  if type(value) == "string" then return value end
  if chat.is_messages(value) then return tok:chat(value, { generation_prompt = generation_prompt }) end
end

local function is_ids(value)
  return type(value) == "table" and (value[1] == nil or math.type(value[1]) == "integer")
end

local function fail(i, text, ...)
  return core.raise(("batch: row %d: "):format(i) .. text:format(...))
end

-- ids of the prompt
local function head_of(tok, row, i)
  if is_ids(row.prompt) then return row.prompt end
  if not tok then fail(i, "a text needs a tokenizer") end
  local text = text_of(tok, row.prompt, true)
  if not text then fail(i, "prompt is a %s; it must be a text, a conversation or a list of ids", type(row.prompt)) end
  return chat.encode(tok, text), text
end

-- ids of the prompt with the answer's prefix, which comes as ids and is never encoded anew
local function head_with_prefix(tok, row, i)
  if row.prefix == nil then return head_of(tok, row, i) end
  if not is_ids(row.prefix) then fail(i, "prefix is a %s; it must be a list of ids", type(row.prefix)) end
  local head = head_of(tok, row, i)
  return table.move(row.prefix, 1, #row.prefix, #head + 1, table.move(head, 1, #head, 1, {}))
end

-- a completion that is a conversation: the template of the whole, so that the assistant's turn is opened once
local function conversation(tok, row, text)
  local all = table.move(row.prompt, 1, #row.prompt, 1, {})
  return tok:chat(table.move(row.completion, 1, #row.completion, #all + 1, all)):sub(#text + 1)
end

-- ids of the whole, number of prompt tokens, does the boundary fall inside a token
local function join(tok, row, i)
  local head, text = head_with_prefix(tok, row, i)
  local ids = table.move(head, 1, #head, 1, {})
  if is_ids(row.completion) then return table.move(row.completion, 1, #row.completion, #ids + 1, ids), #head, false end
  local completion = row.completion
  if chat.is_messages(completion) and chat.is_messages(row.prompt) then completion = conversation(tok, row, text) end
  if type(completion) ~= "string" then
    fail(i, "completion is a %s; it must be a text, a conversation or a list of ids", type(completion))
  end
  if not tok then fail(i, "a text needs a tokenizer") end
  local joint = ids
  if text then
    joint = chat.encode(tok, text .. completion)
    table.move(joint, #head + 1, #joint, #ids + 1, ids) -- as TRL: what comes after the prompt's number of tokens
  else
    local tail = tok:encode(completion, { special = false })
    table.move(tail, 1, #tail, #ids + 1, ids)
  end
  local prompt = #head
  if row.finished ~= false and tok.eos and (#ids == prompt or ids[#ids] ~= tok.eos) then ids[#ids + 1] = tok.eos end
  return ids, prompt, not starts_with(joint, head)
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
  local ids, prompt, straddles = join(tok, row, i)
  if prompt == 0 then fail(i, "the prompt is empty, and the tokenizer adds no BOS") end
  return { ids = ids, scored_from = prompt + 1, score = row.score, target = row.target,
    step = completion_steps(row, #ids, prompt, i) }, straddles
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
