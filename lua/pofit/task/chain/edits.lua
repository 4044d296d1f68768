--- Typed wrong steps of CHAIN: what the script editor of pf.inject proposes, and the proof that a step is wrong.
local rules = require "pofit.task.chain.rules"

local M = {}

-- candidates a kind draws at random, where there are many
local DRAWS <const> = 12

local function write(a, op, b, modulus)
  return ("%d%s%d=%d;"):format(a, op, b, rules.apply(a, op, b, modulus))
end

-- the same operation with another result
local function value(_, step, task, g)
  local out = {}
  for i = 1, DRAWS do
    out[i] = ("%d%s%d=%d;"):format(step.a, step.op, step.b, g:int(0, task.modulus - 1))
  end
  return out
end

local function operator(_, step, task)
  local out = {}
  for _, op in ipairs{"+", "-", "*"} do
    out[#out + 1] = write(step.a, op, step.b, task.modulus)
  end
  return out
end

local function swap(_, step, task)
  return {write(step.b, step.op, step.a, task.modulus)}
end

-- another number in one place: one of the state's or an irrelevant one, which is wrong substitution, or any
local function operand(state, step, task, g)
  local pool, out = table.move(state.numbers, 1, #state.numbers, 1, {}), {}
  table.move(state.irrelevant, 1, #state.irrelevant, #pool + 1, pool)
  for _ = 1, DRAWS do
    local n = g:int(2) == 1 and g:pick(pool) or g:int(0, task.modulus - 1)
    local first = g:int(2) == 1
    out[#out + 1] = write(first and n or step.a, step.op, first and step.b or n, task.modulus)
  end
  return out
end

-- a op b of a?b?c where b is left out
local function omission(state, _, task)
  local out = {}
  for i = 1, #state.numbers - 2 do
    for k = i, i + 1 do
      out[#out + 1] = write(state.numbers[i], state.ops[k], state.numbers[i + 2], task.modulus)
    end
  end
  return out
end

-- any operation that stands there: the proof keeps those whose turn it is not
local function order(state, _, task)
  local out = {}
  for i, op in ipairs(state.ops) do
    out[i] = write(state.numbers[i], op, state.numbers[i + 1], task.modulus)
  end
  return out
end

M.types = {"value", "operator", "operand", "swap", "omission", "order"}
local makers = {
  value = value, operator = operator, operand = operand, swap = swap, omission = omission, order = order,
}

--- Candidates for a wrong step of one type, in no order and not yet proved.
---@param state {numbers: integer[], ops: string[], irrelevant: integer[]} before the step
---@param step {a: integer, op: string, b: integer} the right one
---@param task {modulus: integer}
---@param kind string
---@param g pofit.random.generator
---@return string[]
function M.candidates(state, step, task, kind, g)
  return makers[kind](state, step, task, g)
end

--- Is `text`, in the place of the right step after the steps of `before`, wrong? Returns its type; or nil and why not.
--- Wrong is what the verifier refuses and what changes the value: the result is put where the right one stood, and
--- the rest is worked out.
---@param task table
---@param problem table
---@param before string the right steps before it
---@param right string
---@param text string
---@return string? type
---@return string? why
function M.prove(task, problem, before, right, text)
  local steps = task:verify(problem, before .. right).steps
  local k, verdict = #steps, task:verify(problem, before .. text)
  local step, gold = verdict.steps[k], steps[k]
  if #verdict.steps ~= k or step.first ~= gold.first or step.text ~= text then
    return nil, "is not one step"
  elseif verdict.error.step ~= k or step.ok then
    return nil, "is right"
  end
  local put = step.state and step or task:verify(problem, ("%s%d%s%d=%d;"):format(before, gold.a, gold.op, gold.b,
    step.result)).steps[k]
  if put.value == problem.answer then
    return nil, "does not change the value"
  end
  return step.type
end

return M
