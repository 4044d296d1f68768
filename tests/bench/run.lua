-- make bench: pofit against its peers on the same work, interleaved. For each work every one starts a process, does the
-- work once, uncounted, and then in every round once more, one after the other. Prints rows as works are done, and what
-- pofit is held to; writes bench.csv, bench.md and bench.svg.
--   build/pofit tests/bench/run.lua [--list] [--all] [--only dpo,sampling] [--rounds N]
-- POFIT_BENCH_PYTHON: a python3 with torch, transformers, trl, peft. POFIT_BENCH_PRELOAD: libraries that the peer tuned
-- by hand is to load first (tcmalloc, an OpenMP). POFIT_BENCH_LLAMA: the directory of llama.cpp's llama-batched-bench.
local pf = require "pofit"
local here = arg[0]:match "^(.*/)" or ""
local function part(name) return dofile(here .. name .. ".lua") end
local works, figures, limits, rows, material = part "works", part "figures", part "limits", part "rows", part "material"

local opt = pf.options {
  "pofit against its peers, interleaved.",
  { "list", false, "only say what there is" },
  { "all", false, "the long works, too" },
  { "only", {}, "works whose names hold one of these, long ones too" },
  { "peers", {}, "only these peers; none: pofit alone" },
  { "rounds", 3, "how often each does a work", min = 1 },
  { "layers", 0, "of the models, fewer for a trial; 0: their own number", min = 0 },
  { "dir", "build/bench", "where models and scratch files are" },
  { "out", "build/bench", "bench.csv, bench.md and bench.svg begin so" },
}
local measure = part "measure"(opt, arg[-1])

local chosen = works.chosen(opt.only, function(work) return opt.all or not work.long end)
if #opt.peers > 0 then
  for _, work in ipairs(chosen) do
    local kept, asked = {}, " " .. table.concat(opt.peers, " ") .. " "
    for _, who in ipairs(work.peers) do kept[#kept + 1] = asked:find((" %s "):format(who), 1, true) and who or nil end
    work.peers = kept
  end
end
if #chosen == 0 then
  error(("no work has such a name: %s; --list says what there is"):format(table.concat(opt.only, ", ")))
end

if opt.list then
  for _, work in ipairs(works) do
    print(("%-40s %-20s %s"):format(work.name, table.concat(work.peers, " "), work.long and "long" or ""))
  end
  return
end

local start = pf.sys.clock()
local function say(...)
  io.stderr:write(("[%4.0f s] %s\n"):format(pf.sys.clock() - start, table.concat({ ... }, " ")))
end

-- one round of all that do a work. run: the work and, by who does it, sessions, first figures, those of the rounds and
-- what is missing
local function turn(run, round)
  local work, missing = run.work, run.missing
  for _, who in ipairs { "pofit", table.unpack(work.peers) } do
    if not missing[who] and not run.sessions[who] then
      local session, first = measure[who](work)
      if session then
        run.sessions[who], run.firsts[who], run.parts[who] = session, run.firsts[who] or first, run.parts[who] or {}
      else
        missing[who] = first
      end
    end
    local session = run.sessions[who]
    if session then
      if work.cold then measure.forget(work) end
      run.parts[who][round], missing[who] = session:ask()
      say(("%s: round %d, %s"):format(work.name, round, who))
      if work.large or missing[who] then
        session:close()
        run.sessions[who] = nil
      end
    end
  end
end

-- works that are compared with each other take turns, too; fills in what was found of each
local function measured(runs)
  for round = 1, opt.rounds * (runs[1].work.often or 1) do
    for _, run in ipairs(runs) do
      if round <= (run.work.rounds or round) then turn(run, round) end
    end
  end
  for _, run in ipairs(runs) do
    for _, session in pairs(run.sessions) do session:close() end
    run.found = {}
    for who, first in pairs(run.firsts) do
      if not run.missing[who] then run.found[who] = figures.summary(first, run.parts[who]) end
    end
  end
  return runs
end

-- the works of a list in sets that are measured at a time: each by itself, but those of a group that take turns
local function together(list)
  local sets = {}
  for i, work in ipairs(list) do
    local joins = i > 1 and work.group and work.group == list[i - 1].group and work.in_turn
    if not joins then sets[#sets + 1] = {} end
    table.insert(sets[#sets], { work = work, sessions = {}, firsts = {}, parts = {}, missing = {} })
  end
  return sets
end

pf.sys.mkdirs(opt.dir)
print(rows.heading())
local all, groups, differ = {}, {}, false
local function report(run)
  local work = run.work
  for _, row in ipairs(rows.of(work, run.found, run.missing)) do
    print(rows.line(row))
    all[#all + 1], differ = row, differ or row.same == false
  end
  if work.group and run.found.pofit then
    groups[work.group] = groups[work.group] or {}
    table.insert(groups[work.group], { work = work, summary = run.found.pofit,
      tokens = work.prompts and material.tokens(work) })
  end
end

for _, runs in ipairs(together(chosen)) do
  say(runs[1].work.name)
  for _, run in ipairs(measured(runs)) do report(run) end
  io.stdout:flush()
end

print("\n" .. rows.legend .. "\n")
for _, group in ipairs { "cost", "memory", "1.1B", "size" } do
  local sentence = limits.sentence(group, groups[group] or {})
  if sentence then print(sentence) end
end
pf.sys.write(opt.out .. ".csv", rows.csv(all))
pf.sys.write(opt.out .. ".md", rows.markdown(all))
local picture = part "chart".svg(all)
if picture then pf.sys.write(opt.out .. ".svg", picture) end
say("written: " .. opt.out .. ".csv, .md" .. (picture and ", .svg" or ""))
if differ then error "a peer's result is not ours: see the column same" end
