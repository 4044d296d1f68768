-- Losses put together by a script: unpaired rows, weighted sums, length-desensitised sums, weights from the policy.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pf = require "pofit"

local dir = os.tmpname()
os.remove(dir)
local task = pf.task.chain { modulus = 20, largest = 19, operands = { 2, 3 } }
pf.characters(dir, task:vocabulary())
local tok = pf.tokenizer.load(dir)
local function tiny(seed)
  return pf.model.new({ model_type = "llama", hidden_size = 24, intermediate_size = 32, num_hidden_layers = 1,
    num_attention_heads = 2, num_key_value_heads = 1, max_position_embeddings = 96, initializer_range = 0.3,
    rms_norm_eps = 1e-5, tie_word_embeddings = true, vocab_size = tok.size, bos_token_id = 0, eos_token_id = 1 },
    { seed = seed, tokenizer = tok })
end

local function sums(model, batch) return pf.sum_by(model:logp(batch), batch.sequence, batch.sequences) end

check.test("KTO trains on unpaired rows with a label", function()
  local rows = {}
  for i, p in ipairs(task:problems("train", 24)) do
    rows[i] = { prompt = p.text, completion = i % 3 == 0 and "#0" or task:solution(p), label = i % 3 ~= 0 }
  end
  local policy, data = tiny(1), pf.data.completion(rows, tok)
  data:reference(policy:copy())
  check.eq(data:batch({ 2, 3 }).label, { 1, 0 })
  local seen, rewards = {}, nil
  pf.train { model = policy, data = data, steps = 30, lr = 0.01, batch = 12, quiet = true,
    loss = function(model, batch)
      local loss, metrics = pf.loss.kto { policy = sums(model, batch), label = batch.label, beta = 0.1,
        ref = pf.sum_by(batch.ref_logp, batch.sequence, batch.sequences), weight_undesirable = 2 }
      seen[#seen + 1], rewards = loss:item(), metrics
      return loss, metrics
    end }
  -- at the reference every row's value is weight / 2; the first 12 rows are not known, so between the two weights
  check.ok(seen[1] >= 0.5 and seen[1] <= 1, "starts at " .. seen[1])
  check.ok(seen[30] < 0.6 * seen[1], ("%g after %g"):format(seen[30], seen[1]))
  check.ok(rewards["rewards/chosen"] > 0 and rewards["rewards/rejected"] < 0, "rewards have the wrong sign")
end)

local function pairs_of(model)
  local rows = {}
  for i, p in ipairs(task:problems("train", 5)) do
    rows[i] = { prompt = p.text, chosen = task:solution(p), rejected = i % 2 == 0 and "#0" or task:solution(p):rep(2) }
  end
  local data = pf.data.preference(rows, tok)
  data:reference(model)
  return data:batch { 1, 2, 3, 4, 5 }
end

-- gradients of all parameters as one list
local function gradients(model, loss)
  local p, out = model:parameters(), {}
  for _, name in ipairs(p) do p[name]:zero_grad() end
  loss:backward()
  for _, name in ipairs(p) do
    for _, g in ipairs(p[name].grad:reshape(-1):totable()) do out[#out + 1] = g end
  end
  return out
end

local function near_all(got, want, tolerance)
  check.eq(#got, #want)
  for i, x in ipairs(want) do check.near(got[i], x, tolerance * math.max(1, math.abs(x)), "value " .. i) end
end

check.test("a weighted sum of losses has the weighted sum of their gradients", function()
  local policy = tiny(2)
  local batch = pairs_of(tiny(3))
  local function dpo()
    local lp, rf = sums(policy, batch), pf.sum_by(batch.ref_logp, batch.sequence, batch.sequences)
    return pf.loss.dpo { policy_chosen = lp:index(batch.chosen), policy_rejected = lp:index(batch.rejected),
      ref_chosen = rf:index(batch.chosen), ref_rejected = rf:index(batch.rejected) }
  end
  local function nll()
    local mean = pf.mean_by(policy:logp(batch), batch.sequence, batch.sequences)
    return pf.loss.nll { logp = mean:index(batch.chosen) }
  end
  local a, b = gradients(policy, (dpo())), gradients(policy, (nll()))
  local sum, metrics = pf.loss.mix { { dpo(), 0.5 }, { nll(), 2 } }
  check.eq(metrics, {})
  local want = {}
  for i in ipairs(a) do want[i] = 0.5 * a[i] + 2 * b[i] end
  near_all(gradients(policy, sum), want, 1e-5)
end)

-- LD-DPO (Liu et al. 2024, arXiv 2409.06411): tokens beyond the length of the other answer of the pair count alpha
check.test("LD-DPO: length-desensitised sums in place of sum_by", function()
  local policy = tiny(4)
  local batch = pairs_of(tiny(5))
  local partner = {}
  for k, c in ipairs(batch.chosen) do
    partner[c], partner[batch.rejected[k]] = batch.rejected[k], c
  end
  local logp, length = policy:logp(batch), batch.length:totable()
  local each, of = logp:totable(), batch.sequence:totable()
  for _, alpha in ipairs { 0, 0.3, 1 } do
    local want, at = {}, {}
    for s = 1, batch.sequences do want[s], at[s] = 0, 0 end
    for t, x in ipairs(each) do
      local s = of[t]
      at[s] = at[s] + 1
      want[s] = want[s] + (at[s] <= length[partner[s]] and x or alpha * x)
    end
    near_all(pf.ld_sum(logp, batch.sequence, partner, alpha):totable(), want, 1e-5)
  end
  local lp = pf.ld_sum(logp, batch.sequence, partner, 0.3)
  local rf = pf.ld_sum(batch.ref_logp, batch.sequence, partner, 0.3)
  local loss = pf.loss.dpo { policy_chosen = lp:index(batch.chosen), policy_rejected = lp:index(batch.rejected),
    ref_chosen = rf:index(batch.chosen), ref_rejected = rf:index(batch.rejected) }
  local norm = 0
  for _, g in ipairs(gradients(policy, loss)) do norm = norm + g * g end
  check.ok(norm > 0)
end)

-- WPO (Zhou et al. 2024, arXiv 2406.11827): a pair counts w(y+) w(y-), log w(y) = mean over tokens of
-- log pi(y_t) - log sum_v pi(v)^2
check.test("WPO: weights of the pairs from the policy's own distribution", function()
  local policy = tiny(6)
  local batch = pairs_of(tiny(7))
  local logp, stats = policy:logp(batch, { stats = true })
  local squares = stats:narrow(2, 4, 1):reshape(-1)
  local w = pf.mean_by(logp:detach() - squares, batch.sequence, batch.sequences)
  local weight = (w:index(batch.chosen) + w:index(batch.rejected)):exp()

  local row = batch.rows[batch.chosen[1]]
  local full, sum, n = policy:logits(row.ids):log_softmax(-1):totable(), 0, 0
  for t = row.scored_from, #row.ids do
    local all = 0
    for _, x in ipairs(full[t - 1]) do all = all + math.exp(2 * x) end
    sum, n = sum + full[t - 1][row.ids[t] + 1] - math.log(all), n + 1
  end
  check.near(w:totable()[batch.chosen[1]], sum / n, 1e-5)

  local lp = pf.sum_by(logp, batch.sequence, batch.sequences)
  local rf = pf.sum_by(batch.ref_logp, batch.sequence, batch.sequences)
  local function dpo(more)
    local t = { policy_chosen = lp:index(batch.chosen), policy_rejected = lp:index(batch.rejected), reduction = "none",
      ref_chosen = rf:index(batch.chosen), ref_rejected = rf:index(batch.rejected), weight = more }
    return (pf.loss.dpo(t))
  end
  near_all(dpo(weight):totable(), (dpo() * weight):totable(), 1e-6)
end)

os.execute("rm -rf " .. dir)
check.done()
