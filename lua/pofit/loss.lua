-- pf.loss: the losses of the registry, sums of them, and what is known about them.
local core = require "pofit.core"

local loss = {}
for name, f in pairs(core.loss) do loss[name] = f end

--- Weighted sum of losses: mix{{loss, weight}, {loss, weight, metrics}, ...}. Weight 1 if it is left out.
--- Returns the sum and the metrics that were given, together.
---@param parts table
---@return pofit.Tensor, table<string, number>
function loss.mix(parts)
  if type(parts) ~= "table" or #parts == 0 then core.raise("mix: expected {{loss, weight}, ...}") end
  local sum, metrics = nil, {}
  for i, part in ipairs(parts) do
    if type(part) ~= "table" or part[1] == nil then core.raise(("mix: part %d is not {loss, weight}"):format(i)) end
    local weight = part[2] == nil and 1 or part[2]
    local term = weight == 1 and part[1] or part[1] * weight
    sum = sum and sum + term or term
    for name, value in pairs(part[3] or {}) do
      if metrics[name] == nil then metrics[name] = value end
    end
  end
  return sum, metrics
end

--- The loss of a batch of preference rows with reference log-probabilities (pf.data.preference): DPO or a relative on
--- the summed log-probabilities of what each row scores, and the chosen side's likelihood, nats a token, as an anchor.
---@param model table
---@param batch table with chosen, rejected, ref_logp
---@param o table beta, variant, label_smoothing (as pf.loss.dpo), anchor (weight of the likelihood, 0)
---@return pofit.Tensor, table<string, number>
function loss.preference(model, batch, o)
  local lp = core.op.sum_by(model:logp(batch), batch.sequence, batch.sequences) -- [n] nats
  local rf = core.op.sum_by(batch.ref_logp, batch.sequence, batch.sequences)
  local chosen, length = lp:index(batch.chosen), batch.length:index(batch.chosen)
  local value, metrics = loss.dpo { policy_chosen = chosen, policy_rejected = lp:index(batch.rejected),
    ref_chosen = rf:index(batch.chosen), ref_rejected = rf:index(batch.rejected), beta = o.beta, variant = o.variant,
    label_smoothing = o.label_smoothing, len_chosen = length, len_rejected = batch.length:index(batch.rejected) }
  return loss.mix { { value, 1, metrics }, { -chosen:sum() / length:sum(), o.anchor or 0 } }
end

--- The names that dpo knows as variant.
---@return string[]
function loss.variants()
  local out = {}
  for _, entry in ipairs(core.registry()) do
    for _, p in ipairs(entry.name == "dpo" and entry.params or {}) do
      if p.name == "variant" then
        for name in p.choices:gmatch "%S+" do out[#out + 1] = name end
      end
    end
  end
  return out
end

--- What each loss is: name -> {formula=, source=, doc=, needs = {names that must be given}, takes = {all names}}.
---@return table<string, table>
function loss.list()
  local list = {}
  for _, entry in ipairs(core.registry()) do
    if entry.loss then
      local needs, takes = {}, { "reduction" }
      for i, p in ipairs(entry.params) do
        if not p.optional then needs[#needs + 1] = p.name end
        table.insert(takes, i, p.name)
      end
      list[entry.name] = {
        formula = entry.formula, source = entry.source, doc = entry.doc, needs = needs, takes = takes,
      }
    end
  end
  return list
end

return setmetatable({}, {
  __index = function(_, name)
    local value = loss[name]
    if value then return value end
    local near = core.nearest(tostring(name), loss, true)
    core.raise(("pf.loss has no %q%s"):format(tostring(name), near and ("; did you mean %q?"):format(near) or ""))
  end,
  __newindex = function(_, name)
    core.raise(("pf.loss is read-only: any function can be a loss, %q need not be in it"):format(tostring(name)))
  end,
  __pairs = function() return pairs(loss) end,
})
