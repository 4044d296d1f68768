-- pofit generate: a model continues a prompt, or every prompt of a file.
local sampling = require "pofit.sampling"

local M = {
  summary = "text from a model: for one prompt as it comes, or for the rows of a file",
  common = { "quiet" },
  options = {
    "Continues a prompt: words on the command line, --prompt-file, or standard input. With --data, the prompts of a "
      .. "file of JSON lines; each answer is a row with the prompt's other columns.",
    { "prompt", nil, "what to continue (or --prompt TEXT)", type = "string", bare = true, alias = "-p" },
    { "model", nil, "directory or GGUF file", type = "string", required = true, alias = "-m" },
    { "prompt_file", "", "file with the prompt; - is standard input", alias = "-f file" },
    { "data", "", "JSON lines (.jsonl, .jsonl.zst) with a prompt a row: text, messages or token ids" },
    { "column", "", "column of --data that holds the prompt (else prompt, or messages)" },
    { "out", "", "file for the rows (.jsonl, .jsonl.zst); none: standard output", alias = "-o output" },
    { "chat", false, "texts are questions in the model's chat template" },
    { "system", "", "system message of such a conversation", alias = "sys" },
    { "n", 1, "answers a prompt (llama.cpp's -n is --max-tokens here)", min = 1, alias = "num_return_sequences" },
    { "json", false, "a JSON object for each answer, not only its text" },
    { "logp", false, "with token ids and their log-probabilities at temperature 1 (nats); implies --json" },
    { "resume", false, "go on where a run that was stopped left --out" },
    { "batch", 32, "prompts computed together, and rows between two marks to resume from", min = 1 },
  },
}
for _, o in ipairs(sampling.options { temperature = 1.0, min_p = 0.0, max_tokens = 256 }) do
  table.insert(M.options, o)
end

local function one_prompt(opt)
  local sys, usage = require "pofit.sys", require("pofit.command").usage
  local text, name = opt.prompt, "the prompt"
  if text and opt.prompt_file ~= "" then usage "the prompt is given twice: as words and as --prompt-file" end
  if not text and opt.prompt_file == "" and sys.isatty(0) then
    usage 'what is the prompt? pofit generate --model DIR "Once upon a time" (or --prompt-file, --data)'
  end
  if not text then
    local input = opt.prompt_file == "" or opt.prompt_file == "-"
    name = input and "standard input" or opt.prompt_file
    text = input and io.read "a" or sys.read(opt.prompt_file)
    text = text:gsub("\r?\n$", "")
    if text == "" then usage(name .. " is empty: there is no prompt") end
  end
  local length, bad = utf8.len(text)
  if not length then require("pofit.core").raise(("%s is not UTF-8 at byte %d"):format(name, bad)) end
  return text
end

-- one prompt, one answer: its text as it comes
local function stream(opt, model, prompt)
  local sys, opts = require "pofit.sys", sampling.of(opt)
  local terminal, progress = sys.isatty(1), nil
  if not terminal and sys.isatty(2) and not opt.quiet then
    progress = function(count) io.stderr:write(("\rgenerate  %d tokens\27[K"):format(count)) end
  end
  local sample, seconds = sampling.stream(model, prompt, opts, function(text, count)
    sampling.out(text)
    if progress then progress(count) end
  end)
  sampling.out "\n"
  if progress then io.stderr:write "\r\27[K" end
  if not opt.quiet and sys.isatty(2) then sampling.say("[%s]", sampling.summary(sample, seconds, opts)) end
  if sample.finish == "cancelled" then os.exit(130, true) end
end

-- samples of one prompt, after all are there
local function several(opt, model, prompt, text)
  local rows = require "pofit.generate_rows"
  local opts = sampling.of(opt)
  opts.n = opt.n
  local lines = {}
  for k, sample in ipairs(model:generate({ prompt }, opts)[1]) do
    lines[k] = ("[%d] %s\n"):format(k, sample.text)
    if opt.json or opt.logp or opt.out ~= "" then
      lines[k] = rows.line(require("pofit.json").object({ prompt = text }, { "prompt" }), sample, k, opt)
    end
  end
  local file = require("pofit.outfile").open(opt.out, {}, {}, true)
  file:add(lines, {}, {})
  file:finish()
end

function M.run(opt)
  if opt.data ~= "" then
    if opt.prompt or opt.prompt_file ~= "" then
      require("pofit.command").usage "give a prompt or --data, not both"
    end
    return require("pofit.generate_rows").run(opt)
  end
  local text = one_prompt(opt)
  local model = sampling.model(opt)
  local prompt = require("pofit.prompts").of_text(text, opt)
  if opt.n == 1 and not opt.json and not opt.logp and opt.out == "" then return stream(opt, model, prompt) end
  return several(opt, model, prompt, text)
end

return M
