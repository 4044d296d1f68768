-- Statements: each function reads one from the tokens and gives a function that carries it out, f(run). Its result is
-- nil, or "break" or "continue" on the way to the loop.
local value = require "pofit.template.value"
local Parser = require "pofit.template.expression"

local statement = {}
local none = function() end

-- carries out several one after the other
local function block(list)
  if #list == 0 then return none end
  if #list == 1 then return list[1] end
  return function(run)
    for i = 1, #list do
      local leave = list[i](run)
      if leave then return leave end
    end
  end
end

--- Everything up to a block tag that begins with one of these names (or to the end, for none); the tag's name is read.
---@return function, string? name of the tag
function Parser:body(...)
  local list = {}
  while true do
    local token = self:next()
    if token.type == "data" then
      list[#list + 1] = function(run) run:write(token.value) end
    elseif token.type == "print_begin" then
      list[#list + 1] = self:print(token.at)
    elseif token.type == "eof" then
      if select("#", ...) > 0 then self:fail(token.at, "the template ends before '%s'", (select(-1, ...))) end
      return block(list)
    else
      local name = self:expect("name")
      for i = 1, select("#", ...) do
        if name.value == select(i, ...) then return block(list), name.value end
      end
      local read = statement[name.value]
      if not read then self:fail(name.at, "unknown tag '%s'", name.value) end
      list[#list + 1] = self:nested(read, name.at)
    end
  end
end

function Parser:print(at)
  local expression = self:tuple()
  self:expect("print_end")
  return function(run)
    local v = expression(run)
    run.at = at
    run:write(value.str(v))
  end
end

--- The statements up to a closing tag of that name, which is read.
function Parser:enclosed(name)
  local body = self:body(name)
  self:expect("block_end")
  return body
end

-- ---- if ----

statement["if"] = function(self)
  local branches, otherwise, tag = {}, none, "elif"
  while tag == "elif" do
    local condition = self:tuple()
    self:expect("block_end")
    local body, ending = self:body("elif", "else", "endif")
    branches[#branches + 1], tag = { condition, body }, ending
  end
  self:expect("block_end")
  if tag == "else" then otherwise = self:enclosed("endif") end
  return function(run)
    for _, branch in ipairs(branches) do
      if value.truth(branch[1](run)) then return branch[2](run) end
    end
    return otherwise(run)
  end
end

-- ---- set ----

-- names to assign to: a, or a, b (possibly in parentheses)
function Parser:target()
  local names, several = {}, false
  local open = self:accept("(")
  repeat
    if several and not self:is("name") then break end
    local token = self:expect("name")
    names[#names + 1] = token.value
    several = several or self:is(",")
  until not self:accept(",")
  if open then self:expect(")") end
  if not several then return function(scope, v) scope[names[1]] = v end end
  return function(scope, v)
    local items = value.elements(value.need(v))
    if items.n ~= #names then value.fail("%d values for %d names", items.n, #names) end
    for i, name in ipairs(names) do scope[name] = items[i] end
  end
end

-- the value of a set block is what its body prints, filtered
local function captured(self)
  local filtered = self:is("|") and self:filtered(function(run) return run.captured end)
  self:expect("block_end")
  local body = self:enclosed("endset")
  return function(run)
    local text = run:capture(body)
    if not filtered then return text end
    run.captured = text
    return filtered(run)
  end
end

local function set_attribute(self, at)
  local name = self:next().value
  self:next()
  local attribute = self:expect("name").value
  local source
  if self:accept("=") then
    source = self:tuple()
    self:expect("block_end")
  else
    source = captured(self)
  end
  return function(run)
    local v, space = source(run), run.scope[name]
    run.at = at
    if space == nil or value.kind(space) ~= "namespace" then
      value.fail("cannot assign attribute '%s': '%s' is no namespace", attribute, name)
    end
    value.set(space, attribute, v)
  end
end

function statement.set(self, at)
  if self:peek(1).type == "." then return set_attribute(self, at) end
  local target = self:target()
  local source
  if self:accept("=") then
    source = self:tuple()
    self:expect("block_end")
  else
    source = captured(self)
  end
  return function(run)
    local v = source(run)
    run.at = at
    target(run.scope, v)
  end
end

-- ---- for ----

-- the object "loop"
local function loop_of(items, i)
  local loop, n = value.dict(), items.n
  local function put(name, v) value.set(loop, name, v) end
  put("index", i)
  put("index0", i - 1)
  put("revindex", n - i + 1)
  put("revindex0", n - i)
  put("first", i == 1)
  put("last", i == n)
  put("length", n)
  put("depth", 1) -- counts recursive loops, which there are none
  put("depth0", 0)
  put("previtem", i > 1 and items[i - 1] or i == 1 and value.undefined("there is no previous item"))
  put("nextitem", i < n and items[i + 1] or i == n and value.undefined("there is no next item"))
  put("cycle", value.func("cycle", function(_, args) return args[(i - 1) % args.n + 1] end))
  return loop
end

-- the items that pass the condition of `for x in items if condition`
local function selected(run, items, target, condition)
  local out, n = {}, 0
  for i = 1, items.n do
    local outer = run:enter()
    target(run.scope, items[i])
    local keep = value.truth(condition(run))
    run:leave(outer)
    if keep then
      n = n + 1
      out[n] = items[i]
    end
  end
  return value.list(out, n)
end

-- an iteration counts as much as this many bytes
local ITERATION <const> = 80

local function run_loop(run, at, items, target, body, uses_loop)
  for i = 1, items.n do
    run.at = at
    run:charge(ITERATION)
    local outer = run:enter()
    if uses_loop then run.scope.loop = loop_of(items, i) end
    target(run.scope, items[i])
    local leave = body(run)
    run:leave(outer)
    if leave == "break" then break end
  end
end

statement["for"] = function(self, at)
  local target = self:target()
  self:expect("name", "in")
  local source = self:tuple(true)
  local condition = self:accept("name", "if") and self:expression()
  if self:is("name", "recursive") then self:fail(self:peek().at, "recursive loops are not supported") end
  self:expect("block_end")
  local outside = self.uses_loop
  self.loops, self.uses_loop = self.loops + 1, false
  local body, tag = self:body("else", "endfor")
  local uses_loop = self.uses_loop
  self.loops, self.uses_loop = self.loops - 1, outside or uses_loop
  local otherwise = none
  self:expect("block_end")
  if tag == "else" then otherwise = self:enclosed("endfor") end
  return function(run)
    local v = source(run)
    run.at = at
    local items = value.elements(v)
    if condition then items = selected(run, items, target, condition) end
    if items.n == 0 then return otherwise(run) end
    run_loop(run, at, items, target, body, uses_loop)
  end
end

local function leaving(word)
  statement[word] = function(self, at)
    if self.loops == 0 then self:fail(at, "'%s' outside of a loop", word) end
    self:expect("block_end")
    return function() return word end
  end
end
leaving "break"
leaving "continue"

-- ---- macro, call, filter, with, generation ----

-- parameters with their defaults: (a, b=1)
function Parser:parameters()
  local list = {}
  self:expect("(")
  while not self:is(")") do
    local name = self:expect("name").value
    list[#list + 1] = { name = name, default = self:accept("=") and self:expression() }
    if not self:accept(",") then break end
  end
  self:expect(")")
  return list
end

local function bind(run, name, parameters, args, named)
  if args.n > #parameters then
    value.fail("macro '%s' takes not more than %d arguments, not %d", name, #parameters, args.n)
  end
  local known = { caller = true, order = true }
  for i, p in ipairs(parameters) do
    known[p.name] = true
    local v = args[i]
    if v == nil then v = named[p.name] end
    if v == nil and p.default then v = p.default(run) end
    if v == nil then v = value.undefined(("parameter '%s' was not provided"):format(p.name)) end
    run.scope[p.name] = v
  end
  for _, given in ipairs(named.order) do
    if not known[given] then value.fail("macro '%s' takes no argument '%s'", name, given) end
  end
  if named.caller then run.scope.caller = named.caller end
end

-- a function that runs the body in the scope where it stands, and gives what it prints
local function macro(run, name, parameters, body)
  local home = run.scope
  return value.func(name, function(caller, args, named)
    local outer = caller:enter(home)
    bind(caller, name, parameters, args, named)
    local text = caller:capture(body)
    caller:leave(outer)
    return text
  end)
end

-- the body of a macro is no part of the loop around it
local function separate(self, ending)
  local loops = self.loops
  self.loops = 0
  local body = self:enclosed(ending)
  self.loops = loops
  return body
end

function statement.macro(self)
  local name = self:expect("name").value
  local parameters = self:parameters()
  self:expect("block_end")
  local body = separate(self, "endmacro")
  return function(run) run.scope[name] = macro(run, name, parameters, body) end
end

function statement.call(self, at)
  local parameters = self:is("(") and self:parameters() or {}
  local operand = self:postfix_until_call()
  local arguments = self:arguments()
  self:expect("block_end")
  local body = separate(self, "endcall")
  return function(run)
    local f = operand(run)
    local args, named = arguments(run)
    named.caller = macro(run, "caller", parameters, body)
    run.at = at
    run:write(value.str(run:call(f, args, named)))
  end
end

--- What {% call %} calls: a name with attributes.
function Parser:postfix_until_call()
  local operand = self:primary()
  while self:is(".") do operand = self:attribute(operand) end
  return operand
end

function statement.filter(self)
  local filtered = self:filter(function(run) return run.captured end)
  while self:accept("|") do filtered = self:filter(filtered) end
  self:expect("block_end")
  local body = self:enclosed("endfilter")
  return function(run)
    run.captured = run:capture(body)
    run:write(value.str(filtered(run)))
  end
end

statement["with"] = function(self)
  local names, sources = {}, {}
  while not self:is("block_end") do
    names[#names + 1] = self:expect("name").value
    self:expect("=")
    sources[#sources + 1] = self:expression()
    if not self:accept(",") then break end
  end
  self:expect("block_end")
  local body = self:enclosed("endwith")
  return function(run)
    local values = {}
    for i, source in ipairs(sources) do values[i] = source(run) end
    local outer = run:enter()
    for i, name in ipairs(names) do run.scope[name] = values[i] end
    local leave = body(run)
    run:leave(outer)
    return leave
  end
end

-- what the assistant says: its place in the text is kept
function statement.generation(self)
  self:expect("block_end")
  local body = separate(self, "endgeneration")
  return function(run) run:generation(body) end
end

for _, name in ipairs { "include", "extends", "import", "from", "block", "autoescape", "do", "trans" } do
  statement[name] = function(self, at) return self:fail(at, "'%s' is not supported", name) end
end

--- The whole template as a function of a run.
---@param source string
---@param pos table receives the source and the place of a mistake
---@return function
return function(source, pos)
  return (Parser.new(source, pos):body())
end
