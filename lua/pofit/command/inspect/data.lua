-- pofit inspect data: what a model would be trained on.
local M = {
  summary = "rows as a model reads them, and what is wrong with them",
  options = {
    "Shows rows of a data file as a model reads them, and reports what is wrong with the data.",
    { "file", nil, "data: .jsonl, .jsonl.zst", type = "string", required = true, bare = true },
    { "model", nil, "directory of the model, or of its tokenizer", type = "string", required = true },
  },
}

function M.run(opt)
  local pf = require "pofit"
  local tok = pf.tokenizer.load(opt.model)
  print(pf.data.preference(pf.data.jsonl(opt.file), tok):summary())
end

return M
