-- pofit convert: a model in another type or another format.
local M = {
  summary = "a model in another type or format: Hugging Face directories, shards, GGUF",
  options = {
    "Writes a model in another type or format: a Hugging Face directory, in one file or in shards, or, where --out "
      .. "ends with .gguf, a GGUF file. What cannot be written exactly as asked is refused by name.",
    { "path", nil, "model directory or GGUF file", type = "string", required = true, bare = true, alias = "-m model" },
    { "out", "", "directory or NAME.gguf to write; it must not exist", alias = "-o outfile" },
    { "dtype", "auto", "type of the weights; auto: as they are", choices = require("pofit.export").choices,
      alias = "outtype" },
    { "max_shard_size", "0", "bytes of a safetensors file at most, such as 5GB; 0: one file" },
  },
}

local function write(opt, from, shard)
  local export, pf = require "pofit.export", require "pofit"
  local dtype = export.types[opt.dtype]
  if opt.out:find "%.gguf$" then
    if shard > 0 then require("pofit.command").usage "a GGUF file is written as one: leave --max-shard-size out" end
    export.gguf(pf.model.load(opt.path, { dtype = "stored" }), opt.out, export.gguf_type(opt.out, opt.dtype, from))
  elseif from.kind == "GGUF file" then
    export.model(pf.model.load(opt.path), opt.out, dtype or export.type_of(from), shard)
  else
    export.directory(opt.path, opt.out, dtype, shard)
  end
end

function M.run(opt)
  local export, facts = require "pofit.export", require "pofit.facts"
  export.check_new(opt.out)
  local shard = export.size(opt.max_shard_size)
  if not shard then
    require("pofit.command").usage(("--max-shard-size %s: expected a size such as 5GB"):format(opt.max_shard_size))
  end
  local from = facts.of(opt.path, 8)
  if from.adapter then
    require("pofit.core").raise(opt.path .. " is an adapter: pofit merge puts it into its base")
  end
  write(opt, from, shard)
  export.report(opt.out, from)
end

return M
