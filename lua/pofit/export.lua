-- Model directories in another type or size of shards, and what stands beside the weights.
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"

local M = {}

--- Names of types as the command line takes them -> as the library calls them.
M.types = { f32 = "float32", f16 = "float16", bf16 = "bfloat16", q8_0 = "q8_0" }
M.choices = { "auto", "f32", "f16", "bf16", "q8_0" }

local BESIDE <const> = {
  "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
  "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "chat_template.jinja", "chat_template.json",
  "preprocessor_config.json", "processor_config.json", "README.md", "LICENSE",
}

--- Refuse to write over what is there.
function M.check_new(path)
  if path == "" then require("pofit.command").usage "--out is required: where to?" end
  if path:find "%.safetensors$" then
    core.raise(("--out %s: a model is written as a directory, or as NAME.gguf"):format(path))
  end
  if sys.exists(path) then core.raise(("--out %s exists already; nothing is overwritten"):format(path)) end
  local dir = path:match "^(.*)/[^/]+/?$"
  if dir and dir ~= "" and not sys.is_dir(dir) then
    core.raise(("--out %s: there is no directory %s"):format(path, dir))
  end
end

-- config.json with the type that the weights have now; other keys and their order stay
local function write_config(from, to, dtype)
  local text = sys.read(from .. "/config.json")
  local config = json.decode(text, from .. "/config.json")
  for _, key in ipairs { "torch_dtype", "dtype" } do
    if dtype and config[key] ~= nil and config[key] ~= dtype then
      config[key], text = dtype, nil
    end
  end
  sys.write(to .. "/config.json", text or json.encode(config, { indent = 2 }) .. "\n")
end

local function write_directory(from, to, dtype, shard_bytes)
  core.weights_convert(from, to, dtype, shard_bytes)
  for _, name in ipairs(BESIDE) do
    if sys.is_file(from .. "/" .. name) then sys.write(to .. "/" .. name, sys.read(from .. "/" .. name)) end
  end
  write_config(from, to, dtype)
end

--- Remove a directory that model:save wrote.
function M.remove_saved(dir)
  for _, name in ipairs { "config.json", "model.safetensors", table.unpack(BESIDE) } do
    sys.remove(dir .. "/" .. name)
  end
  sys.remove(dir)
end

--- A model directory as another: weights in a type (nil: as they are), in shards of at most so many bytes (0: one
--- file). It appears whole or not at all.
---@param from string
---@param out string
---@param dtype? string
---@param shard_bytes integer
function M.directory(from, out, dtype, shard_bytes)
  out = out:gsub("/+$", "")
  local part = out .. ".part"
  if sys.exists(part) then core.raise(part .. " is left from a run that was stopped: remove it first") end
  local ok, why = pcall(write_directory, from, part, dtype, shard_bytes)
  if ok then ok, why = os.rename(part, out) end
  if ok then return end
  M.remove_saved(part)
  error(why, 0)
end

--- Write a model in a type. It appears whole or not at all.
---@param model pofit.Model
---@param out string
---@param dtype string
---@param shard_bytes integer
function M.model(model, out, dtype, shard_bytes)
  out = out:gsub("/+$", "")
  local whole = out .. ".float32"
  if sys.exists(whole) then core.raise(whole .. " is left from a run that was stopped: remove it first") end
  local ok, why = pcall(model.save, model, whole)
  if ok and dtype == "float32" and shard_bytes == 0 then
    ok, why = os.rename(whole, out)
    if ok then return end
  elseif ok then
    ok, why = pcall(M.directory, whole, out, dtype, shard_bytes)
  end
  M.remove_saved(whole)
  if not ok then error(why, 0) end
end

--- A model as a GGUF file.
---@param model pofit.Model
---@param out string
---@param dtype string
function M.gguf(model, out, dtype) core.model_save_gguf(model, out, dtype) end

--- Say what was written; and what of the model it was made from is not in it.
---@param out string
---@param from table facts
function M.report(out, from)
  local facts = require "pofit.facts"
  local to = facts.of(out, 8)
  print(("%s: %s parameters, %s, %s"):format(out, facts.count(to.parameters), facts.types(to),
    facts.bytes(to.weight_bytes)))
  for _, part in ipairs { { "tokenizer", "tokenizer" }, { "template", "chat template" } } do
    if from[part[1]] and not to[part[1]] then
      io.stderr:write(("the %s of %s is not in %s\n"):format(part[2], from.path, out))
    end
  end
end

--- The type of most weights, if it is one that can be written; else float32.
function M.type_of(facts)
  local known = { F32 = "float32", F16 = "float16", BF16 = "bfloat16" }
  return known[facts.types[1]] or "float32"
end

--- The type of a GGUF file: as asked ("auto": not), as its name says, or as the model is.
---@param out string
---@param asked string
---@param from table facts
---@return string
function M.gguf_type(out, asked, from)
  local name = out:lower():match "[-._](b?f%d+)%.gguf$" or out:lower():match "[-._](t?i?q%d[%w_]*)%.gguf$"
  if asked == "auto" and name and not M.types[name] then
    core.raise(("--out %s: a GGUF file is written as f32, f16, bf16 or q8_0; another type in its name needs --dtype")
      :format(out))
  end
  return M.types[asked] or M.types[name or ""] or M.type_of(from)
end

--- "5GB", "200MB" or a number of bytes; nil if it is neither.
---@param text string
---@return integer?
function M.size(text)
  local n, unit = text:match "^(%d+%.?%d*)%s*([kKmMgG]?)i?[bB]?$"
  local scale = { [""] = 1, k = 1e3, m = 1e6, g = 1e9 }
  return n and math.tointeger(tonumber(n) * scale[unit:lower()] // 1)
end

return M
