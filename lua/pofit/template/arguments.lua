-- Arguments of filters and methods: by place or by name, of a certain kind.
local value = require "pofit.template.value"

local M = {}

--- Argument number i, or of that name; the default if it was not given.
function M.get(args, named, i, name, default)
  local v = args[i]
  if v == nil and name then v = named[name] end
  if v == nil then return default end
  return v
end

--- The same, which must be a text.
function M.text(args, named, i, name, default)
  local v = M.get(args, named, i, name, default)
  if v ~= nil and type(v) ~= "string" then
    value.fail("argument %s must be a text, not %s", name or i, value.kind(value.need(v)))
  end
  if v == nil then value.fail("argument %s is missing", name or i) end
  return v
end

--- The same, which must be a whole number.
function M.integer(args, named, i, name, default)
  local v = value.number(M.get(args, named, i, name, default))
  if math.type(v) ~= "integer" then value.fail("argument %s must be a whole number", name or i) end
  return v
end

--- The same, as a truth value.
function M.flag(args, named, i, name, default)
  return value.truth(M.get(args, named, i, name, default))
end

return M
