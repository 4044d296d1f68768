-- pofit inspect data: what a model would be trained on.
local M = {
  summary = "rows as a model reads them, and what is wrong with them",
  options = {
    "Shows rows of data as a model reads them: tokens, where the answer begins, what is scored («...»), how it ends. "
      .. "Then what may be wrong: repeated rows, equal and nearly equal pairs, empty and over-long answers, boundaries "
      .. "inside of tokens, templates that rewrite. Nothing is changed.",
    { "file", nil, "data: .jsonl, .json, .csv, also .zst; several with weights: a.jsonl:2,b.csv", type = "string",
      required = true, bare = true },
    { "model", nil, "directory or GGUF file of the model, or of its tokenizer", type = "string", required = true,
      alias = "-m" },
    { "rows", {}, "numbers of the rows to show (without: the first two); 0 for none", of = "integer", min = 0 },
    { "tokens", 400, "tokens of a sequence to show at most", min = 1 },
    { "type", "auto", "kind of the rows; auto: as the first one has it", choices = { "auto", "language", "prompt",
      "completion", "unpaired", "preference", "steps", "ranked" } },
    { "columns", "", "names in the file for the fields: prompt=question,chosen=good" },
    { "max_length", 0, "tokens of prompt and answer; 0 for the model's context", min = 0 },
    { "max_prompt_length", 0, "tokens of the prompt, cut at its beginning; 0 for no limit", min = 0 },
    { "max_completion_length", 0, "tokens of an answer, cut at its end; 0 for no limit", min = 0 },
    { "truncation", "drop", "what happens to longer rows", choices = { "drop", "keep_start", "keep_end" } },
    { "assistant_only", false, "in conversations without prompt, score only what the assistant says" },
    { "date", "", "what a chat template that writes the date is told: YYYY-MM-DD" },
  },
}

local function positive(n) return n > 0 and n or nil end

local function load(opt)
  local pf = require "pofit"
  local tok = pf.tokenizer.load(opt.model)
  local rows = pf.data.rows(opt.file, { columns = opt.columns ~= "" and opt.columns or nil })
  local context = require("pofit.facts").context(opt.model)
  local set, kind = pf.data.load(rows, tok, {
    kind = opt.type ~= "auto" and opt.type or nil, max_length = positive(opt.max_length) or context,
    max_prompt_length = positive(opt.max_prompt_length), max_completion_length = positive(opt.max_completion_length),
    truncation = opt.truncation, assistant_only = opt.assistant_only, date = opt.date ~= "" and opt.date or nil,
  })
  return set, kind
end

-- how a sequence ends, and how much of it there is
local function caption(set, s)
  local scored = require("pofit.data.truncate").scored(s)
  local eos = set.tok.eos or set.eos
  local ending = not eos and "the tokenizer names no end token" or s.ids[#s.ids] == eos and "ends with the end token"
    or "does not end with the end token"
  return ("%d tokens, %d scored, %s"):format(#s.ids, scored, ending)
end

local function show_row(set, kind, number, opt, paint)
  local painter = require "pofit.data.paint"
  local name_of = require("pofit.data.survey").answer_name
  local row = set.rows[number]
  local out = { paint("title", ("row %d  %s  %s"):format(number, kind, row.where)) }
  for _, name in ipairs { "prompt", "completion", "rewrites", "straddles" } do
    for _, where in ipairs(set.changed[name]) do
      if where == row.where then out[1] = out[1] .. paint("warn", "  [" .. M.CHANGED[name] .. "]") end
    end
  end
  if row.label ~= nil then out[1] = out[1] .. ("  label %s"):format(row.label) end
  for j, s in ipairs(row.answers) do
    local extra = row.score and ("  score %g"):format(row.score[j]) or ""
    out[#out + 1] = ("  %s: %s%s"):format(name_of(set.kind, j), caption(set, s), extra)
    out[#out + 1] = painter.tokens(set.tok, s, row.boundary, paint, opt.tokens)
  end
  if not row.answers[1] then
    out[#out + 1] = ("  prompt: %d tokens"):format(#row.prompt)
    out[#out + 1] = painter.tokens(set.tok, { ids = row.prompt, scored_from = #row.prompt + 1 }, nil, paint, opt.tokens)
  end
  return table.concat(out, "\n") .. "\n"
end

M.CHANGED = { prompt = "prompt cut", completion = "answer cut", rewrites = "the template rewrites",
  straddles = "boundary inside of a token" }

-- the first places of a list, by the names of their files alone
local function some(list)
  local shown = {}
  for i = 1, math.min(#list, 4) do shown[i] = list[i]:gsub("[^ ]*/", "") end
  return table.concat(shown, ", ") .. (#list > 4 and ", ..." or "")
end

local function figures(found, set, kind)
  local out = { ("  %-10s %8s %8s %8s %8s %8s   tokens"):format("length", "min", "median", "mean", "95 %", "max") }
  for _, part in ipairs(found.lengths) do
    local s = part.spread
    out[#out + 1] = ("  %-10s %8d %8.0f %8.1f %8.0f %8d"):format(part.name, s.min, s.median, s.mean, s.p95, s.max)
  end
  if set.kind == "preference" then
    out[#out + 1] = ("  chosen is the longer answer in %.0f %% of the pairs"):format(100 * found.longer / set.n)
  elseif kind == "unpaired" then
    out[#out + 1] = ("  %d of %d are labelled right"):format(found.right, set.n)
  end
  return out
end

local SAYINGS <const> = {
  { "dropped", "empty", "left out: an empty answer" },
  { "dropped", "too_long", "left out: longer than %d tokens" },
  { "dropped", "nothing_left", "left out: cutting to %d tokens leaves nothing to learn" },
  { "changed", "prompt", "prompt cut" },
  { "changed", "completion", "answer cut off" },
  { "changed", "straddles", "boundary of prompt and answer inside of a token" },
  { "changed", "rewrites", "the template writes the beginning differently when an answer follows" },
  { "found", "repeated", "the same as an earlier row" },
  { "found", "identical", "equal answers in a pair" },
  { "found", "near", "nearly equal answers in a pair (90 %% of the tokens)" },
  { "found", "contrary", "the contrary of another pair" },
}

local function findings(found, set)
  local out, from = {}, { dropped = set.dropped, changed = set.changed, found = found }
  local function say(n, text, list)
    if n > 0 then out[#out + 1] = ("%7d  %s%s"):format(n, text, list and ": " .. some(list) or "") end
  end
  for _, lack in ipairs(set.lacks) do say(#lack, lack.text, lack) end
  for _, saying in ipairs(SAYINGS) do
    local list = from[saying[1]][saying[2]]
    if #list > 0 then say(#list, saying[3]:format(math.tointeger(set.max_length) or 0), list) end
  end
  say(found.same_prompt, "the prompt of an earlier row")
  for j = 1, 2 do
    local name = require("pofit.data.survey").answer_name(set.kind, j)
    say(j == 1 and found.no_eos[name] or j == 2 and set.kind == "preference" and found.no_eos[name] or 0,
      name .. " without an end token")
  end
  return out
end

function M.run(opt)
  local sys = require "pofit.sys"
  local painter, survey = require "pofit.data.paint", require "pofit.data.survey"
  local paint = painter.painter(sys.isatty(1) and not os.getenv "NO_COLOR")
  local set, kind = load(opt)
  for _, number in ipairs(#opt.rows > 0 and opt.rows or { 1, set.n > 1 and 2 or 0 }) do
    if number > set.n then
      require("pofit.core").raise(("there is no row %d: %d rows were kept"):format(number, set.n))
    end
    if number > 0 then print(show_row(set, kind, number, opt, paint)) end
  end
  local found = survey.survey(set)
  print(paint("title", ("%d rows kept, %s"):format(set.n, kind)))
  if kind == "prompt" then
    print("  prompts alone hold nothing to learn: DPO needs chosen and rejected, supervised fine-tuning completion")
  end
  print(table.concat(figures(found, set, kind), "\n"))
  local list = findings(found, set)
  print(#list > 0 and paint("title", "to look at") .. "\n" .. table.concat(list, "\n") or "nothing to look at")
  if set.dated then
    print(set.date and "the chat template writes the date " .. set.date
      or "the chat template writes today's date: pin it with --date")
  end
end

return M
