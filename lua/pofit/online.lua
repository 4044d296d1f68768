-- pf.online: a data set that the policy makes itself while it trains (on-policy methods). Every `every` updates it is
-- made anew from the policy as it then is; larger values use each sample more often.
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"

local Online = {}
Online.__index = Online

local function path_of(set, k, suffix) return ("%s/online/%d%s"):format(set.run.dir, k, suffix) end

-- f(), and what it counted in the run's budget, which is left as it was
local function uncounted(run, f)
  local before, used = run.budget, {}
  run.budget = used
  local ok, result = pcall(f)
  run.budget = before
  if not ok then error(result, 0) end
  return result, used
end

-- What is made for update s, window (s - 1) // every, is kept in the run's folder with what it cost: a run that goes on
-- in the middle of a window, with weights that have moved since, finds it there. The next one, which an earlier run of
-- the same name may have left, goes first.
local function window(set, k, model)
  if not set.run then return set.make(model, k) end
  local path = path_of(set, k, ".zst")
  if set.run.resuming and sys.exists(path) then return set.load(path) end
  sys.mkdirs(set.run.dir .. "/online")
  if sys.exists(path_of(set, k + 1, ".zst")) then sys.remove(path_of(set, k + 1, ".zst")) end
  local rows, used = uncounted(set.run, function() return set.make(model, k) end)
  sys.write(path_of(set, k, ".json"), json.encode(used))
  set.save(path, rows)
  return rows
end

--- pf.train says which update comes.
function Online:at(step, model)
  local k = (step - 1) // self.every
  if k == self.window then return end
  self.current = self.data(window(self, k, model))
  for j = (self.window or -1) + 1, self.run and k or -1 do
    self.run:count(json.decode(sys.read(path_of(self, j, ".json"))))
  end
  self.window = k
end

function Online:batch(indices)
  local rows = {}
  for i, index in ipairs(indices) do rows[i] = (index - 1) % self.current.n + 1 end
  return self.current:batch(rows)
end

--- The seed and the length of a window; which rows there will be only the policy decides.
function Online:fingerprint() return ("online %d %d"):format(self.every, self.n) end

--- A data set for pf.train.
---@param o table every (updates between two makings); n (rows that a making is expected to have: the rows of an epoch);
--- make = function(model, k) -> rows, from 0; data = function(rows) -> data set; run, with save(path, rows) and
--- load(path) -> rows, so that it can be resumed
---@return table set
return function(o)
  for _, name in ipairs { "every", "n", "make", "data" } do
    if o[name] == nil then core.raise(("online needs %s="):format(name)) end
  end
  if o.run and not (o.save and o.load) then core.raise("online: a run needs save= and load=") end
  return setmetatable({ every = o.every, n = o.n, make = o.make, data = o.data, run = o.run, save = o.save,
    load = o.load }, Online)
end
