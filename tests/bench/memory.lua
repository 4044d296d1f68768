-- A model of TinyLlama-1.1B's shape (2048 channels, 22 layers, 32 heads, 4 of them for keys and values) in blocks of 4
-- bits (GGUF, Q4_0), random: made here, and trained by LoRA on a sequence of random ids within a limit of memory. Says
-- the plan, and what was used.
--   build/pofit tests/bench/memory.lua --memory 3GiB
local pf = require "pofit"

local opt = pf.options {
  "LoRA on a random 1.1B model of 4 bits within a limit of memory.",
  { "dir", "runs/bench_memory", "where the model is made; one that is there is taken" },
  { "tokens", 512, "of the sequence", min = 2, max = 2048 },
  { "steps", 2, "updates", min = 1 },
  { "rank", 8, "of the adapter", min = 1 },
}
if opt.threads > 0 then pf.threads(opt.threads) end

local C <const>, F <const>, L <const>, H <const>, G <const>, V <const> = 2048, 5632, 22, 32, 4, 32000
local F32 <const>, Q4_0 <const>, BLOCK <const>, ALIGN <const>, MOST <const> = 0, 2, 18, 32, 0xffffffff

local function text(s) return string.pack("<s8", s) end

local function metadata()
  local list = {}
  local function add(key, kind, format, value)
    list[#list + 1] = text(key) .. string.pack("<I4" .. format, kind, value)
  end
  add("general.architecture", 8, "s8", "llama")
  for _, size in ipairs { { "block_count", L }, { "context_length", 2048 }, { "embedding_length", C },
    { "feed_forward_length", F }, { "vocab_size", V }, { "attention.head_count", H }, { "attention.head_count_kv", G },
    { "rope.dimension_count", C // H } } do
    add("llama." .. size[1], 4, "I4", size[2])
  end
  add("llama.attention.layer_norm_rms_epsilon", 6, "f", 1e-5)
  add("llama.rope.freq_base", 6, "f", 10000)
  return list
end

-- {name, rows (nil: a vector of ones), columns}
local function tensors()
  local list, K = { { "token_embd.weight", V, C }, { "output_norm.weight", nil, C }, { "output.weight", V, C } }, C // H * G
  for i = 0, L - 1 do
    for _, t in ipairs { { "attn_norm", nil, C }, { "ffn_norm", nil, C }, { "attn_q", C, C }, { "attn_k", K, C },
      { "attn_v", K, C }, { "attn_output", C, C }, { "ffn_gate", F, C }, { "ffn_up", F, C }, { "ffn_down", C, F } } do
      list[#list + 1] = { ("blk.%d.%s.weight"):format(i, t[1]), t[2], t[3] }
    end
  end
  return list
end

local function bytes(t) return t[2] and t[2] * t[3] // 32 * BLOCK or 4 * t[3] end

-- blocks of 32 numbers: a scale of 0.0044 (as half a float) and random halves of bytes
local function noise(blocks)
  local random, list = pf.random.new(1, "blocks"), {}
  for i = 1, blocks do
    list[i] = string.pack("<I2I4I4I4I4", 0x1c81, random:int(0, MOST), random:int(0, MOST), random:int(0, MOST),
      random:int(0, MOST))
  end
  return table.concat(list)
end

local function pad(file, n) file:write(("\0"):rep(-n % ALIGN)) end

local function make(path)
  local list, meta, head, at = tensors(), metadata(), {}, 0
  for i, t in ipairs(list) do
    head[i] = text(t[1]) .. (t[2] and string.pack("<I4I8I8I4I8", 2, t[3], t[2], Q4_0, at)
      or string.pack("<I4I8I4I8", 1, t[3], F32, at))
    at = at + (bytes(t) + ALIGN - 1) // ALIGN * ALIGN
  end
  local front = "GGUF" .. string.pack("<I4I8I8", 3, #list, #meta) .. table.concat(meta) .. table.concat(head)
  local file, blocks = assert(io.open(path .. ".part", "wb")), noise(C * 8)
  file:write(front)
  pad(file, #front)
  for _, t in ipairs(list) do
    local left = bytes(t)
    if not t[2] then file:write(string.pack("<f", 1):rep(t[3])) end
    while t[2] and left > 0 do
      file:write(left < #blocks and blocks:sub(1, left) or blocks)
      left = left - #blocks
    end
    pad(file, bytes(t))
  end
  assert(file:close() and os.rename(path .. ".part", path))
end

local path = opt.dir .. "/tiny-q4_0.gguf"
if not pf.sys.exists(path) then
  pf.sys.mkdirs(opt.dir)
  make(path)
end

local model = pf.model.load(path, { dtype = "stored", lora = { rank = opt.rank, seed = opt.seed } })
local random, ids = pf.random.new(opt.seed, "ids"), {}
for i = 1, opt.tokens do ids[i] = random:int(0, V - 1) end
pf.train {
  model = model, steps = opt.steps, batch = 1, lr = 1e-4, memory = opt.memory, optimizer = opt.optim,
  data = { n = 1, batch = function() return pf.batch(nil, { { ids = ids } }) end },
  loss = function(m, batch) return pf.loss.nll { logp = m:logp(batch) } end,
}
