-- Conversations as text. There is one built-in template, ChatML's:
--   <|im_start|>ROLE\nCONTENT<|im_end|>\n      for each message, and
--   <|im_start|>assistant\n                    for generation_prompt
-- A tokenizer that has no token <|im_end|> ends the assistant's messages with its EOS instead, so that a model can
-- learn to stop. Templates that come with a tokenizer are not read.
local core = require "pofit.core"

local chat = {}

local roles = { system = true, user = true, assistant = true, tool = true }

local function check_message(i, message)
  if type(message) ~= "table" then
    core.raise(("chat: message %d is a %s, expected {role=, content=}"):format(i, type(message)))
  end
  if not roles[message.role] then
    core.raise(("chat: message %d has the role %q; it is one of system, user, assistant, tool"):format(i,
      tostring(message.role)))
  end
  if type(message.content) ~= "string" then
    core.raise(("chat: content of message %d is a %s, expected a text"):format(i, type(message.content)))
  end
end

--- Is this a conversation: a list of messages?
function chat.is_messages(value)
  return type(value) == "table" and type(value[1]) == "table" and value[1].role ~= nil
end

local function ending(tok, role)
  if role ~= "assistant" or tok:id("<|im_end|>") or not tok.eos then return "<|im_end|>\n" end
  return tok:token(tok.eos)
end

--- Text of a conversation; with generation_prompt it ends where the assistant's answer begins, and with tokenize it
--- comes as ids.
---@param tok pofit.Tokenizer
---@param messages table[]
---@param opts? { generation_prompt: boolean, tokenize: boolean }
---@return string|integer[]
function chat.render(tok, messages, opts)
  opts = opts or {}
  for name in pairs(opts) do
    if name ~= "generation_prompt" and name ~= "tokenize" then
      core.raise(("chat has no option %q"):format(tostring(name)))
    end
  end
  if type(messages) ~= "table" or #messages == 0 then core.raise("chat: expected a list of messages") end
  local parts = {}
  for i, message in ipairs(messages) do
    check_message(i, message)
    parts[i] = ("<|im_start|>%s\n%s%s"):format(message.role, message.content, ending(tok, message.role))
  end
  if opts.generation_prompt then parts[#parts + 1] = "<|im_start|>assistant\n" end
  local text = table.concat(parts)
  return opts.tokenize and chat.encode(tok, text) or text
end

--- Ids of a text with what the tokenizer adds (BOS), which stands once even if the text begins with it.
function chat.encode(tok, text)
  local ids = tok:encode(text)
  if tok.bos and ids[1] == tok.bos and ids[2] == tok.bos then table.remove(ids, 1) end
  return ids
end

return chat
