-- What the commands that sample share: their options, and writing what comes.
local core = require "pofit.core"
local sys = require "pofit.sys"

local M = {}

--- The options of sampling, with the defaults of a command.
---@param default { temperature: number, min_p: number, max_tokens: integer }
---@return table[] declarations as for pf.options
function M.options(default)
  return {
    { "max_tokens", default.max_tokens, "new tokens at most; 0: as many as the context has room for", min = 0,
      alias = "-n n_predict max_new_tokens" },
    { "temperature", default.temperature, "0: always the likeliest token", min = 0, alias = "temp" },
    { "greedy", false, "the same as --temperature 0" },
    { "top_k", 0, "sample from the K likeliest tokens; 0: from all", min = 0 },
    { "top_p", 1.0, "sample from the fewest tokens that have this probability together", above = 0, max = 1 },
    { "min_p", default.min_p, "leave out tokens less likely than this share of the likeliest", min = 0, max = 1 },
    { "stop", nil, "a text that ends the answer, and is cut off", type = "string", alias = "reverse_prompt -r" },
    { "seed", 1, "the same seed gives the same answer", alias = "-s" },
    { "threads", 0, "threads, 0 for all", min = 0, alias = "-t" },
    { "dtype", "stored", "how weights are held in memory",
      choices = { "stored", "float32", "bfloat16", "float16", "q8_0" } },
    { "compute", "float32", "bfloat16: what goes into products with bfloat16 weights is rounded, which takes half the "
      .. "time where the processor has AVX512_BF16", choices = { "float32", "bfloat16" } },
    { "kv", "float32", "how keys and values are held in memory", choices = { "float32", "float16" } },
    { "adapter", "", "PEFT adapter directory that goes on top of the model", alias = "lora" },
  }
end

--- The model that the options name, on as many threads as they say.
---@return pofit.Model
function M.model(opt)
  if opt.threads > 0 then core.threads(opt.threads) end
  local adapter = opt.adapter ~= "" and opt.adapter or nil
  return require("pofit.model").load(opt.model, { adapter = adapter, dtype = opt.dtype })
end

--- What m:generate takes, from the options.
---@return table
function M.of(opt)
  return {
    max_tokens = opt.max_tokens, temperature = opt.greedy and 0 or opt.temperature, top_k = opt.top_k,
    top_p = opt.top_p, min_p = opt.min_p, stop = opt.stop ~= "" and opt.stop or nil, seed = opt.seed,
    compute = opt.compute, kv = opt.kv,
  }
end

--- Write to standard output, now.
function M.out(text)
  local ok, why = io.stdout:write(text)
  if ok then ok, why = io.stdout:flush() end
  if not ok then core.refuse("cannot write to standard output: " .. tostring(why)) end
end

--- A line for the reader, on standard error.
function M.say(text, ...)
  io.stderr:write(text:format(...), "\n")
end

--- The answer to one prompt, its text written as it comes. Ctrl-C ends the answer, and what came of it is kept.
---@param model pofit.Model
---@param prompt string|table text, messages or ids
---@param opts table as for m:generate
---@param on_text fun(text: string, count: integer)
---@return pofit.Sample sample, number seconds
function M.stream(model, prompt, opts, on_text)
  local start, count = sys.clock(), 0
  opts.on_token = function(token)
    count = count + 1
    on_text(token.text, count)
    return not sys.interrupted()
  end
  local polled = sys.poll(true)
  local ok, result = pcall(model.generate, model, { prompt }, opts)
  opts.on_token = nil
  sys.poll(polled)
  if not ok then error(result, 0) end
  return result[1][1], sys.clock() - start
end

--- "212 tokens, 31.4 a second, stopped by its own end".
function M.summary(sample, seconds, opts)
  local how = {
    eos = "ended by itself", stop = "ended by the stop text", cancelled = "interrupted",
    length = opts.max_tokens > 0 and #sample.ids >= opts.max_tokens and ("cut at --max-tokens %d"):format(
      opts.max_tokens) or "cut where the context is full",
  }
  return ("%d tokens, %.1f a second, %s"):format(#sample.ids, #sample.ids / math.max(seconds, 1e-9),
    how[sample.finish])
end

return M
