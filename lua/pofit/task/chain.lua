--- CHAIN: arithmetic on integers modulo M, written out step by step, with a generator and an exact verifier.
--
--   problem  = number (op number)+ "?"                            3+4*2-5?
--   solution = (number op number "=" number ";")+ "#" number      4*2=8;3+8=11;11-5=6;#6
--
-- A step takes one operation of the expression that is left, writes it down with its result modulo M, and the result
-- stands in its place. An operation is ready when taking it leaves the value of the expression as it is, whatever the
-- numbers: `*` always, `+` unless a `*` is next to it or a `-` is before it, `-` unless a `*` is next to it or another
-- `-` is before it. So several orders are right, and no step that is accepted can change the value.
--
-- Problems are a pure function of seed, split and index. Which split a problem belongs to is decided by a hash of its
-- text alone, so splits share no problem, whatever the seed, the options or the number drawn.
local random = require "pofit.random"
local rules = require "pofit.task.chain.rules"

local M = {}

---@class pofit.task.chain
---@field modulus integer
local chain = {}
chain.__index = chain

--- The difficulty ladder. A problem's level is the lowest rung that holds it.
M.ladder = {
  {operands = {2, 2}, modulus = 10, largest = 9},
  {operands = {2, 2}, modulus = 100, largest = 9},
  {operands = {2, 3}, modulus = 100, largest = 9},
  {operands = {2, 4}, modulus = 100, largest = 9},
  {operands = {2, 6}, modulus = 100, largest = 9},
  {operands = {2, 4}, modulus = 100, largest = 99},
  {operands = {2, 6}, modulus = 100, largest = 99},
  {operands = {2, 8}, modulus = 1000, largest = 999},
}

local DEFAULT <const> = {operands = {2, 4}, modulus = 100, largest = 9}
local KNOWN <const> = {
  modulus = true, operands = true, ops = true, largest = true, seed = true, splits = true, level = true,
}
local VOCABULARY <const> = "0123456789+-*=;#?"

-- shares of the hash's range; what they leave is shared by the splits that the caller adds
local SHARES <const> = {{"train", 0.5}, {"preference", 0.2}, {"heldout", 0.2}}
-- a draw may repeat a problem or fall into another split; so many misses in a row mean that there are no more
local MISSES <const> = 20000

-- raise with the position in the caller's file, however deep in this one the mistake is found
local function refuse(...)
  local here, level = debug.getinfo(1, "S").source, 2
  while debug.getinfo(level + 1, "S") and debug.getinfo(level, "S").source == here do
    level = level + 1
  end
  error("task.chain: " .. string.format(...), level)
end

local function regions(extra)
  local out, low = {}, 0
  for _, share in ipairs(SHARES) do
    out[#out + 1] = {name = share[1], low = low, high = low + share[2]}
    low = low + share[2]
  end
  local each = (1 - low) / math.max(1, #extra)
  for i, name in ipairs(extra) do
    out[#out + 1] = {name = name, low = low + (i - 1) * each, high = low + i * each}
  end
  return out
end

--- A task.
---@param o? table modulus (100), operands ({least, most}, {2, 4}), ops ("+-*"), largest (9: the largest number of a
--- problem), seed (1), splits (names besides train, preference, heldout), level (a rung of M.ladder that sets modulus,
--- operands and largest)
---@return pofit.task.chain
function M.new(o)
  o = o or {}
  for name in pairs(o) do
    if not KNOWN[name] then
      refuse("unknown option %s; there are modulus, operands, ops, largest, seed, splits, level", tostring(name))
    end
  end
  local rung = o.level and M.ladder[o.level] or DEFAULT
  if o.level and not M.ladder[o.level] then
    refuse("level is one of 1 to %d, not %s", #M.ladder, tostring(o.level))
  end
  local self = setmetatable({}, chain)
  self.modulus = o.modulus or rung.modulus
  self.operands = o.operands or rung.operands
  self.largest = o.largest or math.min(rung.largest, self.modulus - 1)
  self.ops = {}
  for op in (o.ops or "+-*"):gmatch(".") do
    self.ops[#self.ops + 1] = op:find("[%+%-%*]") and op or refuse("ops are of + - *, not %q", op)
  end
  self.seed = o.seed or 1
  self.regions = regions(o.splits or {})
  self.made = {}
  local least, most = self.operands[1], self.operands[2]
  if math.type(self.modulus) ~= "integer" or self.modulus < 2 or self.modulus > 1000000000 then
    refuse("modulus is an integer from 2 to 1000000000, not %s", tostring(self.modulus))
  elseif math.type(least) ~= "integer" or math.type(most) ~= "integer" or least < 2 or most < least then
    refuse("operands is {least, most} with 2 <= least <= most")
  elseif math.type(self.largest) ~= "integer" or self.largest < 1 or self.largest >= self.modulus then
    refuse("largest is an integer from 1 to modulus - 1 = %d, not %s", self.modulus - 1, tostring(self.largest))
  elseif #self.ops == 0 then
    refuse("ops names no operation")
  elseif math.type(self.seed) ~= "integer" then
    refuse("seed is an integer, not %s", tostring(self.seed))
  end
  return self
end

-- ---- problems ----

local function level(task, numbers)
  local largest = 0
  for _, number in ipairs(numbers) do
    largest = math.max(largest, number)
  end
  for i, rung in ipairs(M.ladder) do
    if #numbers <= rung.operands[2] and task.modulus <= rung.modulus and largest <= rung.largest then
      return i
    end
  end
  return #M.ladder + 1
end

local function describe(task, expression)
  return {
    text = rules.text(expression) .. "?",
    numbers = expression.numbers,
    ops = expression.ops,
    operands = #expression.numbers,
    modulus = task.modulus,
    answer = rules.value(expression, task.modulus),
    level = level(task, expression.numbers),
  }
end

local function draw(task, g)
  local numbers, ops = {}, {}
  for i = 1, g:int(task.operands[1], task.operands[2]) do
    numbers[i] = g:int(0, task.largest)
    ops[i - 1] = i > 1 and g:pick(task.ops) or nil
  end
  return {numbers = numbers, ops = ops}
end

local function region(task, split)
  local names = {}
  for i, r in ipairs(task.regions) do
    if r.name == split then
      return r
    end
    names[i] = r.name
  end
  refuse("no split %q; there are %s, and splits = {...} adds more", tostring(split), table.concat(names, ", "))
end

--- The i-th problem of a split: {text, answer, level, operands, numbers, ops, modulus, split, index}.
---@param split string
---@param i integer from 1
---@return table problem
function chain:problem(split, i)
  local r = region(self, split)
  local made = self.made[split]
  if not made then
    made = {seen = {}, generator = random.new(self.seed, "chain:" .. split)}
    self.made[split] = made
  end
  local misses = 0
  while #made < i do
    local expression = draw(self, made.generator)
    local text = rules.text(expression)
    local place = random.uniform(0, text, 0)
    if place >= r.low and place < r.high and not made.seen[text] then
      local problem = describe(self, expression)
      made.seen[text], misses = true, 0
      made[#made + 1] = problem
      problem.split, problem.index = split, #made
    else
      misses = misses + 1
      if misses > MISSES then
        refuse("split %s has only about %d different problems at this difficulty; %d were asked for", split, #made, i)
      end
    end
  end
  return made[i]
end

--- Problems first to first + n - 1 of a split.
---@param split string
---@param n integer
---@param first? integer 1
---@return table[]
function chain:problems(split, n, first)
  local out = {}
  for i = 1, n do
    out[i] = self:problem(split, (first or 1) + i - 1)
  end
  return out
end

--- Read a problem from its text; nil and the reason if it is none.
---@param text string
---@return table? problem
---@return string? why
function chain:read(text)
  local expression, why = rules.expression(text, self.modulus)
  if not expression then
    return nil, why
  end
  return describe(self, expression)
end

local function given(task, problem)
  if type(problem) ~= "string" then
    return problem
  end
  local made, why = task:read(problem)
  return made or refuse("%s", why)
end

--- A right solution: every `*` first, then from the left ("canonical"), or any ready operation at each step ("random").
---@param problem table|string
---@param o? table {order = "canonical", seed = 1}
---@return string
function chain:solution(problem, o)
  problem = given(self, problem)
  local order = o and o.order or "canonical"
  if order ~= "canonical" and order ~= "random" then
    refuse('order is "canonical" or "random", not %q', tostring(order))
  end
  local g = order == "random" and random.new(o.seed or self.seed, "solution:" .. problem.text)
  return rules.solve(problem, self.modulus, function(ready)
    return g and g:pick(ready) or ready[1]
  end)
end

--- Rows for supervised training: {prompt, completion, problem}.
---@param split string
---@param n integer
---@param o? table first (1) and the options of chain:solution
---@return table[]
function chain:rows(split, n, o)
  local out = self:problems(split, n, o and o.first)
  for i, problem in ipairs(out) do
    out[i] = {prompt = problem.text, completion = self:solution(problem, o), problem = problem}
  end
  return out
end

-- ---- judging ----

--- Judge a solution. Every step is carried out again on the expression that is left.
---@param problem table|string
---@param text string
---@return table verdict {correct, answer, answer_correct, steps, error}; error is nil or
--- {step, type = "value"|"operand"|"operator"|"order"|"format"|"answer"|"unfinished", message, first, last}
function chain:verify(problem, text)
  problem = given(self, problem)
  return rules.verify(problem, self.modulus, problem.answer, text)
end

--- The steps of a solution, with the state after each; without a problem, the text has to begin with it.
---@param text string
---@param problem? table|string
---@return table[] steps as in the verdict of chain:verify; first and last count in the given text
function chain:steps(text, problem)
  local skip = 0
  if not problem then
    skip = text:find("?", 1, true) or refuse("the text holds no problem that ends with ?: %s", text)
    problem = text:sub(1, skip)
  end
  local steps = self:verify(problem, text:sub(skip + 1)).steps
  for _, step in ipairs(steps) do
    step.first, step.last = step.first + skip, step.last + skip
  end
  return steps
end

--- The characters that problems and solutions are written with, the same on every rung.
---@return string[]
function chain:vocabulary() -- luacheck: ignore self
  local out = {}
  for c in VOCABULARY:gmatch(".") do
    out[#out + 1] = c
  end
  return out
end

--- Characters of the longest problem and of the longest right solution.
---@return integer problem
---@return integer solution
function chain:longest()
  local most, wide, number = self.operands[2], #tostring(self.modulus - 1), #tostring(self.largest)
  return most * (number + 1), (most - 1) * (3 * wide + 3) + 1 + wide
end

return M
