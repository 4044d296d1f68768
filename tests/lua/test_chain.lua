-- The task CHAIN: generator, splits, gold solutions, step parser, verifier.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local chain = require "pofit.task.chain"
local random = require "pofit.random"

local task = chain.new{}

-- Lua's own arithmetic is the second opinion
local function value(expression, modulus)
  return load("return " .. expression)() % modulus
end

local function verdict(problem, text)
  local v = task:verify(problem, text)
  return v.correct and "correct" or ("%s@%d"):format(v.error.type, v.error.step)
end

check.test("the solution of the documentation", function()
  local problem = task:read("3+4*2-5?")
  check.eq(problem.answer, 6)
  check.eq(task:solution(problem), "4*2=8;3+8=11;11-5=6;#6")
  local v = task:verify(problem, "4*2=8;3+8=11;11-5=6;#6")
  check.eq(v.correct, true)
  check.eq(v.answer, 6)
  check.eq(v.error, nil)
  check.eq(#v.steps, 3)
  check.eq(v.steps[2], {
    text = "3+8=11;", first = 7, last = 13, a = 3, op = "+", b = 8, result = 11, state = "11-5", value = 6, ok = true,
  })
end)

check.test("problems are a function of seed, split and index", function()
  local a, b = chain.new{seed = 4}, chain.new{seed = 4}
  b:problem("heldout", 7)
  local late = b:problems("train", 20, 11)
  for i, problem in ipairs(a:problems("train", 30)) do
    check.eq(problem.index, i)
    check.eq(problem.split, "train")
    if i > 10 then
      check.eq(problem.text, late[i - 10].text)
    end
  end
  check.ok(chain.new{seed = 5}:problem("train", 1).text ~= a:problem("train", 1).text, "the seed does nothing")
end)

check.test("the drawn problems are fixed for ever", function()
  local out = {}
  for i, problem in ipairs(chain.new{seed = 1}:problems("train", 4)) do
    out[i] = problem.text
  end
  check.eq(table.concat(out, " "), "3-3*8? 5*2*5*1? 1+9+1*9? 5*1?")
end)

check.test("splits share no problem, across seeds too, and repeat none", function()
  local owner = {}
  for seed = 1, 3 do
    local t = chain.new{seed = seed, splits = {"probe", "spare"}}
    for _, split in ipairs{"train", "preference", "heldout", "probe", "spare"} do
      local seen = {}
      for _, problem in ipairs(t:problems(split, 300)) do
        check.ok(not seen[problem.text], "twice in a split: " .. problem.text)
        seen[problem.text] = true
        check.ok((owner[problem.text] or split) == split, "in two splits: " .. problem.text)
        owner[problem.text] = split
      end
    end
  end
end)

check.test("adding a split moves no problem of the others", function()
  check.eq(chain.new{splits = {"probe"}}:problem("heldout", 50).text, task:problem("heldout", 50).text)
end)

check.test("answers, operands, levels", function()
  local counts = {0, 0, 0, 0}
  for _, problem in ipairs(task:problems("train", 500)) do
    check.eq(problem.answer, value(problem.text:sub(1, -2), 100))
    check.eq(problem.level, problem.operands)
    counts[problem.operands] = counts[problem.operands] + 1
  end
  check.eq(counts[1], 0)
  check.ok(counts[2] > 80 and counts[3] > 120 and counts[4] > 120, table.concat(counts, " "))
end)

check.test("every rung of the ladder holds what it makes", function()
  for level = 1, #chain.ladder do
    local t, top = chain.new{level = level}, 0
    for _, problem in ipairs(t:problems("heldout", 40)) do
      check.ok(problem.level <= level, problem.text)
      top = math.max(top, problem.level)
      check.eq(problem.answer, value(problem.text:sub(1, -2), t.modulus))
      check.ok(t:verify(problem, t:solution(problem)).correct, problem.text)
    end
    check.eq(top, level)
  end
end)

check.test("solutions in random order are right, and are several", function()
  local several = 0
  for _, problem in ipairs(chain.new{operands = {4, 6}}:problems("train", 100)) do
    local seen, kinds = {}, 0
    for seed = 1, 8 do
      local text = task:solution(problem, {order = "random", seed = seed})
      check.eq(verdict(problem, text), "correct", problem.text .. text)
      if not seen[text] then
        seen[text], kinds = true, kinds + 1
      end
    end
    check.eq(task:solution(problem, {order = "random", seed = 3}), task:solution(problem, {order = "random", seed = 3}))
    several = several + (kinds > 1 and 1 or 0)
  end
  check.ok(several > 60, several .. " of 100")
end)

check.test("ready is exactly: leaves the value as it is, whatever the numbers", function()
  local g = random.new(1, "ready")
  local function try(ops)
    for i = 1, #ops do
      local same, message = true, nil
      for _ = 1, 12 do
        local numbers, parts, after = {}, {}, {}
        for k = 1, #ops + 1 do
          numbers[k] = g:int(2, 97)
        end
        local result = value(numbers[i] .. ops[i] .. numbers[i + 1], 100)
        for k = 1, #ops + 1 do
          parts[#parts + 1] = numbers[k] .. (ops[k] or "")
          if k ~= i then
            after[#after + 1] = (k == i + 1 and result or numbers[k]) .. (ops[k] or "")
          end
        end
        local expression = table.concat(parts)
        same = same and value(expression, 100) == value(table.concat(after), 100)
        local v = task:verify(expression .. "?", ("%d%s%d=%d;"):format(numbers[i], ops[i], numbers[i + 1], result))
        message = v.steps[1].type
      end
      check.eq(message, not same and "order" or nil, table.concat(ops) .. " at " .. i)
    end
  end
  for _, a in ipairs{"+", "-", "*"} do
    try{a}
    for _, b in ipairs{"+", "-", "*"} do
      try{a, b}
      for _, c in ipairs{"+", "-", "*"} do
        try{a, b, c}
      end
    end
  end
end)

check.test("each kind of mistake has its type and its step", function()
  local p = "3+4*2-5?"
  check.eq(verdict(p, "4*2=9;3+9=12;12-5=7;#7"), "value@1")
  check.eq(verdict(p, "4*2=8;3+8=12;12-5=7;#7"), "value@2")
  check.eq(verdict(p, "4*2=108;3+108=11;11-5=6;#6"), "value@1")
  check.eq(verdict(p, "3+4=7;7*2=14;14-5=9;#9"), "order@1")
  check.eq(verdict(p, "4*3=12;3+12=15;15-5=10;#10"), "operand@1")
  check.eq(verdict(p, "4*2=8;8+3=11;11-5=6;#6"), "swap@2")
  check.eq(verdict(p, "3*2=6;6-5=1;#1"), "omission@1")
  check.eq(verdict(p, "3+2=5;5-5=0;#0"), "omission@1")
  check.eq(verdict(p, "3-2=1;1-5=96;#96"), "operand@1")
  check.eq(verdict(p, "4+2=6;3+6=9;9-5=4;#4"), "operator@1")
  check.eq(verdict(p, "4*2=8;3+8=11;11-5=6;#7"), "answer@4")
  check.eq(verdict(p, "4*2=8;3+8=11;11-5=6;"), "unfinished@4")
  check.eq(verdict(p, "4*2=8;3+8=11;11-5=6;#"), "unfinished@4")
  check.eq(verdict(p, "4*2=8;3+8=11;#6"), "unfinished@3")
  check.eq(verdict(p, "4*2=8;3+8"), "unfinished@2")
  check.eq(verdict(p, "#6"), "unfinished@1")
  check.eq(verdict(p, ""), "unfinished@1")
  check.eq(verdict(p, "4*2=8,3+8=11;11-5=6;#6"), "format@1")
  check.eq(verdict(p, "4*2=08;3+8=11;11-5=6;#6"), "format@1")
  check.eq(verdict(p, "4*2=8;3+8=11;11-5=6;#06"), "format@4")
  check.eq(verdict(p, "4*2=8;3+8=11;11-5=6;#6 "), "format@4")
  check.eq(verdict(p, "4*2=8;3+8=11;11-5=6;#6;#6"), "format@4")
  check.eq(verdict(p, "4*2=8; 3+8=11;11-5=6;#6"), "format@2")
  check.eq(verdict(p, "4*2=-92;3+8=11;11-5=6;#6"), "format@1")
  check.eq(verdict(p, "4*2=99999999999999999999;#6"), "format@1")
  check.eq(verdict("5-3+2?", "3+2=5;5-5=0;#0"), "order@1")
  check.eq(verdict("5+3+2?", "3+2=5;5+5=10;#10"), "correct")
  check.eq(verdict("3-5?", "3-5=98;#98"), "correct")
  check.eq(verdict("9*9*2?", "9*9=81;81*2=62;#62"), "correct")
  check.eq(verdict("9*9*2?", "9*2=18;9*18=62;#62"), "correct")
end)

check.test("the place of the mistake is given in characters", function()
  local text = "4*2=8;3+8=12;12-5=7;#7"
  local e = task:verify("3+4*2-5?", text).error
  check.eq(text:sub(e.first, e.last), "3+8=12;")
  check.matches(e.message, "3%+8 is 11, not 12")
  e = task:verify("3+4?", "3+4=7;#8").error
  check.eq({e.first, e.last}, {7, 8})
end)

check.test("steps after a mistake are judged on the state that the text claims", function()
  local v = task:verify("3+4*2-5?", "4*2=9;3+9=12;12-5=8;#8")
  check.eq({v.steps[1].ok, v.steps[2].ok, v.steps[3].ok}, {false, true, false})
  check.eq({v.steps[1].value, v.steps[2].value, v.steps[3].value}, {7, 7, 8})
  v = task:verify("3+4*2-5?", "3+4=7;7*2=14;14-5=9;#9")
  check.eq(v.steps[1].state, "7*2-5")
  check.eq({v.steps[2].ok, v.steps[3].ok}, {true, true})
  v = task:verify("3+4*2-5?", "4*3=12;3+12=15;#6")
  check.eq({v.steps[2].ok, v.steps[2].type, v.steps[2].state}, {false, "lost", nil})
  check.eq({v.correct, v.answer, v.answer_correct}, {false, 6, true})
end)

check.test("numbers that a text claims may be huge", function()
  local v = task:verify("2*3*4*5?", "2*3=9999999999;4*5=9999999999;9999999999*9999999999=1;#1")
  check.eq({v.steps[1].ok, v.steps[2].ok, v.steps[3].ok, v.error.type}, {false, false, true, "value"})
end)

check.test("where an operation stands twice, either place is right", function()
  -- the second 2*2 first, then its neighbours: only one of the two readings of the first step goes on
  check.eq(verdict("2*2-5+2*2*3?", "2*2=4;4*3=12;2*2=4;4-5=99;99+12=11;#11"), "correct")
  check.eq(verdict("2*2-5+2*2*3?", "2*2=4;4-5=99;2*2=4;4*3=12;99+12=11;#11"), "correct")
end)

check.test("a whole transcript gives steps with spans in it", function()
  local text = "3+4*2?4*2=8;3+8=11;#11"
  local steps = task:steps(text)
  check.eq(#steps, 2)
  check.eq(text:sub(steps[1].first, steps[1].last), "4*2=8;")
  check.eq(text:sub(steps[2].first, steps[2].last), "3+8=11;")
  check.eq({steps[1].state, steps[2].state}, {"3+8", "11"})
  check.eq(task:steps("4*2=8;3+8=11;#11", "3+4*2?")[2].first, 7)
  check.fails("holds no problem", task.steps, task, "4*2=8;")
end)

check.test("no random text is called right unless it is", function()
  local g, letters = random.new(9, "noise"), task:vocabulary()
  for _, problem in ipairs(task:problems("train", 40)) do
    local gold = task:solution(problem)
    for _ = 1, 50 do
      local at, edit = g:int(#gold), g:int(3)
      local text = gold:sub(1, at - 1) .. (edit < 3 and g:pick(letters) or "") .. gold:sub(edit == 1 and at or at + 1)
      if text ~= gold and verdict(problem, text) == "correct" then
        -- one edit can only lead to another right order if the text still ends in the same answer
        check.ok(text:match("#(%d+)$") == tostring(problem.answer), text)
        for a, op, b, result in text:gmatch("(%d+)([%+%-%*])(%d+)=(%d+);") do
          check.eq(value(a .. op .. b, 100), math.tointeger(tonumber(result)))
        end
      end
    end
  end
end)

check.test("vocabulary and lengths bound everything that is written", function()
  local known = {}
  for _, c in ipairs(task:vocabulary()) do
    known[c] = true
  end
  for level = 1, #chain.ladder do
    local t = chain.new{level = level}
    local long_problem, long_solution = t:longest()
    for _, row in ipairs(t:rows("train", 60, {order = "random"})) do
      for c in (row.prompt .. row.completion):gmatch(".") do
        check.ok(known[c], c)
      end
      check.ok(#row.prompt <= long_problem and #row.completion <= long_solution, row.prompt .. row.completion)
    end
  end
end)

check.test("what is no problem is refused with the place", function()
  check.matches(select(2, task:read("3+?")), "no number below 100 at character 3")
  check.matches(select(2, task:read("3+4")), "nor the final %? at character 4")
  check.matches(select(2, task:read("3?")), "nor the final %? at character 2")
  check.matches(select(2, task:read("3+100?")), "no number below 100 at character 3")
  check.matches(select(2, task:read("03+1?")), "at character 1")
  check.fails("test_chain.lua:%d+: task.chain: not a problem", function()
    local v = task:verify("3/4?", "#1")
    return v
  end)
end)

check.test("wrong options and splits are refused", function()
  check.fails("unknown option moduls", chain.new, {moduls = 3})
  check.fails("modulus is an integer from 2", chain.new, {modulus = 1})
  check.fails("operands is", chain.new, {operands = {1, 2}})
  check.fails("largest is an integer from 1 to modulus %- 1 = 9, not 10", chain.new, {modulus = 10, largest = 10})
  check.fails("ops are of %+ %- %*, not \"/\"", chain.new, {ops = "+/"})
  check.fails("ops names no operation", chain.new, {ops = ""})
  check.fails("level is one of 1 to 8, not 9", chain.new, {level = 9})
  check.fails('no split "test"; there are train, preference, heldout', task.problem, task, "test", 1)
  check.fails("order is", task.solution, task, "3+4?", {order = "odd"})
  check.fails("test_chain.lua:%d+: task.chain: split heldout has only about %d+ different problems", function()
    local problems = chain.new{level = 1}:problems("heldout", 500)
    return problems
  end)
end)

check.done()
