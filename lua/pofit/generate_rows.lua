-- Answers to all prompts of a file, as rows: pofit generate --data.
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"
local sampling = require "pofit.sampling"
local encode = require "pofit.encode"
local prompts = require "pofit.prompts"

local M = {}

-- the columns that an answer adds; text: does it have any? Without a tokenizer it is ids alone
local function columns(opt, text)
  local out = { text and "completion" or "ids", "finish" }
  if opt.n > 1 then table.insert(out, 1, "sample") end
  if opt.logp and text then out[#out + 1] = "ids" end
  if opt.logp then out[#out + 1] = "logp" end
  return out
end

-- float32 has seven digits
local function short(list)
  local out = {}
  for i, x in ipairs(list) do out[i] = tonumber(("%.7g"):format(x)) + 0.0 end
  return json.array(out)
end

--- A row and an answer as a line of JSON: the row's columns in their order, then completion, finish and what was asked
--- for.
---@return string
function M.line(row, sample, k, opt)
  local keys, values = {}, {}
  for name, value in pairs(row) do keys[#keys + 1], values[name] = name, value end
  local answer = { sample = k, completion = sample.text, finish = sample.finish, ids = json.array(sample.ids) }
  answer.logp = opt.logp and short(sample.logp) or nil
  for _, name in ipairs(columns(opt, sample.text)) do keys[#keys + 1], values[name] = name, answer[name] end
  return json.encode(json.object(values, keys)) .. "\n"
end

-- ids of the prompts that the model can take; the others get an error
local function usable(model, portion)
  local ids, entries, context, vocabulary = {}, {}, model.max_position_embeddings, model.vocab_size
  for _, entry in ipairs(portion) do
    local ok, list = true, nil
    if not entry.error then ok, list = pcall(model.prompt_ids, model, entry.prompt) end
    local why = not ok and tostring(list)
    if ok and list and #list == 0 then why = "the prompt is empty" end
    if ok and list then ok, list = pcall(encode.checked, list, vocabulary) end
    why = why or not ok and tostring(list)
    if ok and list and #list >= context then
      why = ("the prompt has %d tokens, which leaves nothing of the model's context of %d"):format(#list, context)
    end
    if why then entry.error = entry.where .. ": " .. why end
    if not entry.error then ids[#ids + 1], entries[#entries + 1] = list, entry end
  end
  return ids, entries
end

local function answer(model, portion, opt, opts)
  local ids, entries = usable(model, portion)
  local lines, tokens = {}, 0
  local result = #ids > 0 and model:generate(ids, opts) or {}
  for i, entry in ipairs(entries) do
    for k, sample in ipairs(result[i]) do
      lines[#lines + 1] = M.line(entry.row, sample, k, opt)
      tokens = tokens + #sample.ids
    end
  end
  return lines, tokens
end

-- what decides the rows: a run is resumed only if all of it is the same
local function job(opt, model, hash)
  local keys, values = {}, {}
  local function put(name, value) keys[#keys + 1], values[name] = name, value end
  put("model", model:fingerprint())
  put("data", ("%016x"):format(hash))
  for _, name in ipairs { "adapter", "dtype", "column", "chat", "system", "n", "logp", "batch", "max_tokens",
    "temperature", "greedy", "top_k", "top_p", "min_p", "stop", "seed", "compute", "kv" } do
    put(name, opt[name] == nil and "" or opt[name])
  end
  return values, keys
end

local function progress_of(opt, total, first)
  return require("pofit.progress").new {
    total = total, first = first, label = "generate", write = function(text) io.stderr:write(text) end,
    terminal = sys.isatty(2), width = function() return sys.width(2) end, clock = sys.clock, quiet = opt.quiet,
  }
end

-- count a portion's unusable rows, and name them
local function complain(state, portion, progress)
  for _, entry in ipairs(portion) do
    if entry.error then
      state.bad = state.bad + 1
      progress:note(entry.error)
    end
  end
end

-- portion by portion, until all is done or the user asks to stop; what is unfinished then is dropped
local function work(opt, model, file, state, total)
  local opts, progress = sampling.of(opt), progress_of(opt, total, state.done)
  opts.n = opt.n
  opts.on_token = function() return not sys.interrupted() end
  local next_entry = prompts.rows(opt.data, opt, columns(opt, model.tokenizer))
  for _ = 1, state.done do next_entry() end
  repeat
    local portion = {}
    repeat portion[#portion + 1] = next_entry() until #portion == opt.batch or state.done + #portion >= total
    if #portion == 0 then break end
    local lines, tokens = answer(model, portion, opt, opts)
    if sys.interrupted() then break end
    complain(state, portion, progress)
    state.done = state.done + #portion
    file:add(lines, state, { "done", "bad" })
    progress:update { step = state.done, tokens = tokens }
  until state.done >= total or sys.interrupted()
  progress:finish()
end

--- Answer the rows of opt.data into opt.out. Ends the program with 1 if rows could not be used, with 130 on Ctrl-C.
function M.run(opt)
  if not sys.exists(opt.data) then core.raise(("--data %s: there is no such file"):format(opt.data)) end
  if not sys.is_file(opt.data) then core.raise(("--data %s is no file"):format(opt.data)) end
  local total, hash = prompts.count(opt.data)
  if total == 0 then core.raise(opt.data .. " has no rows") end
  if opt.resume and opt.out ~= "" and sys.exists(opt.out) and not sys.exists(opt.out .. ".part") then
    return sampling.say("%s is finished; there is nothing to resume", opt.out)
  end
  local model = sampling.model(opt)
  local values, keys = job(opt, model, hash)
  local file = require("pofit.outfile").open(opt.out, values, keys, opt.resume)
  local state = file.state or { done = 0, bad = 0 }
  sys.poll(true)
  work(opt, model, file, state, total)
  if state.done < total then
    sampling.say("interrupted after %d of %d rows%s", state.done, total,
      file.part and (": they are in %s; the same command with --resume goes on"):format(file.part) or "")
    os.exit(130, true)
  end
  file:finish()
  if state.bad > 0 then
    sampling.say("%d of %d rows could not be used (named above)", state.bad, total)
    os.exit(1, true)
  end
end

return M
