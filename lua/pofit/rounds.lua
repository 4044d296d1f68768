-- pf.rounds: sample, verify, keep, train, repeat.
--
-- Each round has a folder runs/NAME/round-K with its buffer, its metrics, its model, and a checkpoint while it trains.
-- A run that goes on (--resume) takes finished rounds from there and does the others as it would have done: what
-- pf.rollout samples comes from its cache, so the bits are the same.
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"

local KNOWN <const> = { run = true, model = true, rounds = true, collect = true, train = true, buffer = true }

local function settings(o)
  for name in pairs(o) do
    if not KNOWN[name] then core.raise(("rounds has no option %q"):format(tostring(name))) end
  end
  for _, name in ipairs { "run", "model", "rounds", "collect", "train" } do
    if o[name] == nil then core.raise(("rounds needs %s="):format(name)) end
  end
end

-- the model of a round that is finished, with its metrics; nil if it is not
local function finished(part, model)
  local path = part.dir .. "/done.json"
  if not (part.resuming and sys.exists(path)) then return nil end
  local done = json.decode(sys.read(path), path)
  local same = done.from == model:fingerprint()
  local kept = same and require "pofit.adapter".restore(model, part.dir)
  if not same or kept:fingerprint() ~= done.model then
    core.refuse(("%s/%s is not what the round left: it was changed; remove %s to do the round again"):format(part.dir,
      model.adapter and "adapter" or "model", path))
  end
  local metrics = part.dir .. "/metrics.jsonl"
  for text, line in sys.lines(metrics) do part.rows[#part.rows + 1] = json.decode(text, metrics, line) end
  part:count { updates = done.updates }
  return kept
end

-- train from `model`, and leave what a resumed run needs
local function train(o, part, model, rows, round)
  local from, before = model:fingerprint(), part.budget.updates or 0
  model = o.train(model, rows, round, part) or model
  require "pofit.adapter".save(model, part.dir)
  sys.write(part.dir .. "/done.json", json.encode(json.object({ from = from, model = model:fingerprint(),
    updates = (part.budget.updates or 0) - before }, { "from", "model", "updates" })) .. "\n")
  if sys.exists(part.checkpoint) then sys.remove(part.checkpoint) end
  return model
end

--- Rounds of collecting and training.
---@param o table run (pf.run); model; rounds; buffer (pf.buffer, saved after each collection);
--- collect = function(model, round, part, buffer) -> rows: samples (pf.rollout with cache = part.cache) and keeps;
--- train = function(model, rows, round, part): pf.train { run = part, ... }; may return another model.
--- part: a run of its own for the round, whose metrics come into the whole run's with "round" added.
---@return table model of the last round
return function(o)
  settings(o)
  local model = o.model
  for round = 1, o.rounds do
    local part = o.run:part("round-" .. round)
    local rows = o.collect(model, round, part, o.buffer)
    if type(rows) ~= "table" then core.raise(("rounds: collect must return rows, got a %s"):format(type(rows))) end
    if o.buffer then o.buffer:save(part.dir .. "/buffer.zst") end
    model = finished(part, model) or train(o, part, model, rows, round)
    o.run:adopt(part, round)
  end
  return model
end
