-- What `make bench` works on: models of known shapes with random weights, rows of random ids. All of it is made once,
-- from fixed seeds, and kept.
local pf = require "pofit"
local here = debug.getinfo(1, "S").source:match "^@(.*/)" or ""
local vocabulary = dofile(here .. "vocabulary.lua")

local M = {}

--- hidden, intermediate, layers, heads, heads of keys and values, vocabulary, positions
M.shapes = {
  smollm = { 576, 1536, 30, 9, 3, 49152, 2048 }, -- SmolLM2-135M
  tinyllama = { 2048, 5632, 22, 32, 4, 32000, 2048 }, -- TinyLlama-1.1B
  narrow = { 256, 704, 4, 8, 4, 8192, 8192 },
  tiny = { 32, 64, 2, 4, 2, 13, 16 }, -- examples/embed.c
}

--- config.json of a shape; layers: instead of its own number, for a trial (0: its own).
function M.config(name, layers)
  local s = M.shapes[name] or error("there is no shape " .. name)
  return { architectures = { "LlamaForCausalLM" }, model_type = "llama", hidden_act = "silu", hidden_size = s[1],
    intermediate_size = s[2], num_hidden_layers = layers > 0 and math.min(layers, s[3]) or s[3],
    num_attention_heads = s[4], num_key_value_heads = s[5], vocab_size = s[6], max_position_embeddings = s[7],
    rms_norm_eps = 1e-5, rope_theta = 100000.0, tie_word_embeddings = name ~= "tinyllama",
    initializer_range = s[1] ^ -0.5, torch_dtype = "float32", bos_token_id = 0, eos_token_id = 0 }
end

--- The tokenizer's directory, made if it is not there.
function M.tokenizer(dir)
  local place = dir .. "/tokenizer"
  if not pf.sys.exists(place .. "/tokenizer_config.json") then vocabulary.write(place, M.shapes.smollm[6]) end
  return place
end

M.text = vocabulary.text

-- its adapter, the same for all who measure: A is random, B is 0
local function write_adapter(place)
  pf.model.load(place, { lora = { rank = 8, alpha = 16, seed = 1 } }):save_adapter(place .. "/adapter")
end

--- The model of a work and its adapter, made if they are not there; a work without a model has none.
function M.model(dir, work, layers)
  if not work.dtype then return nil end
  local config = M.config(work.shape, layers)
  local place = ("%s/%s-%d%s"):format(dir, work.shape, config.num_hidden_layers, work.stored and
    ("-%s.gguf"):format(work.stored) or "")
  if work.stored then
    if not pf.sys.exists(place) then dofile(here .. "gguf.lua").write(place, config, work.stored) end
  elseif not pf.sys.exists(place .. "/adapter/adapter_config.json") then
    local tokenizer = work.shape == "smollm" and pf.tokenizer.load(M.tokenizer(dir)) or nil
    local model = pf.model.new(config, { seed = 1, tokenizer = tokenizer })
    require("pofit.export").model(model, place, "bfloat16", 0)
    write_adapter(place)
    collectgarbage()
  end
  return place
end

--- Prompts and answers of a work: {{prompt = ids, answers = {ids, ...}}, ...}. Answers end with EOS.
function M.rows(work)
  local random, list, largest = pf.random.new(1, "bench"), {}, M.shapes[work.shape][6] - 1
  local function ids(n)
    local out = {}
    for i = 1, n do out[i] = random:int(1, largest) end
    return out
  end
  for i = 1, work.prompts or 0 do
    list[i] = { prompt = ids(work.prompt), answers = {} }
    for k = 1, work.answers do
      list[i].answers[k] = ids(work.answer)
      list[i].answers[k][work.answer] = 0
    end
  end
  return list
end

--- Tokens of a work's sequences.
function M.tokens(work)
  return work.updates * work.prompts * work.answers * (work.prompt + work.answer)
end

return M
