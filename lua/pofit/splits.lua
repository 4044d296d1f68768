--- Problems that are a pure function of seed, split and index, in splits that share none: what the tasks that draw
--- their problems have in common. Which split a problem belongs to is decided by a hash of its key alone, so splits
--- share no problem, whatever the seed, the options or the number drawn.
local random = require "pofit.random"

local M = {}

---@class pofit.splits
local splits = {}
splits.__index = splits

-- shares of the hash's range; what they leave is shared by the splits that the caller adds
local SHARES <const> = {{"train", 0.5}, {"preference", 0.2}, {"heldout", 0.2}}
-- a draw may repeat a problem or fall into another split; so many misses in a row mean that there are no more
local MISSES <const> = 20000

--- Raise "task.NAME: message" with the position in the caller's file: the first that is not of the library's own.
---@param name string
function M.refuse(name, ...)
  local here, level = debug.getinfo(1, "S").source:match("^(.*pofit)[/.]"), 2
  while debug.getinfo(level + 1, "S") and debug.getinfo(level, "S").source:match("^(.*pofit)[/.]") == here do
    level = level + 1
  end
  error("task." .. name .. ": " .. string.format(...), level)
end

--- Refuse options that are not among the known ones.
---@param name string of the task
---@param options table
---@param known string[]
function M.check(name, options, known)
  local is_known = {}
  for _, word in ipairs(known) do
    is_known[word] = true
  end
  for word in pairs(options) do
    if not is_known[word] then
      M.refuse(name, "unknown option %s; there are %s", tostring(word), table.concat(known, ", "))
    end
  end
end

local function regions(extra)
  local out, low = {}, 0
  for _, share in ipairs(SHARES) do
    out[#out + 1] = {name = share[1], low = low, high = low + share[2]}
    low = low + share[2]
  end
  local each = (1 - low) / math.max(1, #extra)
  for i, name in ipairs(extra) do
    out[#out + 1] = {name = name, low = low + (i - 1) * each, high = low + i * each}
  end
  return out
end

--- The problems of a task.
---@param o {name: string, seed: integer, extra: string[]?, draw: function, describe: function, fits: function?}
--- draw(generator) gives the key of a problem and what it is made from; fits(that, split) says whether the split may
--- have it (it may, if there is no such function); describe(that, split, index) gives the problem
---@return pofit.splits
function M.new(o)
  if math.type(o.seed) ~= "integer" then
    M.refuse(o.name, "seed is an integer, not %s", tostring(o.seed))
  end
  return setmetatable({
    name = o.name, seed = o.seed, regions = regions(o.extra or {}), draw = o.draw, describe = o.describe,
    fits = o.fits, made = {},
  }, splits)
end

local function region(self, split)
  local names = {}
  for i, r in ipairs(self.regions) do
    if r.name == split then
      return r
    end
    names[i] = r.name
  end
  M.refuse(self.name, "no split %q; there are %s, and splits = {...} adds more", tostring(split),
    table.concat(names, ", "))
end

--- The i-th problem of a split, from 1; its fields split and index are set.
---@param split string
---@param i integer
---@return table problem
function splits:get(split, i)
  local r = region(self, split)
  local made = self.made[split]
  if not made then
    made = {seen = {}, generator = random.new(self.seed, self.name .. ":" .. split)}
    self.made[split] = made
  end
  local misses = 0
  while #made < i do
    local key, drawn = self.draw(made.generator)
    local place = random.uniform(0, key, 0)
    local free = place >= r.low and place < r.high and not made.seen[key]
    if free and (not self.fits or self.fits(drawn, split)) then
      made.seen[key], misses = true, 0
      local problem = self.describe(drawn, split, #made + 1)
      made[#made + 1] = problem
      problem.split, problem.index = split, #made
    else
      misses = misses + 1
      if misses > MISSES then
        M.refuse(self.name, "split %s has only about %d different problems at this difficulty; %d were asked for",
          split, #made, i)
      end
    end
  end
  return made[i]
end

--- Problems first to first + n - 1 of a split.
---@param split string
---@param n integer
---@param first? integer 1
---@return table[]
function splits:list(split, n, first)
  local out = {}
  for i = 1, n do
    out[i] = self:get(split, (first or 1) + i - 1)
  end
  return out
end

--- The steps that task:verify finds in a solution; without a problem, the text begins with one, which `mark` ends.
---@param name string of the task
---@param task table
---@param text string
---@param problem table|string|nil
---@param mark string
---@return table[] steps as in the verdict; first and last count in the given text
function M.steps(name, task, text, problem, mark)
  local skip = 0
  if not problem then
    skip = text:find(mark, 1, true)
      or M.refuse(name, "the text holds no problem that ends with %s: %s", mark, text)
    problem = text:sub(1, skip)
  end
  local steps = task:verify(problem, text:sub(skip + 1)).steps
  for _, step in ipairs(steps) do
    step.first, step.last = step.first + skip, step.last + skip
  end
  return steps
end

return M
