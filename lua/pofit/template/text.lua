-- Texts as Python sees them: positions and lengths count characters (code points), white space is Unicode's.
local M = {}

-- Python's str.isspace beyond ASCII
local SPACES <const> = {}
for c in ("\t\n\v\f\r \x1c\x1d\x1e\x1f"):gmatch(".") do SPACES[c] = true end
for _, code in ipairs { 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000 } do
  SPACES[utf8.char(code)] = true
end
for code = 0x2000, 0x200A do SPACES[utf8.char(code)] = true end

--- The characters of a text as a list. A byte that belongs to none counts as one.
function M.characters(s)
  local out = {}
  for c in s:gmatch("[\0-\x7F\xC2-\xF4][\x80-\xBF]*") do out[#out + 1] = c end
  return out
end

function M.is_space(c) return SPACES[c] or false end

local function is_ascii(s) return not s:find("[\x80-\xFF]") end

--- Number of characters.
function M.length(s)
  return is_ascii(s) and #s or utf8.len(s) or #M.characters(s)
end

-- is the character that begins at byte i one of the set; and its bytes
local function width_at(s, i)
  local b = s:byte(i)
  return b < 0x80 and 1 or b < 0xE0 and 2 or b < 0xF0 and 3 or 4
end

-- byte where the character that ends at byte i begins
local function begin_of(s, i)
  while i > 1 and s:byte(i) & 0xC0 == 0x80 do i = i - 1 end
  return i
end

local function char_set(chars)
  if chars == nil then return SPACES end
  local set = {}
  for _, c in ipairs(M.characters(chars)) do set[c] = true end
  return set
end

--- Without the characters of a set (white space unless given) at the sides "left", "right" or "both".
function M.strip(s, side, chars)
  local set, first, last = char_set(chars), 1, #s
  while side ~= "right" and first <= last do
    local n = width_at(s, first)
    if not set[s:sub(first, first + n - 1)] then break end
    first = first + n
  end
  while side ~= "left" and last >= first do
    local at = begin_of(s, last)
    if not set[s:sub(at, last)] then break end
    last = at - 1
  end
  return s:sub(first, last)
end

--- Parts between white space, at most limit + 1 of them (limit < 0: all).
function M.words(s, limit)
  local out, rest = {}, M.strip(s, "left")
  while rest ~= "" do
    if limit >= 0 and #out >= limit then
      out[#out + 1] = M.strip(rest, "right")
      break
    end
    local i = 1
    while i <= #rest and not SPACES[rest:sub(i, i + width_at(rest, i) - 1)] do i = i + width_at(rest, i) end
    out[#out + 1] = rest:sub(1, i - 1)
    rest = M.strip(rest:sub(i), "left")
  end
  return out
end

--- Parts between separators, at most limit + 1 of them (limit < 0: all); from the right if asked for.
function M.split(s, separator, limit, right)
  local places, at = {}, 1
  while true do
    local i, j = s:find(separator, at, true)
    if not i then break end
    places[#places + 1] = { i, j }
    at = j + 1
  end
  if limit >= 0 and #places > limit then
    local from = right and #places - limit + 1 or 1
    places = table.move(places, from, from + limit - 1, 1, {})
  end
  local out, begin = {}, 1
  for _, place in ipairs(places) do
    out[#out + 1] = s:sub(begin, place[1] - 1)
    begin = place[2] + 1
  end
  out[#out + 1] = s:sub(begin)
  return out
end

--- Every occurrence of old replaced, at most limit of them (limit < 0: all).
function M.replace(s, old, new, limit)
  if old == "" then
    local chars = M.characters(s)
    local out = {}
    for i = 1, #chars + 1 do
      out[#out + 1] = (limit < 0 or i <= limit) and new or ""
      out[#out + 1] = chars[i]
    end
    return table.concat(out)
  end
  return table.concat(M.split(s, old, limit), new)
end

-- ---- case: ASCII, Latin-1, Greek and Cyrillic; other letters stay as they are ----

local UPPER, LOWER = {}, {}
local function both(lower, upper)
  UPPER[utf8.char(lower)], LOWER[utf8.char(upper)] = utf8.char(upper), utf8.char(lower)
end
for code = 0x61, 0x7A do both(code, code - 32) end
for code = 0xE0, 0xFE do
  if code ~= 0xF7 then both(code, code - 32) end
end
for code = 0x101, 0x137, 2 do
  if code ~= 0x131 then both(code, code - 1) end
end
for code = 0x3B1, 0x3C9 do
  if code ~= 0x3C2 then both(code, code - 32) end
end
for code = 0x430, 0x44F do both(code, code - 32) end
for code = 0x450, 0x45F do both(code, code - 80) end
UPPER["ß"] = "SS"

local function mapped(s, map)
  return (s:gsub("[%a\xC2-\xF4][\x80-\xBF]*", map))
end

function M.upper(s) return mapped(s, UPPER) end
function M.lower(s) return mapped(s, LOWER) end

--- The first character in upper case, the others in lower case.
function M.capitalize(s)
  if s == "" then return s end
  local n = width_at(s, 1)
  return M.upper(s:sub(1, n)) .. M.lower(s:sub(n + 1))
end

local function is_cased(c) return UPPER[c] or LOWER[c] end

--- Python's str.title: a letter that follows no letter in upper case, the others in lower case.
function M.title(s)
  local out, after = {}, false
  for i, c in ipairs(M.characters(s)) do
    out[i] = after and M.lower(c) or M.upper(c)
    after = is_cased(c) and true or false
  end
  return table.concat(out)
end

--- Python's str.islower ("lower") or isupper ("upper").
function M.is_case(s, which)
  local wrong, right = which == "lower" and LOWER or UPPER, which == "lower" and UPPER or LOWER
  local any = false
  for _, c in ipairs(M.characters(s)) do
    if wrong[c] then return false end
    any = any or right[c] ~= nil
  end
  return any
end

-- ---- repr ----

local ESCAPES <const> = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\\"] = "\\\\" }

--- A text as Python writes it in a list.
function M.quoted(s)
  local quote = s:find("'", 1, true) and not s:find('"', 1, true) and '"' or "'"
  s = s:gsub("[%c\\'\x7F]", function(c)
    if c == "'" then return quote == "'" and "\\'" or c end
    return ESCAPES[c] or ("\\x%02x"):format(c:byte())
  end)
  s = s:gsub("\xC2([\x80-\xA0\xAD])", function(c) return ("\\x%02x"):format(c:byte()) end)
  return quote .. s .. quote
end

--- A float as Python writes it: the shortest form that reads back as the same number.
function M.float(x)
  if x ~= x then return "nan" end
  if x == math.huge or x == -math.huge then return x > 0 and "inf" or "-inf" end
  local digits, exponent
  for precision = 0, 16 do
    local form = ("%%.%de"):format(precision):format(x)
    if tonumber(form) == x then
      digits, exponent = form:match("^(.-)e(.*)$")
      break
    end
  end
  exponent = math.tointeger(tonumber(exponent))
  if exponent < -4 or exponent >= 16 then
    return ("%se%s%02d"):format(digits, exponent < 0 and "-" or "+", math.abs(exponent))
  end
  local places = #digits:gsub("^%-", ""):gsub("%.", "") - 1
  local form = ("%%.%df"):format(math.max(places - exponent, 1)):format(x)
  return form
end

return M
