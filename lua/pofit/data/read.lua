-- Rows from files: JSON lines, JSON, CSV; plain or compressed with zstd; several files with weights; columns renamed.
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"
local csv = require "pofit.data.csv"
local random = require "pofit.random"

local M = {}

local function object(row, where)
  local meta = getmetatable(row)
  if type(row) ~= "table" or row[1] ~= nil or meta and meta.json_array then
    core.refuse(where .. ": expected a JSON object, one a line")
  end
  return row
end

--- Rows of a JSON lines file (.jsonl or .jsonl.zst), one after the other: for row, line in pf.data.jsonl(path).
--- Errors name the file and the line.
---@param path string
---@return function
function M.jsonl(path)
  local lines = sys.lines(path)
  return function()
    local text, line = lines()
    if not text then return nil end
    local where = ("%s:%d"):format(path, line)
    return object(json.decode(text, path, line), where), line, path, where
  end
end

local function whole(path)
  local text = path:find "%.zst$" and sys.read_zst(path) or sys.read(path)
  local ok, byte = utf8.len(text)
  if not ok then core.refuse(("%s: byte %d is not valid UTF-8"):format(path, byte)) end
  return text
end

-- {"prompt": [...], "chosen": [...]}: columns of equal length, as rows
local function from_columns(columns, path)
  local rows, names = {}, {}
  for name, list in pairs(columns) do
    if type(list) ~= "table" or getmetatable(list) == nil or not getmetatable(list).json_array then
      core.refuse(("%s: %q is a %s; expected a list of rows, or an object of columns (for a row a line, name the file "
        .. ".jsonl)"):format(path, name, type(list)))
    end
    names[#names + 1] = name
    if #list ~= #columns[names[1]] then
      core.refuse(("%s: column %q has %d values, %q has %d"):format(path, name, #list, names[1], #columns[names[1]]))
    end
  end
  for i = 1, names[1] and #columns[names[1]] or 0 do
    local row = {}
    for _, name in ipairs(names) do row[name] = columns[name][i] end
    rows[i] = json.object(row, names)
  end
  return rows
end

local function read_json(path)
  local text = whole(path)
  local ok, value = pcall(json.decode, text, path)
  if not ok then
    local lines = value:find("end of file expected", 1, true) and " (for a row a line, name the file .jsonl)" or ""
    core.refuse(value .. lines)
  end
  local meta = getmetatable(value)
  if type(value) ~= "table" then core.refuse(path .. ": expected a list of rows, or an object of columns") end
  local rows = meta and meta.json_array and value or from_columns(value, path)
  local i = 0
  return function()
    i = i + 1
    if rows[i] == nil then return nil end
    local where = ("%s: row %d"):format(path, i)
    return object(rows[i], where), i, path, where
  end
end

-- a cell as a value: lists and objects stand in it as JSON
local LISTS <const> = { completions = true, labels = true, answers = true, tools = true, chat_template_kwargs = true,
  messages = true }
local BOOLEAN <const> = { ["true"] = true, ["false"] = false, ["1"] = true, ["0"] = false }

-- what is wrong with the JSON of a cell has a place in the file's row and one in the cell
local function cell_value(name, text, where)
  local ok, value = pcall(json.decode, text, "")
  if ok then return value end
  local line, byte, why = value:match "^:(%d+):?(%d*): (.*)"
  if not line then error(value, 0) end
  local place = byte == "" and "line " .. line or ("line %s, character %s"):format(line, byte)
  return core.refuse(("%s: column %q: %s (%s of the cell)"):format(where, name, why, place))
end

local function cell(name, text, where)
  if LISTS[name] then return text ~= "" and cell_value(name, text, where) or nil end
  if name == "label" then
    local label = BOOLEAN[text:lower()]
    if label == nil then core.refuse(("%s: label is %q, expected true or false"):format(where, text)) end
    return label
  end
  if text:find "^%[%s*{" then -- a conversation, if it is one
    local ok, value = pcall(json.decode, text)
    if ok and type(value[1]) == "table" and value[1].role then return value end
  end
  return text
end

local function read_csv(path, renamed)
  local rows, names = csv(whole(path), path)
  local known = {}
  for new, old in pairs(renamed) do known[old] = new end
  return function()
    local fields, line = rows()
    if not fields then return nil end
    local where, row = ("%s:%d"):format(path, line), {}
    for i, name in ipairs(names) do row[name] = cell(known[name] or name, fields[i], where) end
    return json.object(row, names), line, path, where
  end
end

-- what rows often come in and is not read
local OTHERS <const> = { parquet = true, arrow = true, gz = true, bz2 = true, xz = true, zip = true, tsv = true,
  xlsx = true }

local function open(path, renamed)
  local plain = path:gsub("%.zst$", "")
  local ending = plain:match "%.(%w+)$"
  if OTHERS[ending] then
    core.refuse(("%s: .%s is not read; expected .jsonl, .json or .csv, plain or .zst%s"):format(path, ending,
      (ending == "parquet" or ending == "arrow") and " (to_json of Python's datasets writes JSON lines)" or ""))
  end
  if plain:find "%.csv$" then return read_csv(path, renamed) end
  if plain:find "%.json$" then return read_json(path) end
  return M.jsonl(path)
end

-- ---- several files ----

-- {prompt = "question"} from "prompt=question,chosen=good"
local function columns_of(columns)
  if type(columns) ~= "string" then return columns or {} end
  local out = {}
  for part in columns:gmatch "[^,]+" do
    local new, old = part:match "^%s*([%w_]+)%s*=%s*(.-)%s*$"
    if not new or old == "" then
      core.refuse(("columns: %q; expected FIELD=COLUMN, as in prompt=question,chosen=good"):format(part))
    end
    out[new] = old
  end
  return out
end

local function rename(row, renamed, where)
  if next(renamed) == nil then return row end
  local out, keys, taken = {}, {}, {}
  for new, old in pairs(renamed) do
    if row[old] == nil then
      local names = {}
      for name in pairs(row) do names[#names + 1] = name end
      core.refuse(("%s: there is no column %q for %s; there are %s"):format(where, old, new, table.concat(names, ", ")))
    end
    out[new], taken[old] = row[old], true
  end
  for name, v in pairs(row) do
    if not taken[name] and out[name] == nil then out[name] = v end
  end
  for name in pairs(out) do keys[#keys + 1] = name end
  table.sort(keys)
  return json.object(out, keys)
end

local function files_of(spec)
  local list = type(spec) == "string" and {} or spec
  if type(spec) == "string" then
    for part in spec:gmatch "[^,]+" do list[#list + 1] = part end
  end
  if type(list) ~= "table" or #list == 0 then core.raise("data: expected the name of a file, or several") end
  local files = {}
  for i, entry in ipairs(list) do
    local path, weight = entry:match "^(.-):([%d.]+)$"
    local w = weight and tonumber(weight) or 1
    if weight and (not tonumber(weight) or w <= 0) then
      core.refuse(("data: the weight of %s is %q, expected a number above 0"):format(path, weight))
    end
    files[i] = { path = path or entry, weight = w }
  end
  return files
end

--- Rows of one or several files, as an iterator that pf.data.preference and its relatives take. spec: "a.jsonl", or
--- "a.jsonl:2,b.csv" with weights, or a list of such: a weight of 2 gives each row twice, 0.5 half of the rows, drawn
--- by seed. opts: columns ("prompt=question,chosen=good": the field prompt is the column question), seed.
--- Files are .jsonl, .json (a list of rows, or an object of columns) and .csv, each also with .zst.
---@param spec string|string[]
---@param opts? { columns: string|table, seed: integer }
---@return function
function M.rows(spec, opts)
  opts = opts or {}
  local files, renamed = files_of(spec), columns_of(opts.columns)
  local at, rows, draw, again, n = 0, nil, nil, 0, 0
  local row, line, path, where
  return function()
    while true do
      if again > 0 then
        again = again - 1
        return row, line, path, where
      end
      if rows then row, line, path, where = rows() end
      if rows and row ~= nil then
        row, n = rename(row, renamed, where), n + 1
        local weight = files[at].weight
        again = math.floor(weight)
        if weight > again and draw:uniform() < weight - again then again = again + 1 end
      else
        if rows and n == 0 then core.refuse(files[at].path .. " has no rows") end
        at, n = at + 1, 0
        if not files[at] then return nil end
        rows = open(files[at].path, renamed)
        draw = random.new(opts.seed or 0, "weight " .. at)
      end
    end
  end
end

return M
