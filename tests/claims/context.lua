-- What a claim's run(seed, c) gets: settings, and what the arms of a seed share, each made once and kept under runs/.
--
--   c.seed, c.quick, c.set                settings of the claim, with those of `quick` over them in a quick run
--   c.cache                               folder for pf.rollout: arms share sampled pools and verdicts
--   c:base()                              the seed's base policy, a fresh copy each time; and its folder
--   c:once(name, settings, f)             f(dir) -> table, made once for name, seed and settings; the table is kept
--   c:arm(name, settings, f)              the same for f(dir) -> model, info; returns model, info, its folder
--   c:recipe(name, words)                 a run of recipes/NAME.lua with these words; {model=, result=, rows=, dir=}
--   c:words(names, ...)                   the settings of these names as words of a command line, after those given
--   c:accuracy(name, model, task)         greedy accuracy of an arm, a value a problem of the claim's split; once
--   c:curve(rows, key)                    {{step, value}, ...} of a list of metrics
local pf = require "pofit"

local Context = {}
Context.__index = Context

local KEEP <const> = "runs/claims"

-- settings whose text is the same in every process: names in order, at every depth
local function sorted(settings)
  if type(settings) ~= "table" then return settings end
  local keys, out = {}, {}
  for name, value in pairs(settings) do
    keys[#keys + 1], out[name] = name, sorted(value)
  end
  if settings[1] ~= nil then return out end
  table.sort(keys)
  return pf.json.object(out, keys)
end

-- wait for a lock that another worker may hold; it is held until the handle goes
local function wait_for(path)
  while true do
    local lock = pf.sys.lock(path)
    if lock then return lock end
    os.execute("sleep 0.5")
  end
end

local function place(self, name, settings)
  local words = pf.json.encode(sorted(settings or {}))
  local id = ("%s%s-%d-%08x"):format(self.quick and "quick-" or "", name, self.seed, pf.sys.hash(words) & 0xffffffff)
  return id, words
end

--- f(dir) -> table, once for these settings; whoever asks meanwhile waits.
function Context:once(name, settings, f)
  local id, words = place(self, name, settings)
  local dir = KEEP .. "/" .. id
  pf.sys.mkdirs(dir)
  local _lock <close> = setmetatable({ wait_for(dir .. "/.lock") }, { __close = function(l)
    l[1] = nil
    collectgarbage()
  end })
  local path = dir .. "/made.json"
  if pf.sys.exists(path) then
    local kept = pf.json.decode(pf.sys.read(path), path)
    if kept.settings == words then return kept.made, dir end
  end
  local made = f(dir) or {}
  pf.sys.write(path, pf.json.encode(pf.json.object({ settings = words, made = made }, { "settings", "made" })))
  return pf.json.decode(pf.sys.read(path), path).made, dir
end

--- f(dir) -> model, info, once; returns a model of its own to each caller.
function Context:arm(name, settings, f)
  local info, dir = self:once(name, settings, function(dir)
    local model, made = f(dir)
    model:save(dir .. "/model")
    return made
  end)
  return pf.model.load(dir .. "/model"), info, dir .. "/model"
end

--- The base policy of the seed. A quick run has one that learned for seconds.
function Context:base()
  local model, _, dir = self:arm("base", {}, function()
    if not self.quick then return (pf.base.policy(self.seed)) end
    return (self:train_recipe("sft", { "--steps", "300", "--heldout", "20" }))
  end)
  return model, dir
end

-- a recipe's run to its end, in the run's own folder; what an interrupted one left is gone on with
function Context:train_recipe(name, words)
  local run = place(self, "claim-" .. name, words)
  if not pf.sys.exists("runs/" .. run .. "/result.json") then
    local all = { "--name", run, "--seed", tostring(self.seed), "--quiet", "--resume" }
    pf.run.recipe(self.root .. "recipes/" .. name .. ".lua", table.move(words, 1, #words, #all + 1, all))
  end
  return pf.model.load("runs/" .. run .. "/model"), run
end

--- A recipe's run with these words, once.
---@return table {model=, result= (result.json), rows= (metrics), dir=}
function Context:recipe(name, words)
  local info = self:once("recipe-" .. name, words, function()
    local _, run = self:train_recipe(name, words)
    return { dir = "runs/" .. run }
  end)
  local rows = {}
  for text in pf.sys.lines(info.dir .. "/metrics.jsonl") do rows[#rows + 1] = pf.json.decode(text, info.dir) end
  return { model = pf.model.load(info.dir .. "/model"), rows = rows, dir = info.dir,
    result = pf.json.decode(pf.sys.read(info.dir .. "/result.json"), info.dir) }
end

--- The words given, and --NAME VALUE for each of the settings named.
---@param names string[]
---@return string[]
function Context:words(names, ...)
  local out = { ... }
  for _, name in ipairs(names) do
    out[#out + 1] = "--" .. name
    out[#out + 1] = tostring(self.set[name])
  end
  return out
end

--- Is a problem of the claim's split solved greedily? The list, made once for the arm and the settings.
---@param name string of the arm
---@param model table
---@param task table
---@return number[] 0 or 1 a problem
function Context:accuracy(name, model, task)
  return self:once("accuracy-" .. name, self.set, function()
    return { accuracy = pf.json.array(pf.evaluate.task { model = model, task = task, quiet = true,
      problems = task:problems(self.set.split, self.set.heldout), max_tokens = self.set.max_tokens }.scores[1][2]) }
  end).accuracy
end

--- A curve of metrics.
function Context:curve(rows, key) -- luacheck: ignore self
  local out = {}
  for _, row in ipairs(rows) do
    if row[key] ~= nil then out[#out + 1] = { row.step, row[key] } end
  end
  return out
end

--- root: the project's folder, with / at its end
return function(claim, seed, quick, root)
  local set = {}
  for name, value in pairs(claim.settings or {}) do set[name] = value end
  for name, value in pairs(quick and claim.quick or {}) do set[name] = value end
  return setmetatable({ seed = seed, quick = quick, set = set, root = root,
    cache = KEEP .. (quick and "/quick-rollouts" or "/rollouts") }, Context)
end
