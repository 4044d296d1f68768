-- pf.model: loading and making models, and the methods that are written in Lua.
local core = require "pofit.core"
local json = require "pofit.json"
local chat = require "pofit.chat"
local adapter = require "pofit.adapter"
require "pofit.tokenizer"

local methods = core.class.model

local function prompt_ids(tok, prompt, i)
  if type(prompt) == "string" or chat.is_messages(prompt) then
    if not tok then
      core.refuse("generate: the model has no tokenizer (tokenizer.json in its directory); give prompts as ids "
        .. "(pofit generate: --data with rows like {\"prompt\": [1, 2]})")
    end
    if type(prompt) == "string" then return chat.encode(tok, prompt) end
    return tok:chat(prompt, { generation_prompt = true, tokenize = true })
  end
  if type(prompt) == "table" and math.type(prompt[1]) == "integer" then return prompt end
  return core.raise(("generate: prompt %d is a %s; expected a text, a list of messages or a list of ids"):format(i,
    type(prompt)))
end

--- The ids of a prompt as generate reads it: a text, a conversation, or ids.
---@param prompt string|table
---@return integer[]
function methods:prompt_ids(prompt)
  return prompt_ids(self.tokenizer, prompt, 1)
end

local function is_single(prompts)
  return type(prompts) == "string" or type(prompts) == "table"
    and (math.type(prompts[1]) == "integer" or chat.is_messages(prompts))
end

--- Sample answers. prompts: a list of texts, conversations or lists of ids, or a single one, which counts as a list of
--- one. Returns for each prompt a list of n samples {ids=, text=, logp=, finish=}; logp are the tokens'
--- log-probabilities at temperature 1, finish is "eos", "stop", "length" or "cancelled". temperature 0 is greedy.
--- Equal seed, prompt and sample number give the same sample, whatever else is asked for. opts: n, max_tokens,
--- temperature, top_p, top_k, min_p, stop (a text or several), stop_ids, seed, batch (samples computed together),
--- compute ("bfloat16": what goes into products with bfloat16 weights is rounded, which takes half the time where the
--- processor multiplies such numbers), kv ("float16": keys and values take half the memory),
--- on_token: told of each token as it comes, as {prompt=, sample=, id=, logp=, text=, last=}; text is what is certain
--- now, half a character waits.
--- on_token may return false to end the sample there.
---@param prompts string|table
---@param opts? table
---@return table[][]
function methods:generate(prompts, opts)
  local list, ids = is_single(prompts) and { prompts } or prompts, {}
  if type(list) ~= "table" then core.raise(("generate: expected prompts, got a %s"):format(type(list))) end
  for i, prompt in ipairs(list) do ids[i] = prompt_ids(self.tokenizer, prompt, i) end
  return core.generate(self, ids, opts)
end

--- Log-probabilities of the scored tokens of rows (as pf.batch takes them) under this model, without history: a
--- constant tensor with one value an entry, in the order of a batch of these rows. They are kept in the file cache, if
--- one is named, bound to weights, tokenizer and rows; one that does not fit is replaced. The second result says
--- whether they came from there.
---@param rows table[]
---@param cache? string
---@return pofit.Tensor, boolean
function methods:reference_logp(rows, cache)
  if type(rows) ~= "table" then core.raise(("reference_logp: expected rows, got a %s"):format(type(rows))) end
  local row, encoded = require("pofit.batch").row, {}
  for i = 1, #rows do encoded[i] = row(self.tokenizer, rows[i], i) end
  return core.reference_logp(self, encoded, cache)
end

local function check_options(where, opts, known)
  for name in pairs(opts or {}) do
    if not known[name] then
      local near = core.nearest(tostring(name), known, true)
      local hint = near and ("; did you mean %q?"):format(near) or ""
      core.raise(("%s has no option %q%s"):format(where, tostring(name), hint))
    end
  end
  return opts or {}
end

local model = { options = adapter.options, open = adapter.open }

--- Load a Hugging Face directory: config.json, model.safetensors, and tokenizer.json if it is there. adapter: a PEFT
--- directory to go on from; lora: a new low-rank adapter, with the options of model:adapt; freeze: patterns of names of
--- parameters to leave alone. dtype says how weights are held: "float32" (the default; they can be trained), "float64"
--- (for checking), or, all weights frozen, for sampling, scoring and training of adapters: "stored" (each matrix as
--- the file has it, mapped, not copied), "bfloat16", "float16" or "q8_0" (likewise, converted on loading where the file
--- has another type). It always computes in float32, or float64. "f32", "f64", "bf16" and "f16" are the same.
---@param dir string
---@param opts? { dtype: string, lora: table, adapter: string, freeze: string[] }
---@return pofit.Model
function model.load(dir, opts)
  opts = check_options("model.load", opts, { dtype = true, lora = true, adapter = true, freeze = true })
  if type(dir) ~= "string" then core.raise("model.load: expected a directory") end
  local m = core.model_load(dir, opts.dtype)
  if opts.adapter then m:load_adapter(opts.adapter) end
  if opts.lora then
    local lora = { base = dir }
    for name, value in pairs(opts.lora) do lora[name] = value end
    m:adapt(lora)
  end
  return opts.freeze and m:freeze(opts.freeze) or m
end

--- A new model with random weights from a configuration, as config.json has it.
---@param config table
---@param opts? { seed: integer, tokenizer: pofit.Tokenizer }
---@return pofit.Model
function model.new(config, opts)
  opts = check_options("model.new", opts, { seed = true, tokenizer = true })
  if type(config) ~= "table" then core.raise("model.new: expected a configuration, as config.json has it") end
  return core.model_new(json.encode(config, { indent = 2 }), opts.tokenizer, opts.seed)
end

return model
