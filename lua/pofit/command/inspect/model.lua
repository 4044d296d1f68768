-- pofit inspect model: what a model is, and what it takes to use and to train it.
local M = {
  summary = "architecture, sizes, tokenizer and memory of a model or an adapter",
  options = {
    "Tells what a model, a GGUF file or an adapter is: architecture, sizes, types, tokenizer, the memory it needs, and "
      .. "whether it can be loaded.",
    { "path", nil, "model directory, GGUF file or adapter directory", type = "string", required = true, bare = true,
      alias = "-m model" },
    { "rank", 8, "rank of the adapter whose training memory is told", min = 1 },
    { "load", nil, "load it to the end: does it work, and its fingerprint (default: below 2 GB)", type = "boolean" },
    { "tensors", false, "list the tensors" },
    { "json", false, "as a JSON object" },
  },
}

local LOAD_BELOW <const> = 2e9

local function row(name, text, ...)
  print(("  %-15s %s"):format(name, select("#", ...) > 0 and text:format(...) or text))
end

local function list(value)
  return type(value) == "table" and table.concat(value, ", ") or tostring(value)
end

local function print_adapter(facts)
  local F, a = require "pofit.facts", facts.adapter
  local kind = a.use_dora and "DoRA" or a.use_rslora and "rsLoRA" or tostring(a.peft_type)
  row("adapter", "%s, rank %s, alpha %s%s", kind, a.r or "?", a.lora_alpha or "?",
    (a.lora_dropout or 0) > 0 and (", dropout %g"):format(a.lora_dropout) or "")
  row("base", "%s", a.base_model_name_or_path or "not named")
  if a.target_modules then row("targets", "%s", list(a.target_modules)) end
  if a.modules_to_save then row("whole modules", "%s", list(a.modules_to_save)) end
  row("parameters", "%s in %d tensors of %d layers", F.count(facts.parameters), facts.tensors, facts.adapted_layers)
end

local function print_sizes(facts)
  local parts = {}
  local function part(name, text, ...)
    if name then parts[#parts + 1] = text:format(name, ...) end
  end
  part(facts.layers, "%d layers")
  part(facts.hidden, "hidden %d")
  local grouped = facts.kv_heads and facts.kv_heads ~= facts.heads
  part(facts.heads, grouped and "%d heads (%d for keys and values)" or "%d heads", facts.kv_heads)
  part(facts.feed_forward, "feed-forward %d")
  row("sizes", "%s", table.concat(parts, ", "))
  row("context", "%s tokens, vocabulary %s", facts.context and require("pofit.facts").count(facts.context) or "?",
    facts.vocabulary and require("pofit.facts").count(facts.vocabulary) or "?")
end

local function print_memory(facts)
  local F, m = require "pofit.facts", facts.memory
  local cache = facts.kv_bytes and (", and %s a token of context"):format(F.bytes(facts.kv_bytes)) or ""
  row("to sample", "%s as float32%s%s", F.bytes(m.inference), facts.weight_bytes < m.inference
    and (" (%s as stored)"):format(F.bytes(facts.weight_bytes)) or "", cache)
  row("to train", "%s for all of it: weights, reference, gradients, moments", F.bytes(m.training))
  row("", "%s for an adapter of rank %d (%s parameters); activations come on top", F.bytes(m.lora), m.lora_rank,
    F.count(m.lora_parameters))
end

local function print_model(facts)
  local F = require "pofit.facts"
  row("architecture", "%s%s", facts.architecture or "?", facts.name and " (" .. facts.name .. ")" or "")
  print_sizes(facts)
  row("parameters", "%s in %d tensors%s", F.count(facts.parameters), facts.tensors,
    facts.tied and ", the output head is the embedding" or "")
  row("tokenizer", "%s", facts.tokenizer or "none")
  row("chat template", "%s", facts.template or "none (pofit's ChatML is used)")
  print_memory(facts)
end

local function print_weights(facts)
  local F = require "pofit.facts"
  local first = facts.files[1] and facts.files[1]:match "[^/]*$" or "none"
  row("weights", "%s%s, %s, %s", first, #facts.files > 1 and (" and %d more"):format(#facts.files - 1) or "",
    F.bytes(facts.weight_bytes), F.types(facts))
end

local function print_tensors(path)
  local core = require "pofit.core"
  local adapter = path .. "/adapter_model.safetensors"
  for _, t in ipairs(core.weights(require("pofit.sys").exists(adapter) and adapter or path)) do
    print(("%-60s %-6s [%s]"):format(t.name, t.dtype, table.concat(t.shape, ", ")))
  end
end

-- the first parameter with a value that is no number, in words
local function not_finite(pf, model)
  local parameters = model:parameters()
  for _, name in ipairs(parameters) do
    local sum = pf.no_grad(function() return parameters[name]:sum():item() end)
    if sum - sum ~= 0 then return ("%s holds values that are not finite"):format(name) end
  end
end

-- does it load? Its fingerprint, or what is wrong
local function try(opt, facts)
  if facts.adapter then return end
  local wanted = opt.load
  if wanted == nil then wanted = facts.memory.inference < LOAD_BELOW end
  if not wanted then return end
  local pf = require "pofit"
  local ok, model = pcall(pf.model.load, opt.path)
  facts.problem = ok and not_finite(pf, model) or not ok and tostring(model) or nil
  facts.fingerprint = not facts.problem and model:fingerprint() or nil
end

function M.run(opt)
  local facts = require("pofit.facts").of(opt.path, opt.rank)
  try(opt, facts)
  if opt.json then
    print(require("pofit.json").encode(facts, { indent = 2 }))
  else
    print(opt.path)
    row("kind", "%s", facts.kind)
    if facts.adapter then print_adapter(facts) else print_model(facts) end
    print_weights(facts)
    if not facts.adapter then
      row("loads", facts.problem and "no: " .. facts.problem:gsub("%%", "%%%%")
        or facts.fingerprint and "yes, fingerprint " .. facts.fingerprint
        or opt.load == false and "not tried" or "not tried: it is large (--load tries)")
    end
  end
  if opt.tensors then print_tensors(opt.path) end
  if facts.problem then os.exit(1, true) end
end

return M
