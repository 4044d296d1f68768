-- A character-level tokenizer as an ordinary tokenizer.json, for tasks that the library generates.
local json = require "pofit.json"
local sys = require "pofit.sys"

--- Write tokenizer.json and tokenizer_config.json for a list of characters into dir: <s> 0, </s> 1, then the
--- characters in their order. The tokenizer puts <s> in front.
---@param dir string
---@param characters string[]
return function(dir, characters)
  local function special(id, text)
    return json.object({ id = id, content = text, single_word = false, lstrip = false, rstrip = false,
      normalized = false, special = true },
      { "id", "content", "single_word", "lstrip", "rstrip", "normalized", "special" })
  end
  local vocab, keys = { ["<s>"] = 0, ["</s>"] = 1 }, { "<s>", "</s>" }
  for i, c in ipairs(characters) do vocab[c], keys[i + 2] = i + 1, c end
  local bos = { SpecialToken = { id = "<s>", type_id = 0 } }
  local function sequence(id) return { Sequence = { id = id, type_id = 0 } } end
  local file = json.object({
    version = "1.0", truncation = json.null, padding = json.null,
    added_tokens = { special(0, "<s>"), special(1, "</s>") },
    normalizer = json.null, pre_tokenizer = json.null,
    post_processor = json.object({ type = "TemplateProcessing", single = { bos, sequence "A" },
      pair = { bos, sequence "A", sequence "B" },
      special_tokens = { ["<s>"] = { id = "<s>", ids = { 0 }, tokens = { "<s>" } } } },
      { "type", "single", "pair", "special_tokens" }),
    decoder = { type = "Fuse" },
    model = json.object({ type = "BPE", dropout = json.null, unk_token = json.null,
      continuing_subword_prefix = json.null, end_of_word_suffix = json.null, fuse_unk = false, byte_fallback = false,
      vocab = json.object(vocab, keys), merges = json.array {} },
      { "type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback",
        "vocab", "merges" }),
  }, { "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder",
    "model" })
  local config = json.object({ bos_token = "<s>", eos_token = "</s>", add_bos_token = true, add_eos_token = false,
    clean_up_tokenization_spaces = false, tokenizer_class = "PreTrainedTokenizerFast" },
    { "tokenizer_class", "bos_token", "eos_token", "add_bos_token", "add_eos_token", "clean_up_tokenization_spaces" })
  sys.mkdirs(dir)
  sys.write(dir .. "/tokenizer.json", json.encode(file, { indent = 2 }) .. "\n")
  sys.write(dir .. "/tokenizer_config.json", json.encode(config, { indent = 2 }) .. "\n")
end
