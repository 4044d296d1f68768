--- The progress of a run: one line that is redrawn on a terminal, plain lines now and then elsewhere.
--
--   local p = progress.new{total = 200, label = "dpo", write = write, terminal = true, width = 80, clock = clock}
--   p:update{step = 1, loss = 0.69, ["rewards/accuracies"] = 0.5, ["rewards/margins"] = 0, tokens = 2048}
--   p:note("step 7: gradient not finite, skipped")
--   p:finish()
local stats = require "pofit.stats"

local M = {}

-- what is shown of a step's metrics, the first that is there of each entry's names
local FIELDS <const> = {
  {"loss", "%.4f", "loss"},
  {"acc", "%.2f", "rewards/accuracies", "accuracy"},
  {"margin", "%+.3f", "rewards/margins"},
}
-- left out one after another until the line fits; loss, step and time stay longest
local LEAVE_OUT <const> = {"bar", "speed", "margin", "acc", "left", "loss"}
local BAR <const> = {20, 12, 8}
local WINDOW <const> = 32 -- updates over which speed is measured
local REDRAW <const> = 0.1 -- seconds between two drawings

---@class pofit.progress
local progress = {}
progress.__index = progress

--- A progress display.
---@param o table write (function(text)), clock (function() -> seconds), total (steps), label, terminal (false),
--- width (80; a number or a function), every (plain lines: steps between two; a 20th of all), first (0: steps done
--- before, of a resumed run), unicode (false), quiet (false: only notes)
---@return pofit.progress
function M.new(o)
  local self = setmetatable({
    write = o.write,
    clock = o.clock,
    total = o.total,
    label = o.label or "",
    terminal = o.terminal or false,
    width = o.width or 80,
    every = o.every or math.max(1, o.total // 20),
    first = o.first or 0,
    unicode = o.unicode or false,
    quiet = o.quiet or false,
    values = {},
    window = {},
    tokens = 0,
  }, progress)
  self.step, self.start = self.first, self.clock()
  self.window[1] = {time = self.start, tokens = 0}
  return self
end

local function bar(self, length)
  local share = self.total > 0 and math.min(1, self.step / self.total) or 1
  local full = math.floor(share * length + 0.5)
  if self.unicode then
    return ("━"):rep(full) .. ("┄"):rep(length - full)
  end
  return ("="):rep(full) .. ("."):rep(length - full)
end

local function seconds_left(self, now)
  local done = self.step - self.first
  return done > 0 and (now - self.start) / done * (self.total - self.step) or nil
end

local function speed(self)
  local old, new = self.window[1], self.window[#self.window]
  local seconds = new.time - old.time
  return seconds > 0 and new.tokens > old.tokens and (new.tokens - old.tokens) / seconds or nil
end

local function parts(self, now)
  local label = self.label ~= "" and self.label .. " " or ""
  local out = {{name = "step", text = ("%s%d/%d"):format(label, self.step, self.total)}}
  for _, field in ipairs(FIELDS) do
    local value = self.values[field[1]]
    if value then
      out[#out + 1] = {name = field[1], text = field[1] .. " " .. field[2]:format(value)}
    end
  end
  local rate, left = speed(self), seconds_left(self, now)
  if rate then
    out[#out + 1] = {name = "speed", text = stats.count(rate) .. " tok/s"}
  end
  if left then
    out[#out + 1] = {name = "left", text = stats.duration(left) .. " left"}
  end
  return out
end

local function join(list)
  local out = {}
  for i, part in ipairs(list) do
    out[i] = part.text
  end
  return table.concat(out, "  ")
end

local function without(list, name)
  local out = {}
  for _, part in ipairs(list) do
    if part.name ~= name then
      out[#out + 1] = part
    end
  end
  return out
end

-- the fullest line that fits
local function fit(self, now, width)
  local list = parts(self, now)
  for _, length in ipairs(BAR) do
    local full = table.move(list, 1, #list, 1, {})
    table.insert(full, 2, {name = "bar", text = bar(self, length)})
    local line = join(full)
    if utf8.len(line) <= width then
      return line
    end
  end
  for _, name in ipairs(LEAVE_OUT) do
    local line = join(list)
    if #line <= width then
      return line
    end
    list = without(list, name)
  end
  return join(list):sub(1, width)
end

local function draw(self, now)
  local width = type(self.width) == "function" and self.width() or self.width
  self.drawn = now
  -- one column stays free: some terminals wrap when the last one is filled
  self.write("\r" .. fit(self, now, math.max(1, width - 1)) .. "\27[K")
end

local function remember(self, metrics, now)
  self.step = metrics.step
  for _, field in ipairs(FIELDS) do
    for i = 3, #field do
      local value = metrics[field[i]]
      if value ~= nil then
        self.values[field[1]] = value
        break
      end
    end
  end
  self.tokens = self.tokens + (metrics.tokens or 0)
  self.window[#self.window + 1] = {time = now, tokens = self.tokens}
  if #self.window > WINDOW then
    table.remove(self.window, 1)
  end
end

--- Tell of a finished step.
---@param metrics table step, loss, rewards/accuracies, rewards/margins, tokens (of this step); what is missing stays as
--- it was
function progress:update(metrics)
  local now = self.clock()
  remember(self, metrics, now)
  local last = self.step >= self.total
  if self.quiet then
    return
  elseif not self.terminal then
    if last or self.step % self.every == 0 then
      self.write(join(parts(self, now)) .. "\n")
    end
  elseif last or not self.drawn or now - self.drawn >= REDRAW then
    draw(self, now)
  end
end

--- Write a line of its own; on a terminal the progress line goes on below it.
---@param text string
function progress:note(text)
  if self.terminal and self.drawn then
    self.write("\r\27[K" .. text .. "\n")
    draw(self, self.clock())
  else
    self.write(text .. "\n")
  end
end

--- End the line, and say how long it took.
function progress:finish()
  if self.quiet then
    return
  end
  local now = self.clock()
  if self.terminal and self.drawn then
    self.write("\r\27[K")
  end
  local list = without(without(parts(self, now), "left"), "speed")
  list[#list + 1] = {text = "in " .. stats.duration(now - self.start)}
  self.write(join(list) .. "\n")
  self.drawn = nil
end

return M
