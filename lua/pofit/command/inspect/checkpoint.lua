-- pofit inspect checkpoint: what a run that is not finished has kept.
local M = {
  summary = "how far an unfinished run is, and whether its checkpoint is intact",
  options = {
    "Tells what a checkpoint holds and whether it is intact: the whole file is read and its checksum verified.",
    { "path", nil, "checkpoint, or the directory of its run", type = "string", required = true, bare = true },
  },
}

local MAGIC <const> = "pofit-ck"

local function row(name, text, ...) print(("  %-15s %s"):format(name, text:format(...))) end

-- header of the safetensors image, and what the run itself kept
local function parse(path, text)
  local core, json = require "pofit.core", require "pofit.json"
  if #text < 24 or text:sub(1, #MAGIC) ~= MAGIC then
    core.raise(("%s is not a checkpoint of pofit: it does not begin with %q"):format(path, MAGIC))
  end
  local image, header = string.unpack("<i8", text, 9), string.unpack("<i8", text, 17)
  if image < 8 or image > #text - 16 or header < 2 or header > image - 8 then
    core.raise(("%s is damaged: it claims %d bytes of tensors and holds %d"):format(path, image, #text - 16))
  end
  local tensors, extra = json.decode(text:sub(25, 24 + header), path), text:sub(17 + image)
  return tensors, extra ~= "" and json.decode(extra, path) or {}, image - 8 - header
end

-- parameters and bytes of the tensors of each kind; raises if one lies outside of the data
local function count(path, header, size)
  local kinds = {}
  for name, t in pairs(header) do
    if name ~= "__metadata__" then
      local kind, n = name:match "^([^/]*)", 1
      for _, d in ipairs(t.shape) do n = n * d end
      if t.data_offsets[1] < 0 or t.data_offsets[2] > size or t.data_offsets[1] > t.data_offsets[2] then
        require("pofit.core").raise(("%s is damaged: tensor %q lies outside of it"):format(path, name))
      end
      kinds[kind] = kinds[kind] or { tensors = 0, parameters = 0 }
      kinds[kind].tensors, kinds[kind].parameters = kinds[kind].tensors + 1, kinds[kind].parameters + n
    end
  end
  return kinds
end

-- the options of the run, beside its checkpoint
local function print_run(path)
  local sys, json = require "pofit.sys", require "pofit.json"
  local dir = path:match "^(.*)/[^/]*$" or "."
  local file = dir .. "/config.json"
  if not sys.exists(file) then return end
  local options = {}
  for name, value in pairs(json.decode(sys.read(file), file)) do
    local text = type(value) == "string" and value or json.encode(value)
    if text ~= "" then options[#options + 1] = ("--%s %s"):format((name:gsub("_", "-")), text) end
  end
  row("options", "%s", table.concat(options, " "))
end

function M.run(opt)
  local sys, facts = require "pofit.sys", require "pofit.facts"
  local path = sys.is_dir(opt.path) and opt.path .. "/checkpoint.zst" or opt.path
  if sys.is_dir(opt.path) and not sys.exists(path) then
    require("pofit.core").raise(sys.exists(opt.path .. "/result.json")
      and opt.path .. " is a finished run: it has no checkpoint any more"
      or opt.path .. ": there is no checkpoint.zst in it")
  end
  local text = sys.read_zst(path)
  local header, extra, size = parse(path, text)
  local meta, kinds = header.__metadata__, count(path, header, size)
  print(path)
  row("state", "intact: checksum and layout are right")
  row("size", "%s, %s unpacked", facts.bytes(sys.size(path)), facts.bytes(#text))
  row("update", "%s%s", meta.step, tonumber(meta.steps) and tonumber(meta.steps) > 0 and " of " .. meta.steps or "")
  row("optimizer", "%s, lr %s, schedule %s%s", meta.optimizer, meta.lr, meta.schedule,
    meta.warmup ~= "0" and ", warm-up " .. meta.warmup or "")
  row("weights", "%s trained parameters in %d tensors", facts.count(kinds.weight and kinds.weight.parameters or 0),
    kinds.weight and kinds.weight.tensors or 0)
  row("moments", kinds.m and "%d tensors" or "none", (kinds.m and kinds.m.tensors or 0)
    + (kinds.v and kinds.v.tensors or 0))
  if meta.bad ~= "0" then row("warning", "the last %s updates were not finite", meta.bad) end
  if extra.logged then row("log", "metrics.jsonl is good up to byte %d", extra.logged) end
  print_run(path)
end

return M
