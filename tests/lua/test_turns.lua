-- Conversations of attempts: how they are written, played, learned from and judged.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local tiny = dofile((arg[0]:match("^.*/") or "") .. "tiny.lua")
local pf = require "pofit"
local task, tok = tiny.task, tiny.tok
local turns = pf.turns

local function attempt(text, reward)
  local ids = tok:encode(text, { special = false })
  ids[#ids + 1] = tok.eos
  return { ids = ids, text = text, finish = "eos", reward = reward, correct = reward == 1 }
end
local problem = { text = "1+2?" }
local a, b, c = attempt("1+2=4;#4", 0), attempt("1+2=", -1), attempt("1+2=3;#3", 1)
local function text_of(ids) return tok:decode(ids, { skip_special = true }) end

check.test("plain: the attempts stand as they were sampled, the feedback between them", function()
  local ids = turns.prompt(tok, problem, { a, b })
  check.eq(text_of(ids), "1+2?1+2=4;#41+2?1+2=1+2?")
  local q = tok:encode "1+2?"
  check.eq(table.move(ids, #q + 1, #q + #a.ids, 1, {}), a.ids)
  check.eq(ids[1], tok.bos, "BOS stands once, at the beginning")
  local again = 0
  for _, id in ipairs(ids) do again = again + (id == tok.bos and 1 or 0) end
  check.eq(again, 1)
  check.eq(text_of(turns.prompt(tok, problem, { a, b }, { window = 2 })), "1+2?1+2=1+2?")
  check.eq(text_of(turns.prompt(tok, problem, { a, b }, { window = 1 })), "1+2?")
  check.eq(text_of(turns.prompt(tok, problem, { a }, { feedback = function() return "##" end })), "1+2?1+2=4;#4##")
end)

-- a tokenizer of bytes, with a template
local function talker(render)
  local words = { eos = 256 }
  function words.encode(_, text)
    local ids = {}
    for at, special in text:gmatch "()(<end>)" do ids[at] = special end
    local out, i = {}, 1
    while i <= #text do
      if ids[i] then out[#out + 1], i = 256, i + 5 else out[#out + 1], i = text:byte(i), i + 1 end
    end
    return out
  end
  function words.chat(_, messages, opts) return render(messages) .. (opts.generation_prompt and "A:" or "") end
  return words
end
local function simple(messages)
  local out = {}
  for i, m in ipairs(messages) do out[i] = (m.role == "user" and "U:" or "A:") .. m.content .. "<end>" end
  return table.concat(out)
end

check.test("templated: what the template writes between attempts, and the token that ends one stands once", function()
  local words = talker(simple)
  local one = { ids = { 120, 256 }, text = "x" }
  local ids = turns.prompt(words, { text = "q" }, { one }, { chat = true, feedback = function() return "no" end })
  check.eq(ids, words:encode "U:q<end>A:x<end>U:no<end>A:")
  local cut = { ids = { 120 }, text = "x", finish = "length" }
  check.eq(turns.prompt(words, { text = "q" }, { cut }, { chat = true, feedback = function() return "no" end }), ids)
  local talk = turns.prompt(words, { text = { { role = "user", content = "q" } } }, { one }, { chat = true })
  check.eq(talk, words:encode("U:q<end>A:x<end>U:" .. turns.TRY_AGAIN .. "q<end>A:"))
  local forgetful = talker(function(m) return simple { m[#m] } end)
  check.fails("rewrites earlier turns", turns.prompt, forgetful, { text = "q" }, { one }, { chat = true })
end)

check.test("rows: by criterion, the kept turn alone is scored", function()
  local function kept(criterion, ...)
    local out = {}
    for i, row in ipairs(turns.rows(tok, problem, { ... }, { criterion = criterion })) do out[i] = row.turn end
    return table.concat(out)
  end
  check.eq(kept("all", a, b, c), "123")
  check.eq(kept("better", a, b, c), "13")
  check.eq(kept("best", a, b, c), "13")
  check.eq(kept("best", a, a, c), "13", "an equal attempt makes no row")
  check.eq(kept("success", a, b, c), "3")
  check.eq(kept("success", a, b), "")
  check.eq(kept("all", a, { ids = {}, reward = -1 }, c), "13")
  check.fails("criterion is one of", turns.rows, tok, problem, { a }, { criterion = "good" })
  local rows = turns.rows(tok, problem, { a, b, c })
  local batch = turns.data(rows):batch { 3, 1 }
  check.eq(batch.target:totable(), table.move(a.ids, 1, #a.ids, #c.ids + 1, table.move(c.ids, 1, #c.ids, 1, {})))
  check.eq({ batch.groups, batch.group[1], batch.group[#batch.group] }, { 2, 1, 2 })
  check.eq({ batch.reward, batch.prompt, batch.weight, batch.row }, { { 1, 0 }, { 1, 1 }, { 1, 1 }, { 1, 2 } })
end)

check.test("several turns of a row, each with its weight", function()
  local head = tok:encode "1+2?"
  local ids = turns.prompt(tok, problem, { a })
  local first = #ids + 1
  table.move(c.ids, 1, #c.ids, first, ids)
  local row = { ids = ids, prompt = "1+2?", turns = { { first = #head + 1, last = #head + #a.ids, weight = 0.25 },
    { first = first, last = #ids, weight = 2 } } }
  local model, batch = tiny.model(1), turns.data({ row }):batch { 1 }
  check.eq({ batch.groups, batch.weight, batch.row }, { 2, { 0.25, 2 }, { 1, 1 } })
  local nll = pf.mean_by(model:logp(batch), batch.group, batch.groups) * -1
  local got = (nll * pf.tensor(batch.weight)):sum():item()
  local want = 0
  for _, turn in ipairs(row.turns) do
    local prefix = table.move(ids, 1, turn.last, 1, {})
    local one = pf.batch(nil, { { ids = prefix, scored_from = turn.first } })
    want = want - turn.weight * model:logp(one):mean():item()
  end
  check.near(got, want, 1e-4)
  check.fails("turn 2 of row 1 goes from token 2", turns.data, { { ids = { 1, 2, 3 }, prompt = "", turns =
    { { first = 2, last = 3 }, { first = 2, last = 3 } } } })
  check.fails("turn 1 of row 1 goes from token 1", turns.data, { { ids = { 1, 2 }, prompt = "", turns =
    { { first = 1, last = 2 } } } })
  local short = turns.data({ row, { ids = { 0, 5 }, prompt = "", turns = { { first = 2, last = 2 } } } },
    { max_length = 4 })
  check.eq({ short.n, short.dropped }, { 1, 1 })
end)

check.test("the reward-weighted loss of the worked case", function()
  local nll = pf.tensor { 0.8, 1.2, 2.0 }
  local loss = pf.loss.rwr { logp = nll * -1, reward = { 1, 0, -1 }, temperature = 0.4 }
  check.near(loss:item(), 3.703388389, 1e-5)
end)

local model = tiny.model(1, 230)
local problems = task:problems("preference", 20)
local options = { task = task, turns = 3, max_tokens = 30, seed = 4, quiet = true }
local function with(more)
  local o = {}
  for name, value in pairs(options) do o[name] = value end
  for name, value in pairs(more) do o[name] = value end
  return o
end

check.test("play: each attempt is what the model says after the earlier ones", function()
  local played, counts = turns.play(model, problems, options)
  check.eq({ counts.samples, #played, #played[1] }, { 60, 20, 3 })
  local differ = 0
  for i, list in ipairs(played) do
    for t, one in ipairs(list) do
      local seed = pf.random.bits(4, "turn", t) & 0x7fffffff
      local history = table.move(list, 1, t - 1, 1, {})
      local ids = turns.prompt(tok, problems[i], history)
      if #ids + 30 <= 128 then
        check.eq(model:generate({ ids }, { n = 1, max_tokens = 30, seed = seed })[1][1].ids, one.ids)
      end
      check.eq(one.correct, task:verify(problems[i], one.text).correct and one.finish == "eos")
      check.eq(one.reward, one.correct and 1 or one.answer ~= nil and 0 or -1)
      differ = differ + (t > 1 and table.concat(one.ids, " ") ~= table.concat(list[1].ids, " ") and 1 or 0)
    end
  end
  check.ok(differ > 10, differ .. " attempts differ from the first")
  check.eq(turns.play(model, problems, options)[7][3].ids, played[7][3].ids)
end)

check.test("play: a conversation may stop at its first success, and take the best of several", function()
  local stopped = turns.play(model, problems, with { stop = true })
  local whole, ended = turns.play(model, problems, options), 0
  for i, list in ipairs(stopped) do
    for t, one in ipairs(list) do
      check.eq(one.ids, whole[i][t].ids)
      if one.correct then check.eq(#list, t) end
    end
    ended = ended + (list[#list].correct and 1 or 0)
  end
  check.ok(ended > 0)
  local best, right, single = turns.play(model, problems, with { turns = 1, best_of = { [1] = 16 } }), 0, 0
  for i = 1, #problems do
    right, single = right + (best[i][1].correct and 1 or 0), single + (whole[i][1].correct and 1 or 0)
  end
  check.ok(right > single, right .. " by the best of 16, " .. single .. " by one")
end)

check.test("a history that leaves no room loses its oldest turns", function()
  local few = table.move(problems, 1, 4, 1, {})
  local long, shortened = turns.play(model, few, with { turns = 4, max_tokens = 80 }), 0
  for i, list in ipairs(long) do
    check.eq(#list, 4)
    for t = 2, 4 do
      local history, window = table.move(list, 1, t - 1, 1, {}), t
      while window > 1 and #turns.prompt(tok, few[i], history, { window = window }) + 80 > 128 do
        window = window - 1
      end
      shortened = shortened + (window < t and 1 or 0)
      local ids = turns.prompt(tok, few[i], history, { window = window })
      local seed = pf.random.bits(4, "turn", t) & 0x7fffffff
      check.eq(model:generate({ ids }, { n = 1, max_tokens = 80, seed = seed })[1][1].ids, list[t].ids)
    end
  end
  check.ok(shortened > 0)
end)

check.test("votes and figures: the worked cases", function()
  local function list(gold, ...)
    local out = {}
    for i, answer in ipairs { ... } do
      if answer == 0 then out[i] = { correct = false } else out[i] = { answer = answer, correct = answer == gold } end
    end
    return out
  end
  local figures, rates = turns.figures { list(5, 3, 5, 5, 5, 4) }
  check.eq({ figures.vote, figures.any, figures.turn[5] }, { { true }, { true }, { false } })
  check.eq(turns.voted(list(7, 7, 7, 8, 9, 9)), true)
  check.eq(turns.voted(list(7, 7, 7, 8, 9, 9), { tie = "last" }), false)
  figures = turns.figures { list(5, 5, 3, 3, 4, 4) }
  check.eq({ figures.vote, figures.any }, { { false }, { true } })
  check.eq(turns.voted(list(5, 0, 0, 5)), true, "no answer is no vote")
  check.eq(turns.voted(list(5, 0, 0)), false)
  check.eq({ rates.confidence ~= rates.confidence, rates.critique }, { true, 0.0 })
  -- acc_last = acc_first * CL + (1 - acc_first) * CS
  figures, rates = turns.figures { list(5, 5, 5), list(5, 5, 3), list(5, 3, 5), list(5, 4, 4), list(5, 5, 0) }
  local mean = pf.stats.mean
  local first = mean(figures.turn[1])
  check.near(mean(figures.turn[2]), first * rates.confidence + (1 - first) * rates.critique)
end)

tiny.clean()
check.done()
