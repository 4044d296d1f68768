-- Conversations: which template a tokenizer uses, what templates are given, ids without a second BOS, the assistant's
-- tokens, and templates that rewrite.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pf = require "pofit"
local json, sys = pf.json, pf.sys
local mask = require "pofit.chat.mask"

local dir = os.tmpname()
os.remove(dir)
local characters = {}
for code = 32, 126 do characters[#characters + 1] = string.char(code) end
characters[#characters + 1] = "\n"

local made = 0

-- a tokenizer with these files beside its tokenizer.json
local function tokenizer(files)
  made = made + 1
  local at = dir .. "/" .. made
  sys.mkdirs(at .. "/additional_chat_templates")
  pf.characters(at, characters)
  for name, text in pairs(files) do sys.write(at .. "/" .. name, text) end
  return pf.tokenizer.load(at), at
end

local function config(values)
  return json.encode(json.object(values, { "bos_token", "eos_token", "chat_template" }))
end

local U = function(text) return { role = "user", content = text } end
local A = function(text) return { role = "assistant", content = text } end

-- ---- which template ----

check.test("chat_template.jinja wins over tokenizer_config.json", function()
  local tok = tokenizer { ["tokenizer_config.json"] = config { chat_template = "config {{ messages|length }}" } }
  check.eq(tok:chat { U "a" }, "config 1")
  tok = tokenizer { ["tokenizer_config.json"] = config { chat_template = "config" },
    ["chat_template.jinja"] = "file {{ messages[0].content }}\n" }
  check.eq(tok:chat { U "a" }, "file a")
end)

check.test("named templates: a list, further files, and the one for tools", function()
  local list = json.array { { name = "default", template = "plain" },
    { name = "tool_use", template = "{{ tools|tojson }}" } }
  local tok = tokenizer { ["tokenizer_config.json"] = config { chat_template = list },
    ["additional_chat_templates/rag.jinja"] = "{{ documents[0].text }}" }
  check.eq(tok:chat { U "a" }, "plain")
  check.eq(tok:chat({ U "a" }, { tools = { { name = "f" } } }), '[{"name": "f"}]')
  check.eq(tok:chat({ U "a" }, { tools = '[{"name":"g"}]' }), '[{"name": "g"}]')
  check.eq(tok:chat({ U "a" }, { tools = {} }), "plain")
  check.eq(tok:chat({ U "a" }, { template = "rag", documents = { { text = "doc" } } }), "doc")
  check.fails('no template "rug", only default, rag, tool_use', tok.chat, tok, { U "a" }, { template = "rug" })
end)

check.test("special tokens by name, as texts or objects; without a configuration those of the tokenizer", function()
  local tok = tokenizer { ["chat_template.jinja"] = "{{ bos_token }}|{{ eos_token }}|{{ pad_token is defined }}",
    ["tokenizer_config.json"] = json.encode { bos_token = { content = "<s>" }, eos_token = json.null },
    ["special_tokens_map.json"] = json.encode { eos_token = "</s>" } }
  check.eq(tok:chat { U "a" }, "<s>|</s>|False")
end)

check.test("without a template: the one built in", function()
  local tok = tokenizer { ["tokenizer_config.json"] = config { bos_token = "<s>", eos_token = "</s>" } }
  check.eq(tok:chat({ U "q", A "a", U "r" }, { generation_prompt = true }), "<|im_start|>user\nq<|im_end|>\n"
    .. "<|im_start|>assistant\na</s><|im_start|>user\nr<|im_end|>\n<|im_start|>assistant\n")
  check.eq(tok:chat { { role = "user", content = { { type = "text", text = "a" }, { type = "text", text = "b" } } } },
    "<|im_start|>user\nab<|im_end|>\n")
  check.fails('message 1 has the role "elf"', tok.chat, tok, { { role = "elf", content = "a" } })
  check.fails("content of message 2 is a nil", tok.chat, tok, { U "a", { role = "assistant" } })
  check.eq(tok:decode(tok:chat({ U "q" }, { tokenize = true })), "<s><|im_start|>user\nq<|im_end|>\n")
  local call = { role = "assistant", content = "a", tool_calls = json.array { { name = "f" } } }
  check.fails("no place for them", tok.chat, tok, { U "q", call })
  check.fails("no place for them", tok.chat, tok, { U "q" }, { tools = json.array { { name = "f" } } })
end)

check.test("saving a model keeps the template files unchanged", function()
  local files = { ["chat_template.jinja"] = "{# a #}\r\nfile\n\n", ["additional_chat_templates/b.jinja"] = "b\n",
    ["additional_chat_templates/a.jinja"] = "é",
    ["tokenizer_config.json"] = '{ "eos_token":"</s>",  "chat_template": "other", "x": 1 }\n' }
  local tok = tokenizer(files)
  local m = pf.model.new({ model_type = "llama", hidden_size = 16, intermediate_size = 24, num_hidden_layers = 1,
    num_attention_heads = 2, num_key_value_heads = 1, max_position_embeddings = 96, rms_norm_eps = 1e-5,
    vocab_size = tok.size }, { tokenizer = tok })
  m:save(dir .. "/saved")
  for name, text in pairs(files) do check.eq(sys.read(dir .. "/saved/" .. name), text, name) end
  check.eq(pf.tokenizer.load(dir .. "/saved").fingerprint, tok.fingerprint)
  local other = tokenizer { ["chat_template.jinja"] = files["chat_template.jinja"],
    ["tokenizer_config.json"] = files["tokenizer_config.json"] }
  check.ok(other.fingerprint ~= tok.fingerprint, "the further templates are part of what a tokenizer is")
end)

-- ---- what it gives ----

check.test("BOS stands once", function()
  local tok = tokenizer { ["chat_template.jinja"] = "{{ bos_token }}{{ messages[0].content }}",
    ["tokenizer_config.json"] = config { bos_token = "<s>" } }
  check.eq(tok:chat({ U "a" }, { tokenize = true }), { tok.bos, tok:id "a" })
  check.fails("two BOS", tok.chat, tok, { U "<s>a" }, { tokenize = true })
  local bare = tokenizer { ["chat_template.jinja"] = "{{ messages[0].content }}" }
  check.eq(bare:chat({ U "a" }, { tokenize = true }), { tok:id "a" }) -- as the template says: none
end)

check.test("going on with the last message", function()
  local tok = tokenizer { ["chat_template.jinja"] = "{% for m in messages %}[{{ m.content }}]{% endfor %}" }
  check.eq(tok:chat({ U "a", A "b " }, { continue_final = true }), "[a][b ")
  local trims = tokenizer { ["chat_template.jinja"] = "{% for m in messages %}[{{ m.content | trim }}]{% endfor %}" }
  check.eq(trims:chat({ U "a", A "b " }, { continue_final = true }), "[a][b")
  check.fails("only one of them", tok.chat, tok, { U "a" }, { continue_final = true, generation_prompt = true })
  local deaf = tokenizer { ["chat_template.jinja"] = "{{ messages[0].content }}" }
  check.fails("does not write the last message", deaf.chat, deaf, { U "a", A "b" }, { continue_final = true })
  check.fails("has no text to continue", tok.chat, tok, { U "a", { role = "assistant" } }, { continue_final = true })
end)

check.test("variables, reasoning, null, the date", function()
  local tok = tokenizer { ["chat_template.jinja"] = "{{ style }}{% for m in messages %}{% for k in m | list | sort %}"
    .. "{{ k }} {% endfor %}{% endfor %}{{ tools is none }}" }
  check.eq(tok:chat({ { role = "user", content = json.null, reasoning = "r" } }, { variables = { style = "!" } }),
    "!reasoning reasoning_content role thinking True")
  local dated = tokenizer { ["chat_template.jinja"] = "{{ strftime_now('%d %b %Y') }} {{ messages[-1].content }}" }
  check.eq(dated:chat({ U "a" }, { date = "2024-07-26" }), "26 Jul 2024 a")
  local rows = { { messages = { U "a", A "b" } } }
  check.matches(pf.data.language(rows, dated):summary(), "writes today's date: pin it with the option date")
  check.matches(pf.data.language(rows, dated, { date = "2024-07-26" }):summary(), "writes the date 2024%-07%-26")
  check.fails('no option "tool"; did you mean "tools"', tok.chat, tok, { U "a" }, { tool = {} })
  check.fails("expected a list of messages", tok.chat, tok, {})
  check.fails("message 1 has no role", tok.chat, tok, { { content = "a" } })
end)

check.test("errors of a template say where", function()
  local tok = tokenizer { ["chat_template.jinja"] = "\n {% if %}" }
  check.fails("chat template:2:8: unexpected %%}", tok.chat, tok, { U "a" })
  tok = tokenizer { ["chat_template.jinja"] = "{{ raise_exception('no system message') }}" }
  local refused = "chat template:1:19: the template refuses this conversation: no system message"
  check.fails(refused, tok.chat, tok, { U "a" })
  check.fails("lua:%d+: row 1: chat template:1:19: the template refuses", pf.data.language,
    { { messages = { U "a", A "b" } } }, tok)
  check.fails("chat_template.jinja: byte 2 is not valid UTF%-8", tokenizer, { ["chat_template.jinja"] = "a\xFF" })
  check.fails("additional_chat_templates/x.jinja: byte 1 is not valid UTF%-8", tokenizer,
    { ["additional_chat_templates/x.jinja"] = "\xFF" })
end)

-- ---- who says what ----

local PLAIN <const> = "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}GEN{{ m.content + '</s>' }}"
  .. "END{% else %}{{ m.content }}{% endif %}{{ '\\n' }}{% endfor %}"
  .. "{% if add_generation_prompt %}assistant: {% endif %}"

local talk = { U "hi", A "yo", U "and?", A "bye now" }

-- the text of the scored tokens
local function said(tok, messages)
  local s, notes = mask.conversation(tok, messages, { where = "x", assistant_only = true })
  local ids = {}
  for i, id in ipairs(s.ids) do
    if s.score[i] ~= 0 then ids[#ids + 1] = id end
  end
  return tok:decode(ids), notes
end

check.test("the assistant's tokens: by the template's marks, else by comparing beginnings", function()
  local marked = tokenizer { ["chat_template.jinja"] = PLAIN:gsub("GEN", "{%% generation %%}"):gsub("END",
    "{%% endgeneration %%}") }
  local text, notes = said(marked, talk)
  check.eq({ text, notes.rewrites }, { "yo</s>bye now</s>", nil })
  local plain = tokenizer { ["chat_template.jinja"] = PLAIN:gsub("GEN", ""):gsub("END", "") }
  text, notes = said(plain, talk)
  check.eq({ text, notes.rewrites }, { "yo</s>\nbye now</s>\n", nil }) -- what follows the turn is not told apart
  check.eq(said(plain, { U "a" }), "")
  local set = pf.data.language({ { messages = talk }, { messages = { U "a" } } }, plain, { assistant_only = true })
  check.eq({ set.n, set.dropped.empty }, { 1, { "row 2" } })
  local batch = set:batch { 1 }
  check.eq(batch.entries, #"yo\nbye now\n" + 2)
  local logp = pf.model.new({ model_type = "llama", hidden_size = 16, intermediate_size = 24, num_hidden_layers = 1,
    num_attention_heads = 2, num_key_value_heads = 1, max_position_embeddings = 96, rms_norm_eps = 1e-5,
    vocab_size = plain.size }, { tokenizer = plain }):logp(batch)
  check.eq(logp.shape, { batch.entries })
end)

check.test("a template that rewrites earlier turns: said, and only the last turn is scored", function()
  local tok = tokenizer { ["chat_template.jinja"] = "{% for m in messages %}{{ m.role[0] }}: {{ m.content if loop.last "
    .. "or m.role == 'user' else m.content.split('/')[-1] }}\n{% endfor %}"
    .. "{% if add_generation_prompt %}a: {% endif %}" }
  local talks = { U "q", A "think/yo", U "r", A "hm/bye" }
  local text, notes = said(tok, talks)
  check.eq({ text, notes.rewrites }, { "hm/bye\n", true })
  local set = pf.data.language({ { messages = talks } }, tok, { assistant_only = true })
  check.eq(set.changed.rewrites, { "row 1" })
  check.matches(set:summary(), "in 1 the template writes what comes first differently when an answer follows %(row 1%)")
end)

check.test("an answer after a conversation: text, message, unfinished, and one that goes on", function()
  local tok = tokenizer { ["chat_template.jinja"] = PLAIN:gsub("GEN", ""):gsub("END", "") }
  local function answer(row)
    local b = pf.batch(tok, { row }).rows[1]
    return tok:decode(table.move(b.ids, b.scored_from, #b.ids, 1, {}))
  end
  check.eq(answer { prompt = { U "q" }, completion = "a" }, "a</s>\n")
  check.eq(answer { prompt = { U "q" }, completion = { A "a" } }, "a</s>\n")
  check.eq(answer { prompt = { U "q" }, completion = "a", finished = false }, "a")
  check.eq(answer { prompt = { U "q", A "a" }, completion = "bc" }, "bc</s>\n")
  check.eq(answer { prompt = { U "q" }, completion = { 5, 6 } }, tok:decode { 5, 6 })
end)

os.execute("rm -rf " .. dir)
check.done()
