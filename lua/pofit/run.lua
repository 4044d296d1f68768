-- A run: the directory runs/NAME with everything that a training leaves behind.
--
--   config.json    the effective options        metrics.jsonl  a row a logged step, nothing that a clock decides
--   timing.jsonl   seconds and tokens a row     result.json    what was measured
--   model/         the trained model            report.html    all of it to look at
--   checkpoint.zst while it is unfinished
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"
local options = require "pofit.options"

local Run = {}
Run.__index = Run

local M = {}

local function say(run, text)
  if not run.quiet then io.stderr:write(text, "\n") end
end

-- an unfinished run of the same name is put aside, not lost
local function put_aside(run)
  local k = 1
  while sys.exists(("%s.unfinished-%d"):format(run.dir, k)) do k = k + 1 end
  local to = ("%s.unfinished-%d"):format(run.dir, k)
  local ok, why = os.rename(run.dir, to)
  if not ok then core.raise(why) end
  say(run, ("%s held an unfinished run; it is now %s (to go on with it, move it back and add --resume)"):format(
    run.dir, to))
end

local function config_of(opt)
  local keys, values = {}, {}
  for i, pair in ipairs(options.list(opt)) do
    keys[i], values[pair[1]] = pair[1], pair[2]
  end
  return json.object(values, keys)
end

--- Open runs/NAME for the options of a recipe. NAME is opt.name. With opt.resume the run goes on where its checkpoint
--- stands; without, it starts anew.
---@return table run
function M.open(opt)
  local run = setmetatable({ dir = "runs/" .. opt.name, opt = opt, quiet = opt.quiet, rows = {} }, Run)
  run.checkpoint = run.dir .. "/checkpoint.zst"
  run.clock = sys.clock()
  local finished = sys.exists(run.dir .. "/result.json")
  if opt.resume then
    if finished then core.raise(("%s is finished; there is nothing to resume"):format(run.dir)) end
    if not sys.is_dir(run.dir) then core.raise(("there is no run %s to resume"):format(run.dir)) end
    M.check_config(run)
  else
    if sys.exists(run.checkpoint) and not finished then put_aside(run) end
    for _, name in ipairs { "result.json", "checkpoint.zst", "metrics.jsonl", "timing.jsonl", "report.html" } do
      if sys.exists(run.dir .. "/" .. name) then sys.remove(run.dir .. "/" .. name) end
    end
    sys.mkdirs(run.dir)
    sys.write(run.dir .. "/config.json", json.encode(config_of(opt), { indent = 2 }) .. "\n")
  end
  if opt.threads and opt.threads > 0 then core.threads(opt.threads) end
  return run
end

--- A resumed run must have the options it was started with.
function M.check_config(run)
  local path = run.dir .. "/config.json"
  if not sys.exists(path) then core.raise(("%s is missing: this run cannot be resumed"):format(path)) end
  local old = json.decode(sys.read(path), path)
  for _, pair in ipairs(options.list(run.opt)) do
    local name, value = pair[1], pair[2]
    if name ~= "threads" and json.encode(old[name]) ~= json.encode(value) then
      core.raise(("--%s is %s, but %s was started with %s; resume with the same options"):format(
        name, json.encode(value), run.dir, json.encode(old[name])))
    end
  end
end

--- Start the log at `bytes` (0: anew); what a run wrote after its checkpoint is dropped, it will be written again.
function Run:start_log(bytes)
  local metrics, timing = self.dir .. "/metrics.jsonl", self.dir .. "/timing.jsonl"
  if bytes == 0 or not sys.exists(metrics) then
    sys.write(metrics, "")
    sys.write(timing, "")
    bytes = 0
  end
  if sys.size(metrics) < bytes then
    core.raise(("%s has %d bytes, its checkpoint was made at %d: it was changed"):format(metrics, sys.size(metrics),
      bytes))
  end
  sys.truncate(metrics, bytes)
  for text in sys.lines(metrics) do self.rows[#self.rows + 1] = json.decode(text, metrics) end
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
  if r.model then r.model:save(self.dir .. "/model") end
  local result, summary = compare(self, r.before, r.after)
  summary.seed, summary.seconds = self.opt.seed, sys.clock() - self.clock
  sys.write(self.dir .. "/report.html", require "pofit.report".write {
    title = r.title or self.opt.name, description = r.description, summary = summary,
    options = options.list(self.opt), metrics = self.rows, samples = samples_of(r.before, r.after), notes = r.notes,
  })
  sys.write(self.dir .. "/result.json", json.encode(result, { indent = 2 }) .. "\n")
  if sys.exists(self.checkpoint) then sys.remove(self.checkpoint) end
  self:note(("report: %s/report.html   model: %s/model"):format(self.dir, self.dir))
end

--- Ctrl-C: the step is done and the checkpoint written; say how to go on, and leave.
function Run:interrupted(step)
  local words = { "pofit", arg and arg[0] or "RECIPE" }
  for _, word in ipairs(arg or {}) do
    if word ~= "--resume" then words[#words + 1] = word:find("[^%w%-_=./,:]") and ("'%s'"):format(word) or word end
  end
  io.stderr:write(("\nstopped after step %d; the checkpoint is %s. To go on:\n  %s --resume\n"):format(
    step, self.checkpoint, table.concat(words, " ")))
  os.exit(130, true)
end

--- Run another recipe to its end, with options of its own: run.recipe("sft", {"--name", "base"}). A bare name is looked
--- for beside the present script, anything with a / is a path.
function M.recipe(name, words)
  local here = (arg and arg[0] or ""):match("^(.*/)") or ""
  local path = name:find("/") and name or here .. name .. ".lua"
  local f, why = loadfile(path)
  if not f then core.raise(why) end
  local outer = arg
  _G.arg = table.move(words, 1, #words, 1, { [0] = path })
  local ok, err = pcall(f)
  _G.arg = outer
  if not ok then error(err, 0) end
end

return setmetatable(M, { __call = function(_, opt) return M.open(opt) end })
