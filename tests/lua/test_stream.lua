-- Answers told as they come, and conversations.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pf = require "pofit"
local sys, json = pf.sys, pf.json

local dir = os.tmpname()
os.remove(dir)
sys.mkdirs(dir)

-- a token for each byte, as byte-level tokenizers write them, and an end
local function bytes()
  local vocab, n = {}, 0
  for b = 0, 255 do
    local plain = b >= 33 and b <= 126 or b >= 161 and b <= 172 or b >= 174
    vocab[utf8.char(plain and b or 256 + n)] = b
    n = n + (plain and 0 or 1)
  end
  vocab["</s>"] = 256
  sys.write(dir .. "/tokenizer.json", json.encode {
    added_tokens = { { id = 256, content = "</s>", special = true, normalized = false, single_word = false,
      lstrip = false, rstrip = false } },
    pre_tokenizer = { type = "ByteLevel", add_prefix_space = false, trim_offsets = true, use_regex = false },
    decoder = { type = "ByteLevel" },
    model = { type = "BPE", vocab = vocab, merges = json.array {} },
  })
  sys.write(dir .. "/tokenizer_config.json", json.encode { eos_token = "</s>" })
  return pf.tokenizer.load(dir)
end

local tok = bytes()
local model = pf.model.new({ model_type = "llama", architectures = { "LlamaForCausalLM" }, vocab_size = 257,
  hidden_size = 16, intermediate_size = 32, num_hidden_layers = 1, num_attention_heads = 2, num_key_value_heads = 2,
  max_position_embeddings = 128, rms_norm_eps = 1e-5, hidden_act = "silu", eos_token_id = 256 },
  { tokenizer = tok, seed = 3 })

check.test("half characters wait; joined, the texts are the text", function()
  check.eq(#tok:encode "é", 2)
  local whole = 0
  for seed = 1, 20 do
    local parts = {}
    local sample = model:generate("abc", { max_tokens = 60, seed = seed, on_token = function(t)
      check.ok(utf8.len(t.text), "a text that is not UTF-8")
      if parts[#parts] == "" and t.text:find "^[\xc2-\xdf][\x80-\xbf]$" then whole = whole + 1 end
      parts[#parts + 1] = t.text
    end })[1][1]
    check.eq(table.concat(parts), sample.text)
    check.eq(#parts, #sample.ids)
  end
  check.ok(whole > 0, "no character came with its last byte")
end)

check.test("false ends a sample, an error ends the call", function()
  local r = model:generate({ "a", "b" }, { n = 2, max_tokens = 9, temperature = 0, on_token = function(t)
    return not (t.prompt == 2 and t.sample == 1)
  end })
  check.eq({ r[1][1].finish, r[2][1].finish, #r[2][1].ids }, { "length", "cancelled", 1 })
  check.eq(r[2][2].finish, "length")
  check.matches(check.fails("oh", function()
    model:generate("a", { on_token = function() error "oh" end })
  end), "test_stream.lua:%d+: oh")
  check.fails("on_token must be a function, got a string", model.generate, model, "a", { on_token = "x" })
  local object = {}
  local ok, got = pcall(model.generate, model, "a", { on_token = function() error(object) end })
  check.ok(not ok and got == object, "an error object arrives as it is")
end)

check.test("a token says whose it is", function()
  local seen = {}
  local r = model:generate({ "a", "b" }, { n = 2, max_tokens = 3, on_token = function(t)
    local key = t.prompt .. "." .. t.sample
    seen[key] = seen[key] or {}
    table.insert(seen[key], t.id)
    check.ok(t.logp < 0)
    check.eq(t.last, #seen[key] == 3 or t.id == 256)
  end })
  for p = 1, 2 do
    for k = 1, 2 do check.eq(seen[p .. "." .. k], r[p][k].ids) end
  end
end)

local function talk(opts, system)
  opts.temperature, opts.seed = opts.temperature or 1, 1
  return require("pofit.conversation").new(model, opts, system)
end

check.test("a conversation keeps its history, and drops the oldest turns when the context is full", function()
  local t, told = talk({ max_tokens = 8 }, "s"), {}
  local answer = t:say("hi", function(text) told[#told + 1] = text end)
  check.eq(table.concat(told), answer.text)
  check.eq(#t.messages, 2)
  check.eq(t:window(1)[1].role, "system")
  check.eq(answer.dropped, 0)
  local last
  for _ = 1, 3 do last = t:say("another question", function() end) end
  check.ok(last.dropped >= 2 and last.dropped % 2 == 0, "dropped " .. last.dropped)
  check.eq(#t.messages, 8, "the history itself stays")
  check.fails("has %d+ tokens with its frame, the model's context 128: it was not sent", t.say, t, ("x"):rep(200),
    function() end)
  check.eq(#t.messages, 8)
  check.fails("UTF%-8", t.say, t, "\xff", function() end)
  check.eq(#t.messages, 8)
end)

check.test("preferences of a conversation", function()
  local t = talk { max_tokens = 8 }
  check.fails("no answer yet", t.again, t, print)
  local first = t:say("hi", function() end)
  local second = t:again(function() end)
  check.ok(first.text ~= second.text)
  check.eq(t.messages[2].content, second.text)
  check.eq(#t.messages, 2)
  local row = json.decode(json.encode(t:prefer(first, second)))
  check.eq({ row.prompt[1].content, row.chosen[1].content, row.rejected[1].content },
    { "hi", first.text, second.text })
  check.eq({ row.chosen_finished == false, row.rejected_finished == false }, { first.cut, second.cut })
  check.ok(first.cut or second.cut)
  check.eq(t.messages[2].content, first.text, "it goes on with the chosen one")
  check.fails("are the same", t.prefer, t, first, first)
  local own = t:prefer({ text = "mine" }, second)
  check.eq(own.chosen_finished, nil)
  check.eq(pf.data.preference({ row, own }, tok, { model = model }).n, 2)
end)

os.execute("rm -rf " .. dir)
check.done()
