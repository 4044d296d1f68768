-- pf.inject: a right solution with one typed mistake put into one of its steps. In RISE (arXiv 2410.06638) a model
-- makes them and nobody looks; here the verifier proves each.
--
-- Edits come from the task's script editor or from a model that writes the step anew; both go through the same proof.
-- An edit is kept only if the verifier, carrying the step out again, finds it wrong; if that changes what the solution
-- comes to; if it is the only mistake; if its type is known and, where one was asked for, that type; and if it is near
-- the step it replaces.
--
-- What a task offers: types(), edits(problem, before, right, type, generator) gives candidates, and
-- prove(problem, before, right, text, after) gives the type of a wrong step, or nil and why it is none.
local core = require "pofit.core"
local random = require "pofit.random"
local steps_of = require "pofit.steps"

local KNOWN <const> = {
  problem = true, tokenizer = true, type = true, step = true, seed = true, editor = true, distance = true, draws = true,
}

-- Levenshtein distance of two lists, or of the bytes of two texts
local function distance(a, b)
  if type(a) == "string" then a, b = { a:byte(1, -1) }, { b:byte(1, -1) } end
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local best = math.min(row[j] + 1, row[j - 1] + 1, diagonal + (a[i] == b[j] and 0 or 1))
      diagonal, row[j] = row[j], best
    end
  end
  return row[#b]
end

local function slice(list, first, last)
  if type(list) == "string" then return list:sub(first, last) end
  return table.move(list, first, last, 1, {})
end

local function joined(a, b)
  if type(a) == "string" then return a .. b end
  return table.move(b, 1, #b, #a + 1, slice(a, 1, #a))
end

-- the tokens of an edited step: those before and after the edit stay, only what lies between is encoded anew
local function encode(tok, ids, old, new)
  local head, tail = 0, 0
  local function text(first, last) return tok:decode(slice(ids, first, last), { skip_special = true }) end
  while head < #ids and new:sub(1, #text(1, head + 1)) == text(1, head + 1) do head = head + 1 end
  local kept = text(1, head)
  local room = math.min(#new, #old) - #kept
  while head + tail < #ids and #text(#ids - tail, #ids) <= room and new:sub(-#text(#ids - tail, #ids))
    == text(#ids - tail, #ids) do tail = tail + 1 end
  local last = tail > 0 and text(#ids - tail + 1, #ids) or ""
  local middle = new:sub(#kept + 1, #new - #last)
  for _, anchor in ipairs { "", "\n", "=", "." } do -- some tokenizers put a space before what stands alone
    local alone, with = tok:encode(anchor, { special = false }), tok:encode(anchor .. middle, { special = false })
    local out = joined(joined(slice(ids, 1, head), slice(with, #alone + 1, #with)), slice(ids, #ids - tail + 1, #ids))
    if tok:decode(out, { skip_special = true }) == new then return out end
  end
  local out = tok:encode(new, { special = false })
  return tok:decode(out, { skip_special = true }) == new and out or nil
end

-- ---- the two editors: a list of {text=, units=} for a step and a type ----

local function by_script(at, kind, o)
  local out, seen = {}, {}
  local g = random.new(o.seed, ("inject:%s:%d:%s%s"):format(kind, at.k, at.before, at.right))
  for _, text in ipairs(g:shuffle(at.task:edits(o.problem, at.before, at.right, kind, g))) do
    if not seen[text] then
      seen[text], out[#out + 1] = true, { text = text }
    end
  end
  return out
end

-- The model writes the step anew, from the problem and the right steps before it; its tokens are taken as they are.
local function by_model(at, _, o)
  if at.sampled then return at.sampled end
  local tok, out = o.tokenizer, {}
  local prompt = joined(require("pofit.chat").encode(tok, o.problem.text), at.prefix)
  local list = o.editor:generate({ prompt }, { n = o.draws, seed = o.seed, stop = at.task.stop, max_tokens = 96 })[1]
  for i, sample in ipairs(list) do
    local step = steps_of(joined(at.prefix, sample.ids), at.task, { tokenizer = tok, problem = o.problem })[at.k]
    if step then
      out[i] = { text = step.text, units = slice(sample.ids, step.first - #at.prefix, step.last - #at.prefix) }
    else
      out[i] = { text = sample.text, units = sample.ids }
    end
  end
  at.sampled = out
  return out
end

-- ---- the proof ----

-- the units of a proved edit and its type; or nil and why it is dropped
local function judge(at, edit, kind, o)
  if edit.text == at.right then return nil, "is the step itself" end
  local found, why = at.task:prove(o.problem, at.before, at.right, edit.text, at.after)
  if not found then return nil, why end
  if kind and found ~= kind then return nil, "is of type " .. found end
  local units = edit.units or (o.tokenizer and encode(o.tokenizer, at.units, at.right, edit.text)) or edit.text
  if o.tokenizer and type(units) == "string" then return nil, "cannot be written with this tokenizer" end
  local far = distance(at.units, units)
  local most = o.distance or math.max(4, math.floor(0.3 * #at.units))
  if far > most then return nil, ("is more than %d edits away"):format(most) end
  return { units = units, text = edit.text, type = found, distance = far }
end

local function reasons(dropped)
  local names, out = {}, {}
  for why in pairs(dropped) do names[#names + 1] = why end
  table.sort(names)
  for i, why in ipairs(names) do out[i] = ("%d %s"):format(dropped[why], why) end
  return #out > 0 and table.concat(out, ", ") or "no candidate"
end

-- all places and types that were asked for, in random order
local function plan(count, types, o)
  local out, g = {}, random.new(o.seed, "inject:plan:" .. o.problem.text)
  for k = o.step or 1, o.step or count do
    for _, kind in ipairs(o.type and { o.type } or types) do out[#out + 1] = { k, kind } end
  end
  return g:shuffle(out)
end

local function options(task, solution, o)
  for name in pairs(o) do
    if not KNOWN[name] then core.raise(("inject has no option %q"):format(tostring(name))) end
  end
  if type(o.problem) ~= "table" then core.raise("inject: expected problem =, one of the task's problems") end
  local types = task.types and task:types() or core.raise("inject: this task has no wrong steps to offer")
  local known = {}
  for _, name in ipairs(types) do known[name] = true end
  if o.type and not known[o.type] then
    core.raise(("inject: no type %q; this task has %s"):format(tostring(o.type), table.concat(types, ", ")))
  end
  local out = { seed = 1, draws = 8, editor = "script" }
  for name, value in pairs(o) do out[name] = value end
  if out.editor ~= "script" then
    if type(out.editor) ~= "userdata" and type(out.editor) ~= "table" then
      core.raise('inject: editor is "script" or a model')
    end
    out.tokenizer = out.tokenizer or out.editor.tokenizer
    if not out.tokenizer then core.raise("inject: a model as editor needs a tokenizer") end
  end
  if type(solution) == "table" and not out.tokenizer then core.raise("inject: ids need a tokenizer") end
  return out, types
end

--- Put one mistake into a right solution. Returns the edited solution up to and with its wrong step (what came after
--- would no longer fit), the number of that step, the type of the mistake, and {prefix=, chosen=, rejected= (the same
--- cut in three: what is shared, the right step, the wrong one), text= (of the wrong step), distance=}; in ids if there
--- is a tokenizer, else in text, always without EOS. Or nil and the reason, with what was proposed and dropped.
---@param task table
---@param solution integer[]|string
---@param o {problem: table, tokenizer: pofit.Tokenizer?, type: string?, step: integer?, seed: integer?,
---  editor: "script"|pofit.Model?, distance: integer?, draws: integer?} type and step: any, if not given; distance:
--- most edits away, in tokens or bytes (default: 4, or 0.3 of the step); draws: samples of a model (8)
---@return integer[]|string? edited
---@return integer|string step the step, or the reason
---@return string? type
---@return table? parts
return function(task, solution, o)
  local opts, types = options(task, solution, o or {})
  local tok = opts.tokenizer
  if tok and type(solution) == "string" then solution = tok:encode(solution, { special = false }) end
  local text = tok and tok:decode(solution, { skip_special = true }) or solution
  local verdict = task:verify(opts.problem, text)
  if not verdict.correct then
    return nil, "the solution is not right: " .. (verdict.error and verdict.error.message or "the verifier refuses it")
  end
  local steps = steps_of(solution, task, { tokenizer = tok, problem = opts.problem })
  if opts.step and not steps[opts.step] then
    return nil, ("the solution has %d steps, none is number %s"):format(#steps, tostring(opts.step))
  end
  local places, dropped = {}, {}
  for _, try in ipairs(plan(#steps, opts.editor == "script" and types or { false }, opts)) do
    local k, kind = try[1], try[2]
    local s, before = steps[k], {}
    for i = 1, k - 1 do before[i] = steps[i].text end
    before = table.concat(before)
    places[k] = places[k] or { task = task, k = k, before = before, right = s.text,
      after = text:sub(#before + #s.text + 1), prefix = slice(solution, 1, s.first - 1),
      units = slice(solution, s.first, s.last) }
    local at = places[k]
    for _, edit in ipairs((opts.editor == "script" and by_script or by_model)(at, kind, opts)) do
      local done, why = judge(at, edit, kind, opts)
      if done then
        return joined(at.prefix, done.units), k, done.type, { prefix = at.prefix, chosen = at.units,
          rejected = done.units, text = done.text, distance = done.distance }
      end
      dropped[why] = (dropped[why] or 0) + 1
    end
  end
  return nil, ("no edit%s%s: %s"):format(opts.type and " of type " .. opts.type or "",
    opts.step and " at step " .. opts.step or "", reasons(dropped))
end
