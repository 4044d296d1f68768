--- Counter-based random numbers for draws made in Lua: a pure function of seed, stream and index.
-- The mixing is the finaliser of SplitMix64 (Steele, Lea and Flood 2014), applied to seed, stream and index in turn.
local M = {}

local GOLDEN <const> = 0x9E3779B97F4A7C15
local UNIT <const> = 1 / (1 << 53)

local function mix(z)
  z = (z ~ (z >> 30)) * 0xBF58476D1CE4E5B9
  z = (z ~ (z >> 27)) * 0x94D049BB133111EB
  return z ~ (z >> 31)
end

local function integer(what, value)
  return math.tointeger(value) or error(("random: %s must be an integer, not %s"):format(what, tostring(value)), 3)
end

--- 64 bits that fingerprint a text (FNV-1a, then mixed); the same on every machine.
---@param text string
---@return integer
function M.hash(text)
  local h = 0xCBF29CE484222325
  for i = 1, #text do
    h = (h ~ text:byte(i)) * 0x100000001B3
  end
  return mix(h)
end

local function key(seed, stream)
  stream = type(stream) == "string" and M.hash(stream) or integer("stream", stream)
  return mix(mix(integer("seed", seed) + GOLDEN) ~ mix(stream * GOLDEN + 1))
end

--- 64 random bits.
---@param seed integer
---@param stream integer|string
---@param index integer
---@return integer
function M.bits(seed, stream, index)
  return mix(key(seed, stream) + integer("index", index) * GOLDEN)
end

--- A number in [0, 1), of 53 random bits.
---@param seed integer
---@param stream integer|string
---@param index integer
---@return number
function M.uniform(seed, stream, index)
  return (M.bits(seed, stream, index) >> 11) * UNIT
end

---@class pofit.random.generator
---@field index integer draws made so far; set it to go on from there
local generator = {}
generator.__index = generator

--- A generator that walks the indices 1, 2, 3, ... of one stream.
---@param seed integer
---@param stream integer|string
---@return pofit.random.generator
function M.new(seed, stream)
  return setmetatable({key = key(seed, stream), index = 0}, generator)
end

--- The next number in [0, 1).
function generator:uniform()
  local index = self.index + 1
  self.index = index
  return (mix(self.key + index * GOLDEN) >> 11) * UNIT
end

--- The next integer, from 1 to a, or from a to b.
function generator:int(a, b)
  if not b then
    a, b = 1, a
  end
  if a > b then
    error(("random: no integer from %d to %d"):format(a, b), 2)
  end
  return a + math.floor(self:uniform() * (b - a + 1))
end

--- One element of a list.
function generator:pick(list)
  return list[self:int(#list)]
end

--- Put a list in random order, in place (Fisher-Yates); returns it.
function generator:shuffle(list)
  for i = #list, 2, -1 do
    local j = self:int(i)
    list[i], list[j] = list[j], list[i]
  end
  return list
end

return M
