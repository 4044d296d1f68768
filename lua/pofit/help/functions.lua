-- Help on the library's functions: from the comments above them in its Lua files, and for what is written in C or is a
-- table that can be called, from the declarations for editors (pofit.stubs).
local core = require "pofit.core"

local M = {}

local function lines_of(text)
  local lines = {}
  for line in text:gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  return lines
end

-- the comment that ends above line n: what it says, and its @param and @return: { "x", "table what it is" }
local function comment_above(lines, n)
  local first, says, params, returns = n, {}, {}, {}
  while first > 1 and lines[first - 1]:find "^%-%-" do first = first - 1 end
  local at = says
  for i = first, n - 1 do
    local text = lines[i]:gsub("^%-+ ?", "")
    local name, what = text:match "^@param (%S+) (.*)$"
    if name then
      at = { name, what }
      params[#params + 1] = at
    elseif text:find "^@return" then
      at = { "returns", text:match "^@return (.*)$" }
      returns[#returns + 1] = at
    elseif not text:find "^@" then
      at[#at + 1] = text
    end
  end
  return { says = says, params = params, returns = returns }
end

-- name(x, [opts])
local function signature(name, names, params)
  local optional = {}
  for _, p in ipairs(params) do optional[p[1]] = true end
  local shown = {}
  for i, x in ipairs(names) do shown[i] = optional[x .. "?"] and "[" .. x .. "]" or x end
  return ("pf.%s(%s)"):format(name, table.concat(shown, ", "))
end

local function parameters(f)
  local names, info = {}, debug.getinfo(f, "u")
  for i = 1, info.nparams do names[i] = debug.getlocal(f, i) end
  if info.isvararg then names[#names + 1] = "..." end
  return names
end

-- as it is told where it is written
local function from_source(name, f)
  local info = debug.getinfo(f, "S")
  local module = info.source:match "^@lua/(.*)%.lua$"
  local text = module and core.source((module:gsub("/", ".")))
  if not text then return nil end
  local comment = comment_above(lines_of(text), info.linedefined)
  return comment, signature(name, parameters(f), comment.params)
end

local function from_stubs(name)
  local lines = lines_of(require "pofit.stubs"())
  local head = ("function pf.%s("):format(name)
  for i, line in ipairs(lines) do
    if line:sub(1, #head) == head then
      local names = {}
      for x in line:sub(#head + 1):gmatch "[%w_.]+%f[,)]" do names[#names + 1] = x end
      local comment = comment_above(lines, i)
      return comment, signature(name, names, comment.params)
    end
  end
end

local function describe(name, f)
  local comment, head = nil, nil
  if type(f) == "function" then comment, head = from_source(name, f) end
  if not comment or not comment.says[1] then comment, head = from_stubs(name) end
  if not comment or not comment.says[1] then return nil end
  local out, list = { head, "" }, table.move(comment.returns, 1, #comment.returns, #comment.params + 1, comment.params)
  for _, line in ipairs(comment.says) do out[#out + 1] = "  " .. line end
  for i, entry in ipairs(list) do
    if i == 1 then out[#out + 1] = "" end
    out[#out + 1] = ("  %-12s %s"):format(entry[1], table.concat(entry, " ", 2))
  end
  return table.concat(out, "\n")
end

-- ---- names ----

local function callable(value) return type(value) == "function" or (getmetatable(value) or {}).__call ~= nil end

-- the comment at the beginning of a module's file, and the functions in it
local function describe_module(name, value)
  local out, text = { callable(value) and describe(name, value) or "pf." .. name, "" }, core.source("pofit." .. name)
  for _, line in ipairs(text and lines_of(text) or {}) do
    if not line:find "^%-%-" then break end
    out[#out + 1] = (("  " .. line:gsub("^%-+ ?", "")):gsub("%s+$", ""))
  end
  if #out > 2 then out[#out + 1] = "" end
  for _, f in ipairs(M.names(name, value)) do out[#out + 1] = "  pf." .. f end
  return table.concat(out, "\n")
end

--- The names of the functions of pf, or of one of its tables: "gradcheck", "data.preference".
---@param prefix? string name of the table
---@param tbl? table
---@return string[]
function M.names(prefix, tbl)
  local names = {}
  for name, value in pairs(tbl or require "pofit") do
    local whole = prefix and prefix .. "." .. name or name
    if callable(value) then names[#names + 1] = whole end
    if type(value) == "table" and not prefix then
      for _, inner in ipairs(M.names(name, value)) do names[#names + 1] = inner end
    end
  end
  table.sort(names)
  return names
end

--- The names in pf itself that are functions or tables of functions, without those of a registry.
---@param registry table[]
---@return string[]
function M.tops(registry)
  local known, names = { version = true }, {}
  for _, entry in ipairs(registry) do known[entry.name] = not entry.loss or nil end
  for name in pairs(require "pofit") do
    if not known[name] then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- What a function or a table of functions does, by its name with or without "pf."; nil if there is none.
---@param name string
---@return string?
function M.help(name)
  local value = require "pofit"
  for part in name:gmatch "[^.]+" do
    local inner
    for key, v in pairs(type(value) == "table" and value or {}) do
      if key == part then inner = v end
    end
    value = inner
  end
  if type(value) == "table" then return describe_module(name, value) end
  return type(value) == "function" and describe(name, value) or nil
end

return M
