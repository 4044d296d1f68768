-- Expressions: each function reads one from the tokens and gives a function that computes its value, f(run).
local value = require "pofit.template.value"
local operator = require "pofit.template.operator"
local methods = require "pofit.template.methods"
local filters = require "pofit.template.filters"
local tests = require "pofit.template.tests"
local Parser = require "pofit.template.parser"

local truth = value.truth

local function constant(v) return function() return v end end

-- a function of two values, computed at a place
local function binary_at(at, f, left, right)
  return function(run)
    local a, b = left(run), right(run)
    run.at = at
    return f(run, a, b)
  end
end

local function unary_at(at, f, operand)
  return function(run)
    local a = operand(run)
    run.at = at
    return f(run, a)
  end
end

-- ---- from the loosest to the tightest ----

--- a if b else c
function Parser:expression() return self:nested(self.conditional) end

function Parser:conditional()
  local result = self:disjunction()
  while self:accept("name", "if") do
    local yes, condition = result, self:disjunction()
    local no = self:accept("name", "else") and self:nested(self.conditional)
      or constant(value.undefined("the inline if-expression is false and has no else"))
    result = function(run) return (truth(condition(run)) and yes or no)(run) end
  end
  return result
end

function Parser:disjunction()
  local left = self:conjunction()
  while self:accept("name", "or") do
    local a, b = left, self:conjunction()
    left = function(run)
      local v = a(run)
      if truth(v) then return v end
      return b(run)
    end
  end
  return left
end

function Parser:conjunction()
  local left = self:negation()
  while self:accept("name", "and") do
    local a, b = left, self:negation()
    left = function(run)
      local v = a(run)
      if not truth(v) then return v end
      return b(run)
    end
  end
  return left
end

function Parser:negation()
  if not self:accept("name", "not") then return self:comparison() end
  local operand = self:nested(self.negation)
  return function(run) return not truth(operand(run)) end
end

function Parser:comparison_operator()
  local token = self:peek()
  if operator.compare[token.type] then return self:next().type end
  if self:accept("name", "in") then return "in" end
  local after = self:peek(1)
  if self:is("name", "not") and after.type == "name" and after.value == "in" then
    self.i = self.i + 2
    return "not in"
  end
end

-- a < b <= c: each operand is computed once
function Parser:comparison()
  local first, chain = self:sum(), {}
  while true do
    local at, symbol = self:peek().at, self:comparison_operator()
    if not symbol then break end
    chain[#chain + 1] = { at = at, f = operator.compare[symbol], operand = self:sum() }
  end
  if #chain == 0 then return first end
  return function(run)
    local a = first(run)
    for _, link in ipairs(chain) do
      local b = link.operand(run)
      run.at = link.at
      if not link.f(a, b) then return false end
      a = b
    end
    return true
  end
end

local function left_to_right(symbols, operand)
  return function(self)
    local left = operand(self)
    while symbols[self:peek().type] do
      local token = self:next()
      left = binary_at(token.at, operator.binary[token.type], left, operand(self))
    end
    return left
  end
end

Parser.power = left_to_right({ ["**"] = true }, function(self) return self:unary(true) end)
Parser.product = left_to_right({ ["*"] = true, ["/"] = true, ["//"] = true, ["%"] = true }, Parser.power)
Parser.concatenation = left_to_right({ ["~"] = true }, Parser.product)
Parser.sum = left_to_right({ ["+"] = true, ["-"] = true }, Parser.concatenation)

function Parser:unary(filtered)
  local token = self:peek()
  local result
  if token.type == "-" or token.type == "+" then
    self:next()
    local operand = self:nested(self.unary, false)
    result = unary_at(token.at, token.type == "-" and operator.negative or operator.positive, operand)
  else
    result = self:primary()
  end
  result = self:postfix(result)
  return filtered and self:filtered(result) or result
end

-- ---- what an expression begins with ----

local CONSTANTS <const> = {
  ["true"] = true, ["True"] = true, ["false"] = false, ["False"] = false, none = value.none, None = value.none,
}

local function variable(name, at)
  local hint = ("'%s' is undefined"):format(name)
  return function(run)
    local v = run.scope[name]
    if v ~= nil then return v end
    run.at = at
    return value.undefined(hint)
  end
end

function Parser:primary()
  local token = self:next()
  if token.type == "name" then
    local known = CONSTANTS[token.value]
    if known ~= nil then return constant(known) end
    self.uses_loop = self.uses_loop or token.value == "loop"
    return variable(token.value, token.at)
  elseif token.type == "string" then
    local parts = { token.value }
    while self:is("string") do parts[#parts + 1] = self:next().value end
    return constant(table.concat(parts))
  elseif token.type == "integer" or token.type == "float" then
    return constant(token.value)
  elseif token.type == "(" then
    local inside = self:is(")") and self.nothing(self) or self:nested(self.tuple)
    self:expect(")")
    return inside
  elseif token.type == "[" then
    return self:nested(self.list_literal)
  elseif token.type == "{" then
    return self:nested(self.dict_literal)
  end
  self.i = self.i - 1
  return self:unexpected()
end

function Parser.nothing() return function() return value.tuple {} end end

-- the values of several expressions
local function all(items, make)
  local n = #items
  return function(run)
    run:charge(n)
    local out = {}
    for i = 1, n do out[i] = items[i](run) end
    return make(out, n)
  end
end

--- One expression, or several with commas: a tuple. without_if: what follows an "if" is not part of it.
function Parser:tuple(without_if)
  local one = without_if and self.disjunction or self.expression
  local items, comma = { one(self) }, false
  while self:accept(",") do
    comma = true
    local t = self:peek().type
    if t == ")" or t == "block_end" or t == "print_end" or t == "=" or self:is("name", "in") then break end
    items[#items + 1] = one(self)
  end
  return comma and all(items, value.tuple) or items[1]
end

function Parser:list_literal()
  local items = {}
  while not self:is("]") do
    items[#items + 1] = self:expression()
    if not self:accept(",") then break end
  end
  self:expect("]")
  return all(items, value.list)
end

function Parser:dict_literal()
  local keys, values = {}, {}
  while not self:is("}") do
    keys[#keys + 1] = self:expression()
    self:expect(":")
    values[#values + 1] = self:expression()
    if not self:accept(",") then break end
  end
  self:expect("}")
  return function(run)
    run:charge(#keys)
    local out = value.dict()
    for i, key in ipairs(keys) do value.set(out, key(run), values[i](run)) end
    return out
  end
end

-- ---- what follows ----

function Parser:postfix(operand)
  while true do
    local token = self:peek()
    if token.type == "." then
      operand = self:attribute(operand)
    elseif token.type == "[" then
      self:next()
      operand = self:nested(self.subscript, operand, token.at)
    elseif token.type == "(" then
      operand = self:nested(self.call, operand)
    else
      return operand
    end
  end
end

--- x.name: a method of the value, else its element of that name.
function Parser:attribute(operand)
  local at = self:next().at
  local token = self:next()
  if token.type == "integer" then
    return unary_at(at, function(_, v) return value.item(v, token.value) end, operand)
  elseif token.type ~= "name" then
    self.i = self.i - 1
    self:expect("name")
  end
  local name = token.value
  return unary_at(at, function(_, v) return methods.find(v, name) or value.item(v, name) end, operand)
end

function Parser:subscript(operand, at)
  local parts, colons = {}, 0
  while not self:is("]") do
    if self:accept(":") then
      colons = colons + 1
      if colons > 2 then self:fail(self:peek().at, "a slice has at most three parts") end
    else
      parts[colons + 1] = self:tuple()
    end
    if colons == 0 and parts[1] and not self:is(":") then break end
  end
  self:expect("]")
  if colons > 0 then return self.slice(operand, parts, at) end
  if not parts[1] then self:fail(at, "expected an index between [ and ]") end
  return binary_at(at, function(_, v, key)
    local found = value.item(v, key)
    if value.is_undefined(found) and type(key) == "string" then return methods.find(v, key) or found end
    return found
  end, operand, parts[1])
end

function Parser.slice(operand, parts, at)
  return function(run)
    local v, index = operand(run), {}
    for i = 1, 3 do
      local part = parts[i] and parts[i](run)
      if part ~= nil and part ~= value.none then
        index[i] = value.number(value.need(part))
        if math.type(index[i]) ~= "integer" then
          run.at = at
          value.fail("slice indices must be integers or None, not %s", value.kind(part))
        end
      end
    end
    run.at = at
    run:charge(value.length(v))
    return value.slice(v, index[1], index[2], index[3])
  end
end

--- The arguments of a call: a function that computes the list (with n) and the table by name.
function Parser:arguments()
  self:expect("(")
  local list, named = {}, {}
  while not self:is(")") do
    local token, after = self:peek(), self:peek(1)
    if token.type == "*" or token.type == "**" then
      self:fail(token.at, "arguments with %s are not supported", token.type)
    elseif token.type == "name" and after.type == "=" then
      self.i = self.i + 2
      named[#named + 1] = { token.value, self:expression() }
    else
      if #named > 0 then self:fail(token.at, "an argument without a name cannot follow one with a name") end
      list[#list + 1] = self:expression()
    end
    if not self:accept(",") then break end
  end
  self:expect(")")
  return function(run)
    local args, by_name = { n = #list }, { order = {} }
    for i, f in ipairs(list) do args[i] = f(run) end
    for i, pair in ipairs(named) do by_name[pair[1]], by_name.order[i] = pair[2](run), pair[1] end
    return args, by_name
  end
end

local function no_arguments() return { n = 0 }, { order = {} } end

function Parser:call(operand)
  local at = self:peek().at
  local arguments = self:arguments()
  return function(run)
    local f = operand(run)
    local args, named = arguments(run)
    run.at = at
    return run:call(f, args, named)
  end
end

-- x|name(...) and x is name
function Parser:filtered(operand)
  while true do
    if self:is("|") then
      self:next()
      operand = self:filter(operand)
    elseif self:is("name", "is") then
      operand = self:test(operand)
    elseif self:is("(") then
      operand = self:nested(self.call, operand)
    else
      return operand
    end
  end
end

function Parser:dotted()
  local token = self:expect("name")
  local name = token.value
  while self:accept(".") do name = name .. "." .. self:expect("name").value end
  return name, token.at
end

function Parser:filter(operand)
  local name, at = self:dotted()
  local arguments = self:is("(") and self:arguments() or no_arguments
  local f = filters[name]
  return function(run)
    local v = operand(run)
    local args, named = arguments(run)
    run.at = at
    if not f then value.fail("there is no filter '%s'", name) end
    return f(run, v, args, named)
  end
end

local ARGUMENT <const> = {
  name = true, string = true, integer = true, float = true, ["("] = true, ["["] = true, ["{"] = true,
}
local NO_ARGUMENT <const> = {
  ["else"] = true, ["or"] = true, ["and"] = true, ["if"] = true, ["is"] = true, ["in"] = true, ["not"] = true,
}

-- one argument of a test may stand without parentheses: x is divisibleby 3
function Parser:test_argument()
  local token = self:peek()
  if not ARGUMENT[token.type] or token.type == "name" and NO_ARGUMENT[token.value] then return no_arguments end
  local operand = self:postfix(self:primary())
  return function(run) return { operand(run), n = 1 }, { order = {} } end
end

function Parser:test(operand)
  self:next()
  local negated = self:accept("name", "not") ~= nil
  local name, at = self:dotted()
  local arguments = self:is("(") and self:arguments() or self:test_argument()
  local f = tests[name]
  return function(run)
    local v = operand(run)
    local args, named = arguments(run)
    run.at = at
    if not f then value.fail("there is no test '%s'", name) end
    return f(v, args, named) ~= negated
  end
end

return Parser
