--- BANDIT: one action of many, with a known reward: the didactic problem of Tajwar et al. 2024 (arXiv 2404.14367).
---
---   problem  = digit+ "?"         0417?     a context; the reward does not depend on it
---   solution = digit digit        70        the action, from 00 to 99
--
-- The reward of action a is exp(-((a - peak) / width)^2). What the data hold is another matter: the behaviour policy is
-- the histogram of tanh(Cauchy(-0.7, 0.4)) over the actions: half of it lies below action 20, around which it is
-- dense, and the ends hold what the tails hold. With the peak at 70 the reward lies where few data are, with the peak
-- at 20 they coincide.
--
-- An answer is right if its reward is at least `target`. All of it is there as closed forms, too, for policies without
-- a network: task.rewards and task.behaviour are lists over the actions, from action 0 on.
local random = require "pofit.random"
local splits = require "pofit.splits"

local M = {}

---@class pofit.task.bandit
---@field actions integer
---@field rewards number[] reward of action 0, 1, ...
---@field behaviour number[] probability of action 0, 1, ... under the behaviour policy
local bandit = {}
bandit.__index = bandit

local ACTIONS <const> = 100
local LOCATION <const>, SCALE <const> = -0.7, 0.4
local KNOWN <const> = {"peak", "width", "target", "context", "seed", "splits"}

local function refuse(...)
  splits.refuse("bandit", ...)
end

-- P(tanh(X) <= y), X ~ Cauchy(LOCATION, SCALE)
local function below(y)
  if y <= -1 then
    return 0.0
  elseif y >= 1 then
    return 1.0
  end
  local x = 0.5 * math.log((1 + y) / (1 - y))
  return 0.5 + math.atan((x - LOCATION) / SCALE) / math.pi
end

local function draw(task, g)
  local digits = {}
  for i = 1, task.context do
    digits[i] = g:int(0, 9)
  end
  local text = table.concat(digits) .. "?"
  return text, {text = text, answer = task.peak}
end

local function positive(name, value, most)
  if type(value) ~= "number" or not (value > 0 and value <= most) then
    refuse("%s is a number above 0%s, not %s", name, most < math.huge and " and at most " .. most or "",
      tostring(value))
  end
  return value
end

--- A task.
---@param o? table peak (70: the action of reward 1), width (10), target (0.9: the least reward that counts as right),
--- context (4: digits of a problem), seed (1), splits (names besides train, preference, heldout)
---@return pofit.task.bandit
function M.new(o)
  o = o or {}
  splits.check("bandit", o, KNOWN)
  local self = setmetatable({actions = ACTIONS, peak = o.peak or 70, context = o.context or 4}, bandit)
  if math.type(self.peak) ~= "integer" or self.peak < 0 or self.peak >= ACTIONS then
    refuse("peak is an action from 0 to %d, not %s", ACTIONS - 1, tostring(self.peak))
  elseif math.type(self.context) ~= "integer" or self.context < 1 or self.context > 9 then
    refuse("context is a number of digits from 1 to 9, not %s", tostring(self.context))
  end
  self.width = positive("width", o.width or 10, math.huge)
  self.target = positive("target", o.target or 0.9, 1)
  self.rewards, self.behaviour = {}, {}
  for a = 0, ACTIONS - 1 do
    self.rewards[a + 1] = math.exp(-((a - self.peak) / self.width) ^ 2)
    self.behaviour[a + 1] = below(2 * (a + 1) / ACTIONS - 1) - below(2 * a / ACTIONS - 1)
  end
  self.drawn = splits.new{
    name = "bandit", seed = o.seed or 1, extra = o.splits,
    draw = function(g) return draw(self, g) end,
    describe = function(problem) return problem end,
  }
  return self
end

--- The i-th problem of a split: {text, answer (the best action), split, index}.
---@param split string
---@param i integer from 1
---@return table problem
function bandit:problem(split, i)
  return self.drawn:get(split, i)
end

--- Problems first to first + n - 1 of a split.
---@param split string
---@param n integer
---@param first? integer 1
---@return table[]
function bandit:problems(split, n, first)
  return self.drawn:list(split, n, first)
end

--- Read a problem from its text; nil and the reason if it is none.
---@param text string
---@return table? problem
---@return string? why
function bandit:read(text)
  if not text:find("^%d+%?$") or #text ~= self.context + 1 then
    return nil, ("not a problem: %q is not %d digits and ?"):format(text, self.context)
  end
  return {text = text, answer = self.peak}
end

local function write(action)
  return ("%02d"):format(action)
end

--- The best action.
---@param _problem table|string
---@return string
function bandit:solution(_problem)
  return write(self.peak)
end

--- Every right answer.
---@param _problem table|string
---@return string[]
function bandit:solutions(_problem)
  local out = {}
  for a = 0, ACTIONS - 1 do
    out[#out + 1] = self.rewards[a + 1] >= self.target and write(a) or nil
  end
  return out
end

--- An action of the behaviour policy: a pure function of the task's seed, the problem and k.
---@param problem table|string
---@param k? integer 1: the k-th draw
---@return string
function bandit:act(problem, k)
  local u = random.uniform(self.drawn.seed, "behaviour:" .. (problem.text or problem), k or 1)
  local sum = 0.0
  for a = 0, ACTIONS - 1 do
    sum = sum + self.behaviour[a + 1]
    if u < sum then
      return write(a)
    end
  end
  return write(ACTIONS - 1)
end

--- Rows for supervised training: {prompt, completion, problem}, with the behaviour policy's actions.
---@param split string
---@param n integer
---@param o? table first (1)
---@return table[]
function bandit:rows(split, n, o)
  local out = self:problems(split, n, o and o.first)
  for i, problem in ipairs(out) do
    out[i] = {prompt = problem.text, completion = self:act(problem), problem = problem}
  end
  return out
end

-- ---- judging ----

--- Judge an answer: its one step is the action, and the reward is computed again from it.
---@param problem table|string
---@param text string
---@return table verdict {correct, reward (0 if there is no action), answer, answer_correct, steps, error}; error is nil
--- or {step, type, message, first, last} with a type of
---   below, above         the reward is under the target, and the action below or above the peak
---   format, unfinished   it is no action of two digits; it ends before the second
function bandit:verify(problem, text)
  if type(problem) == "string" then
    local _ = self:read(problem) or refuse("%s", select(2, self:read(problem)))
  end
  local verdict = {correct = false, answer_correct = false, reward = 0.0, steps = {}}
  local action = text:find("^%d%d$") and math.tointeger(tonumber(text))
  if not action then
    local cut = text == "" or text:find("^%d$")
    verdict.error = {step = 1, type = cut and "unfinished" or "format", first = 1, last = #text,
      message = cut and "the text ends before the action" or ("%q is not an action of two digits"):format(text)}
    return verdict
  end
  verdict.answer, verdict.reward = action, self.rewards[action + 1]
  local right = verdict.reward >= self.target
  local kind = not right and (action < self.peak and "below" or "above") or nil
  verdict.correct, verdict.answer_correct = right, right
  verdict.steps[1] = {first = 1, last = 2, text = text, ok = right, type = kind, state = text, value = verdict.reward}
  if kind then
    verdict.error = {step = 1, type = kind, first = 1, last = 2,
      message = ("action %d has the reward %.3g, right is %g"):format(action, verdict.reward, self.target)}
  end
  return verdict
end

--- The step of an answer, if it has one; without a problem, the text has to begin with it.
---@param text string
---@param problem? table|string
---@return table[] steps as in the verdict of bandit:verify; first and last count in the given text
function bandit:steps(text, problem)
  return splits.steps("bandit", self, text, problem, "?")
end

-- ---- wrong steps, for pf.inject ----

--- The types of mistakes that bandit:edits makes.
---@return string[]
function bandit:types() -- luacheck: ignore self
  return {"below", "above"}
end

--- Candidates for a wrong step: every action, in random order; bandit:prove says which are of the type.
function bandit:edits(_, _, _, _, g) -- luacheck: ignore self
  local out = {}
  for a = 0, ACTIONS - 1 do
    out[a + 1] = write(a)
  end
  return g:shuffle(out)
end

--- The type of a wrong action; nil and the reason if it is not wrong.
function bandit:prove(problem, _, _, text)
  local step = self:verify(problem, text).steps[1]
  if not step then
    return nil, "is not one step"
  end
  return step.type, step.ok and "is right" or nil
end

--- The characters that problems and answers are written with.
---@return string[]
function bandit:vocabulary() -- luacheck: ignore self
  local out = {"?"}
  for digit = 0, 9 do
    out[#out + 1] = tostring(digit)
  end
  return out
end

--- Characters of a problem and of an answer.
---@return integer problem
---@return integer solution
function bandit:longest()
  return self.context + 1, 2
end

return M
