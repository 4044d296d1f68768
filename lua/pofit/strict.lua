-- Global names must be known: a misspelt one raises instead of being nil. The script itself may make globals at its top
-- level; inside functions they raise as well.
local core = require "pofit.core"

local known = {}

local function from_function()
  local info = debug.getinfo(3, "S")
  return info and info.what == "Lua"
end

setmetatable(_G, {
  __index = function(_, name)
    if known[name] then return nil end
    local near = type(name) == "string" and core.nearest(name, _G, true)
    core.raise(("there is no variable %q%s"):format(tostring(name), near and ("; did you mean %q?"):format(near) or ""))
  end,
  __newindex = function(t, name, value)
    if not known[name] and from_function() then
      core.raise(("%q is assigned as a global inside a function; write local"):format(tostring(name)))
    end
    known[name] = true
    rawset(t, name, value)
  end,
})

return true
