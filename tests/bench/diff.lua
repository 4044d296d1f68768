-- make bench-diff OLD=DIR: two builds of pofit on the same works, in turn in every round, who is first in turn, too.
-- Says times, their ratio round by round, and memory; never judges.
--   build/pofit tests/bench/diff.lua --old ../before/build [--only dpo] [--rounds N]
local pf = require "pofit"
local here = arg[0]:match "^(.*/)" or ""
local function part(name) return dofile(here .. name .. ".lua") end
local works, figures = part "works", part "figures"

local opt = pf.options {
  "Two builds of pofit, interleaved.",
  { "old", nil, "the other program, or the directory that holds it or its build/", type = "string", required = true },
  { "only", {}, "works whose names hold one of these" },
  { "rounds", 5, "how often each does a work", min = 1 },
  { "layers", 0, "of the models, fewer for a trial; 0: their own number", min = 0 },
  { "dir", "build/bench", "where models and scratch files are" },
}

local function program()
  for _, path in ipairs { opt.old, opt.old .. "/pofit", opt.old .. "/build/pofit" } do
    if pf.sys.is_file(path) then return path end
  end
  error(("--old %s: there is no pofit there"):format(opt.old))
end
local builds = { part "measure"(opt, program()), part "measure"(opt, arg[-1]) } -- the old one, the new one

local LINE <const> = "%-40s %10s %10s %8s %14s %9s %9s  %s"

local function milliseconds(s) return s and ("%.2f ms"):format(1e3 * s) or "" end

local function compare(work)
  local sessions, firsts, parts, summaries = {}, {}, { {}, {} }, {}
  for i, build in ipairs(builds) do
    sessions[i], firsts[i] = build.pofit(work)
    if not sessions[i] then
      return print(("%-40s the %s one: %s"):format(work.name, i == 1 and "old" or "new", firsts[i]))
    end
  end
  for round = 1, opt.rounds do
    for k = 1, 2 do
      local i = (round + k) % 2 + 1
      parts[i][round] = assert(sessions[i]:ask())
    end
  end
  for i = 1, 2 do
    sessions[i]:close()
    summaries[i] = figures.summary(firsts[i], parts[i])
  end
  local old, new = summaries[1], summaries[2]
  local ratio, low, high = figures.ratio(old.all_seconds, new.all_seconds)
  local same = figures.same(old.results, new.results, 0)
  local function memory(s) return ("%.1f MB"):format((s.bytes or s.peak or 0) / 1e6) end
  print(LINE:format(work.name, milliseconds(old.seconds), milliseconds(new.seconds),
    ratio and ("%.3f x"):format(ratio) or "", ratio and ("%.3f to %.3f"):format(low, high) or "", memory(old),
    memory(new), same == false and "other results" or ""))
  io.stdout:flush()
end

pf.sys.mkdirs(opt.dir)
print(LINE:format("work", "old", "new", "new/old", "", "memory", "", ""))
for _, work in ipairs(works.chosen(opt.only, function(work) return not work.long and not work.group end)) do
  compare(work)
end
