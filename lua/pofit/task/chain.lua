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
-- A problem may begin with operands that belong to nothing: problem = (number ",")* number (op number)+ "?". They are
-- never part of a step. One of them, the first, may be a cue: in the training split it tells, with a given probability,
-- which operation the canonical solution takes first, and elsewhere it does not (or tells a wrong one).
--
-- Problems are a pure function of seed, split and index. Which split a problem belongs to is decided by a hash of its
-- expression alone, so splits share no problem, whatever the seed, the options or the number drawn.
local random = require "pofit.random"
local rules = require "pofit.task.chain.rules"
local edits = require "pofit.task.chain.edits"
local splits = require "pofit.splits"

local M = {}

---@class pofit.task.chain
---@field modulus integer
---@field stop string a step ends with it
local chain = {stop = ";"}
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
  "modulus", "operands", "ops", "largest", "seed", "splits", "level", "irrelevant", "cue", "gaps",
}
local VOCABULARY <const> = "0123456789+-*=;#?,"

local function refuse(...)
  splits.refuse("chain", ...)
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
  local irrelevant = expression.irrelevant or {}
  return {
    text = (#irrelevant > 0 and table.concat(irrelevant, ",") .. "," or "") .. rules.text(expression) .. "?",
    numbers = expression.numbers,
    ops = expression.ops,
    irrelevant = irrelevant,
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
  local expression = {numbers = numbers, ops = ops}
  return rules.text(expression), expression
end

-- Is this entry of the tables one of the gaps? a + b and b + a are the same entry, and so with *: to have seen one
-- would tell the other.
local function is_gap(task, a, op, b)
  if op ~= "-" and a > b then
    a, b = b, a
  end
  return random.uniform(0, ("gap %d%s%d"):format(a, op, b), 0) < task.gaps
end

--- Does the canonical solution use an entry of the tables that the training split never shows?
---@param problem table
---@return boolean
function chain:in_gap(problem)
  for a, op, b in rules.solve(problem, self.modulus, rules.first):gmatch("(%d+)([%+%-%*])(%d+)=") do
    if is_gap(self, math.tointeger(a), op, math.tointeger(b)) then
      return true
    end
  end
  return false
end

-- The cue's number: k for the k-th of the task's operations. It names the operation that the canonical solution takes
-- first, with the split's probability, else one of the others.
local function cue(task, expression, split, g)
  local first = rules.first_op(expression)
  local agrees = g:uniform() < (task.cue[split] or 1 / #task.ops)
  local others, named = {}, 1
  for k, op in ipairs(task.ops) do
    if op == first then
      named = k
    else
      others[#others + 1] = k
    end
  end
  return agrees and named or g:pick(others)
end

-- what stands before the expression; from a stream of its own, so that the expressions stay as they are
local function surround(task, expression, split, index)
  local g = random.new(task.seed, ("chain:irrelevant:%s:%d"):format(split, index))
  local irrelevant = {}
  if task.cue then
    irrelevant[1] = cue(task, expression, split, g)
  end
  for _ = 1, task.irrelevant do
    irrelevant[#irrelevant + 1] = g:int(0, task.largest)
  end
  expression.irrelevant = irrelevant
  return describe(task, expression)
end

local function check(self)
  local least, most = self.operands[1], self.operands[2]
  if math.type(self.modulus) ~= "integer" or self.modulus < 2 or self.modulus > 1000000000 then
    refuse("modulus is an integer from 2 to 1000000000, not %s", tostring(self.modulus))
  elseif math.type(least) ~= "integer" or math.type(most) ~= "integer" or least < 2 or most < least then
    refuse("operands is {least, most} with 2 <= least <= most")
  elseif math.type(self.largest) ~= "integer" or self.largest < 1 or self.largest >= self.modulus then
    refuse("largest is an integer from 1 to modulus - 1 = %d, not %s", self.modulus - 1, tostring(self.largest))
  elseif #self.ops == 0 then
    refuse("ops names no operation")
  elseif math.type(self.irrelevant) ~= "integer" or self.irrelevant < 0 then
    refuse("irrelevant is a number of operands from 0, not %s", tostring(self.irrelevant))
  elseif type(self.gaps) ~= "number" or not (self.gaps >= 0 and self.gaps < 1) then
    refuse("gaps is a share from 0 to below 1, not %s", tostring(self.gaps))
  elseif self.cue and (#self.ops < 2 or self.modulus <= #self.ops) then
    refuse("a cue needs two operations and a modulus above their number")
  end
end

local function cue_of(value)
  if value == nil or value == false then
    return nil
  end
  local out = type(value) == "number" and {train = value} or value
  for split, p in pairs(type(out) == "table" and out or {[""] = false}) do
    if type(p) ~= "number" or p < 0 or p > 1 then
      refuse("cue is a probability, or a table of them by split; %q has %s", tostring(split), tostring(p))
    end
  end
  return out
end

--- A task.
---@param o? table modulus (100), operands ({least, most}, {2, 4}), ops ("+-*"), largest (9: the largest number of a
--- problem), seed (1), splits (names besides train, preference, heldout), level (a rung of M.ladder that sets modulus,
--- operands and largest), irrelevant (0: how many operands that belong to nothing), cue (none; the probability with
--- which the first of them names the first operation: a number for the training split, or a table by split, for
--- instance {train = 0.9, heldout = 0}; in a split that is not named it is chance), gaps (0: the share of the tables
--- entries "a op b" that the training split never uses: what a policy trained on it cannot have learned)
---@return pofit.task.chain
function M.new(o)
  o = o or {}
  splits.check("chain", o, KNOWN)
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
  self.irrelevant = o.irrelevant or 0
  self.cue = cue_of(o.cue)
  self.gaps = o.gaps or 0
  check(self)
  self.drawn = splits.new{
    name = "chain", seed = self.seed, extra = o.splits,
    draw = function(g) return draw(self, g) end,
    fits = function(expression, split) return split ~= "train" or self.gaps == 0 or not self:in_gap(expression) end,
    describe = function(expression, split, index) return surround(self, expression, split, index) end,
  }
  return self
end

--- The i-th problem of a split: {text, answer, level, operands, numbers, ops, irrelevant, modulus, split, index}.
---@param split string
---@param i integer from 1
---@return table problem
function chain:problem(split, i)
  return self.drawn:get(split, i)
end

--- Problems first to first + n - 1 of a split.
---@param split string
---@param n integer
---@param first? integer 1
---@return table[]
function chain:problems(split, n, first)
  return self.drawn:list(split, n, first)
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

--- Every right solution of a problem, each once: all orders of its operations that are right.
---@param problem table|string
---@return string[]
function chain:solutions(problem)
  return rules.solutions(given(self, problem), self.modulus)
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
---@return table verdict {correct, answer, answer_correct, steps, error}; error is nil or {step, type, message, first,
--- last} with a type of
---   value      the result of the operation is another
---   operator   the two numbers stand there, with another operation between them
---   swap       the operation stands there with its numbers the other way round
---   omission   the two numbers stand there, but a term between them is left out
---   operand    the operation does not stand there
---   order      it stands there, but taking it now changes the value
---   answer     the steps are right, the answer says something else
---   format, unfinished   what stands there is neither a step nor the answer; the text ends too early
--- A step after one that cannot be carried out has the type "lost".
function chain:verify(problem, text)
  problem = given(self, problem)
  return rules.verify(problem, self.modulus, problem.answer, text)
end

--- The steps of a solution, with the state after each; without a problem, the text has to begin with it.
---@param text string
---@param problem? table|string
---@return table[] steps as in the verdict of chain:verify; first and last count in the given text
function chain:steps(text, problem)
  return splits.steps("chain", self, text, problem, "?")
end

-- ---- wrong steps, for pf.inject ----

--- The types of mistakes that chain:edits makes.
---@return string[]
function chain:types() -- luacheck: ignore self
  return edits.types
end

--- Candidates for a wrong step of a type in the place of a right one; chain:prove says which are wrong indeed.
---@param problem table
---@param before string the right steps before it
---@param right string the right step
---@param kind string a type of chain:types()
---@param g pofit.random.generator
---@return string[]
function chain:edits(problem, before, right, kind, g)
  local steps = self:verify(problem, before .. right).steps
  local left = #steps > 1 and rules.expression(steps[#steps - 1].state .. "?", self.modulus) or problem
  local state = {numbers = left.numbers, ops = left.ops, irrelevant = problem.irrelevant}
  return edits.candidates(state, steps[#steps], self, kind, g)
end

--- The type of a wrong step in the place of a right one; nil and the reason if it is not wrong.
---@param problem table
---@param before string the right steps before it
---@param right string
---@param text string
---@return string? type
---@return string? why
function chain:prove(problem, before, right, text)
  return edits.prove(self, problem, before, right, text)
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
  local before = (self.irrelevant + (self.cue and 1 or 0)) * (number + 1)
  return before + most * (number + 1), (most - 1) * (3 * wide + 3) + 1 + wide
end

return M
