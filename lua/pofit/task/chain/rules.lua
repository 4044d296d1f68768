--- The rules of CHAIN: reading, reducing and judging. pofit.task.chain is the door; its first comment has the grammar.
local M = {}

-- An expression is {numbers = {...}, ops = {...}}: ops[i] stands between numbers[i] and numbers[i + 1]. Operands that
-- belong to nothing are in its field irrelevant.

--- What one operation gives.
function M.apply(a, op, b, modulus)
  a, b = a % modulus, b % modulus
  if op == "*" then
    return a * b % modulus
  end
  return (op == "+" and a + b or a - b) % modulus
end

--- An expression as text.
function M.text(e)
  local out = {tostring(e.numbers[1])}
  for i, op in ipairs(e.ops) do
    out[#out + 1] = op
    out[#out + 1] = tostring(e.numbers[i + 1])
  end
  return table.concat(out)
end

local function is_ready(e, i)
  local op, before, after = e.ops[i], e.ops[i - 1], e.ops[i + 1]
  return op == "*" or (before ~= "*" and before ~= "-" and after ~= "*")
end

local function reduce(e, i, result)
  local numbers, ops = table.move(e.numbers, 1, #e.numbers, 1, {}), table.move(e.ops, 1, #e.ops, 1, {})
  table.remove(numbers, i + 1)
  table.remove(ops, i)
  numbers[i] = result
  return {numbers = numbers, ops = ops}
end

-- the places that are ready, those of `*` first, else from the left
local function ready_places(e)
  local ready = {}
  for pass = 1, 2 do
    for i, op in ipairs(e.ops) do
      if is_ready(e, i) and (op == "*") == (pass == 1) then
        ready[#ready + 1] = i
      end
    end
  end
  return ready
end

--- The operation that the canonical solution takes first.
function M.first_op(e)
  return e.ops[ready_places(e)[1]]
end

local function take(e, i, modulus)
  local a, op, b = e.numbers[i], e.ops[i], e.numbers[i + 1]
  local result = M.apply(a, op, b, modulus)
  return ("%d%s%d=%d;"):format(a, op, b, result), reduce(e, i, result)
end

--- Every right solution, each once: all orders of taking operations that are ready.
---@return string[]
function M.solutions(e, modulus)
  local out, seen = {}, {}
  local function go(state, text)
    if #state.ops == 0 then
      text = text .. "#" .. state.numbers[1]
      if not seen[text] then
        seen[text], out[#out + 1] = true, text
      end
      return
    end
    for _, i in ipairs(ready_places(state)) do
      local step, after = take(state, i, modulus)
      go(after, text .. step)
    end
  end
  go(e, "")
  return out
end

--- Reduce to one number; choose(ready) picks from the ready places, those of `*` first, else from the left.
-- Returns the written solution and its answer.
function M.solve(e, modulus, choose)
  local out = {}
  while #e.ops > 0 do
    out[#out + 1], e = take(e, choose(ready_places(e)), modulus)
  end
  return table.concat(out) .. "#" .. e.numbers[1], e.numbers[1]
end

--- The canonical choice among the ready places.
function M.first(ready)
  return ready[1]
end

--- What an expression comes to.
function M.value(e, modulus)
  return select(2, M.solve(e, modulus, M.first))
end

-- a number as it is written: no sign, no leading zero; nil if it is not one, or too long to be one
local function number(digits)
  return #digits <= 10 and (digits == "0" or digits:find("^[1-9]%d*$")) and math.tointeger(tonumber(digits)) or nil
end

--- Read "3+4*2-5?"; nil and the reason if it is no problem.
function M.expression(text, modulus)
  local irrelevant, numbers, ops, at = {}, {}, {}, 1
  while true do
    local digits = text:match("^%d+", at) or ""
    local n = number(digits)
    if not n or n >= modulus then
      return nil, ("not a problem: %q has no number below %d at character %d"):format(text, modulus, at)
    end
    numbers[#numbers + 1] = n
    at = at + #digits
    local op = text:sub(at, at)
    if op == "?" and at == #text and #ops > 0 then
      return {numbers = numbers, ops = ops, irrelevant = irrelevant}
    elseif not op:find("^[%+%-%*]$") and not (op == "," and #ops == 0) then
      return nil, ("not a problem: %q has neither an operation nor the final ? at character %d"):format(text, at)
    end
    if op == "," then
      irrelevant[#irrelevant + 1], numbers[1] = n, nil
    else
      ops[#ops + 1] = op
    end
    at = at + 1
  end
end

-- ---- judging ----

-- The states that the steps so far may have led to: where an operation stands twice, it is not said which was taken.
-- Returns the new states (or nil) for the places that `allow` lets through.
local function advance(states, step, allow)
  local out, seen = {}, {}
  for _, e in ipairs(states) do
    for i, op in ipairs(e.ops) do
      if op == step.op and e.numbers[i] == step.a and e.numbers[i + 1] == step.b and allow(e, i) then
        local after = reduce(e, i, step.result)
        local text = M.text(after)
        if not seen[text] then
          seen[text] = true
          out[#out + 1] = after
        end
      end
    end
  end
  return #out > 0 and out or nil
end

local function anywhere()
  return true
end

-- is there a place i where a number a, and n places on a number b, stand, and fits(expression, i)?
local function stand(states, a, b, n, fits)
  for _, e in ipairs(states) do
    for i = 1, #e.numbers - n do
      if e.numbers[i] == a and e.numbers[i + n] == b and fits(e, i) then
        return true
      end
    end
  end
  return false
end

-- why a step cannot be carried out in any of the states: type and message
local function misread(states, step)
  local written, left = ("%d%s%d"):format(step.a, step.op, step.b), M.text(states[1])
  local function same_op(e, i)
    return e.ops[i] == step.op
  end
  if stand(states, step.a, step.b, 1, anywhere) then
    return "operator", ("%s is not the operation between these numbers in %s"):format(written, left)
  elseif stand(states, step.b, step.a, 1, same_op) then
    return "swap", ("%s stands the other way round in %s"):format(written, left)
  elseif stand(states, step.a, step.b, 2, function(e, i) return same_op(e, i) or same_op(e, i + 1) end) then
    return "omission", ("%s leaves out what stands between in %s"):format(written, left)
  end
  return "operand", ("%s does not stand in %s"):format(written, left)
end

-- Carry out one step: returns the states after it, and the type of the mistake with a message, if there is one.
local function carry_out(states, step, modulus)
  local after = advance(states, step, is_ready)
  if not after then
    after = advance(states, step, anywhere)
    if after then
      return after, "order", ("%d%s%d is not ready in %s"):format(step.a, step.op, step.b, M.text(states[1]))
    end
    return nil, misread(states, step)
  end
  local right = M.apply(step.a, step.op, step.b, modulus)
  if step.result ~= right then
    return after, "value", ("%d%s%d is %d, not %d"):format(step.a, step.op, step.b, right, step.result)
  end
  return after
end

-- One step from the text at a position; nil if what stands there is none.
local function parse_step(text, at)
  local a, op, b, result = text:match("^(%d+)([%+%-%*])(%d+)=(%d+);", at)
  if not a then
    return nil
  end
  local step = {a = number(a), op = op, b = number(b), result = number(result), first = at}
  step.last = at + #a + #op + #b + #result + 1
  step.text = text:sub(at, step.last)
  return step.a and step.b and step.result and step
end

-- What stands where neither a step nor an answer does: a step that breaks off, or something that is no step at all.
local function broken(text, at)
  local rest = text:sub(at)
  local cut = rest == "" or rest == "#" or rest:find("^%d+$") or rest:find("^%d+[%+%-%*]%d*$")
    or rest:find("^%d+[%+%-%*]%d+=%d*$")
  if cut then
    return "unfinished", "the text ends before the answer"
  end
  return "format", ("%q is neither a step nor the answer"):format(rest)
end

local function judge_steps(problem, modulus, text, fail)
  local steps, states, at = {}, {problem}, 1
  while true do
    local step = parse_step(text, at)
    if not step then
      return steps, states, at
    end
    steps[#steps + 1] = step
    local mistake, message
    if states then
      states, mistake, message = carry_out(states, step, modulus)
    else
      -- after a step that cannot be carried out nothing is known of the state
      mistake, message = "lost", "an earlier step could not be carried out"
    end
    step.ok, step.type = not mistake, mistake
    if states then
      step.state = M.text(states[1])
      step.value = M.value(states[1], modulus)
    end
    if mistake then
      fail(#steps, mistake, message, step.first, step.last)
    end
    at = step.last + 1
  end
end

--- The verdict on a solution; see pofit.task.chain.
function M.verify(problem, modulus, right, text)
  local verdict = {correct = false, answer_correct = false}
  local function fail(step, kind, message, from, to)
    verdict.error = verdict.error or {step = step, type = kind, message = message, first = from, last = to}
  end
  local steps, states, at = judge_steps(problem, modulus, text, fail)
  verdict.steps = steps
  local mark, digits = text:match("()#(%d+)$")
  local answer = digits and number(digits)
  local last = #steps + 1
  if not answer or mark ~= at then
    local kind, message = broken(text, at)
    fail(last, kind, message, at, #text)
  elseif states and #states[1].ops > 0 then
    fail(last, "unfinished", ("%s is left to be worked out"):format(M.text(states[1])), at, #text)
  elseif states and states[1].numbers[1] ~= answer then
    fail(last, "answer", ("the steps come to %d, the answer says %d"):format(states[1].numbers[1], answer), at, #text)
  end
  verdict.answer = answer
  verdict.answer_correct = answer == right
  verdict.correct = not verdict.error
  return verdict
end

return M
