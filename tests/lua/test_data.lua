-- Data sets: every kind of rows against TRL's own trainers, files, truncation, bad input.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pf = require "pofit"
local json, sys = pf.json, pf.sys

local dir = os.tmpname()
os.remove(dir)
sys.mkdirs(dir)

local function file(name, text)
  sys.write(dir .. "/" .. name, text)
  return dir .. "/" .. name
end

local function all(rows)
  local out = {}
  for row, line in rows do out[#out + 1] = { row, line } end
  return out
end

local testdata = os.getenv "POFIT_TESTDATA"
local stories = testdata and testdata .. "/data/stories260K"

-- a tokenizer of the letters, without BOS
local letters = {}
for c in ("abcdefghijklmnopqrstuvwxyz .?!:\n"):gmatch "." do letters[#letters + 1] = c end
pf.characters(dir .. "/letters", letters)
local tok = pf.tokenizer.load(dir .. "/letters")

-- ---- against TRL ----

if not (stories and sys.exists(stories .. "/tokenizer.json")) then
  check.skip("kinds of rows as TRL encodes them", "POFIT_TESTDATA has no data/stories260K")
else
  -- the tokenizer with a chat template of its own
  local function with_template(template)
    local at = dir .. "/templated"
    sys.mkdirs(at)
    for _, name in ipairs { "tokenizer.json", "tokenizer_config.json" } do
      sys.write(at .. "/" .. name, sys.read(stories .. "/" .. name))
    end
    if template then sys.write(at .. "/chat_template.jinja", template) else sys.remove(at .. "/chat_template.jinja") end
    return pf.tokenizer.load(at)
  end

  -- 1 where a token is scored, as TRL's labels: the first is never predicted, whatever they say
  local function scored(s)
    local out = {}
    for i = 1, #s.ids do
      out[i] = i > 1 and i >= s.scored_from and (not s.score or s.score[i] ~= 0) and 1 or 0
    end
    return out
  end

  local function wanted(s)
    local out = {}
    for i = 1, #s.ids do
      out[i] = i > 1 and (s.scored and s.scored[i] or not s.scored and i > s.prompt and 1) or 0
    end
    return out
  end

  for _, case in ipairs(json.decode(sys.read(check.root .. "tests/golden/data_trl.json")).cases) do
    check.test("as TRL: " .. case.name, function()
      local o = case.options
      local set = pf.data.load(case.rows, with_template(o.template), { max_length = o.max_length,
        truncation = o.max_length and "keep_start", assistant_only = o.assistant_only })
      check.eq(set.n, #case.want)
      for i, want in ipairs(case.want) do
        for k, sequence in ipairs(want) do
          local got, what = set.rows[i].answers[k], ("row %d, sequence %d"):format(i, k)
          check.eq(got.ids, table.move(sequence.ids, 1, #sequence.ids, 1, {}), what)
          check.eq(scored(got), wanted(sequence), what)
        end
      end
      if case.name:find "rewriting" then check.matches(set:summary(), "in 2 the template writes") end
      if case.name == "preference" then check.eq(set.straddles, 2) end
    end)
  end
end

os.execute("rm -rf " .. dir)
check.done()
