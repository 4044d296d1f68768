-- Which chat template a tokenizer has, and the texts of its special tokens, as templates name them.
--
-- chat_template.jinja wins over chat_template in tokenizer_config.json, which is a text or a list of named ones;
-- additional_chat_templates/NAME.jinja are further ones. A tokenizer without any uses the one built in, ChatML's.
local core = require "pofit.core"
local json = require "pofit.json"
local template = require "pofit.template"

local M = {}

-- The assistant's messages end with EOS if the tokenizer has no token <|im_end|>, so that a model can learn to stop.
local BUILT_IN <const> = [[
{%- for message in messages -%}
{%- if tools or message.tool_calls -%}
{{ raise_exception('it has tools, and this template has no place for them') }}
{%- endif -%}
{{ '<|im_start|>' + message.role + '\n' }}
{%- if message.role == 'assistant' -%}
{% generation %}{{ message.content + assistant_end }}{% endgeneration %}
{%- else -%}
{{ message.content + '<|im_end|>\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}
]]

-- a token stands as a text or as {"content": text}
local function token_texts(tokens, object)
  for name, v in pairs(type(object) == "table" and object or {}) do
    local content = v
    if type(v) == "table" then content = v.content end
    if type(name) == "string" and name:find "_token$" and type(content) == "string" then
      tokens[name] = tokens[name] or content
    end
  end
end

local function named_templates(files, config)
  local named = {}
  for name, text in pairs(files.named) do named[name] = text end
  local listed = config.chat_template
  for _, entry in ipairs(type(listed) == "table" and listed or {}) do
    if type(entry) == "table" and type(entry.name) == "string" and type(entry.template) == "string" then
      named[entry.name] = named[entry.name] or entry.template
    end
  end
  named.default = files.template
  return named
end

local function read(tok)
  local files = tok.chat_files
  local config = files.config and json.decode(files.config, "tokenizer_config.json") or {}
  local tokens = {}
  token_texts(tokens, config)
  token_texts(tokens, files.map and json.decode(files.map, "special_tokens_map.json"))
  if not files.config then
    for name, id in pairs { bos_token = tok.bos, eos_token = tok.eos } do
      tokens[name] = tokens[name] or tok:token(id)
    end
  end
  local source = { tokens = tokens, named = named_templates(files, config), compiled = {} }
  if next(source.named) == nil then
    source.built_in = true
    source.named.default = BUILT_IN
    tokens.assistant_end = not tok:id "<|im_end|>" and tok.eos and tok:token(tok.eos) or "<|im_end|>\n"
  end
  return source
end

local kept, count = {}, 0

--- What a tokenizer has: {named = {name = text}, tokens = {bos_token = ...}, built_in = true or nil}.
---@param tok pofit.Tokenizer
---@return table
function M.of(tok)
  local key = tok.fingerprint
  if not kept[key] then
    if count >= 16 then kept, count = {}, 0 end
    kept[key], count = read(tok), count + 1
  end
  return kept[key]
end

local function names_of(named)
  local names = {}
  for name in pairs(named) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, ", ")
end

--- The template of a name; without one "default", and "tool_use" (if there is one) for conversations with tools.
---@return table template, table source
function M.find(tok, name, with_tools)
  local source = M.of(tok)
  local wanted = name or with_tools and source.named.tool_use and "tool_use" or "default"
  local text = source.named[wanted]
  if not text then
    core.raise(("chat: the tokenizer has no template %q, only %s%s"):format(wanted, names_of(source.named),
      name and "" or "; name one with template="))
  end
  if not source.compiled[wanted] then
    source.compiled[wanted] = template.compile(text, source.built_in and "built-in chat template"
      or wanted == "default" and "chat template" or ("chat template %q"):format(wanted))
  end
  return source.compiled[wanted], source
end

return M
