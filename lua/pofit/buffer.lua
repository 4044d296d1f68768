-- pf.buffer: samples kept from round to round, a list a problem, each different answer once.
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"

local Buffer = {}
Buffer.__index = Buffer

local function key_of(sample)
  if sample.ids then return table.concat(sample.ids, " ") end
  if sample.text then return "text " .. sample.text end
  core.raise("buffer: a sample has neither ids nor text")
end

--- Keep a sample of a problem (known by its text). False if an equal one is there already.
---@param problem table|string
---@param sample table {ids=, text=, ...}
---@return boolean
function Buffer:add(problem, sample)
  local text = type(problem) == "table" and problem.text or problem
  local entry = self.by[text]
  if not entry then
    entry = { text = text, samples = {}, seen = {} }
    self.by[text], self.order[#self.order + 1] = entry, entry
  end
  local key = key_of(sample)
  if entry.seen[key] then return false end
  entry.seen[key] = true
  entry.samples[#entry.samples + 1] = sample
  self.n = self.n + 1
  return true
end

--- Keep what a rule (pf.keep) chooses of new samples: buffer:keep(problems, samples, rule). Returns how many were new.
---@param problems table[]
---@param samples table[][] a list a problem, as pf.rollout gives them
---@param rule function
---@return integer
function Buffer:keep(problems, samples, rule)
  local before = self.n
  for i, problem in ipairs(problems) do
    for _, sample in ipairs(rule(samples[i], problem)) do self:add(problem, sample) end
  end
  return self.n - before
end

--- The samples of a problem, in the order they came; none is an empty list.
---@return table[]
function Buffer:get(problem)
  local entry = self.by[type(problem) == "table" and problem.text or problem]
  return entry and entry.samples or {}
end

--- Keep of every problem what a rule chooses among all of its samples ("best so far").
---@param rule function
function Buffer:only(rule)
  local old = self.order
  self.by, self.order, self.n = {}, {}, 0
  for _, entry in ipairs(old) do
    for _, sample in ipairs(rule(entry.samples, { text = entry.text })) do self:add(entry.text, sample) end
  end
end

--- Rows for pf.data.completion: {prompt=, completion= ids}, problem by problem.
---@return table[]
function Buffer:rows()
  local rows = {}
  for _, entry in ipairs(self.order) do
    for _, sample in ipairs(entry.samples) do
      rows[#rows + 1] = { prompt = entry.text, completion = sample.ids or sample.text }
    end
  end
  return rows
end

local KEPT <const> = { "ids", "text", "finish", "correct", "answer", "reward", "round" }

local function plain(sample)
  local keys, values = {}, {}
  for _, name in ipairs(KEPT) do
    local value = sample[name]
    if name == "text" and sample.ids then value = nil end -- not every text can be written as JSON; ids say it all
    if value ~= nil then keys[#keys + 1], values[name] = name, name == "ids" and json.array(value) or value end
  end
  return json.object(values, keys)
end

--- Write it as JSON lines in a zstd frame.
---@param path string
function Buffer:save(path)
  local lines = { json.encode(json.object({ problems = #self.order, samples = self.n }, { "problems", "samples" })) }
  for _, entry in ipairs(self.order) do
    local samples = {}
    for i, sample in ipairs(entry.samples) do samples[i] = plain(sample) end
    lines[#lines + 1] = json.encode(json.object({ problem = entry.text, samples = json.array(samples) },
      { "problem", "samples" }))
  end
  sys.write_zst(path, table.concat(lines, "\n") .. "\n")
end

--- Read what save wrote. A file that is damaged or cut raises.
---@param path string
---@return table self
function Buffer:load(path)
  local lines = sys.lines(path)
  local head = json.decode(lines() or "", path)
  for text, line in lines do
    local entry = json.decode(text, path, line)
    for _, sample in ipairs(entry.samples) do self:add(entry.problem, sample) end
  end
  if self.n ~= head.samples or #self.order ~= head.problems then
    core.refuse(("%s is cut: %d samples of %s"):format(path, self.n, tostring(head.samples)))
  end
  return self
end

--- An empty buffer.
return function() return setmetatable({ by = {}, order = {}, n = 0 }, Buffer) end
