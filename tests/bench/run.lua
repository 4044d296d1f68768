-- make bench: pofit against its peers on the same work, interleaved: in every round each work is measured by pofit and
-- by each of its peers, every measurement in a process of its own. Figures are medians of all timed repeats, with the
-- spread (largest less smallest, of the median). Writes build/bench.csv and prints a table.
--   build/pofit tests/bench/run.lua [--rounds N] [--only dpo,sampling]
-- POFIT_BENCH_PYTHON: a python3 with torch, transformers, trl and peft. POFIT_BENCH_PRELOAD: libraries that it is to
-- load first (tcmalloc, an OpenMP). POFIT_BENCH_LLAMA: the directory of llama.cpp's llama-batched-bench.
local pf = require "pofit"
local here = arg[0]:match "^(.*/)" or ""
local works, material = dofile(here .. "works.lua"), dofile(here .. "material.lua")

local opt = pf.options {
  "pofit against its peers, interleaved.",
  { "rounds", 3, "how often each is measured", min = 1 },
  { "repeats", 2, "in each measurement", min = 1 },
  { "only", {}, "works whose names hold one of these" },
  { "layers", 30, "of the model; fewer for a trial", min = 1 },
  { "dir", "build/bench", "where the model and the jobs are" },
  { "csv", "build/bench.csv", "what to write" },
}
local program = arg[-1]
local python = os.getenv "POFIT_BENCH_PYTHON" or "python3"
local llama = os.getenv "POFIT_BENCH_LLAMA"

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

-- the words as a command; returns what it prints, or nil and the end of what it complains of
local function run(...)
  local errors = opt.dir .. "/errors"
  local words = {}
  for i, word in ipairs { ... } do words[i] = quote(tostring(word)) end
  local p = io.popen(table.concat(words, " ") .. " 2>" .. quote(errors))
  local out = p:read "a"
  if p:close() then return out end
  local last = "it failed"
  for line in io.lines(errors) do
    if line:find "%S" then last = line end
  end
  return nil, last
end

local function last_json(out)
  local last
  for line in out:gmatch "[^\n]+" do
    if line:find "^{" then last = line end
  end
  return pf.json.decode(last or error("no figures in: " .. out))
end

local function file_name(work) return work.name:gsub("[^%w]+", "-") end

local measure = {}

function measure.pofit(work)
  if work.kind == "startup" then
    local start = pf.sys.clock()
    for _ = 1, 20 do run(program, "-e", "") end
    return { seconds = { (pf.sys.clock() - start) / 20 } }
  end
  local out, why = run(program, here .. "ours.lua", "--work", work.name, "--dir", opt.dir, "--layers", opt.layers,
    "--repeats", opt.repeats, "--threads", opt.threads)
  return out and last_json(out), why
end

local function with_python(what)
  return function(work)
    local path = ("%s/%s.json"):format(opt.dir, file_name(work))
    pf.sys.write(path, pf.json.encode { work = work, rows = material.rows(work), repeats = opt.repeats,
      model = material.model(opt.dir, opt.layers), threads = opt.threads })
    local preload = os.getenv "POFIT_BENCH_PRELOAD"
    local out, why = run("env", preload and "LD_PRELOAD=" .. preload or "POFIT=", python, here .. "peer.py", what, path)
    return out and last_json(out), why
  end
end

measure.trl, measure.torch = with_python "trl", with_python "torch"

-- generation alone: its prompt is 8 tokens, of which pofit's figure holds the time too
function measure.llama(work)
  if not llama then return nil, "POFIT_BENCH_LLAMA is not set" end
  local gguf = ("%s/model-%d.gguf"):format(opt.dir, opt.layers)
  if not pf.sys.exists(gguf) then
    local ok, why = run(program, "convert", material.model(opt.dir, opt.layers), "--out", gguf)
    if not ok then return nil, why end
  end
  local seconds, peak = {}, nil
  for i = 1, opt.repeats do
    local out, why = run("env", "LD_LIBRARY_PATH=" .. llama, "sh", "-c", [["$@" & p=$!
      while [ -e /proc/$p ]; do grep VmHWM /proc/$p/status 2>/dev/null || break; sleep 0.2; done; wait $p]], "sh",
      llama .. "/llama-batched-bench", "-m", gguf, "-c", work.answers * (work.prompt + work.answer),
      "-npp", work.prompt,
      "-ntg", work.answer, "-npl", work.answers, "--output-format", "jsonl",
      "-t", opt.threads > 0 and opt.threads or 2)
    if not out then return nil, why end
    seconds[i] = last_json(out).t_tg
    for kib in out:gmatch "VmHWM:%s+(%d+)" do peak = math.max(peak or 0, tonumber(kib) * 1024) end
  end
  return { seconds = seconds, peak = peak }
end

-- ---- figures ----

local function median(list)
  table.sort(list)
  local n = #list
  return n % 2 == 1 and list[(n + 1) // 2] or (list[n // 2] + list[n // 2 + 1]) / 2
end

local function summary(parts)
  local s = { seconds = {}, cpu = {}, flops = parts[1].flops, loss = parts[1].loss, peak = 0, rate = {}, rate_cpu = {} }
  for _, part in ipairs(parts) do
    table.move(part.seconds, 1, #part.seconds, #s.seconds + 1, s.seconds)
    for _, spent in ipairs(part.cpu or {}) do s.cpu[#s.cpu + 1] = spent end
    s.peak = math.max(s.peak, part.peak or 0)
    s.rate[#s.rate + 1], s.rate_cpu[#s.rate_cpu + 1] = part.rate, part.rate_cpu
  end
  s.median = median(s.seconds)
  s.spread = (s.seconds[#s.seconds] - s.seconds[1]) / s.median
  for _, name in ipairs { "rate", "rate_cpu", "cpu" } do s[name] = #s[name] > 0 and median(s[name]) or nil end
  return s
end

local function wanted(name)
  for _, word in ipairs(opt.only) do
    if name:find(word, 1, true) then return true end
  end
  return #opt.only == 0
end

local function cell(format, value) return value and value ~= 0 and format:format(value) or "" end

local columns = "%-34s %-6s %9s %6s %8s %8s %8s %7s %7s %9s %9s"
local csv = { "work,who,seconds,spread,ratio,cpu_seconds,gflop,share_of_sgemm,share_of_sgemm_by_cpu,peak_bytes,loss" }

local function row(name, who, s, ours)
  local ratio = ours and s.median / ours.median
  local share = s.rate and s.flops and s.flops / s.median / 1e9 / s.rate
  local share_cpu = s.rate_cpu and s.flops and s.flops / s.cpu / 1e9 / s.rate_cpu
  print(columns:format(ours and "" or name, who, ("%.3f s"):format(s.median), ("%.0f %%"):format(100 * s.spread),
    cell("%.2f x", ratio), cell("%.2f s", s.cpu), cell("%.1f", s.flops and s.flops / 1e9),
    cell("%.0f %%", share and 100 * share), cell("%.0f %%", share_cpu and 100 * share_cpu),
    cell("%.0f MB", s.peak / 1e6), cell("%.6f", s.loss)))
  csv[#csv + 1] = ('"%s",%s,%.6g,%.4f,%s,%s,%s,%s,%s,%s,%s'):format(name, who, s.median, s.spread,
    cell("%.4f", ratio), cell("%.4g", s.cpu), cell("%.6g", s.flops and s.flops / 1e9), cell("%.4f", share),
    cell("%.4f", share_cpu), cell("%d", s.peak // 1), cell("%.8f", s.loss))
end

-- ---- the rounds ----

local chosen = {}
for _, work in ipairs(works) do
  if wanted(work.name) then chosen[#chosen + 1] = work end
end
if #chosen == 0 then error "no work has such a name" end
pf.sys.mkdirs(opt.dir)
material.model(opt.dir, opt.layers)
collectgarbage()

local function say(text)
  if pf.sys.isatty(2) then io.stderr:write(("\r%-78s\r%s"):format("", text)) end
end

local found, missing = {}, {}

local function report(work)
  local ours = found[work.name .. "/pofit"] and summary(found[work.name .. "/pofit"])
  if ours then
    row(work.name, "pofit", ours)
  else
    print(("%-34s pofit  failed: %s"):format(work.name, missing[work.name .. "/pofit"]))
  end
  for _, who in ipairs(work.peers) do
    local key = work.name .. "/" .. who
    if found[key] and ours then
      row(work.name, who, summary(found[key]), ours)
    else
      print(("%-34s %-6s is missing: %s"):format("", who, missing[key] or "pofit's figure"))
    end
  end
  io.stdout:flush()
end

print(columns:format("work", "who", "seconds", "spread", "ratio", "cpu", "GFLOP", "of peak", "by cpu", "memory",
  "loss"))
for round = 1, opt.rounds do
  for _, work in ipairs(chosen) do
    for _, who in ipairs { "pofit", table.unpack(work.peers) } do
      local key = work.name .. "/" .. who
      say(("round %d: %s"):format(round, key))
      local part, why
      if not missing[key] then part, why = measure[who](work) end
      if part then
        found[key] = found[key] or {}
        table.insert(found[key], part)
      else
        missing[key] = missing[key] or why
      end
    end
    say ""
    if round == opt.rounds then report(work) end
  end
end
print [[

seconds   median of the timed repeats; spread: largest less smallest, of the median
ratio     the peer's time over pofit's
GFLOP     pofit: what products need, by its profile; torch and trl: what they do, by FlopCounterMode
cpu       seconds of all processors together, which other users of the machine disturb less
of peak   GFLOP over seconds, of the rate of a 1024 x 1024 x 1024 product measured in the same run; by cpu: both over
          the processors' seconds
loss      after one update]]
pf.sys.write(opt.csv, table.concat(csv, "\n") .. "\n")
