-- pf.gradcheck: backward against central differences, in double precision, for any function of tensors.
local core = require "pofit.core"

local function sorted_names(t)
  local names = {}
  for name in pairs(t) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Check the gradient of f at inputs. inputs is a list, given to f as its arguments, or a table by name, given to f as
--- one table with the same names. Inputs become float64 and are all differentiated; close over what is constant. f
--- returns a tensor of one value. Raises where the error is above tolerance (1e-6 unless given); else returns true and
--- a table of the place where it is largest:
---   worst     the error there, relative to max(|numeric|, 1e-3 x the largest gradient)
---   input     number of the input, from 1; of inputs by name, in the order of their names
---   element   number of its element, from 1, row by row
---   analytic  what backward gives there
---   numeric   what the differences give there
---@param f function
---@param inputs table
---@param opts? { tolerance: number }
---@return boolean
---@return pofit.gradcheck
return function(f, inputs, opts)
  if type(inputs) ~= "table" or #inputs > 0 or next(inputs) == nil then return core.gradcheck(f, inputs, opts) end
  local names = sorted_names(inputs)
  local list = {}
  for i, name in ipairs(names) do list[i] = inputs[name] end
  return core.gradcheck(function(...)
    local named = {}
    for i, name in ipairs(names) do named[name] = select(i, ...) end
    return f(named)
  end, list, opts)
end
