-- What the parsers of expressions and statements share: the tokens, and what to say when one is missing.
local value = require "pofit.template.value"
local lexer = require "pofit.template.lexer"

local Parser = {}
Parser.__index = Parser

local NAMES <const> = {
  eof = "the end of the template", block_end = "%}", print_end = "}}", block_begin = "{%", print_begin = "{{",
  data = "text",
}
-- deeper templates would exhaust the stack of the parser, or of what it makes
local DEPTH <const> = 120

--- A parser at the first token. pos receives the place of a mistake.
function Parser.new(source, pos)
  local tokens, normal = lexer.tokens(source, pos)
  return setmetatable({ tokens = tokens, i = 1, pos = pos, depth = 0, loops = 0, source = normal }, Parser)
end

function Parser:peek(ahead) return self.tokens[math.min(self.i + (ahead or 0), #self.tokens)] end

function Parser:next()
  local token = self:peek()
  self.i = self.i + 1
  return token
end

--- Is the next token of this type (and, for a name, this name)?
function Parser:is(type, name)
  local token = self:peek()
  return token.type == type and (name == nil or token.value == name)
end

--- Take the next token if it is that; nil if not.
function Parser:accept(type, name) return self:is(type, name) and self:next() or nil end

function Parser:fail(at, message, ...)
  self.pos.at = at
  return value.fail(message, ...)
end

local function shown(token)
  if token.type == "string" then return "the text " .. value.repr(token.value) end
  return NAMES[token.type] or ("'%s'"):format(value.str(token.value))
end

--- Take the next token, which must be that.
function Parser:expect(type, name)
  local token = self:accept(type, name)
  if not token then
    local wanted = name and ("'%s'"):format(name) or NAMES[type] or type == "name" and "a name" or ("'%s'"):format(type)
    self:fail(self:peek().at, "expected %s, found %s", wanted, shown(self:peek()))
  end
  return token
end

function Parser:unexpected()
  local token = self:peek()
  return self:fail(token.at, "unexpected %s", shown(token))
end

--- f(...) one level deeper.
function Parser:nested(f, ...)
  self.depth = self.depth + 1
  if self.depth > DEPTH then self:fail(self:peek().at, "nested more than %d deep", DEPTH) end
  local result = f(self, ...)
  self.depth = self.depth - 1
  return result
end

return Parser
