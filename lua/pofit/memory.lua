-- Keeping within a limit of memory (--memory) while training: how large the batches are, how the trainer is to compute
-- them so that it fits, and what was used in the end.
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"
local told = require "pofit.told"

local M = {}

-- What the process holds beside the library's blocks and mapped weights: pages of the program and its libraries with
-- their own small blocks, and the buffers of a thread.
local PROGRAM <const>, THREAD <const> = 12 << 20, 1 << 20

local UNITS <const> = { [""] = 1, B = 1, K = 2 ^ 10, M = 2 ^ 20, G = 2 ^ 30, T = 2 ^ 40, KIB = 2 ^ 10, MIB = 2 ^ 20,
  GIB = 2 ^ 30, TIB = 2 ^ 40, KB = 1e3, MB = 1e6, GB = 1e9, TB = 1e12 }

--- Bytes that a text says: "4GiB", "4G" (the same), "500MB" (millions), "2e9". Anything else is raised.
---@param text string|number
---@return integer
function M.bytes(text)
  local number, unit = tostring(text):match "^%s*([%d.]+e?%d*)%s*(%a*)%s*$"
  local n = tonumber(number) and UNITS[unit:upper()] and tonumber(number) * UNITS[unit:upper()]
  if not n or n < 2 ^ 20 or n >= 2 ^ 62 then
    core.refuse(("--memory %s: expected a size like 4GiB, 4G or 500MB, of 1 MiB at least"):format(tostring(text)))
  end
  return math.floor(n)
end

--- Keep to what is in use from now on, for a limit that a text says.
---@param text string|number
function M.limit(text)
  M.bytes(text)
  core.memory_limited()
end

local function size(n)
  return n < 2 ^ 30 and ("%.0f MiB"):format(n / 2 ^ 20) or ("%.2f GiB"):format(n / 2 ^ 30)
end

-- The largest batch of the run: the sum over its rows, which is more where rows share a beginning. Nothing: a data set
-- that is made while the policy learns.
local function largest(s, order)
  if s.data.at then return { nodes = 0, entries = 0, longest = 0 } end
  local rows, most = {}, { nodes = 0, entries = 0, longest = 0 }
  for i = 1, s.data.n do
    core.step(function()
      local b = s.data:batch { i }
      rows[i] = { b.nodes, b.entries, b.longest }
    end)
  end
  for step = 1, s.steps do
    for part = 1, s.accumulate do
      local nodes, entries = 0, 0
      for _, i in ipairs(order(step, part, s)) do
        nodes, entries, most.longest = nodes + rows[i][1], entries + rows[i][2], math.max(most.longest, rows[i][3])
      end
      most.nodes, most.entries = math.max(most.nodes, nodes), math.max(most.entries, entries)
    end
  end
  return most
end

-- what the plan needs to know beside the library: the program's and Lua's own, which doubles before it is collected
local function outside()
  return math.floor(2 * collectgarbage "count" * 1024) + PROGRAM + core.threads() * THREAD
end

-- limit: as --memory has it
local function make(s, trainer, order, limit)
  local ask = largest(s, order)
  collectgarbage()
  collectgarbage()
  ask.memory, ask.outside, ask.several = M.bytes(limit), outside(), s.accumulate > 1
  return told.call(trainer.plan, trainer, ask)
end

local FIELDS <const> = { "recompute", "part", "weights", "optimizer", "rest", "gradients", "activations", "total" }

-- The plan that a run has been trained by so far: without a limit all is done at once. nil: it has not been trained.
local function begun(s, trainer, order, path)
  local run = s.run
  if not (run and run.resuming and (sys.exists(run.checkpoint) or run.budget.updates)) then return nil end
  if sys.exists(path) then return json.decode(sys.read(path), path) end
  if run.memory_before then return make(s, trainer, order, run.memory_before) end
  return { recompute = 0, part = 0, total = math.huge }
end

local function in_parts(plan) return plan.part > 0 and ("in parts of %d tokens"):format(plan.part) or "at once" end

-- Parts of another size round otherwise: a run that goes on keeps to those that it began with. Layers that are computed
-- again give the same bits.
local function plan_of(s, trainer, order)
  local path = s.run and s.run.dir .. "/memory.json"
  local before = begun(s, trainer, order, path)
  local plan = before
  if s.memory and not (before and before.total <= M.bytes(s.memory)) then
    plan = make(s, trainer, order, s.memory)
    if before and plan.part ~= before.part then
      local with = s.run.memory_before and "--memory " .. s.run.memory_before or "more memory, or without --memory"
      core.refuse(("--memory %s takes batches %s, but %s was begun with batches %s, which round otherwise: resume with "
        .. "%s"):format(s.memory, in_parts(plan), s.run.dir, in_parts(before), with))
    end
  end
  if path and plan and s.memory then sys.write(path, json.encode(json.object(plan, FIELDS)) .. "\n") end
  return plan
end

--- The plan in words.
---@param plan table
---@param memory string the limit
---@param layers integer of the model
---@return string
function M.text(plan, memory, layers)
  local how = plan.recompute > 0 and (" with %d of %d layers computed again"):format(plan.recompute, layers) or ""
  local parts = plan.part > 0 and (", batches in parts of %d tokens"):format(plan.part) or ""
  return ("memory: %s asked, %s predicted; weights %s, optimizer %s, gradients %s, activations %s%s, the rest %s%s")
    :format(size(M.bytes(memory)), size(plan.total), size(plan.weights), size(plan.optimizer), size(plan.gradients),
      size(plan.activations), how, size(plan.rest), parts)
end

-- the most that this process ever had in memory, in words; where the system does not tell it, that
local function peak()
  local file = io.open("/proc/self/status")
  local text = file and file:read "a" or ""
  if file then file:close() end
  local kib = text:match "VmHWM:%s*(%d+)"
  return kib and size(kib * 1024) or "an unknown amount"
end

--- Plan the memory of a training, if its settings name a limit: the trainer follows the plan, which say() is told.
--- Returns a function that tells what was used.
---@param s table settings of pf.train
---@param trainer userdata
---@param order fun(step: integer, part: integer, s: table): integer[] rows of a batch
---@param say fun(text: string)
---@return fun()
function M.keep(s, trainer, order, say)
  local plan = plan_of(s, trainer, order)
  if plan then trainer:follow(plan) end
  if not s.memory then return function() end end
  say(M.text(plan, s.memory, s.model.num_hidden_layers))
  M.limit(s.memory)
  local before = peak()
  return function()
    say(("memory: %s predicted, %s used by the process at most, %s before training"):format(size(plan.total), peak(),
      before))
  end
end

return M
