-- What `make bench` measures, and with whom.
--
--   kind    dpo, sft, aft: an update, within memory and with optimizer if these are given; score: log-probs alone;
--           sampling, rollouts; tokenise; load; startup; program; size
--   mode    full, lora (rank 8 on all matrices of the layers) or frozen
--   shape   of the model: material.shapes; dtype: how its weights are held
--   rows    prompts of prompt tokens, each with answers of answer tokens; pairs are answers 1 and 2, 3 and 4, ...
--   compute, kv of sampling: llama.cpp and torch hold keys and values in 16 bits, and round what goes into products to
--           bfloat16 where the processor multiplies such numbers; so does pofit if it is told so
--   updates in one timed run (1); rounds at most; often: so many times as many rounds as the others (1)
--   peers   trl: TRL's trainers, torch: transformers, tokenizers, both as their users run them; tuned: by hand; llama
--   cold    the model's file leaves the page cache before each time
--   long    only with --all, or where --only names it
--   large   no two of its processes at a time
--   group   what limits.lua judges it by; in_turn: works of it take turns, as peers do
local works = {}

local function add(name, work, more)
  work.name = name
  for key, value in pairs(more or {}) do work[key] = value end
  work.mode, work.shape, work.updates = work.mode or "frozen", work.shape or "smollm", work.updates or 1
  work.lr = work.mode == "lora" and 1e-4 or 1e-6
  -- How far a peer's results may lie from ours, as a share of the largest. Where weights are held in bfloat16 a peer
  -- computes in it, too: log-probs agree, but how far a loss falls by an update is lost in rounding.
  local narrow = work.dtype == "bfloat16"
  work.tolerance = work.tolerance or narrow and 0.02 or 1e-3
  work.compare = narrow and "logp" or "loss"
  works[#works + 1], works[name] = work, work
end

-- ---- DPO: all combinations; four of them by default ----

local short <const> = { ["full float32 128+128 (2 pairs)"] = true, ["lora float32 128+128 (2 pairs)"] = true,
  ["lora bfloat16 384+128 (2 pairs)"] = true }

for _, n in ipairs { 2, 8 } do
  for _, prompt in ipairs { 128, 384 } do
    for _, held in ipairs { { "full", "float32" }, { "lora", "float32" }, { "lora", "bfloat16" } } do
      local what = ("%s %s %d+128 (%d pairs)"):format(held[1], held[2], prompt, n)
      add("dpo " .. what, { kind = "dpo", mode = held[1], dtype = held[2], prompts = n, prompt = prompt,
        answers = 2, answer = 128, long = not short[what], large = n == 8, peers = { "trl", "tuned" } })
    end
  end
end

-- a quarter of TRL's memory: AdamW's moments in 8 bits, and a limit
for _, held in ipairs { { 128, "1460MiB" }, { 384, "2000MiB" } } do
  local prompt, memory = held[1], held[2]
  add(("dpo full float32 %d+128 (2 pairs in %s)"):format(prompt, memory), { kind = "dpo", mode = "full",
    dtype = "float32", prompts = 2, prompt = prompt, answers = 2, answer = 128, long = true, peers = { "trl" },
    optimizer = "adamw_8bit", memory = memory })
end

-- ---- the other methods ----

add("aft lora float32 (1 prompt x 8)", { kind = "aft", mode = "lora", dtype = "float32", prompts = 1, prompt = 192,
  answers = 8, answer = 64, peers = { "torch", "tuned" } })
add("rise lora float32 (2 pairs of steps)", { kind = "dpo", mode = "lora", dtype = "float32", prompts = 1, prompt = 384,
  answers = 4, answer = 20, peers = { "trl", "tuned" } })
add("sft full float32 128+128 (4 rows)", { kind = "sft", mode = "full", dtype = "float32", prompts = 4, prompt = 128,
  answers = 1, answer = 128, peers = { "trl", "tuned" } })
add("reference float32 384+128 (2 pairs)", { kind = "score", dtype = "float32", prompts = 2, prompt = 384,
  answers = 2, answer = 128, peers = { "torch", "tuned" } })
add("rollouts bfloat16 (10 prefixes x 8)", { kind = "rollouts", dtype = "bfloat16", prompts = 1, prompt = 120,
  answers = 8, answer = 20, prefixes = 10, compute = "bfloat16", kv = "float16", peers = { "torch" } })
add("rollouts float32 (10 prefixes x 8)", { kind = "rollouts", dtype = "float32", prompts = 1, prompt = 120,
  answers = 8, answer = 20, prefixes = 10, peers = { "torch" } })
for _, batch in ipairs { 1, 8, 64 } do
  local work = { kind = "sampling", dtype = "bfloat16", prompts = 1, prompt = 8, answers = batch, answer = 128,
    long = batch == 64, peers = { "torch", "llama" } }
  add(("sampling bfloat16 (batch %d)"):format(batch), work, { compute = "bfloat16", kv = "float16" })
end
for _, batch in ipairs { 8, 64 } do
  add(("sampling bfloat16 computed in float32 (batch %d)"):format(batch), { kind = "sampling", dtype = "bfloat16",
    prompts = 1, prompt = 8, answers = batch, answer = 128, long = true, peers = { "llama" } })
end
add("tokenising 10 MB", { kind = "tokenise", megabytes = 10, tolerance = 0, peers = { "torch" } })
for _, cold in ipairs { false, true } do
  add(("loading float32 (%s)"):format(cold and "file not in memory" or "to the first logits"), { kind = "load",
    dtype = "float32", prompts = 1, prompt = 8, answers = 0, cold = cold, peers = { "torch" } })
end
add("embedded dpo (50 updates of 16 pairs)", { kind = "dpo", mode = "full", dtype = "float32", shape = "tiny",
  prompts = 16, prompt = 4, answers = 2, answer = 2, updates = 50, peers = { "trl", "tuned" } })
add("embedded program (learns and is asked)", { kind = "program", peers = {} })
add("start-up", { kind = "startup", peers = { "trl" } })

-- ---- pofit alone: what it is held to ----

for _, n in ipairs { 1, 4, 16, 64 } do
  add(("cost (%d pairs)"):format(n), { kind = "dpo", mode = "lora", dtype = "float32", shape = "narrow", prompts = n,
    prompt = 128, answers = 2, answer = 128, updates = math.max(1, 16 // n), peers = {}, group = "cost",
    in_turn = true, often = 4 }) -- what is said of it is its best round
end
for _, length in ipairs { 256, 512, 1024, 2048, 4096, 8192 } do
  add(("memory (%d tokens)"):format(length), { kind = "sft", mode = "lora", dtype = "float32", shape = "narrow",
    prompts = 1, prompt = length - 64, answers = 1, answer = 64, rounds = 1, group = "memory", peers = {} })
end
for _, type in ipairs { "q4_0", "q4_k" } do
  add(("1.1B %s lora (512 tokens within 3 GiB)"):format(type), { kind = "sft", memory = "3GiB", mode = "lora",
    dtype = "stored", stored = type, shape = "tinyllama", prompts = 1, prompt = 384, answers = 1, answer = 128,
    rounds = 1, long = type == "q4_k", group = "1.1B", peers = {} })
end
for _, file in ipairs { "pofit", "pofit.so", "libpofit.so", "examples/embed" } do
  add("size of " .. file, { kind = "size", file = file, rounds = 1, group = "size", peers = {} })
end

--- Those whose names hold one of the words; without words, those that otherwise(work) wants.
function works.chosen(words, otherwise)
  local list = {}
  for _, work in ipairs(works) do
    local wanted = #words == 0 and otherwise(work)
    for _, word in ipairs(words) do wanted = wanted or work.name:find(word, 1, true) end
    if wanted then list[#list + 1] = work end
  end
  return list
end

return works
