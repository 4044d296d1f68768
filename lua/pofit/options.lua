--- Options of a recipe: declared in one table, read from the command line and from a file of JSON.
--
--   local opt = pf.options{
--     "Direct preference optimisation",                                  -- what the recipe does
--     {"beta", 0.1, "strength of the KL constraint", above = 0},         -- name, default, help; also min=, max=
--     {"steps", 200, "updates", min = 1},                                -- an integer, because the default is one
--     {"variant", "sigmoid", "loss", choices = {"sigmoid", "ipo"}},
--     {"targets", {"q_proj", "v_proj"}, "matrices to adapt"},            -- a list: --targets q_proj,k_proj
--     {"data", nil, "preferences", type = "string", required = true},    -- no default: the type is said
--     pf.model.options,                                                  -- a list of options that recipes share
--     {"files", {}, "what to read", bare = true},                        -- may be given without its name: FILES...
--     {"tokens", 99, "how many", alias = "n_predict -n"},                -- other names: --n-predict 7, -n 7
--   }
--
-- On the command line `-` and `_` in names are the same; a flag wins over the file, the file over the default.
local help = require "pofit.options.help"
local V = require "pofit.options.value"

local M = {nearest = V.nearest, help = help.text}

local TYPES <const> = {"number", "integer", "boolean", "string", "list"}
local FIELDS <const> = {"type", "of", "min", "max", "above", "choices", "required", "bare", "alias"}

-- Every recipe has these; one that declares the same name gives it another default or help text. What belongs to one
-- invocation, and not to the run, stays out of the list for config.json.
local COMMON <const> = {
  {"seed", 1, "seed of everything random"},
  {"name", "", "name of the run, kept in runs/NAME"},
  {"threads", 0, "threads, 0 for all", min = 0},
  {"memory", nil, "keep within so much memory while training: 4GiB, 4G, 500MB (default: no limit)", type = "string"},
  {"optim", nil, "optimiser (default: adamw)", type = "string", choices = {"adamw", "adamw_8bit", "sgd"}},
  {"checkpoint_every", 50, "updates between checkpoints", min = 1},
  {"resume", false, "go on from the run's last checkpoint"},
  {"quiet", false, "no progress line"},
  {"profile", false, "say where the time went, and write trace.json for the viewers of Chrome and Perfetto"},
  {"config", "", "JSON file with options; a flag wins over it"},
}
local INVOCATION <const> = {resume = true, quiet = true, profile = true, config = true}

local function did_you_mean(spec, name, show)
  local near = V.nearest(V.plain(name), spec.names)
  return near and ("; did you mean %s?"):format(show(near)) or ""
end

local function copy(value)
  return type(value) == "table" and table.move(value, 1, #value, 1, {}) or value
end

-- ---- declaring ----

local function among(list, value)
  for _, v in ipairs(list) do
    if v == value then
      return true
    end
  end
  return false
end

local function declare(o, level)
  local name = o[1]
  if type(name) ~= "string" or not name:find("^%a[%w_]*$") then
    error(("options: a name is letters, digits and _, not %s"):format(tostring(name)), level)
  end
  local out = {name = name, default = o[2], help = o[3] or ""}
  for field, setting in pairs(o) do
    if type(field) == "string" then
      if not among(FIELDS, field) then
        error(("options: %s has no setting %s, only %s"):format(name, field, table.concat(FIELDS, ", ")), level)
      end
      out[field] = setting
    end
  end
  out.type = o.type or V.kind(o[2])
  if not among(TYPES, out.type) then
    error(("options: %s needs a default or a type (%s)"):format(name, table.concat(TYPES, ", ")), level)
  end
  if out.type == "list" then
    out.of = o.of or (o[2] and o[2][1] ~= nil and V.kind(o[2][1])) or "string"
  end
  if o[2] ~= nil and not (out.type == "string" and o[2] == "") then
    local value, expected = V.convert(out, o[2], false)
    if value == nil then
      error(("options: the default of %s is %s, expected %s"):format(name, V.text(o[2]), expected), level)
    end
    out.default = value
  end
  return out
end

--- Check a declaration and put it into the form the other functions take. A mistake in it is raised.
---@param declaration table description and options, see the top of the file
---@param common? string[] which of the options that every recipe has; all of them unless said
---@return table spec
function M.spec(declaration, common)
  local spec = {description = "", options = {}, names = {}, by_name = {}, alias = {}}
  local function add(o, shared)
    if not spec.by_name[o.name] then
      o.common = shared
      spec.options[#spec.options + 1] = o
      spec.names[#spec.names + 1] = o.name
      spec.by_name[o.name] = o
      for word in (o.alias or ""):gmatch("%S+") do
        spec.alias[word] = o
      end
      return true
    end
  end
  for _, o in ipairs(declaration) do
    if type(o) == "string" then
      spec.description = o
    elseif type(o[1]) == "table" then -- a list of options that several recipes share
      for _, one in ipairs(o) do add(declare(one, 3), false) end
    elseif o[1] == "help" then
      error("options: help is there already", 2)
    elseif not add(declare(o, 3), false) then
      error(("options: %s is declared twice"):format(o[1]), 2)
    end
  end
  for _, o in ipairs(COMMON) do
    if not common or among(common, o[1]) then
      add(declare(o, 3), true)
    end
  end
  return spec
end

-- ---- reading ----

-- one word of the command line: name, value after "=" (or nil); a letter keeps its dash
local function word_parts(spec, word)
  if spec.alias[word] and word:find("^%-%a$") then
    return word
  end
  local name, value = word:match("^%-%-([%a][%w_-]*)=(.*)$")
  if name then
    return V.plain(name), value
  end
  name = word:match("^%-%-([%a][%w_-]*)$")
  return name and V.plain(name)
end

local function is_flag(word)
  return word:find("^%-%-%a") ~= nil
end

local function stray(word, before)
  local hint = "options are written --name value"
  if before and before.type == "boolean" then
    local name = V.dashed(before.name)
    hint = ("--%s is a switch: write --%s or --no-%s"):format(name, name, name)
  end
  return nil, ("what is %q? %s"):format(word, hint)
end

local function negated(spec, name)
  local o = name:find("^no_") and spec.by_name[name:sub(4)]
  return o or nil
end

-- the option that a word without a name is the value of: the first of those declared bare that has none yet; one that
-- is a list takes all
local function bare_option(spec, given)
  for _, o in ipairs(spec.options) do
    if o.bare and (given[o.name] == nil or o.type == "list") then
      return o
    end
  end
end

local function take_bare(o, given, word)
  local value, expected = V.convert(o, word, true)
  if value == nil then
    return nil, ("%s %s: expected %s"):format(o.name:upper(), word, expected)
  end
  local before = given[o.name]
  given[o.name] = before and table.move(value, 1, #value, #before + 1, before) or value
  return true
end

-- reads the flag that word i is, and its value; returns its option and the number of the last word read
local function take_flag(spec, given, argv, i)
  local name, value = word_parts(spec, argv[i])
  local o = spec.by_name[name] or spec.alias[name]
  local off = not o and negated(spec, name)
  o = o or off
  if not o then
    return nil, ("unknown option %s%s"):format(V.flag(name), did_you_mean(spec, name, V.flag))
  elseif given[o.name] ~= nil then
    return nil, ("%s is given twice"):format(V.flag(o.name))
  elseif off and (o.type ~= "boolean" or value) then
    return nil, o.type == "boolean" and ("--no-%s takes no value"):format(V.dashed(o.name))
      or ("%s is not a switch, so there is no --no-%s"):format(V.flag(o.name), V.dashed(o.name))
  elseif o.type == "boolean" then
    value = value or tostring(not off)
  elseif not value then
    i = i + 1
    value = argv[i]
    if value == nil or is_flag(value) then
      return nil, ("%s needs a value (%s)"):format(V.flag(o.name), o.type)
    end
  end
  local got, expected = V.convert(o, value, true)
  if got == nil then
    return nil, ("%s %s: expected %s"):format(V.flag(o.name), value == "" and '""' or value, expected)
  end
  given[o.name] = got
  return o, i
end

--- Is a word a directory, or named like a GGUF file: what a model may be?
---@param word any
---@return boolean
function M.names_model(word)
  if type(word) ~= "string" then return false end
  local inside = io.open(word .. "/.") -- plain Lua, as all of this file; a pipe in its place is not opened
  if inside then inside:close() end
  return inside ~= nil or word:find("%.gguf$") ~= nil
end

-- a hint, where a word without a name seems to be what a required option was to be
local function meant(missing, spec, given)
  for _, o in ipairs(spec.options) do
    if missing and missing.type == "string" and o.bare and M.names_model(given[o.name]) then
      return ("; did you mean %s %s?"):format(V.flag(missing.name), given[o.name])
    end
  end
  return ""
end

-- the first required option that has no value; a config file may hold one, so then none is blamed
local function forgotten(spec, given)
  for _, o in ipairs(spec.options) do
    if o.required and not o.bare and given[o.name] == nil and not given.config then return o end
  end
end

local function read_flags(spec, argv)
  local given, i, before = {}, 1, nil
  while i <= #argv do
    local bare = not word_parts(spec, argv[i]) and not argv[i]:find("^%-.") and bare_option(spec, given)
    if bare then
      local ok, message = take_bare(bare, given, argv[i])
      if not ok then
        return nil, message
      end
    elseif not word_parts(spec, argv[i]) then
      local _, message = stray(argv[i], before)
      return nil, message .. meant(forgotten(spec, given), spec, given)
    else
      local o, last = take_flag(spec, given, argv, i)
      if not o then
        return nil, last
      end
      before, i = o, last
    end
    i = i + 1
  end
  return given
end

local function read_all(path)
  local file, message = io.open(path, "rb")
  if not file then
    return nil, message
  end
  local text, why = file:read("a")
  file:close()
  return text, text and nil or ("%s: %s"):format(path, why)
end

local function shown(x)
  if type(x) == "string" then
    return ("%q"):format(x)
  end
  return type(x) == "table" and "a list or object" or tostring(x)
end

local function from_object(spec, path, object, null)
  local keys, given = {}, {}
  for key in pairs(object) do
    if type(key) ~= "string" then
      return nil, ("%s: expected an object of options, found a list"):format(path)
    end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local o, x = spec.by_name[V.plain(key)], object[key]
    if not o or o.name == "config" then
      local near = did_you_mean(spec, key, function(name)
        return ("%q"):format(name)
      end)
      return nil, ("%s: unknown option %q%s"):format(path, key, near)
    elseif given[o.name] ~= nil then
      return nil, ("%s: %q is given twice"):format(path, o.name)
    end
    if x ~= nil and x ~= null then
      local value, expected = V.convert(o, x, false)
      if value == nil then
        return nil, ("%s: %q: expected %s, found %s"):format(path, key, expected, shown(x))
      end
      given[o.name] = value
    end
  end
  return given
end

local function read_config(spec, path, env)
  if path == nil or path == "" then
    return {}
  end
  local text, why = (env.read or read_all)(path)
  if not text then
    return nil, ("--config: %s"):format(why)
  end
  if not env.json then
    error("options: a decoder for JSON is needed to read " .. path)
  end
  local ok, object = pcall(env.json.decode, text, path)
  if not ok then
    return nil, tostring(object)
  elseif type(object) ~= "table" then
    return nil, ("%s: expected an object of options, found %s"):format(path, shown(object))
  end
  return from_object(spec, path, object, env.json.null)
end

local function strict(spec, source)
  local function refuse(what, name)
    local near = V.nearest(V.plain(tostring(name)), spec.names)
    error(("%s option %s%s"):format(what, tostring(name), near and ("; did you mean %s?"):format(near) or ""), 3)
  end
  return {
    __name = "pofit.options",
    spec = spec,
    source = source,
    __index = function(_, name)
      if not spec.by_name[name] then
        refuse("unknown", name)
      end
    end,
    __newindex = function(opt, name, value)
      if not spec.by_name[name] then
        refuse("cannot set unknown", name)
      end
      rawset(opt, name, value)
    end,
    __pairs = function(opt)
      local i = 0
      return function()
        local name, value
        repeat
          i = i + 1
          name = spec.names[i]
          value = name and rawget(opt, name)
        until value ~= nil or not name
        return name, value
      end
    end,
  }
end

--- Read a command line. Never prints and never exits.
---@param spec table of M.spec
---@param argv string[]
---@param env? table {json = {decode=, null=}, read = function(path), program = string}
---@return table? opt the values; reading a name that was not declared raises, pairs() keeps the declared order
---@return string? message what was wrong; or the help text
---@return string? what "help" if help was asked for
function M.parse(spec, argv, env)
  env = env or {}
  for _, word in ipairs(argv) do
    if word == "--help" or word == "-h" then
      return nil, help.text(spec, env.program), "help"
    end
  end
  local flags, message = read_flags(spec, argv)
  if not flags then
    return nil, message
  end
  local file, why = read_config(spec, flags.config or spec.by_name.config and spec.by_name.config.default, env)
  if not file then
    return nil, why
  end
  local values, source = {}, {}
  for _, o in ipairs(spec.options) do
    local name = o.name
    if flags[name] ~= nil then
      values[name], source[name] = flags[name], "flag"
    elseif file[name] ~= nil then
      values[name], source[name] = file[name], "config"
    else
      values[name], source[name] = copy(o.default), "default"
    end
    if o.required and values[name] == nil then
      local shown_name = o.bare and name:upper() or V.flag(name)
      return nil, ("%s is required%s%s"):format(shown_name, o.help ~= "" and (" (%s)"):format(o.help) or "",
        meant(not o.bare and o, spec, flags))
    end
  end
  return setmetatable(values, strict(spec, source))
end

--- For programs: read a command line; --help prints and exits with 0, a mistake is told on stderr and exits with 2.
---@param spec table
---@param argv string[]
---@param env? table as for M.parse
---@return table opt
function M.parse_or_exit(spec, argv, env)
  local opt, message, what = M.parse(spec, argv, env)
  if opt then
    return opt
  elseif what == "help" then
    io.stdout:write(message)
    os.exit(true, true)
  end
  io.stderr:write(("pofit: %s\n       (--help lists the options)\n"):format(message))
  os.exit(2, true)
end

--- The effective options in declared order, as {{name, value}, ...}: what config.json and the report hold. What belongs
-- to the invocation alone (config, resume, quiet, profile) is left out.
---@param opt table
---@return table
function M.list(opt)
  local out = {}
  for _, name in ipairs(getmetatable(opt).spec.names) do
    if not INVOCATION[name] then
      out[#out + 1] = {name, rawget(opt, name)}
    end
  end
  return out
end

--- Where a value comes from: "default", "config" or "flag".
---@param opt table
---@param name string
---@return string
function M.source(opt, name)
  return getmetatable(opt).source[name] or error(("unknown option %s"):format(tostring(name)), 2)
end

return M
