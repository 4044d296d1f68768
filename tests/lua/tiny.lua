-- What the tests of data procedures share: a scratch folder, CHAIN, a tokenizer of its characters, small models.
--   local tiny = dofile((arg[0]:match("^.*/") or "") .. "tiny.lua")
local pf = require "pofit"

local M = { dir = os.tmpname() }
os.remove(M.dir)
pf.sys.mkdirs(M.dir)
M.task = pf.task.chain { modulus = 10, largest = 9, operands = { 2, 3 }, ops = "+-" }
pf.characters(M.dir .. "/tok", M.task:vocabulary())
M.tok = pf.tokenizer.load(M.dir .. "/tok")

--- A model with random weights, or, after so many steps on the first 40 preference problems, one that has learned them
--- by halves: at 230 steps a third of its samples is right.
function M.model(seed, steps)
  local model = pf.model.new({ model_type = "llama", hidden_size = 32, intermediate_size = 64, num_hidden_layers = 2,
    num_attention_heads = 2, num_key_value_heads = 1, max_position_embeddings = 128, initializer_range = 0.05,
    rms_norm_eps = 1e-5, tie_word_embeddings = true, vocab_size = M.tok.size, bos_token_id = 0, eos_token_id = 1 },
    { seed = seed or 1, tokenizer = M.tok })
  if steps then
    pf.train { model = model, data = pf.data.completion(M.task:rows("preference", 40), M.tok), steps = steps, lr = 3e-3,
      batch = 16, quiet = true, seed = 1, loss = function(m, b) return pf.loss.nll { logp = m:logp(b) } end }
  end
  return model
end

function M.clean() os.execute("rm -rf " .. M.dir) end

return M
