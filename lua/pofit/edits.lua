-- pf.edits: step pairs from a policy's own right answers. One step of each is put beside itself with a mistake in it
-- (pf.inject), after the right steps before it (Xu et al. 2024, arXiv 2410.06638, section 3).
local core = require "pofit.core"
local inject = require "pofit.inject"
local random = require "pofit.random"
local steps_of = require "pofit.steps"
local triple = require "pofit.triple"

-- the different right ones of a problem, in an order of its own
local function right_of(samples, g)
  local out, seen = {}, {}
  for _, sample in ipairs(samples) do
    local key = table.concat(sample.ids, " ")
    if sample.correct and not seen[key] then out[#out + 1] = sample end
    seen[key] = true
  end
  return g:shuffle(out)
end

-- what a random token is drawn from: the tokens that right answers are made of, but the end
local function tokens_of(samples, eos)
  local out, seen = {}, { [eos or -1] = true }
  for _, list in ipairs(samples) do
    for _, sample in ipairs(list) do
      for _, id in ipairs(sample.correct and sample.ids or {}) do
        if not seen[id] then out[#out + 1] = id end
        seen[id] = true
      end
    end
  end
  return out
end

-- A control: one token of one step is another, whatever that makes of it. edited ids, step, type, parts as pf.inject's.
local function corrupt(task, ids, o)
  local g, tok = random.new(o.seed, "corrupt:" .. o.problem.text), o.tokenizer
  local steps = steps_of(ids, task, { tokenizer = tok, problem = o.problem })
  if #steps == 0 then return nil, "the solution has no steps" end
  local k = g:int(#steps)
  local step, edited = steps[k], table.move(ids, 1, steps[k].last, 1, {})
  if step.last < step.first then return nil, "the step has no token" end
  local at = g:int(step.first, step.last)
  edited[at] = g:pick(o.tokens)
  local whole = table.move(ids, step.last + 1, #ids, step.last + 1, table.move(edited, 1, #edited, 1, {}))
  if edited[at] == ids[at] or task:verify(o.problem, tok:decode(whole, { skip_special = true })).correct then
    return nil, "is right"
  end
  return edited, k, "random", { prefix = table.move(ids, 1, step.first - 1, 1, {}),
    chosen = table.move(ids, step.first, step.last, 1, {}) }
end

local function row_of(problem, edited, step, kind, parts)
  local good = table.move(parts.chosen, 1, #parts.chosen, #parts.prefix + 1,
    table.move(parts.prefix, 1, #parts.prefix, 1, {}))
  local row = triple { prompt = problem.text, good = good, bad = edited, first = #parts.prefix + 1 }
  row.type, row.step = kind, step
  return row
end

local function summary(rows, problems, counts)
  local names, parts = {}, {}
  for name in pairs(counts) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = ("%d %s"):format(counts[name], name) end
  return ("%d step pairs of %d problems%s"):format(#rows, problems, #parts > 0 and ": " .. table.concat(parts, ", ")
    or "")
end

--- Step pairs of right samples: {prompt=, prefix= ids, chosen= the right step, rejected= the wrong one, type=, step=},
--- as pf.data.preference takes them; neither side has an EOS. Equal pairs are made once.
---@param task table
---@param problems table[]
---@param samples table[][] a list a problem, as pf.rollout gives them
---@param o table tokenizer; n (1: pairs a problem at most), seed; editor ("script", a model that writes the step anew,
---  or "random": a token of the step is another, unproved, as a control), distance, draws as in pf.inject
---@return table[] rows
---@return string what there is, in words
return function(task, problems, samples, o)
  if not o.tokenizer then core.raise("edits needs tokenizer=") end
  local rows, counts, with = {}, {}, 0
  local make = o.editor == "random" and corrupt or inject
  local tokens = o.editor == "random" and tokens_of(samples, o.tokenizer.eos) or nil
  for i, problem in ipairs(problems) do
    local right = right_of(samples[i], random.new(o.seed or 1, "edits:" .. problem.text))
    local seen, before = {}, #rows
    for k = 1, #right > 0 and 4 * (o.n or 1) or 0 do
      if #rows - before == (o.n or 1) then break end
      local opts = { problem = problem, tokenizer = o.tokenizer,
        seed = random.bits(o.seed or 1, "edit", k) & 0x7fffffff }
      if tokens then opts.tokens = tokens else
        opts.editor, opts.distance, opts.draws = o.editor, o.distance, o.draws
      end
      local edited, step, kind, parts = make(task, right[(k - 1) % #right + 1].ids, opts)
      local key = edited and table.concat(edited, " ")
      if edited and not seen[key] then
        seen[key], rows[#rows + 1] = true, row_of(problem, edited, step, kind, parts)
        counts[kind] = (counts[kind] or 0) + 1
      end
    end
    with = with + (#rows > before and 1 or 0)
  end
  return rows, summary(rows, with, counts)
end
