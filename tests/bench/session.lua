-- A process that does a work again and again when it is asked, and a command that is run anew each time: both give
-- figures, tables with seconds and more.
local json = require "pofit.json"
local sys = require "pofit.sys"

local M = {}
local Worker = {}
Worker.__index = Worker

local opened = 0

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

local function command_line(words)
  local out = {}
  for i, word in ipairs(words) do out[i] = quote(tostring(word)) end
  return table.concat(out, " ")
end

-- the last line that is not empty, of what a process complained of
local function complaint(path)
  local last = "it ended"
  for line in io.lines(path) do
    if line:find "%S" then last = line end
  end
  return last
end

--- The words as a command; returns what it prints, or nil and the end of what it complains of.
---@param words string[]
---@param dir string for scratch
function M.run(words, dir)
  local errors = dir .. "/errors"
  local p = assert(io.popen(command_line(words) .. " 2>" .. quote(errors)))
  local out = p:read "a"
  if p:close() then return out end
  return nil, complaint(errors)
end

--- The same, with the most memory that it held, in bytes.
function M.watch(words, dir)
  local out, why = M.run({ "sh", "-c", [["$@" & p=$!
    while grep VmHWM /proc/$p/status 2>/dev/null; do sleep 0.01; done; wait $p]], "sh", table.unpack(words) }, dir)
  return out, out and M.peak(out) or why
end

--- The largest VmHWM in a text, in bytes; 0 if there is none.
function M.peak(text)
  local peak = 0
  for kib in text:gmatch "VmHWM:%s+(%d+)" do peak = math.max(peak, tonumber(kib) * 1024) end
  return peak
end

-- its next figures, or nil and what it complained of if it has ended
function Worker:figures()
  for line in self.from:lines() do
    if line:find '^{"' then return json.decode(line) end
  end
  return nil, complaint(self.errors)
end

--- Once more: figures, or nil and why not.
function Worker:ask()
  self.to:write "again\n"
  self.to:flush()
  return self:figures()
end

function Worker:close()
  self.to:close() -- it ends when nothing more can come
  self.from:close()
end

--- Start a worker and wait until it is ready; returns it with its first figures, or nil and why not.
---@param words string[]
---@param dir string for scratch
function M.worker(words, dir)
  opened = opened + 1
  local pipe, errors = ("%s/pipe-%d"):format(dir, opened), ("%s/errors-%d"):format(dir, opened)
  if sys.exists(pipe) then sys.remove(pipe) end
  assert(os.execute("mkfifo " .. quote(pipe)))
  local to = assert(io.popen(("%s >%s 2>%s"):format(command_line(words), quote(pipe), quote(errors)), "w"))
  local from = assert(io.open(pipe))
  sys.remove(pipe)
  local self = setmetatable({ to = to, from = from, errors = errors }, Worker)
  local first, why = self:figures()
  if first then return self, first end
  self:close()
  return nil, why
end

--- A command as a worker: once() runs it and returns figures, or nil and why not.
function M.command(once)
  local first, why = once()
  if not first then return nil, why end
  return { ask = once, close = function() end }, first
end

return M
