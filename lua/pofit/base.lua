-- The embedded default: the task and the small policy that recipes use without --model and --data.
local json = require "pofit.json"
local sys = require "pofit.sys"

local M = {}

--- Settings of the CHAIN task for which a policy of this size, trained on few problems, solves 40-70 % of new ones:
--- what it lacks then are entries of the three tables of ten by ten that those few problems never show. "final" is a
--- split that no setting was chosen on.
M.task = { modulus = 10, largest = 9, operands = { 3, 3 }, gaps = 0.4, splits = { "final" } }

local config = {
  architectures = json.array { "LlamaForCausalLM" }, model_type = "llama",
  hidden_size = 64, intermediate_size = 192, num_hidden_layers = 3, num_attention_heads = 4, num_key_value_heads = 2,
  max_position_embeddings = 128, rms_norm_eps = 1e-5, rope_theta = 10000, hidden_act = "silu",
  initializer_range = 0.02, tie_word_embeddings = true, bos_token_id = 0, eos_token_id = 1,
}
local ORDER <const> = { "architectures", "model_type", "hidden_size", "intermediate_size", "num_hidden_layers",
  "num_attention_heads", "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_theta", "hidden_act",
  "initializer_range", "tie_word_embeddings", "bos_token_id", "eos_token_id", "vocab_size" }

--- Give options that were left open a value.
---@param opt table
---@param values table
function M.fill(opt, values)
  for name, value in pairs(values) do
    if opt[name] == nil then opt[name] = value end
  end
end

--- A new small Llama for a task's characters. dir: where its tokenizer is written.
---@param changes? table of its config.json
---@return table model
function M.new(dir, task, seed, changes)
  local characters, made = task:vocabulary(), {}
  require "pofit.characters"(dir, characters)
  for name, value in pairs(config) do made[name] = value end
  for name, value in pairs(changes or {}) do made[name] = value end
  made.vocab_size = #characters + 2
  return require "pofit.model".new(json.object(made, ORDER), { seed = seed,
    tokenizer = require "pofit.tokenizer".load(dir) })
end

--- The base policy of a seed: trained once by recipes/sft.lua and kept in runs/base-SEED.
---@param seed? integer 1
---@return table model
---@return string dir
function M.policy(seed)
  local name = ("base-%d"):format(seed or 1)
  local dir = ("runs/%s/model"):format(name)
  if not sys.exists(("runs/%s/result.json"):format(name)) then
    io.stderr:write(("no base policy in %s yet: training it by supervised fine-tuning (once)\n"):format(dir))
    local words = { "--name", name, "--seed", tostring(seed or 1) }
    if sys.exists(("runs/%s/checkpoint.zst"):format(name)) then words[#words + 1] = "--resume" end
    local beside = ((arg and arg[0] or ""):match("^(.*/)") or "") .. "sft.lua"
    require "pofit.run".recipe(sys.exists(beside) and "sft" or "recipes/sft.lua", words)
  end
  return require "pofit.model".load(dir), dir
end

return M
