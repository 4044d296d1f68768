-- Calls on behalf of someone whose input is at fault, not the script: what they raise is told without a place.
local core = require "pofit.core"

local M = {}

--- A message without the place in the script that core.raise puts in front of its messages here.
---@param message string
---@return string
function M.plain(message)
  local _, place = pcall(core.raise, "")
  return message:sub(1, #place) == place and message:sub(#place + 1) or message
end

--- f(...) with what options say: its errors are about these.
---@param f function
function M.call(f, ...)
  local ok, result = pcall(f, ...)
  if ok then return result end
  if type(result) ~= "string" then error(result, 0) end
  return core.refuse(M.plain(result))
end

return M
