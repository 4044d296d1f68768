-- pf.help: what an operation or a loss computes, from the registry; what functions and commands do.
local core = require "pofit.core"
local functions = require "pofit.help.functions"

local function default_of(p)
  if p.value == nil then return "" end
  if p.kind == "boolean" then return " = " .. tostring(p.value ~= 0) end
  if p.kind == "choice" then
    local words = {}
    for word in p.choices:gmatch("%S+") do words[#words + 1] = word end
    return (" = %q"):format(words[p.value // 1 + 1])
  end
  return (" = %.6g"):format(p.value)
end

local function wrap(text, indent, width)
  local lines, line = {}, indent
  for word in text:gmatch("%S+") do
    if #line + #word > width and line ~= indent then
      lines[#lines + 1] = line:gsub("%s+$", "")
      line = indent
    end
    line = line .. word .. " "
  end
  lines[#lines + 1] = line:gsub("%s+$", "")
  return table.concat(lines, "\n")
end

local function describe(entry)
  local names = {}
  for i, p in ipairs(entry.params) do names[i] = p.optional and "[" .. p.name .. "]" or p.name end
  local list = table.concat(names, ", ")
  local lines = { entry.loss and ("pf.loss.%s{%s}"):format(entry.name, list)
    or ("pf.%s(%s)"):format(entry.name, list), "", wrap(entry.doc, "  ", 100) }
  if entry.formula ~= "" then lines[#lines + 1] = "\n" .. wrap("formula: " .. entry.formula, "  ", 100) end
  if entry.source ~= "" then lines[#lines + 1] = wrap("source:  " .. entry.source, "  ", 100) end
  lines[#lines + 1] = ""
  for _, p in ipairs(entry.params) do
    lines[#lines + 1] = ("  %-18s %s%s%s"):format(p.name, p.kind, default_of(p),
      p.choices and ": " .. p.choices or p.optional and p.value == nil and ", may be left out" or "")
  end
  return table.concat(lines, "\n")
end

local function overview(registry)
  local losses, ops = {}, {}
  for _, entry in ipairs(registry) do table.insert(entry.loss and losses or ops, entry.name) end
  table.sort(losses)
  table.sort(ops)
  return "losses, pf.loss.NAME{...}:\n" .. wrap(table.concat(losses, "  "), "  ", 100)
    .. "\n\noperations, pf.NAME(x, ...) and x:NAME(...):\n" .. wrap(table.concat(ops, "  "), "  ", 100)
    .. "\n\nfunctions, pf.NAME(...), and tables of functions, pf.NAME.FUNCTION(...):\n"
    .. wrap(table.concat(functions.tops(registry), "  "), "  ", 100)
    .. "\n\npofit help NAME describes one of them.\n\ncommands, pofit NAME --help:\n"
    .. require("pofit.command").overview()
end

--- The description of a loss, an operation, a function or a command; without a name, all names.
---@param name? string "dpo", "pf.loss.dpo", "pf.data.preference", "inspect data"
---@return string
return function(name)
  local registry = core.registry()
  if name == nil then return overview(registry) end
  name = tostring(name):gsub("^pf%.", "")
  local names = require("pofit.command").words()
  for _, entry in ipairs(registry) do
    if entry.name == name or entry.loss and "loss." .. entry.name == name then return describe(entry) end
    names[#names + 1] = entry.name
  end
  local text = require("pofit.command").help(name) or functions.help(name)
  if text then return text end
  for _, known in ipairs(functions.names()) do names[#names + 1] = known end
  local near = core.nearest(name, names)
  return core.raise(("there is no help on %q%s"):format(name,
    near and ("; did you mean %q?"):format(near) or ""))
end
