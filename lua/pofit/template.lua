-- Chat templates: the part of Jinja that the templates of published models use, as Hugging Face runs it.
--
--   local template = pf.template(source, "chat_template.jinja")
--   local text, info = template:render({ messages = messages, add_generation_prompt = true, bos_token = "<s>" })
--
-- A template sees what it is given and its own names, nothing of Lua, and can change none of it. Its steps, the bytes
-- that it makes and the depth of its macros are limited. An error says the template's name, line and column.
local core = require "pofit.core"
local convert = require "pofit.template.convert"
local globals = require "pofit.template.globals"
local lexer = require "pofit.template.lexer"
local compile = require "pofit.template.statement"
local value = require "pofit.template.value"

-- bytes made and elements visited by one rendering; what the longest conversations need is far below
local BUDGET <const> = 64 << 20
local CALLS <const> = 100

-- ---- a rendering on its way ----

local Run = {}
Run.__index = Run

--- Count work; more than the budget is an error.
function Run:charge(n)
  self.spent = self.spent + n + 1
  if self.spent > self.budget then value.fail("the template takes too many steps, or makes too much text") end
end

--- A text that was made: counted.
function Run:text(s)
  self:charge(#s)
  return s
end

--- Print.
function Run:write(s)
  self:charge(#s)
  local out = self.out
  out[#out + 1] = s
  out.bytes = out.bytes + #s
end

--- A new scope, within the present one unless another is given. Returns the present one, for leave.
function Run:enter(within)
  local outer = self.scope
  self.scope = setmetatable({}, { __index = within or outer })
  return outer
end

function Run:leave(outer) self.scope = outer end

--- What f prints, in a scope of its own, as a text.
function Run:capture(f)
  local out, outer = self.out, self:enter()
  self.out = { bytes = 0 }
  f(self)
  local text = table.concat(self.out)
  self.out = out
  self:leave(outer)
  return text
end

function Run:call(f, args, named)
  if value.kind(value.need(f)) ~= "function" then value.fail("a %s cannot be called", value.kind(f)) end
  self.calls = self.calls + 1
  if self.calls > CALLS then value.fail("calls nested more than %d deep", CALLS) end
  self:charge(1)
  local at = self.at
  local result = f.call(self, args, named)
  self.at, self.calls = at, self.calls - 1
  return result
end

--- Print what f prints, and keep its place: spans count bytes of the whole text, so inside of a macro there is none.
function Run:generation(f)
  local text = self:capture(f)
  local from = self.out.bytes
  if self.out.main then
    self.spans[#self.spans + 1] = { from + 1, from + #text }
  else
    self.lost = true
  end
  self:write(text)
end

-- ---- templates ----

local Template = {}
Template.__index = Template

-- raises an error of the template with its place; others go on as they are
local function raise(name, place, problem, refused)
  if getmetatable(problem) ~= value.Error then error(problem, 0) end
  local line, column = lexer.place(place.source, place.at or 1)
  core.raise(("%s:%d:%d: %s%s"):format(name, line, column, refused and "the template refuses this conversation: " or "",
    problem.message))
end

local function seconds_of(date)
  if date == nil then return os.time() end
  if math.type(date) == "integer" then return date end
  local year, month, day, clock = tostring(date):match("^(%d%d%d%d)-(%d%d)-(%d%d)(.*)$")
  local hour, minute, second = (clock or ""):match("^[T ](%d%d):(%d%d):?(%d*)$")
  if not year or clock ~= "" and not hour then
    core.raise(("template: date is %q, expected YYYY-MM-DD or YYYY-MM-DDThh:mm:ss"):format(tostring(date)))
  end
  local time = { year = year, month = month, day = day, hour = hour or 12, min = minute or 0,
    sec = tonumber(second) or 0 }
  local seconds = os.time(time) -- which counts months on into the next year
  if time.month ~= tonumber(month) or time.day ~= tonumber(day) then
    core.raise(("template: there is no date %s"):format(date))
  end
  return seconds
end

--- The text for some variables (Lua values by name), and {spans = {{first, last}, ...} what the assistant says, in
--- bytes, as {% generation %} marks it (nil if the template marks nothing), dated = the text depends on the date}.
---@param variables table<string, any>
---@param opts? { date: string|integer } what strftime_now says; the present time unless given
---@return string text, table info
function Template:render(variables, opts)
  opts = opts or {}
  local run = setmetatable({ scope = globals(seconds_of(opts.date)), out = { bytes = 0, main = true }, spent = 0,
    budget = BUDGET, calls = 0, spans = {}, at = 1 }, Run)
  local ok, problem = pcall(function()
    for name, v in pairs(variables) do run.scope[name] = convert.from_lua(v) end
    run:enter()
    self.body(run)
  end)
  if not ok then raise(self.name, { source = self.source, at = run.at }, problem, run.refused) end
  local marked = self.marks and not run.lost
  return table.concat(run.out), { spans = marked and run.spans or nil, dated = run.dated or false }
end

local M = {}

--- Read a template. name stands in messages.
---@param source string
---@param name? string
---@return table template
function M.compile(source, name)
  if type(source) ~= "string" then core.raise(("template: expected a text, got a %s"):format(type(source))) end
  local place = { source = source, at = 1 }
  name = name or "template"
  if not utf8.len(source) then
    core.raise(("%s: byte %d is not valid UTF-8"):format(name, select(2, utf8.len(source))))
  end
  local ok, body = pcall(compile, source, place)
  if not ok then raise(name, place, body) end
  local marks = source:find("{%%[-+]?%s*generation%s*[-+]?%%}") ~= nil
  return setmetatable({ name = name, source = place.source, body = body, marks = marks }, Template)
end

return setmetatable(M, { __call = function(_, source, name) return M.compile(source, name) end })
