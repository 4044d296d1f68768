-- Rows of a long job on their way into a file. Until the job is done they stand in FILE.part, on the disk after every
-- portion: a header that says what is being made, the rows, and after each portion a line that says how far it is. A
-- job that was stopped goes on after its last whole portion. FILE itself appears whole, or not at all.
local core = require "pofit.core"
local sys = require "pofit.sys"
local json = require "pofit.json"

local M = {}

local MARK <const> = "# " -- no JSON begins like this

local File = {}
File.__index = File

-- standard output, a device or a pipe: rows go there as they are
local Stream = {}
Stream.__index = Stream

function Stream:add(lines)
  local ok, why = self.file:write(table.concat(lines))
  if ok then ok, why = self.file:flush() end
  if not ok then core.raise(("cannot write to %s: %s"):format(self.name, tostring(why))) end
end

function Stream:finish() if self.file ~= io.stdout then self.file:close() end end

local function mark(fields, keys)
  return MARK .. json.encode(json.object(fields, keys)) .. "\n"
end

-- bytes up to the end of the last whole portion, and the state after it; nothing if not even the header is whole
local function last_portion(path, header)
  local text = sys.read(path)
  if text:sub(1, #header) ~= header then
    if not text:find("\n", 1, true) then return nil end
    core.raise(("%s was begun with other data, another model or other options: go on with those, or remove it")
      :format(path))
  end
  local bytes, last = #header, nil
  for line, stop in text:sub(#header + 1):gmatch("([^\n]*\n)()") do
    if line:sub(1, #MARK) == MARK then
      bytes, last = #header + stop - 1, json.decode(line:sub(#MARK + 1), path)
    end
  end
  return bytes, last
end

--- Open path ("" or "-": standard output) for what `job` describes, a table of what decides the rows.
---@param path string
---@param job table with the list of its keys in order
---@param resume boolean
---@return table file with add(lines, state) and finish(); state: what the last add before was given, or nil
function M.open(path, job, keys, resume)
  if path == "" or path == "-" then return setmetatable({ file = io.stdout, name = "standard output" }, Stream) end
  if sys.exists(path) and not sys.is_file(path) then
    if sys.is_dir(path) then core.raise(("--out %s is a directory"):format(path)) end
    local file, why = io.open(path, "w")
    if not file then core.raise(why) end
    return setmetatable({ file = file, name = path }, Stream)
  end
  if sys.exists(path) then sys.append(path):close() end -- one that may not be written is not replaced either
  local dir = path:match("^(.*)/[^/]*$")
  if dir and dir ~= "" and not sys.is_dir(dir) then
    core.raise(("--out %s: there is no directory %s"):format(path, dir))
  end
  local self = setmetatable({ path = path, part = path .. ".part" }, File)
  local header = mark(job, keys)
  local bytes
  if sys.exists(self.part) then
    if not resume then
      core.raise(("%s holds an unfinished run: add --resume to go on with it, or remove it"):format(self.part))
    end
    bytes, self.state = last_portion(self.part, header)
  end
  if bytes then
    sys.truncate(self.part, bytes)
    self.log = sys.append(self.part)
  else
    if sys.exists(self.part) then sys.remove(self.part) end
    self.log = sys.append(self.part)
    local ok, why = pcall(self.log.write, self.log, header)
    if not ok then
      sys.remove(self.part)
      error(why, 0)
    end
  end
  return self
end

--- Add a portion, and the state from which to go on after it.
function File:add(lines, state, keys)
  self.log:write(table.concat(lines) .. mark(state, keys))
end

--- All rows are there: FILE appears.
function File:finish()
  self.log:close()
  local rows = {}
  for line in sys.read(self.part):gmatch("[^\n]*\n") do
    if line:sub(1, #MARK) ~= MARK then rows[#rows + 1] = line end
  end
  local write = self.path:find("%.zst$") and sys.write_zst or sys.write
  write(self.path, table.concat(rows))
  sys.remove(self.part)
end

return M
