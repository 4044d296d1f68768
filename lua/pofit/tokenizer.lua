-- pf.tokenizer: loading, and the methods that are written in Lua.
local core = require "pofit.core"

local methods = core.class.tokenizer

--- The text of a conversation as the model reads it: see pofit.chat. With tokenize, its ids.
---@param messages { role: string, content: string }[]
---@param opts? { generation_prompt: boolean, tokenize: boolean }
---@return string|integer[]
function methods:chat(messages, opts)
  return require("pofit.chat").render(self, messages, opts)
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
