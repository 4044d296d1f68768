-- pf.online: a data set that the policy makes itself while it trains (on-policy methods). Every `every` updates it is
-- made anew from the policy as it then is; larger values use each sample more often.
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"

local Online = {}
Online.__index = Online

-- rows on disk: texts as they are, samples by their ids
local FIELDS <const> = { "prompt", "prefix", "chosen", "rejected", "completion" }

local function save(path, rows)
  local lines = {}
  for i, row in ipairs(rows) do
    local keys, values = {}, {}
    for _, name in ipairs(FIELDS) do
      local value = row[name]
      if type(value) == "table" and value.ids then value = { ids = json.array(value.ids) } end
      if value ~= nil then keys[#keys + 1], values[name] = name, value end
    end
    lines[i] = json.encode(json.object(values, keys)) .. "\n"
  end
  sys.write_zst(path, table.concat(lines))
end

local function load(path)
  local rows = {}
  for text, line in sys.lines(path) do rows[#rows + 1] = json.decode(text, path, line) end
  return rows
end

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
  if set.run.resuming and sys.exists(path) then return load(path) end
  sys.mkdirs(set.run.dir .. "/online")
  if sys.exists(path_of(set, k + 1, ".zst")) then sys.remove(path_of(set, k + 1, ".zst")) end
  local rows, used = uncounted(set.run, function() return set.make(model, k) end)
  sys.write(path_of(set, k, ".json"), json.encode(used))
  save(path, rows)
  return rows
end

--- pf.train says which update comes.
function Online:at(step, model)
  local k = (step - 1) // self.every
  if k == self.window then return end
  local rows = window(self, k, model)
  if #rows == 0 and not self.current then core.refuse("online: the first making gave no rows") end
  self.current = #rows > 0 and self.data(rows) or self.current -- nothing to learn from: what was there is used again
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
--- make = function(model, k) -> rows, k from 0; data = function(rows) -> data set; run, so that it can be resumed
---@return table set
return function(o)
  for _, name in ipairs { "every", "n", "make", "data" } do
    if o[name] == nil then core.raise(("online needs %s="):format(name)) end
  end
  return setmetatable({ every = o.every, n = o.n, make = o.make, data = o.data, run = o.run }, Online)
end
