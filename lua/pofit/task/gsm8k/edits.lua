--- Typed wrong steps of GSM8K: what the script editor of pf.inject proposes, and the proof that a step is wrong.
--
-- A step is changed in its annotation, in the number behind it and, where the expression is written out before it
-- ("48/2 = <<48/2=24>>24"), there too: one cause, carried through the line.
local arithmetic = require "pofit.task.gsm8k.arithmetic"

local M = {types = {"value", "operator", "operand", "swap", "omission"}}

local DRAWS <const> = 12

-- the step's one annotation: {head (text before), tokens, written, tail (text behind the number)}; nil if there is none
local function parts(text)
  local head, inside, tail = text:match("^(.-)<<(.-)>>(.*)$")
  if not head or tail:find("<<", 1, true) then
    return nil
  end
  local expression, written = inside:gsub("%s", ""):match("^([^=]*)=([^=]*)$")
  local tokens = expression and arithmetic.tokens(expression)
  if not tokens or not arithmetic.number(written) then
    return nil
  end
  local shown = (tail:match("^%-?%.?%d[%d,%.]*") or ""):gsub("[,%.]+$", "")
  return {head = head, tokens = tokens, written = written, shown = shown, tail = tail:sub(#shown + 1)}
end

-- The expression as it stands in the text before the annotation: list of {from, to} for its tokens, or nil.
local function in_words(head, tokens)
  local start = 1
  while true do
    local from = head:find(tokens[1], start, true)
    if not from then
      return nil
    end
    local places, at = {}, from
    for i, token in ipairs(tokens) do
      at = head:match("^[%s%$]*()", at)
      local there = head:sub(at, at + #token - 1)
      if there ~= token and not (token == "*" and there == "x") then
        break
      end
      places[i] = {at, at + #token - 1}
      at = at + #token
    end
    local whole = not head:sub(from - 1, from - 1):find("[%d%.,]") and not head:sub(at, at):find("%d")
    if #places == #tokens and whole then
      return places
    end
    start = from + 1
  end
end

-- the line with tokens in the place of its own (same number of them, or fewer: then the words are replaced as a whole)
local function write(p, tokens, written)
  local head, places = p.head, in_words(p.head, p.tokens)
  if places and #tokens == #p.tokens then
    for i = #tokens, 1, -1 do
      if tokens[i] ~= p.tokens[i] then
        head = head:sub(1, places[i][1] - 1) .. tokens[i] .. head:sub(places[i][2] + 1)
      end
    end
  elseif places then
    head = head:sub(1, places[1][1] - 1) .. table.concat(tokens) .. head:sub(places[#places][2] + 1)
  end
  return ("%s<<%s=%s>>%s%s"):format(head, table.concat(tokens), written, p.shown ~= "" and written or "", p.tail)
end

-- the line with changed tokens and what they come to; nothing if that is no amount that the data could have
local function again(out, p, tokens)
  local value = arithmetic.value(tokens)
  local written = value and value >= 0 and arithmetic.write(value)
  if written then
    out[#out + 1] = write(p, tokens, written)
  end
end

local function with(tokens, i, token)
  local out = table.move(tokens, 1, #tokens, 1, {})
  out[i] = token
  return out
end

local makers = {}

function makers.value(p, _, g)
  local out, whole = {}, not p.written:find(".", 1, true)
  for _ = 1, DRAWS do
    if whole then -- one digit is another
      local i = g:int(#p.written)
      local digit = g:int(i == 1 and #p.written > 1 and 1 or 0, 9)
      out[#out + 1] = write(p, p.tokens, p.written:sub(1, i - 1) .. digit .. p.written:sub(i + 1))
    else
      local amount = arithmetic.write(arithmetic.number(p.written) + g:pick{-1, -0.5, -0.1, 0.1, 0.5, 1})
      out[#out + 1] = amount and write(p, p.tokens, amount) or nil
    end
  end
  return out
end

function makers.operator(p)
  local out = {}
  for i, token in ipairs(p.tokens) do
    for _, op in ipairs{"+", "-", "*", "/"} do
      if token:find("^[%+%-%*/]$") and i > 1 then
        again(out, p, with(p.tokens, i, op))
      end
    end
  end
  return out
end

-- another number: one that the question or the steps before hold, or one nearby
function makers.operand(p, context, g)
  local out, pool = {}, {}
  for number in context:gmatch("%.?%d[%d,%.]*") do
    number = number:gsub("[,%.]+$", "")
    pool[#pool + 1] = arithmetic.number(number) and (number:gsub(",", "")) or nil
  end
  for i, token in ipairs(p.tokens) do
    local n = arithmetic.number(token)
    for k = 1, n and #pool + 2 or 0 do
      again(out, p, with(p.tokens, i, pool[k] or arithmetic.write(n + g:pick{-1, 1, 2}) or token))
    end
  end
  return out
end

function makers.swap(p)
  local out = {}
  for i = 1, #p.tokens - 2 do
    local a, b = p.tokens[i], p.tokens[i + 2]
    if arithmetic.number(a) and arithmetic.number(b) then
      again(out, p, with(with(p.tokens, i, b), i + 2, a))
    end
  end
  return out
end

-- one number less, with the operation before it (or, for the first, behind it)
function makers.omission(p)
  local out = {}
  for i, token in ipairs(p.tokens) do
    if arithmetic.number(token) and #p.tokens >= 3 then
      local tokens = table.move(p.tokens, 1, #p.tokens, 1, {})
      table.remove(tokens, i)
      table.remove(tokens, i > 1 and i - 1 or 1)
      again(out, p, tokens)
    end
  end
  return out
end

--- Candidates for a wrong step of one type, in no order and not yet proved.
function M.candidates(_, problem, before, right, kind, g)
  local p = parts(right)
  return p and makers[kind](p, problem.text .. "\n" .. before, g) or {}
end

-- ---- the proof ----

-- how two lists of tokens differ: operator, operand, swap, omission; nil if it takes more than one such edit
local function difference(a, b)
  if #b < #a then
    for i = 1, #a do
      local rest = table.move(a, 1, #a, 1, {})
      table.remove(rest, i)
      table.remove(rest, i > 1 and i - 1 or 1)
      if arithmetic.number(a[i]) and table.concat(rest, " ") == table.concat(b, " ") then
        return "omission"
      end
    end
    return nil
  end
  local places = {}
  for i = 1, #b do
    if a[i] ~= b[i] then
      places[#places + 1] = i
    end
  end
  local i, j = places[1], places[2]
  if #places == 1 and a[i] and arithmetic.number(a[i]) and arithmetic.number(b[i]) then
    return "operand"
  elseif #places == 1 and a[i] and a[i]:find("^[%+%-%*/]$") and b[i]:find("^[%+%-%*/]$") then
    return "operator"
  elseif #places == 2 and j == i + 2 and a[i] == b[j] and a[j] == b[i] then
    return "swap"
  end
end

-- does another result of this step change the answer, when the steps after it are worked out from it?
local function matters(task, problem, after, old, new)
  local changed = {[old] = new}
  for _, step in ipairs(task:verify(problem, after).steps) do
    local tokens = {}
    for i, token in ipairs(step.expression or {}) do
      local n = changed[arithmetic.number(token) or false]
      tokens[i] = n and ("%.17g"):format(n) or token
    end
    local value = step.expression and not table.concat(tokens):find("e", 1, true) and arithmetic.value(tokens)
    if value and not arithmetic.agrees(value, step.written) then
      changed[step.value] = value
    end
  end
  return changed[problem.answer] ~= nil and changed[problem.answer] ~= problem.answer
end

--- Is `text`, in the place of the right step, wrong? Returns its type; or nil and why not. The annotation is worked out
--- again; the steps that follow are worked out from the new result, and the answer has to come out as another.
---@param task table
---@param problem table
---@param right string
---@param text string
---@param after string the rest of the right solution
---@return string? type
---@return string? why
function M.prove(task, problem, _, right, text, after)
  local was, is = parts(right), parts(text)
  if not was then
    return nil, "has no annotation to change"
  elseif not is or text:find("\n", 1, true) ~= right:find("\n", 1, true) and not text:find("^[^\n]*\n$") then
    return nil, "is not one step with one annotation"
  end
  local value = arithmetic.value(is.tokens)
  local agrees = value and arithmetic.agrees(value, is.written)
  local same = table.concat(is.tokens, " ") == table.concat(was.tokens, " ")
  if not value then
    return nil, "cannot be worked out"
  elseif same and agrees or arithmetic.agrees(arithmetic.number(is.written), was.written) then
    return nil, "does not change the value"
  elseif is.shown ~= "" and arithmetic.number(is.shown) ~= arithmetic.number(is.written) then
    return nil, "has several causes"
  end
  local kind = same and "value" or agrees and difference(was.tokens, is.tokens)
  if not kind then
    return nil, "has several causes"
  elseif not matters(task, problem, after, arithmetic.number(was.written), arithmetic.number(is.written)) then
    return nil, "does not change the answer"
  end
  return kind
end

return M
