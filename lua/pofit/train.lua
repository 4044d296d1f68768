-- The training loop: order of the rows, updates, evaluation, log, checkpoint. All arithmetic is the core's.
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"
local random = require "pofit.random"

-- every option of pf.train with its default; nil ones are listed in `plain`
local defaults = {
  batch = 16, accumulate = 1, lr = 1e-5, optimizer = "adamw", beta1 = 0.9, beta2 = 0.999, eps = 1e-8,
  weight_decay = 0, momentum = 0, schedule = "linear", warmup = 0, clip = 1, bad_steps = 5, seed = 0,
  log_every = 1, eval_every = 0, checkpoint_every = 50, label = "train",
}
local plain = { "model", "data", "loss", "steps", "epochs", "groups", "run", "eval", "stop", "quiet", "memory" }

local function settings(o)
  local known = {}
  for _, name in ipairs(plain) do known[name] = true end
  for name in pairs(defaults) do known[name] = true end
  for name in pairs(o) do
    if not known[name] then
      local near = core.nearest(tostring(name), known, true)
      local hint = near and ("; did you mean %q?"):format(near) or ""
      core.raise(("pf.train has no option %q%s"):format(tostring(name), hint))
    end
  end
  local s = setmetatable({}, { __index = defaults })
  for name, value in pairs(o) do s[name] = value end
  for _, name in ipairs { "model", "data", "loss" } do
    if s[name] == nil then core.raise(("pf.train needs %s="):format(name)) end
  end
  if type(s.loss) ~= "function" then
    core.raise(("pf.train: loss must be a function(model, batch) -> loss, metrics, got a %s; pf.loss has losses that "
      .. "it may return"):format(type(s.loss)))
  end
  local fail = s.run and core.refuse or core.raise -- what a run does comes from its options
  s.steps = s.steps or math.ceil((s.epochs or 1) * s.data.n / (s.batch * s.accumulate))
  if math.type(s.steps) ~= "integer" or s.steps < 1 then
    fail("steps must be a whole number, at least 1")
  end
  if not (type(s.lr) == "number" and s.lr >= 0 and s.lr < math.huge) then
    fail(("lr must be a number from 0, got %s"):format(tostring(s.lr)))
  end
  if s.warmup < 1 then s.warmup = math.floor(s.warmup * s.steps) end
  if s.warmup >= s.steps then
    fail(("a warm-up of %d updates leaves none of %d for learning"):format(s.warmup, s.steps))
  end
  if s.stop ~= nil and (type(s.stop) ~= "function" or not s.eval or s.eval_every < 1) then
    core.raise("pf.train: stop is a function(figures, step) that is asked after each evaluation: it needs eval and "
      .. "eval_every")
  end
  if s.run then
    if s.quiet == nil then s.quiet = s.run.quiet end
    s.checkpoint_every = o.checkpoint_every or s.run.opt.checkpoint_every
    s.memory = o.memory or rawget(s.run.opt, "memory")
    s.optimizer = o.optimizer or rawget(s.run.opt, "optim")
  end
  return s
end

-- Row numbers of update `step` (from 1), part k: epoch by epoch, each in an order of its own that only seed and epoch
-- decide; so a resumed run sees what the uninterrupted one would have seen.
local function row_order(seed, n)
  local epoch, order
  return function(step, part, s)
    local rows, first = {}, ((step - 1) * s.accumulate + part - 1) * s.batch
    for i = first, first + s.batch - 1 do
      if i // n ~= epoch then
        epoch, order = i // n, {}
        for k = 1, n do order[k] = k end
        random.new(seed, epoch):shuffle(order)
      end
      rows[#rows + 1] = order[i % n + 1]
    end
    return rows
  end
end

-- one part of an update; returns the metrics of its loss and its tokens
local function part_of(s, trainer, rows)
  local metrics, tokens
  core.step(function()
    local batch = s.data:batch(rows)
    local loss, m = s.loss(s.model, batch)
    if type(loss) ~= "userdata" then
      core.raise(("pf.train: loss must return a tensor, got a %s"):format(type(loss)))
    end
    metrics, tokens = m or {}, batch.tokens
    trainer:accumulate(loss, 1 / s.accumulate)
  end)
  return metrics, tokens
end

-- mean of the metrics of several parts, weighted by their number of rows; parts = {{metrics, rows}, ...}
local function average(parts)
  local sum, weight = {}, {}
  for _, part in ipairs(parts) do
    for name, value in pairs(part[1]) do
      sum[name] = (sum[name] or 0) + value * part[2]
      weight[name] = (weight[name] or 0) + part[2]
    end
  end
  for name in pairs(sum) do sum[name] = sum[name] / weight[name] end
  return sum
end

--- Loss and metrics over a whole data set, without history, in batches of s.batch rows.
local function evaluate_set(s, set)
  local parts = {}
  for first = 1, set.n, s.batch do
    local rows = {}
    for i = first, math.min(first + s.batch - 1, set.n) do rows[#rows + 1] = i end
    core.step(function()
      core.no_grad(function()
        local loss, m = s.loss(s.model, set:batch(rows))
        local all = { loss = loss:item() }
        for name, value in pairs(m or {}) do all[name] = value end
        parts[#parts + 1] = { all, #rows }
      end)
    end)
  end
  return average(parts)
end

local function evaluation(s)
  local result
  if type(s.eval) == "function" then
    result = s.eval(s.model)
    if type(result) ~= "table" then core.raise("pf.train: eval must return a table of figures") end
  else
    result = evaluate_set(s, s.eval)
  end
  local named = {}
  for name, value in pairs(result) do named["eval_" .. name] = value end
  return named
end

local function sorted_keys(row, first)
  local keys, seen = {}, {}
  for _, name in ipairs(first) do
    if row[name] ~= nil then
      keys[#keys + 1], seen[name] = name, true
    end
  end
  local rest = {}
  for name in pairs(row) do
    if not seen[name] then rest[#rest + 1] = name end
  end
  table.sort(rest)
  return table.move(rest, 1, #rest, #keys + 1, keys)
end

-- of the rows and their order: a run may go on with no others
local function fingerprint(s)
  local rows = s.data.fingerprint and s.data:fingerprint() or s.data.n
  return ("%s/%d/%d/%d"):format(rows, s.seed, s.batch, s.accumulate)
end

-- the number of updates that a checkpoint holds
local function restore(s, trainer)
  local run = s.run
  if not (run and run.resuming and sys.exists(run.checkpoint)) then
    if run then run:start_log(0) end
    return 0
  end
  local state = json.decode(trainer:restore(run.checkpoint), run.checkpoint)
  if state.data ~= fingerprint(s) then
    core.refuse(("%s was made with other data rows; resume with the same"):format(run.checkpoint))
  end
  run:start_log(state.logged)
  run:note(("resuming %s after step %d"):format(run.dir, state.step))
  if state.stopped then
    s.steps = state.step
    run:note(("the training of %s had ended early, as its stop asked"):format(run.dir))
  end
  return state.step
end

local function save(s, trainer, step)
  if s.run then trainer:save(s.run.checkpoint, json.encode { step = step, logged = s.run:logged(),
    data = fingerprint(s), stopped = s.stopped }) end
end

local function log(s, step, info, metrics, timing)
  local row = { step = step, epoch = step * s.batch * s.accumulate / s.data.n, loss = info.loss,
    grad_norm = info.grad_norm, learning_rate = info.lr }
  if info.skipped then
    row.loss, row.grad_norm, row.skipped = nil, nil, info.what -- what is not finite has no place in JSON
  end
  for name, value in pairs(metrics) do
    if value == value and value < math.huge and value > -math.huge then row[name] = value end
  end
  if s.run then s.run:log(row, sorted_keys(row, { "step", "epoch", "loss", "grad_norm", "learning_rate" }), timing) end
  return row
end

local function progress_of(s, first)
  local progress = require "pofit.progress"
  return progress.new {
    total = s.steps, first = first, label = s.label, terminal = sys.isatty(2),
    width = function() return sys.width(2) end, clock = sys.clock,
    write = function(text) if not s.quiet then io.stderr:write(text) end end,
  }
end

local function one_update(s, trainer, order, step)
  local parts, tokens = {}, 0
  if s.data.at then s.data:at(step, s.model) end -- a data set that changes with the policy (pf.online)
  for part = 1, s.accumulate do
    local rows = order(step, part, s)
    local metrics, n = part_of(s, trainer, rows)
    parts[part], tokens = { metrics, #rows }, tokens + n
  end
  local lr
  if type(s.schedule) == "function" then
    lr = s.schedule(step)
    if type(lr) ~= "number" or lr ~= lr or lr < 0 then
      core.raise(("pf.train: schedule(%d) must return a learning rate, got %s"):format(step, tostring(lr)))
    end
  end
  return trainer:step(lr), average(parts), tokens
end

--- Train a model. Needs model, data (a data set: n and batch(rows)), loss (function(model, batch) -> loss, metrics)
--- and steps or epochs. The rest has defaults: lr, batch (rows of an update's part), accumulate (parts of an update),
--- schedule ("constant", "linear", "cosine" or function(step) -> rate), warmup (updates; below 1: a share of them),
--- optimizer ("adamw", "adamw_8bit": a quarter of its memory, "sgd"), weight_decay, clip, groups, seed, eval (a data
--- set or function(model) -> table) every eval_every steps, stop (function(figures, step) -> true to end early; figures
--- are eval_NAME of all that eval gave),
--- run (pf.run) for log and checkpoint, memory ("4GiB": what the process may take while it trains; layers and parts of
--- batches are computed again so that it fits).
---@return table result {steps=, loss=, metrics= of the last step}
local function train(o)
  local s = settings(o)
  local trainer = require "pofit.trainer" (s.model, {
    optimizer = s.optimizer, lr = s.lr, beta1 = s.beta1, beta2 = s.beta2, eps = s.eps, weight_decay = s.weight_decay,
    momentum = s.momentum, schedule = type(s.schedule) == "string" and s.schedule or "constant", warmup = s.warmup,
    steps = s.steps, clip = s.clip, bad_steps = s.bad_steps, groups = s.groups,
  })
  local first, last = restore(s, trainer), {}
  local order, bar = row_order(s.seed, s.data.n), progress_of(s, first)
  local used = require "pofit.memory".keep(s, trainer, order, function(text) bar:note(text) end)
  local _polled <close> = setmetatable({ sys.poll(true) }, { __close = function(was) sys.poll(was[1]) end })
  for step = first + 1, s.steps do
    local started = sys.clock()
    local info, metrics, tokens = one_update(s, trainer, order, step)
    local evaluated = s.eval and s.eval_every > 0 and (step % s.eval_every == 0 or step == s.steps)
    if evaluated then
      local figures = evaluation(s)
      for name, value in pairs(figures) do metrics[name] = value end
      if s.stop and s.stop(figures, step) then
        s.steps, s.stopped, bar.total = step, true, step
      end
    end
    if info.skipped then
      bar:note(("step %d skipped: %s is not finite; nothing was changed"):format(step, info.what))
    end
    if step % s.log_every == 0 or step == s.steps or evaluated or info.skipped then
      last = log(s, step, info, metrics, { step = step, seconds = sys.clock() - started, tokens = tokens })
    end
    bar:update { step = step, loss = info.loss, ["rewards/accuracies"] = metrics["rewards/accuracies"],
      ["rewards/margins"] = metrics["rewards/margins"], tokens = tokens }
    local stop = sys.interrupted()
    if stop or step == s.steps or step % s.checkpoint_every == 0 then save(s, trainer, step) end
    if stop and step < s.steps then
      bar:finish()
      if s.run then s.run:interrupted(step) end
      core.raise(("interrupted after step %d"):format(step))
    end
    if s.stopped then break end
  end
  bar:finish()
  used()
  if s.run then s.run:count { updates = s.steps } end
  return { steps = s.steps, loss = last.loss, metrics = last, updates = s.steps - first }
end

return train
