-- pofit: the library's table. It is read-only, and an unknown name raises with the nearest known one. Modules are
-- loaded when they are first used.
local core = require "pofit.core"

local pf = {
  tensor = core.tensor, zeros = core.zeros, ones = core.ones, full = core.full,
  randn = core.randn, uniform = core.uniform,
  no_grad = core.no_grad, step = core.step,
  memory = core.memory, threads = core.threads, version = core.version(),
}
for name, f in pairs(core.op) do pf[name] = f end

-- names whose module returns them: pofit.NAME
local modules = {}
for name in ([[
  base
  batch
  buffer
  characters
  credit
  data
  edits
  evaluate
  exact
  gradcheck
  groups
  help
  inject
  json
  keep
  loss
  model
  online
  pair
  problems
  progress
  random
  report
  rollout
  rounds
  run
  show
  stats
  steps
  sys
  template
  tokenizer
  train
  trainer
  triple
  turns
]]):gmatch("%w+") do modules[name] = "pofit." .. name end

-- name -> function that makes it
local made = {
  options = function()
    local options = require "pofit.options"
    return function(declaration)
      return options.parse_or_exit(options.spec(declaration), _G.arg or {}, { json = require "pofit.json" })
    end
  end,
  task = function()
    return setmetatable({}, { __index = function(t, name)
      local ok, task = pcall(require, "pofit.task." .. tostring(name))
      if not ok then core.raise(("there is no task %q: %s"):format(tostring(name), task)) end
      t[name] = task.new
      return task.new
    end, __pairs = function(t)
      for _, module in ipairs(core.modules()) do
        local name = module:match "^pofit%.task%.(%w+)$"
        if name and not rawget(t, name) then t[name] = require(module).new end
      end
      return next, t
    end })
  end,
}

local function unknown(name)
  local names = {}
  for _, list in ipairs { pf, modules, made } do
    for known in pairs(list) do names[known] = true end
  end
  local near = core.nearest(tostring(name), names, true)
  core.raise(("pf has no %q%s"):format(tostring(name), near and ("; did you mean %q?"):format(near) or ""))
end

local function find(_, name)
  local value = pf[name]
  if value == nil then
    if modules[name] then
      value = require(modules[name])
    elseif made[name] then
      value = made[name]()
    else
      unknown(name)
    end
    pf[name] = value
  end
  return value
end

return setmetatable({}, {
  __index = find,
  __newindex = function(_, name) core.raise(("pf is read-only; %q cannot be set"):format(tostring(name))) end,
  __pairs = function()
    for _, list in ipairs { modules, made } do
      for name in pairs(list) do find(nil, name) end
    end
    return pairs(pf)
  end,
  __name = "pofit",
})
