-- The claims of the papers, tested: make claims, or
--   pofit tests/claims/run.lua [--only NAME,...] [--seeds 1,2,3,4,5] [--quick] [--jobs 2]
--
-- A claim is a file tests/claims/NAME.lua that returns
--   {row = number of the paper, title =, paper =, better =, worse = (names of the two arms), metric =,
--    minimum = the least difference that counts (a share, or in `unit`), relation = "better" | "not worse",
--    settings = {...}, quick = {what a quick run sets otherwise},
--    run = function(seed, c) ... return {better = values, worse = values (one an item, the same items in both),
--      budget = {better = {samples =, updates =, ...}, worse = ...},
--      curves = {title =, better = {{step, value}, ...}, worse =}} end,
--    check = function(results, c) identities that must hold, quick or not; raises if they do not}
-- (fields: verdict.lua; what c offers: context.lua). Files without `run` in what they return are not claims.
--
-- Both arms start from the same weights and see the same data, as much of it as the claim's budget says. What is
-- finished is not run again unless a file of tests/claims or recipes/ has changed. Outcome: build/claims.json, .md and
-- .html.
local here = arg[0]:match("^(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local pf = require "pofit"
local verdict, context, page = require "verdict", require "context", require "page"
local root = here .. "../../"

local opt = pf.options {
  "The claims of the papers: train both sides, compare, say whether the claim is reproduced.",
  { "only", {}, "names of claims, or their beginnings (none: all)", of = "string" },
  { "seeds", {}, "seeds (none: 1 to 5, or 1 in a quick run)", of = "integer" },
  { "quick", false, "seconds a claim, one seed: identities and directions" },
  { "jobs", 1, "processes, each with one thread", min = 1 },
  { "worker", 0, "for the driver itself: the number of this process", min = 0 },
  { "out", "build/claims", "what the outcome is called: .json, .md and .html are added" },
  { "list", false, "name the claims, and stop" },
}
local SELF <const> = { run = true, verdict = true, context = true, page = true, control = true }
local seeds = #opt.seeds > 0 and opt.seeds or opt.quick and { 1 } or { 1, 2, 3, 4, 5 }
local RESULTS <const> = "runs/claims/results"

-- ---- the claims ----

local function files_of(dir)
  local list = {}
  for path in assert(io.popen(("ls %s*.lua"):format(dir))):lines() do list[#list + 1] = path end
  return list
end

-- of all that decides a result and is not the library
local function fingerprint()
  local h = 0
  for _, dir in ipairs { here, root .. "recipes/" } do
    for _, path in ipairs(files_of(dir)) do h = pf.sys.hash(pf.sys.read(path), h) end
  end
  return ("%016x"):format(h)
end

local function wanted(name)
  for _, start in ipairs(opt.only) do
    if name:sub(1, #start) == start then return true end
  end
  return #opt.only == 0
end

local function load_claims()
  local list = {}
  for _, path in ipairs(files_of(here)) do
    local name = path:match("([^/]+)%.lua$")
    if not SELF[name] and wanted(name) then
      local claim = dofile(path)
      if type(claim) == "table" and claim.run then
        verdict.check(claim, path)
        list[#list + 1] = { name = name, claim = claim }
      end
    end
  end
  if #list == 0 then error("no claim is called " .. table.concat(opt.only, " or "), 0) end
  return list
end

-- ---- running ----

local key = fingerprint()

local function path_of(name, seed)
  return ("%s/%s%s-%d.json"):format(RESULTS, opt.quick and "quick-" or "", name, seed)
end

-- a result that is there and was made by the same files
local function finished(name, seed)
  local path = path_of(name, seed)
  if not pf.sys.exists(path) then return nil end
  local result = pf.json.decode(pf.sys.read(path), path)
  return result.key == key and result or nil
end

local function numbers(list)
  local out = {}
  for i, x in ipairs(list) do out[i] = x == true and 1 or x == false and 0 or x end
  return pf.json.array(out)
end

local function run_one(entry, seed)
  local c = context(entry.claim, seed, opt.quick, root)
  local clock = pf.sys.clock()
  local result = entry.claim.run(seed, c)
  result.better, result.worse, result.key, result.seconds = numbers(result.better), numbers(result.worse), key,
    pf.sys.clock() - clock
  if entry.claim.check then entry.claim.check(result, c) end
  pf.sys.write(path_of(entry.name, seed), pf.json.encode(result))
  io.stderr:write(("%s, seed %d: %s %s, %s %s  in %s\n"):format(entry.name, seed, entry.claim.better,
    pf.stats.number(pf.stats.mean(result.better)), entry.claim.worse, pf.stats.number(pf.stats.mean(result.worse)),
    pf.stats.duration(result.seconds)))
end

-- Work off what no other process has taken. Each begins with other seeds, so that they seldom wait for each other.
local function work(claims, number)
  local first = (number - 1) * #seeds // opt.jobs
  for i = 0, #seeds - 1 do
    local seed = seeds[(first + i) % #seeds + 1]
    for _, entry in ipairs(claims) do
      local lock = pf.sys.lock(path_of(entry.name, seed) .. ".lock")
      if lock and not finished(entry.name, seed) then
        local ok, why = xpcall(run_one, debug.traceback, entry, seed)
        if not ok then io.stderr:write(("%s, seed %d: %s\n"):format(entry.name, seed, tostring(why))) end
      end
    end
  end
end

local function quoted(word) return "'" .. tostring(word):gsub("'", "'\\''") .. "'" end

local function spawn()
  local handles = {}
  for k = 1, opt.jobs do
    local words = { "OMP_NUM_THREADS=1", quoted(arg[-1]), quoted(arg[0]), "--worker", k, "--jobs", opt.jobs, "--seeds",
      table.concat(seeds, ",") }
    if #opt.only > 0 then words[#words + 1] = "--only " .. quoted(table.concat(opt.only, ",")) end
    if opt.quick then words[#words + 1] = "--quick" end
    handles[k] = assert(io.popen(table.concat(words, " ") .. " >/dev/null", "r"))
  end
  for _, handle in ipairs(handles) do handle:close() end
end

-- ---- the outcome ----

local function add_up(sum, budget)
  for arm, amounts in pairs(budget or {}) do
    sum[arm] = sum[arm] or {}
    for name, n in pairs(amounts) do sum[arm][name] = (sum[arm][name] or 0) + n end
  end
end

local function outcome_of(entry, missing)
  local o = { name = entry.name, claim = entry.claim, seeds = {}, budget = {}, seconds = 0 }
  local better, worse, curves = {}, {}, nil
  for _, seed in ipairs(seeds) do
    local r = finished(entry.name, seed)
    if r then
      table.insert(o.seeds, seed)
      table.insert(better, r.better)
      table.insert(worse, r.worse)
      add_up(o.budget, r.budget)
      o.seconds = o.seconds + r.seconds
      if r.curves then
        curves = curves or { title = r.curves.title, better = {}, worse = {} }
        table.insert(curves.better, r.curves.better)
        table.insert(curves.worse, r.curves.worse)
      end
    else
      missing[#missing + 1] = ("%s with seed %d"):format(entry.name, seed)
    end
  end
  if #o.seeds == 0 then return nil end
  o.curves = curves
  o.s = pf.stats.clustered(worse, better, { crossed = entry.claim.crossed })
  o.verdict, o.texts = verdict.of(entry.claim, o.s, opt.quick), verdict.texts(entry.claim, o.s)
  return o
end

local function as_json(o)
  local s, keys = o.s, { "name", "row", "title", "paper", "metric", "unit", "better", "worse", "minimum", "relation",
    "seeds", "items", "mean_better", "mean_worse", "difference", "interval", "by_seed", "sd", "budget", "seconds",
    "verdict" }
  local values = { name = o.name, row = o.claim.row, title = o.claim.title, paper = o.claim.paper,
    metric = o.claim.metric, unit = o.claim.unit, better = o.claim.better, worse = o.claim.worse,
    minimum = o.claim.minimum, relation = o.claim.relation or "better", seeds = pf.json.array(o.seeds), items = s.n,
    mean_better = s.after, mean_worse = s.before, difference = s.difference, interval = pf.json.array { s.low, s.high },
    by_seed = pf.json.array(s.by_seed), sd = s.sd, budget = o.budget, seconds = o.seconds, verdict = o.verdict }
  local there = {}
  for _, name in ipairs(keys) do
    if values[name] ~= nil then there[#there + 1] = name end
  end
  return pf.json.object(values, there)
end

local function report(outcomes)
  local list = {}
  for i, o in ipairs(outcomes) do
    list[i] = as_json(o)
    print(("%-24s %s"):format(o.name, o.claim.title))
    print(("%24s %s %s, %s %s: %s, asked: %s; %d seeds: *%s*"):format("", o.claim.better, o.texts.better, o.claim.worse,
      o.texts.worse, o.texts.difference, o.texts.minimum, #o.seeds, o.verdict))
    for _, arm in ipairs { "better", "worse" } do
      local text = page.budget_text(o.budget[arm])
      if text ~= "" then print(("%24s %s: %s"):format("", o.claim[arm], text)) end
    end
  end
  local dir = opt.out:match("^(.*)/")
  if dir then pf.sys.mkdirs(dir) end
  local note = ("%s, seeds %s%s"):format(os.date "!%Y-%m-%d", table.concat(seeds, ", "),
    opt.quick and "; a quick run, which shows identities and directions only" or "")
  pf.sys.write(opt.out .. ".json", pf.json.encode(pf.json.array(list), { indent = 2 }) .. "\n")
  pf.sys.write(opt.out .. ".md", page.markdown(outcomes))
  pf.sys.write(opt.out .. ".html", page.html(outcomes, note))
  print(("%s.json, %s.md, %s.html"):format(opt.out, opt.out, opt.out))
end

local claims = load_claims()
if opt.list then
  for _, entry in ipairs(claims) do print(entry.name, entry.claim.title) end
  return
end
pf.sys.mkdirs(RESULTS)
if opt.worker > 0 then return work(claims, opt.worker) end
if opt.jobs > 1 then spawn() else work(claims, 1) end
local outcomes, missing = {}, {}
for _, entry in ipairs(claims) do outcomes[#outcomes + 1] = outcome_of(entry, missing) end
report(outcomes)
if #missing > 0 then
  io.stderr:write("not finished: ", table.concat(missing, ", "), "\n")
  os.exit(1, true)
end
