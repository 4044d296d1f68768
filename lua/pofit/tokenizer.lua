-- pf.tokenizer: loading, and the methods that are written in Lua.
local core = require "pofit.core"

local methods = core.class.tokenizer

--- The text of a conversation as the model reads it, by the tokenizer's own chat template: see pofit.chat for the
--- options. With tokenize, its ids.
---@param messages { role: string, content: string }[]
---@param opts? table
---@return string|integer[]
function methods:chat(messages, opts)
  local chat = require "pofit.chat"
  local text, info = chat.render(self, messages, opts)
  if opts and opts.tokenize then return chat.ids(self, text, info) end
  return text
end

local tokenizer = {}

--- Read a tokenizer.json, by its path or its directory.
---@param path string
---@return pofit.Tokenizer
function tokenizer.load(path)
  if type(path) ~= "string" then core.raise("tokenizer.load: expected a path") end
  return core.tokenizer_load(path)
end

return tokenizer
