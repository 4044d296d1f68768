-- Conversations as text, by the chat template of the tokenizer (lua/pofit/chat/source.lua says which), and as ids.
local core = require "pofit.core"
local json = require "pofit.json"
local source = require "pofit.chat.source"

local chat = {}

local roles = { system = true, user = true, assistant = true, tool = true }

local function fail(text, ...) return core.raise("chat: " .. text:format(...)) end

-- the one built in knows these roles, and contents that are texts
local function check_plain(i, message)
  if not roles[message.role] then
    fail("message %d has the role %q; it is one of system, user, assistant, tool", i, tostring(message.role))
  end
  if type(message.content) ~= "string" then
    fail("content of message %d is a %s, expected a text", i, type(message.content))
  end
end

-- a list of typed parts that are all texts is a text
local function flat(content)
  local parts = {}
  for i, part in ipairs(type(content) == "table" and content or {}) do
    if type(part) ~= "table" or part.type ~= "text" or type(part.text) ~= "string" then return content end
    parts[i] = part.text
  end
  return type(content) == "table" and table.concat(parts) or content
end

local REASONING <const> = { "reasoning_content", "thinking", "reasoning" }

-- as transformers does: what is null is not there, and reasoning stands under each of its names
local function prepared(i, message, built_in)
  if type(message) ~= "table" then
    fail("message %d is %s, expected {role=, content=}", i, message == json.null and "null" or "a " .. type(message))
  end
  if type(message.role) ~= "string" then fail("message %d has no role", i) end
  local values, keys, reasoning = {}, {}, nil
  for key, v in pairs(message) do
    if v ~= json.null then values[key], keys[#keys + 1] = v, key end
  end
  for _, name in ipairs(REASONING) do reasoning = reasoning or values[name] end
  for _, name in ipairs { "thinking", "reasoning_content" } do
    if reasoning and not values[name] then values[name], keys[#keys + 1] = reasoning, name end
  end
  if built_in then values.content = flat(values.content) end
  if built_in then check_plain(i, values) end
  return json.object(values, keys)
end

--- Is this a conversation: a list of messages?
function chat.is_messages(value)
  return type(value) == "table" and type(value[1]) == "table" and value[1].role ~= nil
end

--- Is the last of these messages the assistant's?
---@param messages table
---@return boolean
function chat.is_answered(messages)
  local last = messages[#messages]
  return type(last) == "table" and last.role == "assistant"
end

local known = {
  generation_prompt = true, continue_final = true, tokenize = true, tools = true, documents = true, template = true,
  date = true, variables = true,
}

local function check_options(opts)
  for name in pairs(opts) do
    if not known[name] then
      local near = core.nearest(tostring(name), known, true)
      fail("no option %q%s", tostring(name), near and ("; did you mean %q?"):format(near) or "")
    end
  end
  if opts.generation_prompt and opts.continue_final then
    fail("generation_prompt begins a new message, continue_final goes on with the last: only one of them")
  end
end

-- tools come as a list, or as that list in JSON
local function tools_of(tools)
  if type(tools) == "string" then tools = json.decode(tools, "tools") end
  if tools == nil or tools == json.null or type(tools) == "table" and #tools == 0 then return nil end
  if type(tools) ~= "table" then fail("tools is a %s, expected a list of JSON schemas", type(tools)) end
  return tools
end

-- stands at the end of the message that is to be continued, so that its end is found
local MARK <const> = "CONTINUE_FINAL_MESSAGE_TAG "

local function marked(messages)
  local last = messages[#messages]
  local content = flat(last.content)
  if type(content) ~= "string" then fail("continue_final: the last message has no text to continue") end
  local values, keys = {}, {}
  for key, v in pairs(last) do values[key], keys[#keys + 1] = v, key end
  values.content = content .. MARK
  messages[#messages] = json.object(values, keys)
end

local function cut(text, spans)
  local bare, at = MARK:sub(1, -2), nil
  local i = text:find(bare, 1, true)
  while i do at, i = i, text:find(bare, i + 1, true) end
  if not at then fail("continue_final: the template does not write the last message") end
  local exact = text:sub(at, at + #MARK - 1) == MARK
  text = text:sub(1, at - 1)
  if not exact then text = text:gsub("%s+$", "") end -- the template takes white space off the end of messages
  for _, span in ipairs(spans or {}) do span[2] = math.min(span[2], #text) end
  return text
end

local told

-- the model's own template matters too much to be missed in silence
local function tell_built_in()
  if told then return end
  told = true
  io.stderr:write("pofit: the tokenizer has no chat template; conversations use the one built in (ChatML)\n")
end

--- Text of a conversation, and what the template said of it: {spans = {{first, last}, ...} bytes that the assistant
--- says, if the template marks them, dated = it depends on the date, built_in = it is not the model's own}.
---   generation_prompt   it ends where the assistant's answer begins
---   continue_final      it ends within the last message, to go on from there
---   tools, documents    lists for the template (tools also as JSON)
---   template            the name of another template than "default"
---   date                what a template that asks is told: "YYYY-MM-DD"; the present time unless given
---   variables           further ones by name, such as enable_thinking
---@param tok pofit.Tokenizer
---@param messages table[]
---@param opts? table
---@return string text, table info
function chat.render(tok, messages, opts)
  opts = opts or {}
  check_options(opts)
  if type(messages) ~= "table" or #messages == 0 then fail("expected a list of messages") end
  local tools = tools_of(opts.tools)
  local template, from = source.find(tok, opts.template, tools ~= nil)
  local all = {}
  for i, message in ipairs(messages) do all[i] = prepared(i, message, from.built_in) end
  if opts.continue_final then marked(all) end
  if from.built_in then tell_built_in() end
  local variables = {}
  for name, token in pairs(from.tokens) do variables[name] = token end
  for name, v in pairs(opts.variables or {}) do variables[name] = v end
  variables.messages, variables.tools = all, tools or json.null
  variables.documents = opts.documents or json.null
  variables.add_generation_prompt = opts.generation_prompt or false
  local text, info = template:render(variables, { date = opts.date })
  if opts.continue_final then text = cut(text, info.spans) end
  info.built_in = from.built_in
  return text, info
end

--- Ids of a rendered conversation. The model's template writes BOS itself; with the one built in, the tokenizer does.
---@param info? table what chat.render said of it
---@return integer[]
function chat.ids(tok, text, info)
  if info and info.built_in then return chat.encode(tok, text) end
  local ids = tok:encode(text, { special = false })
  if tok.bos and ids[1] == tok.bos and ids[2] == tok.bos then
    fail("the conversation begins with two BOS: one is the template's, the other a message's or the template's, too")
  end
  return ids
end

--- Ids of a text with what the tokenizer adds (BOS), which stands once even if the text begins with it.
function chat.encode(tok, text)
  local ids = tok:encode(text)
  if tok.bos and ids[1] == tok.bos and ids[2] == tok.bos then table.remove(ids, 1) end
  return ids
end

return chat
