-- What `make bench` works on: a model of SmolLM2-135M's shape with random weights in bfloat16, a byte-level tokenizer
-- whose vocabulary is as large as its own, and rows of random ids.
local pf = require "pofit"
local json = require "pofit.json"

local M = { vocab = 49152 }

-- GPT-2's characters for bytes: printable ones stand for themselves, the others for 256 and on
local function byte_characters()
  local list, rest = {}, 0
  for b = 0, 255 do
    local own = (b >= 33 and b <= 126) or (b >= 161 and b <= 172) or b >= 174
    list[#list + 1] = utf8.char(own and b or 256 + rest)
    if not own then rest = rest + 1 end
  end
  return list
end

-- every byte, pairs of the first 221, and special tokens up to the size of the vocabulary
local function write_tokenizer(dir)
  local characters = byte_characters()
  local vocab, keys, merges, added = {}, {}, {}, {}
  local function token(text) vocab[text], keys[#keys + 1] = #keys, text end
  local function special(text)
    added[#added + 1] = json.object({ id = #keys, content = text, single_word = false, lstrip = false, rstrip = false,
      normalized = false, special = true },
      { "id", "content", "single_word", "lstrip", "rstrip", "normalized", "special" })
    token(text)
  end
  special "<|endoftext|>"
  for _, c in ipairs(characters) do token(c) end
  for i = 1, 221 do
    for k = 1, 221 do
      token(characters[i] .. characters[k])
      merges[#merges + 1] = characters[i] .. " " .. characters[k]
    end
  end
  while #keys < M.vocab do special(("<|extra %d|>"):format(#keys)) end
  local level = { type = "ByteLevel", add_prefix_space = false, trim_offsets = true, use_regex = true }
  pf.sys.write(dir .. "/tokenizer.json", json.encode(json.object({ version = "1.0", truncation = json.null,
    padding = json.null, added_tokens = added, normalizer = json.null, pre_tokenizer = level,
    post_processor = json.null, decoder = level,
    model = json.object({ type = "BPE", dropout = json.null, unk_token = json.null,
      continuing_subword_prefix = json.null, end_of_word_suffix = json.null, fuse_unk = false, byte_fallback = false,
      vocab = json.object(vocab, keys), merges = json.array(merges) },
      { "type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback",
        "vocab", "merges" }) },
    { "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder",
      "model" })))
  pf.sys.write(dir .. "/tokenizer_config.json", json.encode({ tokenizer_class = "GPT2Tokenizer",
    eos_token = "<|endoftext|>", add_bos_token = false }))
end

--- The model directory, made if it is not there.
function M.model(dir, layers)
  local place = ("%s/model-%d"):format(dir, layers)
  if pf.sys.exists(place .. "/config.json") then return place end
  pf.sys.mkdirs(dir .. "/tokenizer")
  write_tokenizer(dir .. "/tokenizer")
  local model = pf.model.new({ architectures = { "LlamaForCausalLM" }, model_type = "llama", hidden_act = "silu",
    hidden_size = 576, intermediate_size = 1536, num_hidden_layers = layers, num_attention_heads = 9,
    num_key_value_heads = 3, max_position_embeddings = 2048, rms_norm_eps = 1e-5, rope_theta = 100000.0,
    tie_word_embeddings = true, initializer_range = 0.041666666666666664, vocab_size = M.vocab,
    torch_dtype = "float32", bos_token_id = 0, eos_token_id = 0 },
    { seed = 1, tokenizer = pf.tokenizer.load(dir .. "/tokenizer") })
  require("pofit.export").model(model, place, "bfloat16", 0)
  return place
end

--- Prompts and answers of a work: {{prompt = ids, answers = {ids, ...}}, ...}. Answers end with EOS.
function M.rows(work)
  local random, list = pf.random.new(1, "bench"), {}
  local function ids(n)
    local out = {}
    for i = 1, n do out[i] = random:int(1, 48000) end
    return out
  end
  for i = 1, work.prompts do
    list[i] = { prompt = ids(work.prompt), answers = {} }
    for k = 1, work.answers do
      list[i].answers[k] = ids(work.answer)
      list[i].answers[k][work.answer] = 0
    end
  end
  return list
end

return M
