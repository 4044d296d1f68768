--- GSM8K: word problems with worked solutions (Cobbe et al. 2021, arXiv 2110.14168), from a file of the reader's own.
---
---   solution = (line "\n")+ "#### " number        He sold 48/2 = <<48/2=24>>24 clips.\n#### 24
--
-- A step is a line. Its annotation <<expression=result>> is worked out again, and the number behind it has to be the
-- result. A line without annotation has nothing that could be checked. Whether the expression is the one that the
-- question asks for, the verifier cannot know; the final answer it can.
--
-- Splits: rows that the file marks as "test" are heldout; the others are train or preference by a hash of the question.
-- In a file without marks that hash makes all three.
local arithmetic = require "pofit.task.gsm8k.arithmetic"
local edits = require "pofit.task.gsm8k.edits"
local random = require "pofit.random"
local splits = require "pofit.splits"

local M = {}

---@class pofit.task.gsm8k
---@field stop string a step ends with it
local gsm8k = {stop = "\n"}
gsm8k.__index = gsm8k

--- The rules alone, for rows that are written like these and come from elsewhere (pofit.task.own).
M.annotated = gsm8k

local MARK <const> = "#### "

local function refuse(...)
  splits.refuse("gsm8k", ...)
end

local function text_of(row, where, ...)
  for _, name in ipairs{...} do
    if type(row[name]) == "string" then
      return row[name]
    end
  end
  refuse("%s has no text %q", where, (...))
end

local function split_of(row, marked)
  if row.split == "test" then
    return "heldout"
  end
  local u = random.uniform(0, row.text, 0)
  if marked then
    return u < 0.75 and "train" or "preference"
  end
  return u < 0.6 and "train" or u < 0.8 and "preference" or "heldout"
end

local function load_rows(self, rows)
  local list, marked = {}, false
  for row, line, path in rows do
    local where = ("%s:%d"):format(path, line)
    local problem = {text = text_of(row, where, "question", "prompt"), split = row.split}
    problem.gold = text_of(row, where, "answer", "completion")
    local digits = problem.gold:match("#### *(%S+)%s*$")
    problem.answer = digits and arithmetic.number(digits)
      or refuse("%s: the answer does not end with #### and a number", where)
    marked = marked or row.split == "test"
    list[#list + 1] = problem
  end
  local seen = {}
  for _, problem in ipairs(list) do
    if not seen[problem.text] then
      seen[problem.text] = true
      problem.split = split_of(problem, marked)
      local split = self.splits[problem.split]
      split[#split + 1], problem.index = problem, #split + 1
    end
  end
end

--- A task from JSON lines with question and answer (or prompt and completion), and perhaps split.
---@param o {path: string} the file, .jsonl or .jsonl.zst
---@return pofit.task.gsm8k
function M.new(o)
  o = o or {}
  splits.check("gsm8k", o, {"path"})
  if type(o.path) ~= "string" then
    refuse("expected path =, a file of JSON lines with question and answer")
  end
  local self = setmetatable({splits = {train = {}, preference = {}, heldout = {}}}, gsm8k)
  load_rows(self, require "pofit.data".jsonl(o.path))
  return self
end

--- The i-th problem of a split, in the file's order: {text, answer (a number), gold (the solution of the file), split,
--- index}.
---@param split string
---@param i integer from 1
---@return table problem
function gsm8k:problem(split, i)
  local list = self.splits[split] or refuse("no split %q; there are train, preference, heldout", tostring(split))
  return list[i] or refuse("split %s has %d problems; number %s was asked for", split, #list, tostring(i))
end

--- Problems first to first + n - 1 of a split; n = math.huge: all there are.
---@param split string
---@param n integer
---@param first? integer 1
---@return table[]
function gsm8k:problems(split, n, first)
  local out = {}
  if n == math.huge and self.splits[split] then
    n = #self.splits[split] - (first or 1) + 1
  end
  for i = 1, n do
    out[i] = self:problem(split, (first or 1) + i - 1)
  end
  return out
end

--- The file's solution.
---@param problem table
---@return string
function gsm8k:solution(problem) -- luacheck: ignore self
  return problem.gold
end

--- Rows for supervised training: {prompt, completion, problem}.
---@param split string
---@param n integer
---@param o? table first (1)
---@return table[]
function gsm8k:rows(split, n, o)
  local out = self:problems(split, n, o and o.first)
  for i, problem in ipairs(out) do
    out[i] = {prompt = problem.text, completion = problem.gold, problem = problem}
  end
  return out
end

-- ---- judging ----

-- One annotation and what stands behind it: the type of the mistake with a message, if there is one; else its value.
local function check(step, inside, behind)
  local expression, written = inside:match("^([^=]*)=([^=]*)$")
  local tokens, why
  if expression then
    tokens, why = arithmetic.tokens((expression:gsub("%s", "")))
  end
  local value = tokens and arithmetic.value(tokens)
  written = written and written:gsub("%s", "")
  if not value or not arithmetic.number(written) then
    return "format", ("<<%s>> cannot be worked out%s"):format(inside, why and ": " .. why or "")
  end
  step.expression, step.written, step.value = tokens, written, arithmetic.number(written)
  if not arithmetic.agrees(value, written) then
    return "value", ("%s is %.12g, not %s"):format(expression, value, written)
  end
  local shown = behind:match("^%-?%.?%d[%d,%.]*") or ""
  shown = shown:gsub("[,%.]+$", "")
  if shown ~= "" and arithmetic.number(shown) ~= step.value then
    return "copy", ("<<%s>> is followed by %s"):format(inside, shown)
  end
end

local function judge_line(text, first, last)
  local step = {first = first, last = last, text = text:sub(first, last), ok = true}
  local from = 1
  while true do
    local a, b, inside = step.text:find("<<(.-)>>", from)
    if not a then
      break
    end
    local kind, message = check(step, inside, step.text:sub(b + 1))
    if kind then
      step.ok, step.type, step.message = false, kind, message
      break
    end
    step.checked, from = true, b + 1
  end
  step.state = step.value and ("%.12g"):format(step.value) or nil
  return step
end

--- Judge a solution. Every annotation is worked out again.
---@param problem table
---@param text string
---@return table verdict {correct, answer, answer_correct, steps, error}; error is nil or {step, type, message, first,
--- last} with a type of
---   value       an annotation comes to something else
---   copy        behind an annotation stands another number than its result
---   format      an annotation cannot be worked out, or the answer is no number
---   answer      the final answer is not the right one
---   unfinished  there is no final answer
--- A step is {text, first, last, ok, type, value, state (its result as text), expression (tokens), written, checked}.
function gsm8k:verify(problem, text) -- luacheck: ignore self
  local verdict = {correct = false, answer_correct = false, steps = {}}
  local function fail(step, kind, message, from, to)
    verdict.error = verdict.error or {step = step, type = kind, message = message, first = from, last = to}
  end
  local at = 1
  while at <= #text and text:sub(at, at + #MARK - 1) ~= MARK do
    local last = text:find("\n", at, true) or #text
    local step = judge_line(text, at, last)
    verdict.steps[#verdict.steps + 1] = step
    if not step.ok then
      fail(#verdict.steps, step.type, step.message, at, last)
    end
    at = last + 1
  end
  local count, digits = #verdict.steps + 1, text:match("^#### *(%S+)%s*$", at)
  verdict.answer = digits and arithmetic.number(digits)
  verdict.answer_correct = verdict.answer == problem.answer
  if at > #text then
    fail(count, "unfinished", "the text ends before the answer", #text + 1, #text)
  elseif not verdict.answer then
    fail(count, "format", ("%q is not the answer"):format(text:sub(at)), at, #text)
  elseif not verdict.answer_correct then
    fail(count, "answer", ("the answer is %.12g, not %s"):format(problem.answer, digits), at, #text)
  end
  verdict.correct = not verdict.error
  return verdict
end

--- The steps of a solution, as in the verdict of gsm8k:verify.
---@param text string
---@param problem? table
---@return table[]
function gsm8k:steps(text, problem)
  return self:verify(problem or refuse("steps needs the problem"), text).steps
end

-- ---- wrong steps, for pf.inject ----

--- The types of mistakes that gsm8k:edits makes.
---@return string[]
function gsm8k:types() -- luacheck: ignore self
  return edits.types
end

--- Candidates for a wrong step of a type in the place of a right one.
function gsm8k:edits(problem, before, right, kind, g)
  return edits.candidates(self, problem, before, right, kind, g)
end

--- The type of a wrong step in the place of a right one; nil and the reason if it is not wrong.
function gsm8k:prove(problem, before, right, text, after)
  return edits.prove(self, problem, before, right, text, after)
end

return M
