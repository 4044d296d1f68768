-- A model of SmolLM2-135M's shape (576 channels, 30 layers, 9 heads, 3 of them for keys and values) with random weights
-- in bfloat16 and a real vocabulary: made here, saved, loaded again, and trained by DPO with an adapter on real rows.
-- Says what it took: loss, norm of the adapter, tokens a second, memory.
--   build/pofit tests/bench/own_model.lua --tokenizer DIR --data prefs.jsonl
local pf = require "pofit"
local facts = require "pofit.facts"

local opt = pf.options {
  "LoRA on a random model of SmolLM2-135M's shape: what it takes.",
  { "tokenizer", nil, "directory of a tokenizer.json", type = "string", required = true },
  { "data", nil, "preference rows", type = "string", required = true },
  { "dir", "runs/own_model", "where the model is made; one that is there is taken" },
  { "rows", 100, "rows to learn from", min = 2 },
  { "steps", 50, "updates", min = 1 },
  { "batch", 2, "pairs an update", min = 1 },
  { "rank", 8, "of the adapter", min = 1 },
  { "lr", 1e-3, "learning rate", above = 0 },
  { "max_length", 160, "longer rows are dropped", min = 8 },
}
if opt.threads > 0 then pf.threads(opt.threads) end

local function make(tok)
  print(("making a model in %s"):format(opt.dir))
  pf.sys.mkdirs(opt.dir)
  local model = pf.model.new({
    architectures = { "LlamaForCausalLM" }, model_type = "llama", hidden_act = "silu", hidden_size = 576,
    intermediate_size = 1536, num_hidden_layers = 30, num_attention_heads = 9, num_key_value_heads = 3,
    max_position_embeddings = 2048, rms_norm_eps = 1e-5, rope_theta = 100000.0, tie_word_embeddings = true,
    initializer_range = 0.041666666666666664, vocab_size = math.max(49152, tok.size), torch_dtype = "float32",
    bos_token_id = tok.eos or 0, eos_token_id = tok.eos or 0,
  }, { seed = opt.seed, tokenizer = tok })
  require("pofit.export").model(model, opt.dir .. "/model", "bfloat16", 0)
end

if not pf.sys.exists(opt.dir .. "/model") then
  make(pf.tokenizer.load(opt.tokenizer))
  collectgarbage()
end
local f = facts.of(opt.dir .. "/model", opt.rank)
print(("model: %s parameters, %s, %s on the disk"):format(facts.count(f.parameters), facts.types(f),
  facts.bytes(f.weight_bytes)))

local start = pf.sys.clock()
local policy = pf.model.load(opt.dir .. "/model", { dtype = "stored", lora = { rank = opt.rank, seed = opt.seed } })
print(("loaded in %.1f s; trains %s parameters; %s in use"):format(pf.sys.clock() - start,
  facts.count(policy.trainable_parameters), facts.bytes(pf.memory())))

local rows = {}
for row in pf.data.jsonl(opt.data) do
  rows[#rows + 1] = row
  if #rows == opt.rows then break end
end
local data = pf.data.preference(rows, policy.tokenizer, { model = policy, max_length = opt.max_length })
print(data:summary())
data:reference(policy:reference())

local tokens, losses = 0, {}
start = pf.sys.clock()
pf.train {
  model = policy, data = data, steps = opt.steps, batch = opt.batch, lr = opt.lr, seed = opt.seed,
  loss = function(model, batch)
    local n = batch.sequences
    local lp = pf.sum_by(model:logp(batch), batch.sequence, n) -- [n] nats, summed over each answer
    local rf = pf.sum_by(batch.ref_logp, batch.sequence, n)
    tokens = tokens + batch.tokens
    local loss, metrics = pf.loss.dpo {
      policy_chosen = lp:index(batch.chosen), policy_rejected = lp:index(batch.rejected),
      ref_chosen = rf:index(batch.chosen), ref_rejected = rf:index(batch.rejected), beta = 0.1,
    }
    losses[#losses + 1] = loss:item()
    return loss, metrics
  end,
}
local seconds = pf.sys.clock() - start

-- Frobenius norm of all matrices of a kind: A is drawn at the start, B begins at 0
local function norm(kind)
  local square, parameters = 0, policy:parameters()
  for _, name in ipairs(parameters) do
    if name:find(kind) then square = square + (parameters[name] * parameters[name]):sum():item() end
  end
  return square ^ 0.5
end

local _, peak = pf.memory()
local first, last = losses[1], pf.stats.mean(table.move(losses, math.max(1, #losses - 9), #losses, 1, {}))
print(("loss %.4f at the first update, %.4f over the last ten (ln 2 is %.4f)"):format(first, last, math.log(2)))
print(("norm of A %.4f, of B %.4f; %.0f tokens a second; %s of memory at most"):format(norm "lora_A", norm "lora_B",
  tokens / seconds, facts.bytes(peak)))
