-- Data sets: every kind of rows against TRL's own trainers, files, truncation, bad input.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pf = require "pofit"
local json, sys = pf.json, pf.sys

local dir = os.tmpname()
os.remove(dir)
sys.mkdirs(dir)

local function file(name, text)
  sys.write(dir .. "/" .. name, text)
  return dir .. "/" .. name
end

local function all(rows)
  local out = {}
  for row, line in rows do out[#out + 1] = { row, line } end
  return out
end

local testdata = os.getenv "POFIT_TESTDATA"
local stories = testdata and testdata .. "/data/stories260K"

-- a tokenizer of the letters, without BOS
local letters = {}
for c in ("abcdefghijklmnopqrstuvwxyzAH .?!:\n"):gmatch "." do letters[#letters + 1] = c end
pf.characters(dir .. "/letters", letters)
local tok = pf.tokenizer.load(dir .. "/letters")

-- ---- against TRL ----

if not (stories and sys.exists(stories .. "/tokenizer.json")) then
  check.skip("kinds of rows as TRL encodes them", "POFIT_TESTDATA has no data/stories260K")
else
  -- the tokenizer with a chat template of its own
  local function with_template(template)
    local at = dir .. "/templated"
    sys.mkdirs(at)
    for _, name in ipairs { "tokenizer.json", "tokenizer_config.json" } do
      sys.write(at .. "/" .. name, sys.read(stories .. "/" .. name))
    end
    if template then sys.write(at .. "/chat_template.jinja", template) else sys.remove(at .. "/chat_template.jinja") end
    return pf.tokenizer.load(at)
  end

  -- 1 where a token is scored, as TRL's labels: the first is never predicted, whatever they say
  local function scored(s)
    local out = {}
    for i = 1, #s.ids do
      out[i] = i > 1 and i >= s.scored_from and (not s.score or s.score[i] ~= 0) and 1 or 0
    end
    return out
  end

  local function wanted(s)
    local out = {}
    for i = 1, #s.ids do
      out[i] = i > 1 and (s.scored and s.scored[i] or not s.scored and i > s.prompt and 1) or 0
    end
    return out
  end

  for _, case in ipairs(json.decode(sys.read(check.root .. "tests/golden/data_trl.json")).cases) do
    check.test("as TRL: " .. case.name, function()
      local o = case.options
      local set = pf.data.load(case.rows, with_template(o.template), { max_length = o.max_length,
        truncation = o.max_length and "keep_start", assistant_only = o.assistant_only })
      check.eq(set.n, #case.want)
      for i, want in ipairs(case.want) do
        for k, sequence in ipairs(want) do
          local got, what = set.rows[i].answers[k], ("row %d, sequence %d"):format(i, k)
          check.eq(got.ids, table.move(sequence.ids, 1, #sequence.ids, 1, {}), what)
          check.eq(scored(got), wanted(sequence), what)
        end
      end
      if case.name:find "rewriting" then check.matches(set:summary(), "in 2 the template writes") end
      if case.name == "preference" then check.eq(set.straddles, 2) end
    end)
  end
end

-- ---- files ----

check.test("CSV: quotes, newlines in fields, CRLF, the end of the file", function()
  local path = file("a.csv", '\xEF\xBB\xBFprompt,chosen,"rej""ected"\r\na,"b, ""c""\r\nd",\r\n\r\n"x"\n,y,z')
  local rows, lines = {}, {}
  local ok, message = pcall(function()
    for row, line in pf.data.rows(path) do rows[#rows + 1], lines[#lines + 1] = row, line end
  end)
  check.ok(not ok)
  check.matches(message, 'a%.csv:5: 1 fields, but 3 columns %(prompt, chosen, rej"ected%)')
  check.eq(rows[1].chosen, 'b, "c"\r\nd')
  check.eq({ rows[1].prompt, rows[1]['rej"ected'], lines[1] }, { "a", "", 2 })
  local good = all(pf.data.rows(file("b.csv", "text\none\n\n\"t\nwo\"\nthree")))
  check.eq({ good[1][1].text, good[2][1].text, good[3][1].text, good[3][2] }, { "one", "t\nwo", "three", 6 })
  local talk = '"[{""role"": ""user"", ""content"": ""q""}]"'
  local typed = all(pf.data.rows(file("c.csv", "prompt,completion,label\n" .. talk .. ",[1],True")))
  check.eq({ typed[1][1].prompt[1].content, typed[1][1].completion, typed[1][1].label }, { "q", "[1]", true })
  local zst = dir .. "/d.csv.zst"
  sys.write_zst(zst, "text\nabc\n")
  check.eq(all(pf.data.rows(zst))[1][1].text, "abc")
end)

check.test("CSV: bad input names file and line", function()
  local function says(pattern, text)
    check.fails(pattern, function() return all(pf.data.rows(file("bad.csv", text))) end)
  end
  says("bad%.csv:1: the file is empty", "")
  says('bad%.csv:1: two columns are called "a"', "a,b,a\n")
  says("bad%.csv:3: 3 fields, but 2 columns", "a,b\n1,2\n1,2,3\n")
  says("bad%.csv:4: 1 fields, but 2 columns", 'a,b\n"1\n1",2\n1\n')
  says("bad%.csv:2: a field in quotes that begins in this row does not end", 'a,b\n1,"2\n3,4\n')
  says("bad%.csv:2: a quote inside of a field without quotes", 'a,b\n1,2"3\n')
  says('bad%.csv:3: after a field in quotes comes "x"', 'a,b\n1,"2\n"x\n')
  says('bad%.csv:2: label is "maybe"', "prompt,completion,label\na,b,maybe\n")
  says('bad%.csv:2: column "answers": not valid JSON: .*%(line 1, character 2 of the cell%)', "prompt,answers\na,[1\n")
  says('bad%.csv:2: column "answers": not valid JSON: a zero byte .*%(line 1 of', "prompt,answers\na,[1\0\n")
  says("bad%.csv: byte 5 is not valid UTF%-8", "a,b\n\xFF,2\n")
end)

check.test("JSON: a list of rows, columns, and what is neither", function()
  local rows = all(pf.data.rows(file("a.json", '[{"text": "a"}, {"text": "b"}]')))
  check.eq({ #rows, rows[2][1].text, rows[2][2] }, { 2, "b", 2 })
  rows = all(pf.data.rows(file("b.json", '{"prompt": ["a", "b"], "label": [true, false]}')))
  check.eq({ #rows, rows[2][1].prompt, rows[2][1].label }, { 2, "b", false })
  local function says(pattern, text)
    check.fails(pattern, function() return all(pf.data.rows(file("bad.json", text))) end)
  end
  says("bad%.json: row 2: expected a JSON object", '[{"a": 1}, 3]')
  says('bad%.json: "a" is a number; expected a list of rows', '{"a": 1}')
  says('column "b" has 1 values, "a" has 2', '{"a": [1, 2], "b": [1]}')
  says("bad%.json: expected a list of rows", "3")
  says("bad%.json", '{"a": 1}\n{"a": 2}')
end)

check.test("JSON lines: a broken line is named", function()
  local function says(pattern, text)
    check.fails(pattern, function() return all(pf.data.rows(file("bad.jsonl", text))) end)
  end
  says("bad%.jsonl:3", '{"a": 1}\n\n{"a": \n')
  says("bad%.jsonl:2: expected a JSON object", '{"a": 1}\n[1]\n')
  says("bad%.jsonl:2: byte 8 of the line", '{"a": 1}\n{"a": "\xC3("}\n')
  check.fails("nothere%.jsonl", function() return all(pf.data.rows(dir .. "/nothere.jsonl")) end)
end)

check.test("several files with weights, and columns renamed", function()
  local lines = {}
  for i = 1, 40 do lines[i] = ('{"question": "q%d", "good": "g", "rejected": "r"}\n'):format(i) end
  local a, b = file("w.jsonl", table.concat(lines)), file("w.csv", "prompt,chosen,rejected\nx,y,z\n")
  check.eq(#all(pf.data.rows(a .. ":2," .. b)), 81)
  check.eq(#all(pf.data.rows { a, b .. ":3" }), 43)
  local half = all(pf.data.rows(a .. ":0.5", { seed = 1 }))
  check.ok(#half > 10 and #half < 30, #half)
  check.eq(#all(pf.data.rows(a .. ":0.5", { seed = 1 })), #half)
  check.ok(#all(pf.data.rows(a .. ":1.5")) > 40)
  local row = all(pf.data.rows(a, { columns = "prompt=question, chosen=good" }))[1][1]
  check.eq({ row.prompt, row.chosen, row.rejected, row.question }, { "q1", "g", "r", nil })
  check.fails('w%.csv:2: there is no column "question" for prompt; there are prompt, chosen, rejected', function()
    return all(pf.data.rows(b, { columns = { prompt = "question" } }))
  end)
  check.fails("expected FIELD=COLUMN", function() return pf.data.rows(a, { columns = "prompt" }) end)
  check.fails("the weight of", function() return pf.data.rows(a .. ":0") end)
  check.fails("expected the name of a file", function() return pf.data.rows {} end)
end)

-- ---- kinds ----

local function load(row, opts) return pf.data.load({ row }, tok, opts) end

local function texts(set, i)
  local out = {}
  for k, s in ipairs(set.rows[math.type(i) and i or 1].answers) do
    out[k] = { tok:decode(table.move(s.ids, 1, s.scored_from - 1, 1, {})),
      tok:decode(table.move(s.ids, s.scored_from, #s.ids, 1, {})) }
  end
  return out
end

check.test("kinds are told by their fields", function()
  for kind, row in pairs {
    language = { text = "abc" }, prompt = { prompt = "abc" }, completion = { prompt = "a", completion = "b" },
    unpaired = { prompt = "a", completion = "b", label = false },
    preference = { prompt = "a", chosen = "b", rejected = "c" },
    steps = { prompt = "a", completions = { "b" }, labels = { true } },
    ranked = { prompt = "a", answers = { { completion = "b", score = 1 } } },
  } do
    local set, got = load(row)
    check.eq({ got, set.n }, { kind, 1 })
  end
  check.fails("row 1: these fields make no kind of row: a, b", load, { a = 1, b = 2 })
  check.fails("there are no rows", pf.data.load, {}, tok)
  check.fails("data has no option \"max_len\"; did you mean \"max_length\"", load, { text = "a" }, { max_len = 3 })
end)

check.test("implicit prompts: texts, dialogues, conversations, and the mixed form", function()
  check.eq(texts(load { chosen = "abc def", rejected = "abc dxy" }),
    { { "<s>abc d", "ef</s>" }, { "<s>abc d", "xy</s>" } })
  check.eq(texts(load { chosen = "abc def", rejected = "abc xy" }),
    { { "<s>abc", " def</s>" }, { "<s>abc", " xy</s>" } })
  local human = "\n\nHuman: hi\n\nAssistant:"
  check.eq(texts(load { chosen = human .. " aa", rejected = human .. " ab" })[1][2], " aa</s>")
  local q = { role = "user", content = "q" }
  local a, b = { role = "assistant", content = "a" }, { role = "assistant", content = "b" }
  check.eq(#load({ chosen = { q, a }, rejected = { q, b } }).rows[1].answers, 2)
  local mixed = load { prompt = "q", chosen = { q, a }, rejected = { q, b } }
  check.eq(mixed.rows[1].answers, load({ chosen = { q, a }, rejected = { q, b } }).rows[1].answers)
  check.eq(load({ messages = { q }, chosen = "a", rejected = "b" }).rows[1].answers, mixed.rows[1].answers)
  check.eq(load({ prompt = { q }, chosen = a, rejected = b }).rows[1].answers, mixed.rows[1].answers)
  check.fails("do not begin alike", load, { chosen = "abc", rejected = "xyz" })
  check.fails("do not begin alike", load, { chosen = { q, a }, rejected = { a, b } })
end)

check.test("steps: joined by the separator, each token knows its step", function()
  local set = load { prompt = "abc", completions = { "de", "f", "gh" }, labels = { true, false, true } }
  check.eq(texts(set), { { "<s>abc", "de\nf\ngh\n</s>" } })
  check.eq(set.rows[1].answers[1].step, { 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 3 })
  local batch = set:batch { 1 }
  check.eq(batch.labels, { { true, false, true } })
  check.eq(batch.step:totable(), { 1, 1, 1, 2, 2, 3, 3, 3, 3 })
  local two = { prompt = "a", completions = { "b", "c" }, labels = { true, true } }
  check.eq(texts(load(two, { separator = "" }))[1][2], "bc</s>")
  two.labels = { true }
  check.fails("row 1: 1 labels for 2 completions", load, two)
  check.fails('"labels%[1%]" is a number', load, { prompt = "a", completions = { "b" }, labels = { 1 } })
  check.fails('"completions" is an empty list', load, { prompt = "a", completions = {}, labels = {} })
end)

check.test("ranked answers: scores, ranks, right or wrong", function()
  local set = load { prompt = "a", answers = { { completion = "b", score = 0.5 }, { completion = "cd", rank = 2 },
    { completion = "e", correct = true }, { ids = { 5, 6 }, correct = false } } }
  check.eq(set.rows[1].score, { 0.5, -2, 1, 0 })
  local batch = set:batch { 1, 1 }
  check.eq(batch.answers, { { 1, 2, 3, 4 }, { 5, 6, 7, 8 } })
  check.eq({ batch.score[2][2], batch.correct[1][3], batch.correct[1][1] }, { -2, true, false })
  check.eq(set.rows[1].answers[4].ids[3], 5) -- ids are taken as they are, without EOS
  check.eq(#set.rows[1].answers[4].ids, 4)
  check.fails("row 1: answer 1: needs a number score", load, { prompt = "a", answers = { { completion = "b" } } })
  check.fails("answer 1: field \"completion\" is missing", load, { prompt = "a", answers = { { score = 1 } } })
  check.fails('"answers" is an empty list', load, { prompt = "a", answers = {} })
end)

check.test("prompts have ids and make no batches", function()
  local set = pf.data.prompts({ { prompt = "ab" }, { prompt = "abcd" } }, tok, { max_length = 4 })
  check.eq({ set.n, tok:decode(set:prompt(1)), #set.dropped.too_long }, { 1, "<s>ab", 1 })
  check.fails("sample some first", set.batch, set, { 1 })
end)

check.test("rows to imitate", function()
  local set = pf.data.supervised({ { prompt = "a", completion = "b", chosen = "c", rejected = "d" } }, tok)
  check.eq(texts(set), { { "<s>a", "b</s>" } })
  check.eq(texts(pf.data.supervised({ { text = "ab" } }, tok)), { { "<s>", "ab</s>" } })
  check.fails("row 1: a row of preference; expected prompt and completion, text, or messages", pf.data.supervised,
    { { prompt = "a", chosen = "c", rejected = "d" } }, tok)
end)

check.test("bad fields are named", function()
  local function says(pattern, row) check.fails(pattern, load, row, { kind = "preference" }) end
  says('field "rejected" is missing, expected a text, messages %({role, content}%) or token ids; the row has chosen, '
    .. "prompt", { prompt = "a", chosen = "b" })
  says('field "chosen" is a list of objects with from, value, expected',
    { prompt = "a", chosen = { { from = "gpt", value = "b" } }, rejected = "b" })
  says('row 1: field "chosen" is a number', { prompt = "a", chosen = 3, rejected = "b" })
  says('row 1: field "prompt" is an empty list', { prompt = {}, chosen = "a", rejected = "b" })
  check.fails('"label" is a number, expected true or false', load, { prompt = "a", completion = "b", label = 1 })
  check.fails('"chat_template_kwargs" is a text', load, { text = "a", chat_template_kwargs = "x" })
  check.fails('turn 1 of conversations is from "elf"', load, { conversations = { { from = "elf", value = "a" } } })
  check.fails("turn 1 of conversations is null", load, { conversations = { json.null } })
  check.fails("row 1: chat: message 2 is null", load, { prompt = { { role = "user", content = "a" }, json.null } })
  check.fails('"messages" is an empty list', load, { messages = {} })
  says('"chosen_finished" is a text, expected true or false',
    { prompt = "a", chosen = "b", rejected = "c", chosen_finished = "no" })
  says('"finished" is a number, expected true or false', { prompt = "a", chosen = "b", rejected = "c", finished = 1 })
  check.fails('"text" is a number', load, { text = 1 }, { kind = "language" })
  check.fails("row 2 is a number", pf.data.load, { { text = "a" }, 3 }, tok)
end)

check.test("ids of rows are those of the vocabulary, and what is none is named with its row", function()
  local good, n = { prompt = "a", chosen = "b", rejected = "c" }, tok.size
  local function fails(text, row) check.fails(text, pf.data.load, { good, row }, tok) end
  fails(("row 2: token id %d is not in the vocabulary of %d"):format(n, n),
    { prompt = { 1, n }, chosen = "b", rejected = "c" })
  fails("row 2: token id %-1 is not in", { prompt = "a", chosen = { -1 }, rejected = "c" })
  fails("row 2: token 2 of the ids is 1.5", { prompt = { 1, 1.5 }, chosen = "b", rejected = "c" })
  fails("row 2: token 2 of the ids is a string", { prompt = { 1, "x" }, chosen = "b", rejected = "c" })
  fails("row 2: token id 99 is not in", { prompt = "a", chosen = "b", rejected = "c", prefix = { 99 } })
  check.eq(pf.data.load({ { prompt = { 0, n - 1 }, chosen = { 1 }, rejected = "c" } }, tok).n, 1)
end)

check.test("a column that is null is not there", function()
  local row = json.decode('{"prompt": null, "chosen": "ab", "rejected": "ac", "chat_template_kwargs": null, '
    .. '"tools": null}')
  check.eq(texts(load(row)), { { "<s>a", "b</s>" }, { "<s>a", "c</s>" } })
  row = json.decode '{"prompt": "a", "completion": "b", "label": null}'
  check.eq(pf.data.completion({ row }, tok).kind, "completion")
  check.fails('field "rejected" is missing', load, json.decode '{"prompt": "a", "chosen": "b", "rejected": null}',
    { kind = "preference" })
end)

check.test("without an end token in tokenizer and model rows are used as they are, and it is said", function()
  sys.mkdirs(dir .. "/endless")
  sys.write(dir .. "/endless/tokenizer.json", sys.read(dir .. "/letters/tokenizer.json"))
  local model = pf.model.new { model_type = "llama", vocab_size = 64, hidden_size = 8, intermediate_size = 8,
    num_hidden_layers = 1, num_attention_heads = 1, rms_norm_eps = 1e-5 }
  local set = pf.data.preference({ { prompt = "a", chosen = "b", rejected = "c" } },
    pf.tokenizer.load(dir .. "/endless"), { model = model })
  check.eq(texts(set), { { "<s>a", "b" }, { "<s>a", "c" } })
  check.matches(set:summary(), "1 rows kept; neither tokenizer nor model has an end token")
  check.eq(load { prompt = "a", chosen = "b", rejected = "c" }:summary(), "1 rows kept")
end)

check.test("files that are not read say what is", function()
  local function read(name, text) return all(pf.data.rows(file(name, text))) end
  check.fails("a.parquet: .parquet is not read; expected .jsonl, .json or .csv, plain or .zst %(to_json", read,
    "a.parquet", "PAR1")
  check.fails("a.jsonl.gz: .gz is not read", read, "a.jsonl.gz", "x")
  check.fails("name the file .jsonl", read, "lines.json", '{"a": 1}\n{"a": 2}\n')
end)

-- ---- truncation ----

check.test("truncation: what is cut and what is left out is counted and named", function()
  local rows = { { prompt = "abcdef", chosen = "ghij", rejected = "kl" },
    { prompt = "a", chosen = "b", rejected = "c" } }
  local function cut(opts) return pf.data.preference(rows, tok, opts) end
  local set = cut { max_length = 8 }
  check.eq({ set.n, set.dropped.too_long, set.max_length }, { 1, { "row 1" }, 8 })
  check.matches(set:summary(), "1 longer than 8 tokens dropped %(row 1%)")
  set = cut { max_length = 8, truncation = "keep_start" }
  check.eq(texts(set), { { "<s>abcdef", "g" }, { "<s>abcdef", "k" } })
  check.eq(set.changed.completion, { "row 1" })
  check.matches(set:summary(), "the end of an answer was cut off in 1 %(row 1%)")
  set = cut { max_length = 7, truncation = "keep_start" }
  check.eq({ set.n, set.dropped.nothing_left }, { 1, { "row 1" } })
  check.matches(set:summary(), "cutting to 7 tokens leaves nothing to learn")
  set = cut { max_length = 8, truncation = "keep_end" }
  check.eq(texts(set), { { "def", "ghij</s>" }, { "def", "kl</s>" } }) -- both sides lose the same
  check.eq(set.changed.prompt, { "row 1" })
  set = cut { max_prompt_length = 2, max_completion_length = 3 }
  check.eq(texts(set), { { "ef", "ghi" }, { "ef", "kl</s>" } })
  check.eq({ set.changed.prompt, set.changed.completion }, { { "row 1" }, { "row 1" } })
  set = cut { max_length = 3, truncation = "keep_end" }
  check.eq({ texts(set), set.dropped.nothing_left }, { { { "a", "b</s>" }, { "a", "c</s>" } }, { "row 1" } })
  check.fails("truncation is \"left\"; it is one of drop", cut, { truncation = "left" })
  check.fails("no preference rows left: 0 rows kept; 2 longer", cut, { max_length = 2 })
end)

check.test("empty answers, cut-off answers, and EOS", function()
  local set = pf.data.preference({ { prompt = "a", chosen = "", rejected = "c" },
    { prompt = "a", chosen = "b", rejected = "c", chosen_finished = false },
    { prompt = "a", chosen = "b</s>", rejected = "c", finished = false } }, tok)
  check.eq(set.dropped.empty, { "row 1" })
  check.eq(texts(set, 1), { { "<s>a", "b" }, { "<s>a", "c</s>" } })
  check.eq(texts(set, 2), { { "<s>a", "b</s>" }, { "<s>a", "c" } })
end)

-- ---- material of others ----

local malformed = testdata and testdata .. "/data/malformed"
if not (malformed and sys.is_dir(malformed)) then
  check.skip("malformed files", "POFIT_TESTDATA has no data/malformed")
else
  local function names(folder)
    local out, p = {}, io.popen("ls " .. folder)
    for name in p:lines() do out[#out + 1] = name end
    p:close()
    return out
  end

  check.test("JSONTestSuite: what must be accepted and refused", function()
    local n = { y = 0, n = 0, i = 0 }
    for _, name in ipairs(names(malformed .. "/json")) do
      local kind = name:sub(1, 1)
      local f = assert(io.open(malformed .. "/json/" .. name, "rb"))
      local ok, message = pcall(json.decode, f:read "a")
      f:close()
      n[kind] = n[kind] + 1
      if kind ~= "i" then check.eq(ok, kind == "y", name) end
      check.ok(ok or type(message) == "string", name)
    end
    check.ok(n.y > 90 and n.n > 180, n.y .. " " .. n.n)
  end)

  check.test("invalid UTF-8 and damaged zstd are refused by line", function()
    local n = 0
    for line in sys.read(malformed .. "/utf8/utf8tests.bin"):gmatch "[^\n]+" do
      if not utf8.len(line) then
        local row = '{"a": 1}\n{"text": "' .. line .. '"}\n'
        local function read(name) return all(pf.data.rows(file(name, row))) end
        check.fails("utf8%.jsonl:2: byte %d+ of the line", read, "utf8.jsonl")
        check.fails("utf8%.csv: byte %d+ is not valid", read, "utf8.csv")
        n = n + 1
      end
    end
    check.ok(n > 10, n)
    for _, name in ipairs(names(malformed .. "/zstd")) do
      check.fails(name:gsub("%p", "%%%0"), function() return all(pf.data.rows(malformed .. "/zstd/" .. name)) end)
    end
  end)
end

os.execute("rm -rf " .. dir)
check.done()
