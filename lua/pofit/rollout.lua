-- pf.rollout: continuations from any prefix of an answer, judged, and kept on disk.
--
-- A cache is a folder with one zstd file for all that decides a draw but the prefix: model (by its weights), tokenizer,
-- options and seed. So one folder serves many models and settings, and what is read from it is never stale: the file
-- carries these words in full, and one that does not is put aside. Verdicts are kept with the samples only if the
-- task has an `id` (a text that names its settings and its rules); otherwise every text is judged anew.
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"
local chat = require "pofit.chat"

local DRAW <const> = { "n", "seed", "max_tokens", "temperature", "top_p", "top_k", "min_p", "stop", "stop_ids",
  "compute", "kv" }
local OTHER <const> = { "task", "cache", "quiet", "label", "run", "batch" }
local PORTION <const> = 250 -- prefixes sampled together
local FLUSH <const> = 10 -- seconds of sampling that a kill may lose

local known = {}
for _, list in ipairs { DRAW, OTHER } do
  for _, name in ipairs(list) do known[name] = true end
end

local function check_options(o)
  for name in pairs(o) do
    if not known[name] then
      local near = core.nearest(tostring(name), known, true)
      local hint = near and ("; did you mean %q?"):format(near) or ""
      core.raise(("rollout has no option %q%s"):format(tostring(name), hint))
    end
  end
end

-- ---- prefixes ----

local function fail(i, text) core.raise(("rollout: prefix %d: %s"):format(i, text)) end

-- ids of the prompt: what the model sees before the answer begins
local function prompt_ids(tok, prompt, i)
  if type(prompt) == "table" and math.type(prompt[1]) == "integer" then return prompt end
  if not tok then
    core.refuse("rollout: the model has no tokenizer (tokenizer.json in its directory); give prompts as ids")
  end
  if type(prompt) == "string" then return chat.encode(tok, prompt) end
  if chat.is_messages(prompt) then return tok:chat(prompt, { generation_prompt = true, tokenize = true }) end
  fail(i, ("prompt is a %s; it must be a text, a conversation or a list of ids"):format(type(prompt)))
end

local function join(a, b) return table.move(b, 1, #b, #a + 1, table.move(a, 1, #a, 1, {})) end

-- {problem=, prompt= ids, prefix= ids, ids= both, key=} of what the caller gave
local function read(tok, given, i)
  if type(given) == "string" then given = { prompt = given } end
  if type(given) ~= "table" then fail(i, ("is a %s, expected {problem=, ids=}"):format(type(given))) end
  local prompt = given.prompt or given.problem and given.problem.text
  if prompt == nil then fail(i, "has neither prompt nor problem") end
  local before, prefix = prompt_ids(tok, prompt, i), given.ids or {}
  local ids = join(before, prefix)
  local answer = given.problem and given.problem.answer
  return { problem = given.problem, prompt = before, prefix = prefix, ids = ids,
    key = table.concat(ids, " ") .. (answer ~= nil and "|" .. tostring(answer) or "") }
end

-- ---- the cache ----

local Cache = {}
Cache.__index = Cache

-- everything that decides a draw but the prefix, as text
local function words_of(model, o)
  local parts = { "rollout 1", "model " .. model:fingerprint() }
  if model.tokenizer then
    parts[#parts + 1] = "end " .. tostring(model.tokenizer.eos) .. " of " .. tostring(model.tokenizer.size)
  end
  for _, name in ipairs(DRAW) do
    if o[name] ~= nil then parts[#parts + 1] = name .. " " .. json.encode(o[name]) end
  end
  parts[#parts + 1] = "task " .. (o.task and o.task.id or "judged anew")
  return table.concat(parts, "; ")
end

local function read_cache(path, words)
  local lines = sys.lines(path)
  local head = json.decode(lines() or "", path)
  if head.words ~= words then core.raise("it was made for " .. tostring(head.words)) end
  local entries, order = {}, {}
  for text, line in lines do
    local entry = json.decode(text, path, line)
    entries[entry.key], order[#order + 1] = entry.samples, entry.key
  end
  if #order ~= head.entries then core.raise(("it has %d entries of %d"):format(#order, head.entries)) end
  return entries, order
end

local function open_cache(model, o)
  local words = words_of(model, o)
  local cache = setmetatable({ words = words, entries = {}, order = {}, verdicts = o.task and o.task.id ~= nil }, Cache)
  if not o.cache then return cache end
  sys.mkdirs(o.cache)
  cache.path = ("%s/%016x.zst"):format(o.cache, sys.hash(words))
  if sys.exists(cache.path) then
    local ok, entries, order = pcall(read_cache, cache.path, words)
    if ok then
      cache.entries, cache.order = entries, order
    elseif not o.quiet then
      io.stderr:write(("the cache %s cannot be used (%s); it is made anew\n"):format(cache.path, tostring(entries)))
    end
  end
  return cache
end

function Cache:put(key, samples)
  if not self.entries[key] then self.order[#self.order + 1] = key end
  self.entries[key], self.changed = samples, true
end

-- A sample as it is kept: ids, how it ended, how many bytes of its text a stop text left, and the verdict if it may be
-- kept. Its text is decoded again: not every text can be written as JSON.
local KEPT <const> = { "ids", "finish", "bytes", "correct", "answer", "reward" }

local function kept(sample, verdicts)
  local keys, values = {}, { ids = json.array(sample.ids), finish = sample.finish,
    bytes = sample.finish == "stop" and #sample.text or nil }
  if verdicts then values.correct, values.answer, values.reward = sample.correct, sample.answer, sample.reward end
  for _, name in ipairs(KEPT) do
    if values[name] ~= nil then keys[#keys + 1] = name end
  end
  return json.object(values, keys)
end

function Cache:flush()
  if not (self.path and self.changed) then return end
  local lines = { json.encode(json.object({ words = self.words, entries = #self.order }, { "words", "entries" })) }
  for _, key in ipairs(self.order) do
    local samples = {}
    for k, sample in ipairs(self.entries[key]) do samples[k] = kept(sample, self.verdicts) end
    lines[#lines + 1] = json.encode(json.object({ key = key, samples = json.array(samples) }, { "key", "samples" }))
  end
  sys.write_zst(self.path, table.concat(lines, "\n") .. "\n")
  self.changed = false
end

-- ---- sampling and judging ----

-- what ids add to the text of those before them, as model:generate has it
local function text_after(tok, before, ids)
  local start, all = tok:decode(before, { skip_special = true }), tok:decode(join(before, ids), { skip_special = true })
  return all:sub(1, #start) == start and all:sub(#start + 1) or tok:decode(ids, { skip_special = true })
end

local function judge(tok, task, prefix, sample)
  if not (task and prefix.problem) then return end
  local text = sample.text
  if #prefix.prefix > 0 then
    text = sample.finish == "stop" and text_after(tok, prefix.prompt, prefix.prefix) .. text
      or text_after(tok, prefix.prompt, join(prefix.prefix, sample.ids))
  end
  local verdict = task:verify(prefix.problem, text)
  sample.correct = verdict.correct and sample.finish ~= "length"
  sample.answer, sample.reward = verdict.answer, verdict.reward
end

-- sample the prefixes that the cache does not hold, in portions
local function fill(model, wanted, cache, o)
  local opts = { batch = o.batch }
  for _, name in ipairs(DRAW) do opts[name] = o[name] end
  local show, flushed = sys.isatty(2) and not o.quiet, sys.clock()
  for first = 1, #wanted, PORTION do
    if show then io.stderr:write(("\r%s %d/%d\27[K"):format(o.label or "sampling", first - 1, #wanted)) end
    local part, ids = table.move(wanted, first, math.min(first + PORTION - 1, #wanted), 1, {}), {}
    for i, prefix in ipairs(part) do ids[i] = prefix.ids end
    for i, samples in ipairs(model:generate(ids, opts)) do
      for _, sample in ipairs(samples) do
        sample.logp = nil
        judge(model.tokenizer, o.task, part[i], sample)
      end
      cache:put(part[i].key, samples)
    end
    if sys.clock() - flushed > FLUSH then
      cache:flush()
      flushed = sys.clock()
    end
  end
  if show then io.stderr:write("\r\27[K") end
  cache:flush()
end

local function copy(tok, prefix, sample)
  local text = sample.text
  if not text and tok then
    text = text_after(tok, prefix.ids, sample.ids)
    if sample.bytes then text = text:sub(1, sample.bytes) end
  end
  return { ids = table.move(sample.ids, 1, #sample.ids, 1, {}), text = text, finish = sample.finish,
    correct = sample.correct, answer = sample.answer, reward = sample.reward }
end

--- Continue each prefix n times (default 8), and judge the whole answers: {{ids=, text=, finish=, correct=, answer=,
--- reward=}, ...} a prefix; ids and text are the continuation's, the rest is as the task's verdict has it. A
--- continuation that was cut off by its length is not right, and counted. Equal prefixes are sampled once. The draw
--- depends on weights, prefix, options and seed alone; with the same cache folder nothing is sampled twice, and a run
--- that was killed goes on to the same bits.
---@param model table
---@param prefixes table[] {problem = one of the task's, ids = the answer's tokens so far (none)}, or {prompt = text,
---  conversation or ids, ids =}, or a text
---@param o? table n, task, seed, max_tokens, temperature, top_p, top_k, min_p, stop, stop_ids, compute, kv as
---  model:generate takes them; cache (folder), run (whose budget it counts), quiet, label, batch
---@return table[][] samples
---@return table counts samples, tokens, right, cut (by length), prefixes (different ones), cached (of them)
return function(model, prefixes, o)
  local given = o or {}
  check_options(given)
  o = setmetatable({ n = given.n or 8, seed = given.seed or 0 }, { __index = given })
  local cache, read_ones, wanted, asked = open_cache(model, o), {}, {}, {}
  local counts = { samples = 0, tokens = 0, right = 0, cut = 0, prefixes = 0, cached = 0 }
  for i, prefix in ipairs(prefixes) do
    local p = read(model.tokenizer, prefix, i)
    read_ones[i] = p
    if not asked[p.key] then
      asked[p.key], counts.prefixes = true, counts.prefixes + 1
      if cache.entries[p.key] then counts.cached = counts.cached + 1 else wanted[#wanted + 1] = p end
    end
  end
  fill(model, wanted, cache, o)
  local out = {}
  for i, p in ipairs(read_ones) do
    out[i] = {}
    for k, one in ipairs(cache.entries[p.key]) do
      local sample = copy(model.tokenizer, p, one)
      if not cache.verdicts then judge(model.tokenizer, o.task, p, sample) end
      out[i][k] = sample
      if asked[p.key] then
        counts.samples, counts.tokens = counts.samples + 1, counts.tokens + #sample.ids
        counts.right = counts.right + (sample.correct and 1 or 0)
        counts.cut = counts.cut + (sample.finish == "length" and 1 or 0)
      end
    end
    asked[p.key] = nil
  end
  if o.run then o.run:count { samples = counts.samples, tokens_sampled = counts.tokens } end
  return out, counts
end
