-- A run: the directory runs/NAME with everything that a training leaves behind.
--
--   config.json    the effective options        metrics.jsonl  a row a logged step, nothing that a clock decides
--   timing.jsonl   seconds and tokens a row     result.json    what was measured
--   model/         the trained model            report.html    all of it to look at
--   checkpoint.zst while it is unfinished
--   trace.json     with --profile: what was computed when
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"
local options = require "pofit.options"

local Run = {}

-- The directory is made when it is first asked for: a run that fails before, on its model or its data, leaves what an
-- earlier run of the same name wrote as it was.
function Run.__index(run, name)
  if name ~= "dir" then return Run[name] end
  rawset(run, "dir", run.place)
  if not run.resuming then Run.begin(run) end
  return run.place
end

local M = {}

local function say(run, text)
  if not run.quiet then io.stderr:write(text, "\n") end
end

-- an earlier run of the same name is put aside, not lost
local function put_aside(run, suffix, note)
  local k = 1
  while sys.exists(run.place .. suffix .. k) do k = k + 1 end
  local to = run.place .. suffix .. k
  local ok, why = os.rename(run.place, to)
  if not ok then core.refuse(why) end
  say(run, note:format(run.place, to))
end

local function config_of(opt)
  local keys, values = {}, {}
  for i, pair in ipairs(options.list(opt)) do
    keys[i], values[pair[1]] = pair[1], pair[2]
  end
  return json.object(values, keys)
end

-- one process a run: two would mix their files
local function lock(run)
  sys.mkdirs("runs")
  rawset(run, "lock", sys.lock("runs/." .. run.opt.name .. ".lock"))
  if not run.lock then core.refuse(("%s is in use by another process"):format(run.place)) end
end

function Run:begin()
  if sys.exists(self.place .. "/result.json") then
    put_aside(self, ".", "%s is kept as %s")
  elseif sys.exists(self.place .. "/checkpoint.zst") or sys.exists(self.place .. "/round-1/checkpoint.zst")
    or sys.exists(self.place .. "/round-1/done.json") then
    put_aside(self, ".unfinished-",
      "%s held an unfinished run; it is now %s (to go on with it, move it back and add --resume)")
  end
  sys.mkdirs(self.place)
  sys.write(self.place .. "/config.json", json.encode(config_of(self.opt), { indent = 2 }) .. "\n")
end

--- Open runs/NAME for the options of a recipe. NAME is opt.name. With opt.resume the run goes on where its checkpoint
--- stands; without, it starts anew.
---@return table run
function M.open(opt)
  if not opt.name:find("^[%w_][%w_.-]*$") then
    core.refuse(("--name %q: a name is made of letters, digits, '_', '-' and '.'"):format(opt.name))
  end
  if opt.name:find("^base%-%-?%d+$") and not M.outer then
    core.refuse(("--name %s: runs/%s is a base policy's; choose another name"):format(opt.name, opt.name))
  end
  if rawget(opt, "memory") then require "pofit.memory".limit(opt.memory) end -- what is no size is told first
  local run = setmetatable({ place = "runs/" .. opt.name, opt = opt, quiet = opt.quiet, rows = {}, budget = {},
    resuming = opt.resume }, Run)
  run.checkpoint = run.place .. "/checkpoint.zst"
  run.clock = sys.clock()
  lock(run)
  if not M.outer then M.opened = run end
  if opt.resume then
    if sys.exists(run.place .. "/result.json") then
      core.refuse(("%s is finished; there is nothing to resume"):format(run.place))
    end
    run.resuming = sys.exists(run.place .. "/config.json")
    if run.resuming then
      M.check_config(run)
    else
      say(run, ("there is nothing in %s yet: starting from the beginning"):format(run.place))
    end
  end
  if opt.threads and opt.threads > 0 then core.threads(opt.threads) end
  if rawget(opt, "profile") then run.profile = require "pofit.profile".start() end
  return run
end

-- an option that was left open is nil, and null in the file
local function as_text(value) return (value == nil or value == json.null) and "not given" or json.encode(value) end

-- options that a resumed run may change: for "memory", the plan tells whether the result stays the same
local CHANGEABLE <const> = { threads = true, memory = true }

--- A resumed run must have the options it was started with.
function M.check_config(run)
  local path = run.dir .. "/config.json"
  if not sys.exists(path) then core.refuse(("%s is missing: this run cannot be resumed"):format(path)) end
  local old = json.decode(sys.read(path), path)
  for _, pair in ipairs(options.list(run.opt)) do
    local name, value = pair[1], pair[2]
    local was, is = as_text(old[name]), as_text(value)
    if not CHANGEABLE[name] and was ~= is then
      core.refuse(("--%s is %s, but when %s was started it was %s; resume with the same options"):format(name, is,
        run.dir, was))
    end
  end
  run.memory_before = old.memory ~= json.null and old.memory or nil
end

--- Start the log at `bytes` (0: anew); what a run wrote after its checkpoint is dropped, it will be written again.
function Run:start_log(bytes)
  local metrics, timing = self.dir .. "/metrics.jsonl", self.dir .. "/timing.jsonl"
  if bytes == 0 then
    sys.write(metrics, "")
    sys.write(timing, "")
  elseif not sys.exists(metrics) then
    core.refuse(("%s is missing: this run cannot be resumed"):format(metrics))
  end
  if sys.size(metrics) < bytes then
    core.refuse(("%s has %d bytes, its checkpoint was made at %d: it was changed"):format(metrics, sys.size(metrics),
      bytes))
  end
  sys.truncate(metrics, bytes)
  for text, line in sys.lines(metrics) do self.rows[#self.rows + 1] = json.decode(text, metrics, line) end
  self.metrics, self.timing = sys.append(metrics), sys.append(timing)
end

--- Bytes of metrics.jsonl so far.
function Run:logged()
  return sys.size(self.dir .. "/metrics.jsonl")
end

--- Log one row of metrics, and what the clock says beside it.
function Run:log(row, keys, timing)
  self.rows[#self.rows + 1] = row
  self.metrics:write(json.encode(json.object(row, keys)) .. "\n")
  if timing then self.timing:write(json.encode(timing) .. "\n") end
end

function Run:note(text) say(self, text) end

--- A part of the run with a folder, metrics and a checkpoint of its own, for pf.train; budget and options are the
--- run's.
---@param name string
---@return table part also with cache, a folder for pf.rollout that all parts share
function Run:part(name)
  local part = setmetatable({ place = self.dir .. "/" .. name, opt = self.opt, quiet = self.quiet, rows = {},
    budget = self.budget, resuming = self.resuming, memory_before = self.memory_before, clock = self.clock,
    cache = self.dir .. "/rollouts", profile = self.profile }, Run)
  rawset(part, "dir", part.place)
  part.checkpoint = part.place .. "/checkpoint.zst"
  sys.mkdirs(part.place)
  return part
end

--- Take a part's metrics into the run's own, with the part's number as "round" and steps that count on.
function Run:adopt(part, round)
  local offset = #self.rows > 0 and self.rows[#self.rows].step or 0
  local lines = {}
  for _, row in ipairs(part.rows) do
    local copy, keys = { step = offset + row.step, round = round }, { "step", "round" }
    local rest = {}
    for key, value in pairs(row) do
      if key ~= "step" then copy[key], rest[#rest + 1] = value, key end
    end
    table.sort(rest)
    self.rows[#self.rows + 1] = json.object(copy, table.move(rest, 1, #rest, 3, keys))
  end
  for i, row in ipairs(self.rows) do lines[i] = json.encode(row) .. "\n" end
  sys.write(self.dir .. "/metrics.jsonl", table.concat(lines))
  sys.write(self.dir .. "/timing.jsonl", (sys.exists(self.dir .. "/timing.jsonl")
    and sys.read(self.dir .. "/timing.jsonl") or "") .. sys.read(part.dir .. "/timing.jsonl"))
end

--- Add to what the run has used, {samples = 8, ...}: result.json tells it as "budget". A run that was resumed counts
--- what the whole cost, so whoever takes something from a cache counts it as if it were new.
---@param amounts table<string, number>
function Run:count(amounts)
  for name, n in pairs(amounts) do self.budget[name] = (self.budget[name] or 0) + n end
end

-- A score is {name, value of each problem, unit = nil for a share}. What it was and is, as text.
local function score_text(score, s)
  local stats = require "pofit.stats"
  if score.unit then
    local after = ("%.4f %s"):format(stats.mean(score[2]), score.unit)
    return s and ("%.4f -> %s (%+.4f [%+.4f, %+.4f])"):format(s.before, after, s.difference, s.low, s.high) or after
  end
  if not s then return stats.percent(stats.mean(score[2])) end
  return ("%s -> %s (%s)"):format(stats.percent(s.before), stats.percent(s.after),
    stats.points(s.difference, s.low, s.high))
end

-- result.json and the report's figures from what was measured before (or nil) and after
local function compare(run, before, after)
  local stats = require "pofit.stats"
  local keys, values, summary = {}, {}, { comparisons = {}, more = {}, problems = #after.scores[1][2] }
  local function put(name, value) keys[#keys + 1], values[name] = name, value end
  for i, score in ipairs(after.scores) do
    local name = score[1]
    local s = before and stats.paired(before.scores[i][2], score[2], { seed = run.opt.seed })
    if s then put(name .. "_before", s.before) end
    put(name .. (s and "_after" or ""), stats.mean(score[2]))
    if s then put(i == 1 and "interval" or name .. "_interval", json.array { s.low, s.high }) end
    if i == 1 then put("problems", summary.problems) end
    local text = score_text(score, s)
    run:note(("%-18s %s"):format(name, text))
    if s and not score.unit then
      table.insert(summary.comparisons,
        { label = name, before = s.before, after = s.after, low = s.low, high = s.high })
    else
      table.insert(summary.more, { name, text })
    end
  end
  put("seed", run.opt.seed)
  local names = {}
  for name in pairs(run.budget) do names[#names + 1] = name end
  table.sort(names)
  put("budget", json.object(run.budget, names))
  return json.object(values, keys), summary
end

-- five answers before and after, side by side
local function samples_of(before, after)
  local list = {}
  for i = 1, math.min(5, #(after.answers or {})) do
    local a, b = after.answers[i], before and before.answers[i] or {}
    list[i] = { prompt = a.prompt, before = b.text, after = a.text, before_ok = b.ok, after_ok = a.ok,
      before_mark = b.mark, after_mark = a.mark }
  end
  return list
end

--- Write the end of the run: the model, result.json and report.html from what pf.evaluate measured before (may be nil)
--- and after; then the checkpoint may go.
---@param r {model: table, before: table?, after: table, title: string?, description: string?, notes: any}
function Run:finish(r)
  local written = r.model and require "pofit.adapter".save(r.model, self.dir, rawget(self.opt, "export_gguf"))
  local result, summary = compare(self, r.before, r.after)
  summary.seed, summary.seconds = self.opt.seed, sys.clock() - self.clock
  sys.write(self.dir .. "/report.html", require "pofit.report".write {
    title = r.title or self.opt.name, description = r.description, summary = summary,
    options = options.list(self.opt), metrics = self.rows, samples = samples_of(r.before, r.after), notes = r.notes,
  })
  sys.write(self.dir .. "/result.json", json.encode(result, { indent = 2 }) .. "\n")
  if sys.exists(self.checkpoint) then sys.remove(self.checkpoint) end
  self:note(("report: %s/report.html   %s"):format(self.dir, written or ""))
  if self.profile then self.profile:finish(self.dir) end
end

-- the command that started this, to be typed again
local function command(words)
  local first = 0
  while words[first - 1] do first = first - 1 end
  local list = {}
  for i = first, #words do
    local word = words[i]
    if word ~= "--resume" then list[#list + 1] = word:find("[^%w%-_=./,:]") and ("'%s'"):format(word) or word end
  end
  return table.concat(list, " ")
end

--- Ctrl-C: the step is done and the checkpoint written; say how to go on, and leave.
function Run:interrupted(step)
  io.stderr:write(("\nstopped after step %d; the checkpoint is %s. To go on:\n  %s%s\n"):format(
    step, self.checkpoint, command(M.outer or arg or {}), M.outer and "" or " --resume"))
  if self.profile then self.profile:finish(self.dir) end
  os.exit(130, true)
end

--- Ctrl-C elsewhere: say how to go on with what the program's run has kept so far, if it is not finished.
function M.go_on()
  local run = M.opened
  if run and rawget(run, "dir") and not sys.exists(run.dir .. "/result.json") then
    io.stderr:write(("%s keeps what is done. To go on:\n  %s --resume\n"):format(run.dir, command(arg or {})))
  end
end

--- Run another recipe to its end, with options of its own: run.recipe("sft", {"--name", "base"}). A bare name is looked
--- for beside the present script, anything with a / is a path.
function M.recipe(name, words)
  local here = (arg and arg[0] or ""):match("^(.*/)") or ""
  local path = name:find("/") and name or here .. name .. ".lua"
  local f, why = loadfile(path)
  if not f then core.refuse(why) end
  local outer = arg
  M.outer = M.outer or outer
  _G.arg = table.move(words, 1, #words, 1, { [0] = path })
  local ok, err = pcall(f)
  _G.arg = outer
  if M.outer == outer then M.outer = nil end
  if not ok then error(err, 0) end
end

return setmetatable(M, { __call = function(_, opt) return M.open(opt) end })
