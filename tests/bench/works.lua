-- What `make bench` measures, and with whom. A training work has sequences that share prompts: `prompts` of `prompt`
-- tokens with `answers` of `answer` tokens each.
local works = {}

local function add(name, work)
  work.name = name
  works[#works + 1], works[name] = work, work
end

for _, prompt in ipairs { 128, 384 } do
  for _, kind in ipairs { { "full", "float32" }, { "lora", "float32" }, { "lora", "bfloat16" } } do
    add(("dpo %s %s %d+128"):format(kind[1], kind[2], prompt), { kind = "dpo", mode = kind[1], dtype = kind[2],
      prompts = 2, prompt = prompt, answers = 2, answer = 128, peers = { "trl", "torch" } })
  end
end
add("dpo full float32 128+128, 8 pairs", { kind = "dpo", mode = "full", dtype = "float32", prompts = 8, prompt = 128,
  answers = 2, answer = 128, peers = { "torch" } })
add("sft full float32 128+128, 4 rows", { kind = "sft", mode = "full", dtype = "float32", prompts = 4, prompt = 128,
  answers = 1, answer = 128, peers = { "torch" } })
add("aft lora float32, 1 prompt x 8", { kind = "aft", mode = "lora", dtype = "float32", prompts = 1, prompt = 256,
  answers = 8, answer = 128, peers = { "torch" } })
add("rise lora float32, 8 steps of 20", { kind = "dpo", mode = "lora", dtype = "float32", prompts = 1, prompt = 384,
  answers = 8, answer = 20, peers = { "torch" } })
add("scoring float32 384+128", { kind = "score", mode = "frozen", dtype = "float32", prompts = 2, prompt = 384,
  answers = 2, answer = 128, peers = { "torch" } })
add("rollouts bfloat16, 10 prefixes x 8", { kind = "rollouts", mode = "frozen", dtype = "bfloat16", prompts = 1,
  prompt = 300, answers = 8, answer = 32, prefixes = 10, peers = { "torch" } })
for _, batch in ipairs { 1, 8, 64 } do
  add(("sampling bfloat16, batch %d"):format(batch), { kind = "sampling", mode = "frozen", dtype = "bfloat16",
    prompts = 1, prompt = 8, answers = batch, answer = 128, peers = { "llama" } })
end
add("start-up", { kind = "startup", peers = {} })

return works
