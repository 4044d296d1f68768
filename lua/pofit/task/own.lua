--- Questions and answers of the reader's own, judged by a verifier of the reader's own.
--
--   local task = pf.task.own{verifier = "my_verifier.lua"}
--
-- The verifier is a Lua file that returns function(problem, text) -> verdict, or a table with verify(problem, text)
-- and, where the steps of an answer are not its lines, steps(text, problem) -> {{first=, last= (bytes), text=, ok=},
-- ...}. problem = {text = the question, answer = as the row has it, row =}. A verdict is true, false, or {correct=,
-- answer=} (what the answer comes to, for votes). Without a verifier an answer is right if it comes to the same: what
-- follows its last "####", else its last "#", else its last line that is not empty; numbers are compared as numbers.
--
-- Wrong steps, for pf.inject, are the verifier's (types, edits and prove, as tasks have them); else they are put into
-- annotations <<expression=result>> of an answer's lines, where the answer is a number.
local core = require "pofit.core"
local sys = require "pofit.sys"
local row_of = require "pofit.data.row"
local annotated = require "pofit.task.gsm8k".annotated

local M = {}

---@class pofit.task.own
local own = {}
own.__index = own

local function number_of(text)
  return tonumber((text:gsub("[,$%%]", ""):gsub("%.$", "")))
end

-- what an answer comes to
local function outcome(text)
  local last = text:match(".*####(.*)") or text:match(".*#(.*)")
  if not last then
    for line in text:gmatch("[^\n]+") do
      if line:find("%S") then last = line end
    end
  end
  last = (last or ""):match("^%s*(.-)%s*$")
  local number = number_of(last)
  if number then return ("%.17g"):format(number) end
  return last ~= "" and last or nil
end

local function compare(problem, text)
  local got = outcome(text)
  return { correct = got ~= nil and got == outcome(tostring(problem.answer)), answer = got }
end

local function load_verifier(path)
  local text = sys.read(path)
  local chunk, why = load(text, "@" .. path, "t")
  if not chunk then core.refuse(why) end
  local made = chunk()
  local kind = type(made) == "table" and type(made.verify) == "function" or type(made) == "function"
  if not kind then
    core.refuse(("%s: expected a function(problem, text) or a table with verify, it returns a %s"):format(path,
      type(made)))
  end
  return type(made) == "function" and { verify = made } or made, ("own %016x"):format(sys.hash(text))
end

--- A task.
---@param o? table verifier (path of a Lua file, or what such a file returns)
---@return pofit.task.own
function M.new(o)
  local self = setmetatable({ id = "own, by comparison" }, own)
  local verifier = o and o.verifier
  if type(verifier) == "string" and verifier ~= "" then
    self.by, self.id = load_verifier(verifier)
  elseif type(verifier) == "function" or type(verifier) == "table" then
    self.by, self.id = type(verifier) == "table" and verifier or { verify = verifier }, nil
  else
    self.by = { verify = compare }
  end
  return self
end

--- Problems from rows {question=, answer=}; prompt and completion are read as other names of these. A row's solution
--- (a worked answer), or else its answer, is what supervised training imitates.
---@param rows table[]|function a list, or pf.data.jsonl(path)
---@return table[] problems {text=, answer=, solution=, row=, index=}
function M.problems(rows)
  local list = {}
  local function add(row, where)
    local question, answer = row.question or row.prompt, row.answer
    if answer == nil then answer = row.completion end
    for _, f in ipairs { { "question", question }, { "answer", answer } } do
      if type(f[2]) ~= "string" and not (f[1] == "answer" and type(f[2]) == "number") or f[2] == "" then
        local found = f[2] == nil and "missing" or f[2] == "" and "empty" or "a " .. type(f[2])
        row_of.fail(where, ("%s: field %q is %s, expected a text"):format(where, f[1], found))
      end
    end
    list[#list + 1] = { text = question, answer = answer, solution = row.solution or tostring(answer), row = row,
      index = #list + 1 }
  end
  if type(rows) == "function" then
    for row, line, path in rows do add(row, ("%s:%d"):format(path, line)) end
  else
    for i, row in ipairs(rows) do add(row, "row " .. i) end
  end
  return list
end

--- Judge an answer.
---@return table verdict {correct=, answer=, ...}
function own:verify(problem, text)
  local verdict = self.by.verify(problem, text)
  if type(verdict) == "boolean" then return { correct = verdict, answer = outcome(text) } end
  if type(verdict) ~= "table" or type(verdict.correct) ~= "boolean" then
    core.refuse(("the verifier returned a %s; expected true, false or {correct = true or false, answer =}"):format(
      type(verdict)))
  end
  return verdict
end

--- The steps of an answer: the verifier's, else its lines, each with its line feed.
---@return table[] steps {first=, last= (bytes), text=}
function own:steps(text, problem)
  if self.by.steps then return self.by.steps(text, problem) end
  local steps, at = {}, 1
  for line in text:gmatch("[^\n]*\n") do
    steps[#steps + 1] = { first = at, last = at + #line - 1, text = line }
    at = at + #line
  end
  return steps
end

-- ---- wrong steps, for pf.inject ----

--- The types of mistakes that own:edits makes.
---@return string[]
function own:types() return self.by.types and self.by.types() or annotated:types() end

--- Candidates for a wrong step of a type in the place of a right one.
function own:edits(problem, before, right, kind, g)
  if self.by.edits then return self.by.edits(problem, before, right, kind, g) end
  return number_of(outcome(tostring(problem.answer)) or "") and annotated:edits(problem, before, right, kind, g) or {}
end

--- The type of a wrong step in the place of a right one; nil and the reason if it is not wrong.
function own:prove(problem, before, right, text, after)
  if self.by.prove then return self.by.prove(problem, before, right, text, after) end
  local number = number_of(outcome(tostring(problem.answer)) or "")
  if not number then return nil, "cannot be proved: the answer is no number" end
  return annotated:prove({ text = problem.text, answer = number }, before, right, text, after)
end

--- A worked answer to imitate.
---@return string
function own:solution(problem) -- luacheck: ignore self
  return problem.solution
end

return M
