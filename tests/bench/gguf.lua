-- A GGUF file of a llama with 4-bit weights, as many as the real one has: blocks of random bits under small scales.
-- What it says is nonsense; what it costs is not.
local M = {}

-- a block: its elements, the number of its type, its bytes
local TYPES <const> = {
  q4_0 = { 32, 2, function(bits) return string.pack("<I2", 0x1c00) .. bits(16) end }, -- scale 1/256
  q4_k = { 256, 12, function(bits) return string.pack("<I2I2", 0x1000, 0x1000) .. bits(12) .. bits(128) end },
}
local F32 <const>, ALIGNMENT <const> = 0, 32

local function text(s) return string.pack("<s8", s) end

local function metadata(config)
  local out = {}
  local function put(key, type, format, value)
    out[#out + 1] = text(key) .. string.pack("<I4" .. format, type, value)
  end
  local function integer(key, value) put("llama." .. key, 4, "I4", value) end
  put("general.architecture", 8, "s8", "llama")
  put("tokenizer.ggml.model", 8, "s8", "none")
  put("tokenizer.ggml.eos_token_id", 4, "I4", config.eos_token_id)
  integer("block_count", config.num_hidden_layers)
  integer("context_length", config.max_position_embeddings)
  integer("embedding_length", config.hidden_size)
  integer("feed_forward_length", config.intermediate_size)
  integer("attention.head_count", config.num_attention_heads)
  integer("attention.head_count_kv", config.num_key_value_heads)
  integer("vocab_size", config.vocab_size)
  integer("rope.dimension_count", config.hidden_size // config.num_attention_heads)
  put("llama.attention.layer_norm_rms_epsilon", 6, "f", config.rms_norm_eps)
  put("llama.rope.freq_base", 6, "f", config.rope_theta)
  return out
end

-- {name, columns, rows}; a vector has one row
local function tensors(config)
  local hidden, wide, list = config.hidden_size, config.intermediate_size, {}
  local kv = hidden // config.num_attention_heads * config.num_key_value_heads
  local function add(name, columns, rows) list[#list + 1] = { name .. ".weight", columns, rows } end
  add("token_embd", hidden, config.vocab_size)
  for i = 0, config.num_hidden_layers - 1 do
    for _, t in ipairs { { "attn_norm", hidden, 1 }, { "attn_q", hidden, hidden }, { "attn_k", hidden, kv },
      { "attn_v", hidden, kv }, { "attn_output", hidden, hidden }, { "ffn_norm", hidden, 1 },
      { "ffn_gate", hidden, wide }, { "ffn_up", hidden, wide }, { "ffn_down", wide, hidden } } do
      add(("blk.%d.%s"):format(i, t[1]), t[2], t[3])
    end
  end
  add("output_norm", hidden, 1)
  add("output", hidden, config.vocab_size)
  return list
end

-- some thousand random blocks, which are written again and again
local function blocks(type)
  local random, list = require("pofit").random.new(1, "gguf"), {}
  local function bits(n)
    local bytes = {}
    for i = 1, n do bytes[i] = string.char(random:int(0, 255)) end
    return table.concat(bytes)
  end
  for i = 1, 4099 do list[i] = type[3](bits) end
  return table.concat(list), #list[1]
end

--- Write it.
function M.write(path, config, type_name)
  local type = TYPES[type_name] or error("there is no type " .. type_name)
  local pool, block = blocks(type)
  local meta, list, at = metadata(config), tensors(config), 0
  local file = assert(io.open(path .. ".part", "wb"))
  local head = { string.pack("<c4I4I8I8", "GGUF", 3, #list, #meta), table.concat(meta) }
  for _, t in ipairs(list) do
    local vector = t[3] == 1
    t.bytes = vector and 4 * t[2] or t[2] * t[3] // type[1] * block
    head[#head + 1] = text(t[1]) .. string.pack("<I4I8", vector and 1 or 2, t[2]) ..
      (vector and "" or string.pack("<I8", t[3])) .. string.pack("<I4I8", vector and F32 or type[2], at)
    at = at + (t.bytes + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
  end
  head = table.concat(head)
  file:write(head, ("\0"):rep(-#head % ALIGNMENT))
  for _, t in ipairs(list) do
    if t[3] == 1 then
      file:write(string.pack("<f", 1):rep(t[2]))
    else
      for left = t.bytes, 1, -#pool do file:write(left >= #pool and pool or pool:sub(1, left)) end
    end
    file:write(("\0"):rep(-t.bytes % ALIGNMENT))
  end
  file:close()
  assert(os.rename(path .. ".part", path))
end

return M
