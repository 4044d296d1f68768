-- pf.data: rows from files or from memory, tokenised once, as data sets that make batches.
--
-- A data set has n rows; set:batch{3, 1, 7} is the forest batch of those rows. Rows that cannot be used, or that were
-- cut, are counted and named (set.dropped, set.changed, set:summary()), never lost silently. The kinds of rows are
-- described in lua/pofit/data/row.lua.
--
-- Options of all sets: max_length (tokens of prompt and answer; the context of model at most), truncation ("drop",
-- "keep_start", "keep_end"), max_prompt_length, max_completion_length, model; and for conversations date (what a
-- template that asks is told), variables (for the template), template (the name of another than the default).
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"
local read = require "pofit.data.read"
local row_of = require "pofit.data.row"
local set_of = require "pofit.data.set"

local options = require "pofit.data.options"

local M = { jsonl = read.jsonl, rows = read.rows, kind = row_of.kind, options = options.list,
  settings = options.settings, given = options.rows }

--- Write preference rows (text, or samples with text) as JSON lines: prompt, chosen, rejected, and whose answer was cut
--- off before its end: chosen_finished, rejected_finished = false. Rows with a prefix keep its ids and the answers'.
---@param path string
---@param rows table[]
function M.save(path, rows)
  local lines = {}
  for i, row in ipairs(rows) do
    local values, keys = {}, {}
    local function put(name, value)
      if value ~= nil then keys[#keys + 1], values[name] = name, value end
    end
    for _, name in ipairs { "prompt", "chosen", "rejected" } do
      local value = row[name]
      if row.prefix and name ~= "prompt" and type(value) == "table" and value.ids then
        put(name, json.object({ ids = json.array(value.ids), text = value.text }, { "ids", value.text and "text" }))
      else
        put(name, type(value) == "table" and value.text or value)
      end
      if name == "prompt" and row.prefix then put("prefix", json.array(row.prefix)) end
      if type(value) == "table" and value.finish == "length" then put(name .. "_finished", false) end
    end
    lines[i] = json.encode(json.object(values, keys)) .. "\n"
  end
  sys.write(path, table.concat(lines))
end

-- a row without the columns that are null, which is how files that were tables say that a row has no such column
local function without_nulls(row)
  local out = {}
  for name, value in pairs(row) do
    if value ~= json.null then out[name] = value end
  end
  return out
end

-- walk rows given as a list or an iterator; f(row, where)
local function each_row(rows, f)
  if type(rows) == "function" then
    for row, line, path, where in rows do
      f(without_nulls(row), where or line and ("%s:%d"):format(path, line) or "row")
    end
    return
  end
  if type(rows) ~= "table" then
    core.raise(("expected rows: a list or pf.data.rows(path), got a %s"):format(type(rows)))
  end
  for i, row in ipairs(rows) do
    if type(row) ~= "table" then core.raise(("row %d is a %s, expected a table of fields"):format(i, type(row))) end
    f(without_nulls(row), "row " .. i)
  end
end

local known = { max_length = true, truncation = true, max_prompt_length = true, max_completion_length = true,
  model = true, eos = true, date = true, variables = true, template = true, assistant_only = true, separator = true,
  kind = true, prefer = true }

local function check_options(opts)
  for name in pairs(opts) do
    if not known[name] then
      local near = core.nearest(tostring(name), known, true)
      local hint = near and ("; did you mean %q?"):format(near) or ""
      core.raise(("data has no option %q%s"):format(tostring(name), hint))
    end
  end
end

local function build(kind, what, rows, tok, opts)
  opts = opts or {}
  check_options(opts)
  local set = set_of.new(kind, tok, opts)
  each_row(rows, function(row, where) set:add(row_of.read(row, kind, where), where) end)
  if set.n == 0 then core.refuse(("no %s left: %s"):format(what, set:summary())) end
  return set
end

--- Preference rows: {prompt=, chosen=, rejected=} as text (TRL's standard form), messages (conversational; the prompt
--- may be implicit) or samples with ids (from generate: never tokenised again). With prefix= (ids) both answers go on
--- from there, and only what follows it is scored. chosen_finished or rejected_finished = false: that answer was cut
--- off, and gets no EOS.
---@return table set
function M.preference(rows, tok, opts) return build("preference", "preference rows", rows, tok, opts) end

--- Rows {prompt=, completion=} for supervised training; a label (true or false) makes them unpaired preferences (KTO):
--- the batch then has batch.label, a list of 1 and 0.
---@return table set
function M.completion(rows, tok, opts)
  opts = opts or {}
  check_options(opts)
  local set, kind = set_of.new("completion", tok, opts), nil
  each_row(rows, function(row, where)
    kind = kind or row.label ~= nil and "unpaired" or "completion"
    if kind == "completion" and row.label ~= nil then kind = "unpaired" end
    set:add(row_of.read(row, kind, where), where)
  end)
  if set.n == 0 then core.refuse(("no rows left: %s"):format(set:summary())) end
  return set
end

--- Rows {text=} or {messages=}: every token is scored, or with opts.assistant_only those that the assistant says.
---@return table set
function M.language(rows, tok, opts) return build("language", "rows", rows, tok, opts) end

--- Rows {prompt=}: set:prompt(i) is the ids of a prompt, for sampling. Such a set makes no batches.
---@return table set
function M.prompts(rows, tok, opts) return build("prompt", "prompts", rows, tok, opts) end

--- Rows {prompt=, completions=, labels=}: answers in steps, each right or wrong. opts.separator follows each step
--- ("\n" unless given).
---@return table set
function M.steps(rows, tok, opts) return build("steps", "rows of steps", rows, tok, opts) end

--- Rows {prompt=, answers = {{completion=, score= or rank= or correct=}, ...}}.
---@return table set
function M.ranked(rows, tok, opts) return build("ranked", "rows of answers", rows, tok, opts) end

--- Rows to imitate: {prompt=, completion=}, {text=} or {messages=}, as the first row has it; of messages, what the
--- assistant says.
---@return table set
function M.supervised(rows, tok, opts)
  local more = {}
  for name, v in pairs(opts or {}) do more[name] = v end
  more.assistant_only, more.prefer = true, "completion"
  local set, kind = M.load(rows, tok, more)
  if kind ~= "completion" and kind ~= "unpaired" and kind ~= "language" then
    local where = set.rows[1].where
    row_of.fail(where, ("%s: a row of %s; expected prompt and completion, text, or messages"):format(where, kind))
  end
  return set
end

local makers = { preference = M.preference, completion = M.completion, unpaired = M.completion, language = M.language,
  prompt = M.prompts, steps = M.steps, ranked = M.ranked }

-- what rows lack, each with the rows' places: { text = "with ...", "a.jsonl:1", ... }
local function lacks_of(list, kind)
  local out, by_text = {}, {}
  for _, entry in ipairs(list) do
    local text = row_of.lack(entry[1], kind)
    if text and not by_text[text] then
      by_text[text] = { text = text }
      out[#out + 1] = by_text[text]
    end
    if text then table.insert(by_text[text], entry[2]) end
  end
  return out
end

--- A set of whatever kind the first row is of, or of opts.kind; returns the kind, too. set.lacks: what rows lack to be
--- of the kind that their fields point at.
---@return table set, string kind
function M.load(rows, tok, opts)
  opts = opts or {}
  local list, kind = {}, opts.kind
  each_row(rows, function(row, where) list[#list + 1] = { row, where } end)
  if not list[1] then core.refuse("there are no rows") end
  kind = kind or row_of.kind(list[1][1], opts.prefer)
  if not makers[kind] then
    local lack = row_of.lack(list[1][1], kind)
    row_of.fail(list[1][2], ("%s: these fields make no kind of row: %s (TRL has prompt, chosen, rejected, completion, "
      .. "label, text, messages, completions, labels)%s"):format(list[1][2], row_of.names(list[1][1]),
      lack and "; " .. lack or ""))
  end
  local i = 0
  local set = makers[kind](function()
    i = i + 1
    if list[i] then return list[i][1], nil, nil, list[i][2] end
  end, tok, opts)
  set.lacks = opts.kind and {} or lacks_of(list, kind)
  return set, kind
end

return M
