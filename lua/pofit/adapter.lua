-- Low-rank adapters of a model (LoRA, rsLoRA, DoRA): methods, and the options by which recipes ask for them.
local core = require "pofit.core"
local told = require "pofit.told"
local json = require "pofit.json"

local methods = core.class.model
local M = {}

-- our names -> those of PEFT's adapter_config.json
local peft = {
  rank = "r", alpha = "lora_alpha", targets = "target_modules", exclude = "exclude_modules", dropout = "lora_dropout",
  rslora = "use_rslora", dora = "use_dora", rank_pattern = "rank_pattern", alpha_pattern = "alpha_pattern",
  layers = "layers_to_transform", layers_pattern = "layers_pattern", save = "modules_to_save",
  init = "init_lora_weights", base = "base_model_name_or_path",
}

-- a map whose keys stand in alphabetical order: the first pattern that matches counts
local function ordered(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return json.object(map, keys)
end

local function config_of(opts)
  local config, keys = {}, {}
  opts = setmetatable({ rank = opts.rank or 8, targets = opts.targets or "all-linear" }, { __index = opts })
  opts.alpha = opts.alpha or opts.rank
  for name, key in pairs(peft) do
    local value = opts[name]
    if type(value) == "table" and not getmetatable(value) then
      value = name:find("_pattern") and name ~= "layers_pattern" and ordered(value) or json.array(value)
    end
    if value ~= nil then keys[#keys + 1], config[key] = key, value end
  end
  table.sort(keys)
  return json.encode(json.object(config, keys))
end

-- where a model's adapter comes from, for messages
local origin = setmetatable({}, { __mode = "k" })

--- Freeze the model and add a low-rank adapter, which changes nothing until it is trained. opts:
---   rank (8), alpha (the rank; the adapter's product is scaled by alpha / rank), rslora (alpha / sqrt(rank)),
---   dora (rows rescaled to learned magnitudes), dropout (of the adapter's input while training, 0),
---   targets ("all-linear": every matrix product but the output head; or a list of names or ends of paths, or a regular
---   expression for whole paths; pf.json.null: PEFT's choice for the model type), exclude (the same form, wins),
---   rank_pattern, alpha_pattern ({pattern = value}; the first in alphabetical order counts), layers (numbers from 0),
---   layers_pattern, save (modules that are trained as a whole), init (true or "gaussian"), seed, base (its name).
---@param opts? table
---@return pofit.Model
function methods:adapt(opts)
  opts = opts or {}
  local known = { seed = true }
  for name in pairs(peft) do known[name] = true end
  for name in pairs(opts) do
    if not known[name] then
      local near = core.nearest(tostring(name), known, true)
      local hint = near and ("; did you mean %q?"):format(near) or ""
      core.raise(("adapt has no option %q%s"):format(tostring(name), hint))
    end
  end
  core.model_adapt(self, config_of(opts), opts.seed)
  origin[self] = "a new adapter"
  return self
end

--- Go on from a PEFT adapter directory. opts.seed: of dropout.
---@param dir string
---@param opts? { seed: integer }
---@return pofit.Model
function methods:load_adapter(dir, opts)
  core.model_load_adapter(self, dir, opts and opts.seed)
  origin[self] = "the adapter " .. dir
  return self
end

--- Add the adapter to the base's weights and take it off: a plain model again.
---@return pofit.Model
function methods:merge()
  collectgarbage() -- a trainer that is no longer used would be one more holder of the weights
  core.model_merge(self)
  return self
end

local function total(model)
  local n, parameters = 0, model:parameters()
  for _, name in ipairs(parameters) do
    local size = 1
    for _, d in ipairs(parameters[name].shape) do size = size * d end
    n = n + size
  end
  return n
end

--- What the model was when its training began, without gradients. Without an adapter: a copy. With one: a model that
--- shares the base's weights, the adapter off; or, where the adapter was loaded, on, as a frozen copy.
---@param run? table a run, whose log says which it was
---@return pofit.Model
function methods:reference(run)
  local reference = core.model_reference(self)
  if run then
    local what = "policy = the whole model; reference = a frozen copy of it"
    if self.adapter then
      what = ("policy = base + %s (trains %d of %d parameters); reference = base%s"):format(
        origin[self] or "an adapter", self.trainable_parameters, total(self),
        reference.adapter and " + a frozen copy of that adapter" or ", adapter off")
    end
    run:note(what)
  end
  return reference
end

--- Leave parameters alone whose names match one of the patterns (shell style: "*.mlp.*", "model.embed_tokens.weight").
---@param patterns string[]
---@return pofit.Model
function methods:freeze(patterns)
  local parameters = self:parameters()
  for _, pattern in ipairs(patterns) do
    local any, lua = false, pattern:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".")
    for _, name in ipairs(parameters) do
      if name:find("^" .. lua .. "$") then
        parameters[name].requires_grad = false
        any = true
      end
    end
    if not any then
      core.raise(("freeze: %q matches no parameter; the first is %q"):format(pattern, parameters[1]))
    end
  end
  return self
end

--- The options of a recipe that trains a model, for its pf.options: model, adapter, lora_*.
M.options = {
  { "model", "", "model directory (none: the small policy of the default task)" },
  { "dtype", "float32", "how weights of --model are held: all but float32 freeze them, for an adapter",
    choices = { "float32", "stored", "bfloat16", "float16", "q8_0" } },
  { "adapter", "", "PEFT adapter directory to go on from" },
  { "lora_rank", 0, "train a low-rank adapter of this rank and freeze the model (0: train the model)", min = 0 },
  { "lora_alpha", nil, "the adapter is scaled by alpha / rank (default: the rank)", type = "number", above = 0 },
  { "lora_targets", { "all-linear" }, "modules to adapt: names, or one regular expression" },
  { "lora_dropout", 0.0, "dropout of the adapter's input while training", min = 0, max = 0.99 },
  { "lora_rslora", false, "scale by alpha / sqrt(rank)" },
  { "lora_dora", false, "DoRA: learn the magnitudes of rows as well" },
  { "freeze", {}, "parameters to leave alone: patterns like *.mlp.*", of = "string" },
  { "export_gguf", false, "write the adapter for llama.cpp as well" },
}

-- options that would say nothing, or leave nothing to train, without an adapter
local function check_options(opt)
  if opt.lora_rank > 0 and opt.adapter == "" then return end
  local idle = opt.lora_alpha and "alpha" or table.concat(opt.lora_targets, ",") ~= "all-linear" and "targets"
    or opt.lora_dropout > 0 and "dropout" or opt.lora_rslora and "rslora" or opt.lora_dora and "dora"
  if idle then
    core.refuse(("--lora-%s is for a new adapter: %s"):format(idle, opt.adapter ~= "" and "leave it out with --adapter"
      or "give its rank, --lora-rank"))
  end
  if opt.dtype ~= "float32" and opt.adapter == "" then
    core.refuse(("--dtype %s freezes the weights: give --lora-rank to train an adapter on them"):format(opt.dtype))
  end
end

local function adapt(model, opt, base)
  local targets = opt.lora_targets
  if #targets == 1 and not targets[1]:find("^[%w_.]+$") then targets = targets[1] end
  if opt.adapter ~= "" then
    if opt.lora_rank > 0 then
      core.raise("--adapter has its own rank: leave --lora-rank out, or merge the adapter first")
    end
    model:load_adapter(opt.adapter, { seed = opt.seed })
  elseif opt.lora_rank > 0 then
    model:adapt { rank = opt.lora_rank, alpha = opt.lora_alpha, targets = targets, dropout = opt.lora_dropout,
      rslora = opt.lora_rslora, dora = opt.lora_dora, seed = opt.seed, base = base }
  end
  if opt.export_gguf then core.model_check_gguf(model) end -- before a long training, not after it
end

--- The policy that the options ask for: opt.model, or what otherwise() returns (a model, and its directory), with the
--- adapter of opt.adapter or of opt.lora_*.
---@param opt table
---@param otherwise fun(): pofit.Model, string?
---@return pofit.Model
function M.open(opt, otherwise)
  local model, base
  check_options(opt)
  if opt.model ~= "" then
    model, base = require "pofit.model".load(opt.model, { dtype = opt.dtype }), opt.model
  else
    model, base = otherwise()
  end
  told.call(adapt, model, opt, base)
  return told.call(model.freeze, model, opt.freeze)
end

--- At the end of a run: a trained adapter into dir/adapter (and dir/adapter.gguf), a whole model into dir/model.
--- Returns what was written, for the log.
---@param model pofit.Model
---@param dir string
---@param gguf? boolean
---@return string
function M.save(model, dir, gguf)
  if not model.adapter then
    model:save(dir .. "/model")
    return ("model: %s/model"):format(dir)
  end
  model:save_adapter(dir .. "/adapter")
  if gguf then model:save_adapter(dir .. "/adapter.gguf") end
  return ("adapter: %s/adapter%s"):format(dir, gguf and (" and %s/adapter.gguf"):format(dir) or "")
end

--- What M.save left in dir, for a run that goes on: the whole model, or `model` itself with the adapter that it has
--- replaced by the one there.
---@param model pofit.Model
---@param dir string
---@return pofit.Model
function M.restore(model, dir)
  if not model.adapter then return require "pofit.model".load(dir .. "/model") end
  core.model_drop_adapter(model)
  return model:load_adapter(dir .. "/adapter")
end

return M
