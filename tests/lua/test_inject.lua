-- Typed mistakes put into right solutions: pf.inject with the script editors, and with a model as editor.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pf = require "pofit"

local chain = pf.task.chain { modulus = 10, operands = { 3, 5 } }
local star = pf.task.star { arms = 3, length = 3 }
local bandit = pf.task.bandit {}
local dir = os.tmpname()
os.remove(dir)

local function tokenizer(task)
  pf.characters(dir, task:vocabulary())
  return pf.tokenizer.load(dir)
end

-- what must hold of every edit, seen with the verifier and with nothing of the injector's own
local function prove(task, problem, edited, step, kind, parts)
  check.eq(edited, parts.prefix .. parts.rejected)
  check.eq(task:solution(problem):sub(1, #parts.prefix + #parts.chosen), parts.prefix .. parts.chosen)
  local v = task:verify(problem, edited)
  check.eq(v.error.step, step, problem.text .. edited)
  check.eq(v.error.type, kind, problem.text .. edited)
  check.eq(#v.steps, step)
  for i = 1, step - 1 do check.ok(v.steps[i].ok) end
  check.ok(parts.distance >= 1 and parts.distance <= math.max(4, 0.3 * #parts.chosen), parts.distance)
end

for name, task in pairs { chain = chain, star = star, bandit = bandit } do
  check.test(name .. ": every type is made, and is what it says", function()
    for _, kind in ipairs(task:types()) do
      local made = 0
      for i, problem in ipairs(task:problems("train", 40)) do
        local edited, step, found, parts = pf.inject(task, task:solution(problem), { problem = problem, type = kind,
          seed = i })
        if edited then
          made = made + 1
          check.eq(found, kind)
          prove(task, problem, edited, step, kind, parts)
        end
      end
      check.ok(made >= 12, ("%s: %d of 40"):format(kind, made))
    end
  end)
end

check.test("chain: an edit changes the value, whatever is worked out from it", function()
  for i, problem in ipairs(chain:problems("preference", 200)) do
    local edited, step, _, parts = pf.inject(chain, chain:solution(problem), { problem = problem, seed = i })
    check.ok(edited, step)
    -- put the wrong result where the right one stood, and let Lua work out the rest
    local steps = chain:steps(parts.prefix .. parts.chosen, problem)
    local right = steps[step]
    local put = ("%s%d%s%d=%s;"):format(parts.prefix, right.a, right.op, right.b, parts.rejected:match("=(%d+);"))
    local state = chain:steps(put, problem)[step].state
    if right.a .. right.op .. right.b == parts.rejected:match("^(.-)=") or parts.rejected:match("=(%d+);") ~=
      tostring(right.result) then
      local order = chain:verify(problem, edited).error.type == "order"
      if not order then check.ok(load("return " .. state)() % 10 ~= problem.answer, problem.text .. edited) end
    end
  end
end)

check.test("edits that cancel out are dropped, with the reason", function()
  local function inject(text, o)
    o.problem = chain:read(text)
    return select(2, pf.inject(chain, chain:solution(o.problem), o))
  end
  check.matches(inject("3+4+5?", { type = "swap" }), "no edit of type swap: 2 does not change the value")
  check.matches(inject("0*4+5?", { type = "operand", step = 1, distance = 0 }), "more than 0 edits away")
  check.matches(inject("5*0+0?", { type = "omission" }), "no edit of type omission")
  check.matches(inject("2*2+5?", { type = "operator", step = 1 }) .. "", "1")
  check.matches(inject("3+4*2?", { step = 3 }), "has 2 steps, none is number 3")
  local p = chain:read("2+2*1?")
  check.eq(pf.inject(chain, "2*1=2;2+2=4;#4", { problem = p, type = "operator", step = 2, distance = 0 }), nil)
  check.matches(select(2, pf.inject(chain, "2*1=3;2+3=5;#5", { problem = p })), "not right: 2%*1 is 2, not 3")
  -- 2*2 and 2+2 come to the same
  p = chain:read("2*2+1?")
  for seed = 1, 20 do
    local _, _, _, parts = pf.inject(chain, "2*2=4;4+1=5;#5", { problem = p, type = "operator", step = 1, seed = seed })
    check.eq(parts.rejected, "2-2=0;")
  end
end)

check.test("chain: an irrelevant operand is a wrong one to take", function()
  local task, taken = pf.task.chain { modulus = 100, irrelevant = 1 }, 0
  for i, problem in ipairs(task:problems("train", 60)) do
    local edited, _, _, parts = pf.inject(task, task:solution(problem), { problem = problem, type = "operand",
      seed = i })
    local a, b = (parts and parts.text or ""):match("^(%d+).(%d+)=")
    local odd = tostring(problem.irrelevant[1])
    if edited and (a == odd or b == odd) then taken = taken + 1 end
  end
  check.ok(taken >= 5, taken)
end)

check.test("ids: what is not edited keeps its tokens", function()
  local tok = tokenizer(chain)
  local problem = chain:read("3+4*2-5?")
  local ids = tok:encode("4*2=8;3+8=1;1-5=6;#6", { special = false })
  ids[#ids + 1] = tok.eos
  local edited, step, kind, parts = pf.inject(chain, ids, { problem = problem, tokenizer = tok, type = "value",
    step = 2 })
  check.eq({ step, kind, #parts.prefix, #parts.chosen, #parts.rejected }, { 2, "value", 6, 6, 6 })
  for i = 1, 12 do check.eq(edited[i] == ids[i], i ~= 11) end
  check.eq(#edited, 12, "no EOS after an edited step")
  check.eq(pf.inject(chain, ids, { problem = problem, tokenizer = tok, type = "value", step = 2 }), edited)
end)

check.test("equal seeds give equal edits, others others", function()
  local problem, seen, kinds = chain:read("3+4*2-5?"), {}, 0
  for seed = 1, 30 do
    local a = pf.inject(chain, chain:solution(problem), { problem = problem, seed = seed })
    check.eq(a, (pf.inject(chain, chain:solution(problem), { problem = problem, seed = seed })))
    kinds = kinds + (seen[a] and 0 or 1)
    seen[a] = true
  end
  check.ok(kinds > 10, kinds)
end)

check.test("a model writes the step anew, and its tokens are taken as they are", function()
  local tok = tokenizer(chain)
  local problem = chain:read("3+4*2-5?")
  local solution = "4*2=8;3+8=1;1-5=6;#6"
  local texts = { "3+8=1;1-5=6;#6", "3+8=2;2-5=7;#7", "nonsense" }
  local editor = setmetatable({ tokenizer = tok }, { __index = { generate = function(_, prompts, o)
    check.eq(tok:decode(prompts[1], { skip_special = true }), "3+4*2-5?4*2=8;")
    check.eq({ o.n, o.stop }, { 8, ";" })
    local out = {}
    for i, text in ipairs(texts) do
      out[i] = { text = text, ids = tok:encode(text, { special = false }), finish = "eos" }
    end
    return { out }
  end } })
  local o = { problem = problem, editor = editor, step = 2 }
  local edited, step, kind, parts = pf.inject(chain, solution, o)
  check.eq({ tok:decode(edited), step, kind, tok:decode(parts.rejected) }, { "4*2=8;3+8=2;", 2, "value", "3+8=2;" })
  o.type = "swap"
  check.matches(select(2, pf.inject(chain, solution, o)), "1 is not one step, 1 is of type value, 1 is the step itself")
  texts[2] = "8+1=9;"
  o.type = nil
  check.eq(select(3, pf.inject(chain, solution, o)), "operand")
end)

check.test("a real model can be the editor", function()
  local tok = tokenizer(chain)
  local config = { model_type = "llama", hidden_size = 16, intermediate_size = 16, num_hidden_layers = 1,
    num_attention_heads = 2, num_key_value_heads = 2, max_position_embeddings = 128, rms_norm_eps = 1e-5,
    rope_theta = 10000, vocab_size = #chain:vocabulary() + 2, bos_token_id = 0, eos_token_id = 1 }
  local model = pf.model.new(config, { seed = 1, tokenizer = tok })
  local problem = chain:read("3+4*2-5?")
  local edited, why = pf.inject(chain, chain:solution(problem), { problem = problem, editor = model, draws = 4 })
  check.eq(edited, nil, "weights drawn at random write no step")
  check.matches(why, "12 is not one step")
end)

check.test("wrong calls are refused", function()
  local problem = chain:read("3+4?")
  check.fails('no option "stepp"', pf.inject, chain, "3+4=7;#7", { problem = problem, stepp = 1 })
  check.fails("expected problem =", pf.inject, chain, "3+4=7;#7", {})
  check.fails('no type "typo"; this task has value', pf.inject, chain, "3+4=7;#7", { problem = problem, type = "typo" })
  check.fails("editor is", pf.inject, chain, "3+4=7;#7", { problem = problem, editor = "script2" })
  check.fails("ids need a tokenizer", pf.inject, chain, { 1, 2 }, { problem = problem })
end)

local data = os.getenv("POFIT_TESTDATA")
if not data then
  check.skip("gsm8k edits", "POFIT_TESTDATA is not set")
else
  local task = pf.task.gsm8k { path = data .. "/data/gsm8k/gsm8k_sft.jsonl" }

  check.test("gsm8k: every type is made, and the answer changes with it", function()
    for kind, least in pairs { value = 80, operator = 80, operand = 80, swap = 15, omission = 80 } do
      local made = 0
      for i, problem in ipairs(task:problems("train", 100)) do
        local edited, step, found, parts = pf.inject(task, problem.gold, { problem = problem, type = kind, seed = i })
        if edited then
          made = made + 1
          check.eq(found, kind)
          check.eq(edited, parts.prefix .. parts.rejected)
          check.eq(parts.prefix .. parts.chosen, problem.gold:sub(1, #parts.prefix + #parts.chosen))
          local was, is = task:steps(parts.chosen, problem)[1], task:steps(parts.rejected, problem)[1]
          check.eq(is.type, kind == "value" and "value" or nil, edited)
          check.ok(was.value ~= is.value, edited)
          check.eq(step, #task:steps(edited, problem))
        end
      end
      check.ok(made >= least, ("%s: %d of 100"):format(kind, made))
    end
  end)

  check.test("gsm8k: the edit is carried through the line, and nothing else changes", function()
    local problem = task:problem("train", 1)
    check.matches(problem.text, "^Natalia")
    local _, _, _, parts = pf.inject(task, problem.gold, { problem = problem, type = "operator", step = 1 })
    local op = parts.rejected:match("^Natalia sold 48(.)2 = <<48%12=(%d+)>>%2 clips in May%.\n$")
    check.ok(op, parts.rejected)
  end)

  check.test("gsm8k: tokens of a real tokenizer stay where the text stays", function()
    local tok = pf.tokenizer.load(data .. "/data/stories260K")
    local made = 0
    for i, problem in ipairs(task:problems("train", 20)) do
      local ids = tok:encode(problem.gold, { special = false })
      local edited, _, _, parts = pf.inject(task, ids, { problem = problem, tokenizer = tok, seed = i })
      if edited then
        made = made + 1
        for t = 1, #parts.prefix do check.eq(edited[t], ids[t]) end
        check.ok(parts.distance <= math.max(4, 0.3 * #parts.chosen))
        check.eq(tok:decode(parts.rejected), parts.text)
      end
    end
    check.ok(made >= 15, made)

    -- a solution written with other tokens than the tokenizer would choose: "clips" letter by letter, before the edit
    -- and after it
    local problem, ids = task:problem("train", 1), {}
    for _, id in ipairs(tok:encode(problem.gold, { special = false })) do
      local piece = tok:token(id)
      for c in (piece:find("^%l%l+$") and piece or ""):gmatch(".") do ids[#ids + 1] = tok:id(c) end
      if not piece:find("^%l%l+$") then ids[#ids + 1] = id end
    end
    check.eq(tok:decode(ids), problem.gold)
    local _, _, _, parts = pf.inject(task, ids, { problem = problem, tokenizer = tok, type = "value", step = 1 })
    check.ok(parts and parts.distance <= 6, "only the digits of the result, twice")
  end)
end

check.done()
