-- pf.steps: the steps of a worked solution as spans of its own tokens.
local core = require "pofit.core"

local KNOWN <const> = { tokenizer = true, problem = true }

-- last[t]: bytes of the text that tokens 1..t stand for. A piece may depend on what is before it (a leading space), so
-- prefixes are decoded; where one ends inside a character, its bytes count for the token that completes it.
local function ends_of(tok, ids)
  local text = tok:decode(ids, { skip_special = true })
  local last, prefix = {}, {}
  for t, id in ipairs(ids) do
    prefix[t] = id
    local part = tok:decode(prefix, { skip_special = true })
    last[t] = text:sub(1, #part) == part and #part or last[t - 1] or 0
  end
  return text, last
end

-- tokens of the characters first..last that come after token `after`; a token that reaches over the end of a step
-- belongs to the step that ends in it
local function span(ends, first, last, after)
  local from = after + 1
  while ends[from] and ends[from] < first do from = from + 1 end
  local to = from
  while ends[to] and ends[to] < last do to = to + 1 end
  if after > 0 and ends[after] >= last then return after + 1, after end -- all of it stands in a token that is taken
  return from, to
end

--- The steps of a solution. With ids, their spans count the given tokens, which are never made anew from the text; with
--- a text and a tokenizer, the tokens of tok:encode(text, {special = false}); with a text alone, its bytes.
--- Returns a list of {first=, last= (tokens), text=, state= (after the step), ok=, ...: what else task:steps gives} and
--- a list with the number of each token's step, 0 outside (as rows of pf.batch take it). A step that ends inside the
--- token that ended the step before has no token of its own: last is first - 1. Without opts.problem the text has to
--- begin with the problem.
---@param solution integer[]|string
---@param task table with a method steps(text, problem) that gives {first=, last=, text=, state=, ok=}, in bytes
---@param opts? { tokenizer: pofit.Tokenizer, problem: table|string }
---@return table[] steps
---@return integer[] of
return function(solution, task, opts)
  opts = opts or {}
  for name in pairs(opts) do
    if not KNOWN[name] then core.raise(("steps has no option %q"):format(tostring(name))) end
  end
  local text, ids, ends = solution, solution, nil
  if type(text) == "string" and opts.tokenizer then ids = opts.tokenizer:encode(text, { special = false }) end
  if type(ids) == "table" then
    if not opts.tokenizer then core.raise("steps: ids need a tokenizer") end
    text, ends = ends_of(opts.tokenizer, ids)
  elseif type(text) ~= "string" then
    core.raise(("steps: expected a text or a list of ids, got a %s"):format(type(text)))
  end
  local of, after, steps = {}, 0, task:steps(text, opts.problem)
  for t = 1, #ids do of[t] = 0 end
  for i, step in ipairs(steps) do
    if ends then step.first, step.last = span(ends, step.first, step.last, after) end
    after = math.max(after, step.last)
    for t = step.first, step.last do of[t] = i end
  end
  return steps, of
end
