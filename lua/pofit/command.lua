-- Commands: `pofit NAME ...` runs lua/pofit/command/NAME.lua, `pofit NAME WHAT ...` lua/pofit/command/NAME/WHAT.lua.
-- Such a file is found by its name alone. It returns
--   { summary = "one line", options = { declaration as for pf.options }, run = function(opt) ... end,
--     common = { "seed", ... } }     which of the options of every recipe it takes; --threads unless said
-- A word without a name is the value of the option declared with bare = true: pofit inspect data FILE.
local core = require "pofit.core"
local options = require "pofit.options"

local M = {}

local PREFIX <const> = "pofit.command."

-- all commands: "inspect data" -> its module; and the names in order
local function all()
  local modules, names = {}, {}
  for _, module in ipairs(core.modules()) do
    if module:sub(1, #PREFIX) == PREFIX then
      local name = module:sub(#PREFIX + 1):gsub("%.", " ")
      modules[name], names[#names + 1] = module, name
    end
  end
  table.sort(names)
  return modules, names
end

--- One line a command, for `pofit help`.
---@return string
function M.overview()
  local modules, names = all()
  local lines = {}
  for i, name in ipairs(names) do
    lines[i] = ("  pofit %-20s %s"):format(name, require(modules[name]).summary)
  end
  return table.concat(lines, "\n")
end

--- The first words of all commands, and "help", which the program itself knows.
---@return string[]
function M.words()
  local _, names = all()
  local words = { "help" }
  for _, name in ipairs(names) do words[#words + 1] = name:match("^%w+") end
  return words
end

-- the commands that begin with this word: "inspect" -> data, model, ...
local function group(names, word)
  local out = {}
  for _, name in ipairs(names) do out[#out + 1] = name:match("^" .. word .. " (.+)$") end
  return out
end

local function spec_of(command) return options.spec(command.options, command.common or { "threads" }) end

local function group_help(word, list)
  return ("usage: pofit %s WHAT ...\n\nWHAT is one of %s; pofit %s WHAT --help says more."):format(word, list, word)
end

local function run(name, command, words)
  local spec = spec_of(command)
  local env = { json = require "pofit.json", program = "pofit " .. name }
  local opt = options.parse_or_exit(spec, words, env)
  if spec.by_name.threads and opt.threads > 0 then core.threads(opt.threads) end
  return command.run(opt)
end

--- What pofit NAME --help prints; nil if there is no command of that name.
---@param name string
---@return string?
function M.help(name)
  local modules, names = all()
  if modules[name] then
    return require("pofit.options.help").text(spec_of(require(modules[name])), "pofit " .. name):gsub("\n$", "")
  end
  local list = name:find "^%w+$" and group(names, name) or {}
  return list[1] and group_help(name, table.concat(list, ", ")) or nil
end

--- A mistake on the command line that the options' declaration cannot see: told, and the program ends with 2.
---@param message string
function M.usage(message)
  io.stderr:write("pofit: ", message, "\n       (--help lists the options)\n")
  os.exit(2, true)
end

local function usage(message)
  io.stderr:write("pofit: ", message, "\n       (pofit help lists the commands)\n")
  os.exit(2, true)
end

local function hint(word, names)
  local near = options.nearest(word, names)
  return near and ("; did you mean %q?"):format(near) or ""
end

--- The function that runs a command with the words that follow its name; nil if there is no command of that name.
---@param word string
---@param is_file? boolean there is a file of that name: it is no mistyped command
---@return function?
function M.find(word, is_file)
  local modules, names = all()
  local rest = word:find("^%w+$") and group(names, word) or {}
  if #rest == 0 and not modules[word] then
    if not is_file then usage(("there is no command or file %q%s"):format(word, hint(word, M.words()))) end
    return nil
  end
  return function(what, ...)
    local name = what and modules[word .. " " .. what] and word .. " " .. what
    if name then return run(name, require(modules[name]), { ... }) end
    if modules[word] then return run(word, require(modules[word]), { what, ... }) end
    local list = table.concat(rest, ", ")
    if what == "--help" or what == "-h" then
      print(group_help(word, list))
      return
    end
    local path = modules[word .. " model"] and options.names_model(what)
      and ('; did you mean "pofit %s model %s"?'):format(word, what)
    usage(what and ("pofit %s knows %s, not %q%s"):format(word, list, what, path or hint(what, rest))
      or ("pofit %s: what? One of %s"):format(word, list))
  end
end

return M
