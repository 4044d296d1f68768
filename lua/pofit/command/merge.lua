-- pofit merge: an adapter added to the weights of its base.
local M = {
  summary = "an adapter put into its base: a plain model",
  options = {
    "Adds an adapter (LoRA, rsLoRA, DoRA) to the weights of its base and writes a plain model.",
    { "adapter", nil, "PEFT adapter directory", type = "string", required = true, bare = true },
    { "model", "", "its base (default: the one that the adapter names)", alias = "-m base" },
    { "out", "", "directory or NAME.gguf to write; it must not exist", alias = "-o output" },
    { "dtype", "auto", "type of the weights; auto: as in the base", choices = require("pofit.export").choices },
    { "max_shard_size", "0", "bytes of a safetensors file at most, such as 5GB; 0: one file" },
  },
}

-- the base that the user or the adapter names
local function base_of(opt, adapter)
  local core, sys = require "pofit.core", require "pofit.sys"
  if opt.model ~= "" then return opt.model end
  local named = adapter.base_model_name_or_path
  if type(named) ~= "string" or named == "" then
    core.raise(("%s does not name its base: give --model DIR"):format(opt.adapter))
  end
  if not sys.exists(named) then
    core.raise(("%s names %s as its base, which is not here: give --model DIR"):format(opt.adapter, named))
  end
  return named
end

function M.run(opt)
  local pf, export, facts = require "pofit", require "pofit.export", require "pofit.facts"
  export.check_new(opt.out)
  local shard = export.size(opt.max_shard_size)
  if not shard then
    require("pofit.command").usage(("--max-shard-size %s: expected a size such as 5GB"):format(opt.max_shard_size))
  end
  local adapter = facts.of(opt.adapter, 8)
  if not adapter.adapter then require("pofit.core").raise(opt.adapter .. " is no adapter: it is a model already") end
  local base = base_of(opt, adapter.adapter)
  local from = facts.of(base, 8)
  local gguf = opt.out:find "%.gguf$"
  local dtype = gguf and export.gguf_type(opt.out, opt.dtype, from) or export.types[opt.dtype] or export.type_of(from)
  local model = pf.model.load(base, { adapter = opt.adapter })
  model:merge()
  if gguf then export.gguf(model, opt.out, dtype) else export.model(model, opt.out, dtype, shard) end
  export.report(opt.out, from)
end

return M
