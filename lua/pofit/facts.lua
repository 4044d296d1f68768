-- Facts about a model, an adapter or a weight file: from its headers and configuration, without reading the weights.
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"
local stats = require "pofit.stats"

local M = {}

-- the names that families give to the same size: ours, config.json's, GGUF's
local SIZES <const> = {
  { "layers", { "num_hidden_layers", "n_layer" }, "block_count" },
  { "hidden", { "hidden_size", "n_embd" }, "embedding_length" },
  { "heads", { "num_attention_heads", "n_head" }, "attention.head_count" },
  { "kv_heads", { "num_key_value_heads" }, "attention.head_count_kv" },
  { "head_dim", { "head_dim" }, "attention.key_length" },
  { "feed_forward", { "intermediate_size", "n_inner" }, "feed_forward_length" },
  { "context", { "max_position_embeddings", "n_positions" }, "context_length" },
  { "vocabulary", { "vocab_size" }, "vocab_size" },
}

--- Bytes in words: "260 KB", "1.1 GB".
---@param n number
---@return string
function M.bytes(n)
  for _, unit in ipairs { { 1e9, "GB" }, { 1e6, "MB" }, { 1e3, "KB" } } do
    if n >= 0.9995 * unit[1] then
      local x = n / unit[1]
      return (x < 9.95 and "%.1f %s" or "%.0f %s"):format(x, unit[2])
    end
  end
  return ("%d bytes"):format(n)
end

--- A count with its thousands apart: "134,515,008".
---@param n integer
---@return string
function M.count(n)
  local text = ("%d"):format(n):reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (text:gsub("^,", ""))
end

local function elements(tensor)
  local n = 1
  for _, d in ipairs(tensor.shape) do n = n * d end
  return n
end

-- what the tensors amount to: parameters, bytes, types, files
local function sum(facts, tensors)
  local types, files, order, names = {}, {}, {}, {}
  facts.parameters, facts.weight_bytes, facts.tensors = 0, 0, #tensors
  for _, t in ipairs(tensors) do
    local n = elements(t)
    facts.parameters, facts.weight_bytes = facts.parameters + n, facts.weight_bytes + t.bytes
    if not types[t.dtype] then order[#order + 1] = t.dtype end
    types[t.dtype] = (types[t.dtype] or 0) + n
    if not files[t.file] then names[#names + 1] = t.file end
    files[t.file] = true
  end
  table.sort(order, function(a, b) return types[a] > types[b] or types[a] == types[b] and a < b end)
  facts.types, facts.type_counts, facts.files = order, types, names
end

local function read_json(path)
  if not sys.exists(path) then return nil end
  local value = json.decode(sys.read(path), path)
  if type(value) ~= "table" then core.raise(path .. ": expected an object") end
  return value
end

-- ---- a Hugging Face directory ----

local function hf_sizes(facts, config)
  if type(config.text_config) == "table" then config = config.text_config end
  for _, size in ipairs(SIZES) do
    for _, key in ipairs(size[2]) do
      if math.type(config[key]) then facts[size[1]] = facts[size[1]] or math.tointeger(config[key]) end
    end
  end
  facts.tied = config.tie_word_embeddings == true
end

local function token_text(value) return type(value) == "table" and value.content or value end

local function hf_tokenizer(facts, dir)
  local file, config = read_json(dir .. "/tokenizer.json"), read_json(dir .. "/tokenizer_config.json") or {}
  facts.template = sys.exists(dir .. "/chat_template.jinja") and "chat_template.jinja"
    or config.chat_template ~= nil and config.chat_template ~= json.null and "tokenizer_config.json" or nil
  if not file then
    facts.tokenizer = sys.exists(dir .. "/tokenizer.model") and "tokenizer.model alone; tokenizer.json is needed" or nil
    return
  end
  local ok, tok = pcall(core.tokenizer_load, dir)
  local parts = { type(file.model) == "table" and tostring(file.model.type) or "?" }
  if not ok then
    parts[2] = "cannot be used: " .. tostring(tok)
  else
    parts[2] = M.count(tok.size) .. " tokens"
    for _, name in ipairs { "bos", "eos" } do
      local id = tok[name]
      parts[#parts + 1] = id and ("%s %s (%d)"):format(name:upper(), tok:token(id), id)
        or ("no %s"):format(name:upper())
    end
  end
  facts.tokenizer, facts.unknown = table.concat(parts, ", "), token_text(config.unk_token)
end

-- ---- GGUF ----

local function gguf_facts(facts, meta)
  local arch = meta["general.architecture"] or "?"
  facts.architecture, facts.name = arch, meta["general.name"]
  for _, size in ipairs(SIZES) do
    local value = meta[arch .. "." .. size[3]]
    if math.type(value) == "integer" then facts[size[1]] = value end
  end
  local tokens = meta["tokenizer.ggml.tokens"]
  if not tokens then return end
  facts.vocabulary = facts.vocabulary or tokens.n
  local parts = { tostring(meta["tokenizer.ggml.model"]), M.count(tokens.n) .. " tokens" }
  if meta["tokenizer.ggml.pre"] then parts[1] = parts[1] .. " (" .. meta["tokenizer.ggml.pre"] .. ")" end
  for _, name in ipairs { "bos", "eos" } do
    local id = meta[("tokenizer.ggml.%s_token_id"):format(name)]
    parts[#parts + 1] = id and ("%s %d"):format(name:upper(), id) or ("no %s"):format(name:upper())
  end
  facts.tokenizer = table.concat(parts, ", ")
  facts.template = meta["tokenizer.chat_template"] and "in the file" or nil
end

-- ---- what it takes ----

-- is it a matrix that an adapter hangs on: not the embedding, not the head
local function is_matrix(t)
  if #t.shape ~= 2 then return false end
  for _, pattern in ipairs { "embed", "lm_head", "^token_embd", "^output%.", "wte", "wpe", "position_embd" } do
    if t.name:find(pattern) then return false end
  end
  return true
end

-- bytes to sample, to train everything, and to train an adapter of this rank, without activations
local function memory(facts, tensors, rank)
  local adapter, n = 0, facts.parameters
  for _, t in ipairs(tensors) do
    if is_matrix(t) then adapter = adapter + rank * (t.shape[1] + t.shape[2]) end
  end
  local heads = facts.kv_heads or facts.heads
  local head = facts.head_dim or facts.heads and facts.hidden and facts.hidden // facts.heads
  facts.kv_bytes = heads and head and facts.layers and 2 * 4 * facts.layers * heads * head or nil
  facts.memory = { inference = 4 * n, training = 20 * n, lora = 4 * n + 16 * adapter, lora_rank = rank,
    lora_parameters = adapter }
end

-- ---- adapters ----

local function adapter_of(facts, config, tensors)
  facts.adapter = {}
  for _, key in ipairs { "peft_type", "r", "lora_alpha", "use_rslora", "use_dora", "lora_dropout", "target_modules",
    "modules_to_save", "base_model_name_or_path" } do
    local value = config[key]
    if value ~= nil and value ~= json.null then facts.adapter[key] = value end
  end
  local layers = {}
  for _, t in ipairs(tensors) do layers[t.name:match "layers%.(%d+)%." or t.name:match "^blk%.(%d+)%." or ""] = true end
  facts.adapted_layers = 0
  for name in pairs(layers) do facts.adapted_layers = facts.adapted_layers + (name ~= "" and 1 or 0) end
end

local function adapter_directory(facts, dir)
  facts.kind = "PEFT adapter"
  local tensors = core.weights(dir .. "/adapter_model.safetensors")
  sum(facts, tensors)
  adapter_of(facts, read_json(dir .. "/adapter_config.json"), tensors)
  return facts
end

local function gguf_adapter(facts, tensors)
  facts.kind = "adapter for llama.cpp (GGUF)"
  local rank
  for _, t in ipairs(tensors) do
    if t.name:find "lora_a$" then rank = t.shape[1] end
  end
  adapter_of(facts, { peft_type = "LORA", r = rank, lora_alpha = tensors.meta["adapter.lora.alpha"] }, tensors)
  return facts
end

local function what_is_it(path)
  local where = ("%s: "):format(path)
  if not sys.exists(path) then core.raise(where .. "there is no such file or directory") end
  for _, name in ipairs { "model", "adapter" } do
    if sys.exists(path .. "/" .. name) then
      core.raise(("%sneither a model nor an adapter; but %s/%s is there"):format(where, path, name))
    end
  end
  local config = path .. "/config.json"
  if sys.exists(config) then core.raise(config .. ': the key "model_type" is missing, expected a string') end
  core.raise(where .. "neither a model directory (config.json), nor an adapter (adapter_config.json), nor a .gguf file")
end

--- The context of the model at path, if that says so; there may be no weights.
---@param path string
---@return integer?
function M.context(path)
  local facts = {}
  if sys.is_dir(path) then
    hf_sizes(facts, read_json(path .. "/config.json") or {})
  elseif path:find "%.gguf$" then
    gguf_facts(facts, core.weights(path).meta)
  end
  return facts.context
end

--- Facts about the model at path: a table of what is known. rank: of the adapter whose memory is estimated.
---@param path string
---@param rank integer
---@return table facts
function M.of(path, rank)
  local facts, tensors = { path = path }, nil
  local config = sys.is_dir(path) and read_json(path .. "/config.json")
  if config and (config.model_type or config.architectures) then
    facts.kind = "Hugging Face directory"
    facts.architecture = config.model_type
    hf_sizes(facts, config)
    hf_tokenizer(facts, path)
    tensors = core.weights(path)
  elseif sys.is_dir(path) and sys.exists(path .. "/adapter_config.json") then
    return adapter_directory(facts, path)
  elseif sys.is_file(path) and path:find "%.gguf$" then
    tensors = core.weights(path)
    sum(facts, tensors)
    gguf_facts(facts, tensors.meta)
    if tensors.meta["general.type"] == "adapter" then return gguf_adapter(facts, tensors) end
    facts.kind = "GGUF file"
  else
    what_is_it(path)
  end
  sum(facts, tensors)
  memory(facts, tensors, rank)
  return facts
end

--- The types of the weights: "BF16", or "F32 (0.2 %), Q8_0 (99.8 %)".
---@return string
function M.types(facts)
  if #facts.types == 1 then return facts.types[1] end
  local out = {}
  for i, name in ipairs(facts.types) do
    out[i] = ("%s (%s)"):format(name, stats.percent(facts.type_counts[name] / facts.parameters))
  end
  return table.concat(out, ", ")
end

return M
