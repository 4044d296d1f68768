-- A byte-level tokenizer of syllables, words of two, and compounds of two words, and text for it: made up, but of the
-- shape that real ones have. tokenizer.json, as pofit and Hugging Face's library read it.
local pf = require "pofit"
local json = require "pofit.json"

local M = {}

-- GPT-2's characters for bytes: printable ones stand for themselves, the others for 256 and on
local function byte_characters()
  local list, rest = {}, 0
  for b = 0, 255 do
    local own = (b >= 33 and b <= 126) or (b >= 161 and b <= 172) or b >= 174
    list[b] = utf8.char(own and b or 256 + rest)
    if not own then rest = rest + 1 end
  end
  return list
end

-- an object with keys in this order; what it does not have is null
local function fields(t, keys)
  for _, key in ipairs(keys) do
    if t[key] == nil then t[key] = json.null end
  end
  return json.object(t, keys)
end

local function syllables()
  local list = {}
  for c in ("bcdfghjklmnpqrstvwxyz"):gmatch "." do
    for v in ("aeiou"):gmatch "." do list[#list + 1] = c .. v end
  end
  return list
end

-- all words of two syllables, in an order that is the same in every run
local function words()
  local list = {}
  for _, a in ipairs(syllables()) do
    for _, b in ipairs(syllables()) do list[#list + 1] = a .. b end
  end
  local random = pf.random.new(1, "words")
  for i = #list, 2, -1 do
    local k = random:int(1, i)
    list[i], list[k] = list[k], list[i]
  end
  return list
end

--- Write tokenizer.json and tokenizer_config.json with so many tokens.
function M.write(dir, size)
  local vocab, keys, merges, added = {}, {}, {}, {}
  local function token(text) vocab[text], keys[#keys + 1] = #keys, text end
  local function merge(a, b)
    token(a .. b)
    merges[#merges + 1] = a .. " " .. b
  end
  local function special(text)
    added[#added + 1] = fields({ id = #keys, content = text, single_word = false, lstrip = false, rstrip = false,
      normalized = false, special = true },
      { "id", "content", "single_word", "lstrip", "rstrip", "normalized", "special" })
    token(text)
  end
  special "<|endoftext|>"
  local characters = byte_characters()
  for b = 0, 255 do token(characters[b]) end
  for _, s in ipairs(syllables()) do merge(s:sub(1, 1), s:sub(2)) end
  local list, space = words(), characters[32]
  for _, word in ipairs(list) do merge(word:sub(1, 2), word:sub(3)) end
  for _, word in ipairs(list) do merge(space, word) end
  for k = 1, 2 do
    for i = 1, #list - k do merge(space .. list[i], list[i + k]) end
  end
  while #keys < size do special(("<|extra %d|>"):format(#keys)) end
  local level = { type = "ByteLevel", add_prefix_space = false, trim_offsets = true, use_regex = true }
  local bpe = fields({ type = "BPE", fuse_unk = false, byte_fallback = false, vocab = json.object(vocab, keys),
    merges = json.array(merges) }, { "type", "dropout", "unk_token", "continuing_subword_prefix",
    "end_of_word_suffix", "fuse_unk", "byte_fallback", "vocab", "merges" })
  pf.sys.mkdirs(dir)
  pf.sys.write(dir .. "/tokenizer.json", json.encode(fields({ version = "1.0", added_tokens = added,
    pre_tokenizer = level, decoder = level, model = bpe }, { "version", "truncation", "padding", "added_tokens",
    "normalizer", "pre_tokenizer", "post_processor", "decoder", "model" })))
  pf.sys.write(dir .. "/tokenizer_config.json", json.encode({ tokenizer_class = "GPT2Tokenizer",
    eos_token = "<|endoftext|>", add_bos_token = false }))
end

--- Lines of text, about so many megabytes: words, known and unknown, numbers, signs, other scripts.
function M.text(megabytes)
  local random, list, lines, bytes = pf.random.new(2, "text"), words(), {}, 0
  local other = { "x = (a[%d] + 3) * 4;", "%d.5 %", "Übergrößenträger", "日本語のテキスト",
    "\"no,\" she said", "https://example.org/%d", "🙂🙃", "I'll they've", "    indented", "АБВ где" }
  while bytes < megabytes * 1e6 do
    local line = {}
    for i = 1, 150 do
      local kind = random:int(1, 40)
      local at = random:int(1, #list - 2)
      if kind == 1 then
        line[i] = other[random:int(1, #other)]:gsub("%%d", random:int(0, 99999))
      else -- a word, a compound that is a token, or one that is not
        line[i] = list[at] .. (kind < 12 and list[at + random:int(1, 2)] or kind == 12 and list[1] or "")
      end
    end
    lines[#lines + 1] = table.concat(line, " ")
    bytes = bytes + #lines[#lines] + 1
  end
  return lines
end

return M
