-- Lua values to values of a template, and values of a template to JSON text.
local json = require "pofit.json"
local text = require "pofit.template.text"
local value = require "pofit.template.value"

local M = {}

local function sorted_keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  local meta = getmetatable(t)
  if not (meta and meta.__pairs) then
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  end
  return keys
end

local function is_array(t)
  local meta = getmetatable(t)
  if meta and meta.json_array then return true end
  return t[1] ~= nil or next(t) == nil and not (meta and meta.json_keys)
end

--- A Lua value (text, number, boolean, json.null, list, table by name) for a template. Decoded JSON keeps its order,
--- other tables are ordered by their keys; an empty table is a list. depth: for the recursion.
function M.from_lua(v, depth)
  depth = depth or 0
  local t = type(v)
  if t == "string" or t == "number" or t == "boolean" then return v end
  if v == nil or v == json.null then return value.none end
  if t ~= "table" then value.fail("a %s cannot be given to a template", t) end
  if depth > 100 then value.fail("values nested more than 100 deep cannot be given to a template") end
  if is_array(v) then
    local out = {}
    for i = 1, #v do out[i] = M.from_lua(v[i], depth + 1) end
    return value.list(out, #v)
  end
  local out = value.dict()
  for _, key in ipairs(sorted_keys(v)) do value.set(out, key, M.from_lua(v[key], depth + 1)) end
  return out
end

local ESCAPES <const> = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\f"] = "\\f", ["\b"] = "\\b",
}

local function utf16(c)
  local code = utf8.codepoint(c)
  if code < 0x10000 then return ("\\u%04x"):format(code) end
  code = code - 0x10000
  return ("\\u%04x\\u%04x"):format(0xD800 | code >> 10, 0xDC00 | code & 0x3FF)
end

local function quoted(s, ascii)
  s = s:gsub('[%z\1-\x1F"\\]', function(c) return ESCAPES[c] or ("\\u%04x"):format(c:byte()) end)
  if ascii then s = s:gsub("[\x7F\xC2-\xF4][\x80-\xBF]*", function(c) return c == "\x7F" and c or utf16(c) end) end
  return '"' .. s .. '"'
end

local function scalar(v, ascii)
  local k = value.kind(v)
  if k == "str" then return quoted(v, ascii) end
  if k == "NoneType" then return "null" end
  if k == "bool" then return v and "true" or "false" end
  if k == "int" then return ("%d"):format(v) end
  if k == "float" then
    return v ~= v and "NaN" or v == math.huge and "Infinity" or v == -math.huge and "-Infinity" or text.float(v)
  end
  if k == "undefined" then value.need(v) end
  return value.fail("a %s cannot be written as JSON", k)
end

local function key_text(key, ascii)
  local k = value.kind(key)
  if k ~= "str" and k ~= "int" and k ~= "float" and k ~= "bool" and k ~= "NoneType" then
    value.fail("a %s cannot be a key in JSON", k)
  end
  return quoted(k == "str" and key or scalar(key), ascii)
end

local function write(out, v, o, depth)
  local k = value.kind(v)
  local dict = k == "dict"
  if not dict and k ~= "list" and k ~= "tuple" then
    out[#out + 1] = scalar(v, o.ascii)
    return
  end
  local open, close = dict and "{" or "[", dict and "}" or "]"
  if v.n == 0 then
    out[#out + 1] = open .. close
    return
  end
  local line = o.indent and "\n" .. o.indent:rep(depth + 1) or ""
  out[#out + 1] = open
  local keys = dict and table.move(v.order, 1, v.n, 1, {})
  if dict and o.sort then table.sort(keys, value.less) end
  for i = 1, v.n do
    out[#out + 1] = (i > 1 and o.comma or "") .. line
    if dict then out[#out + 1] = key_text(keys[i], o.ascii) .. o.colon end
    write(out, dict and value.get(v, keys[i]) or v[i], o, depth + 1)
  end
  out[#out + 1] = (o.indent and "\n" .. o.indent:rep(depth) or "") .. close
end

--- JSON text as Python's json.dumps writes it. o: indent (a text, or nothing), ascii, sort, comma, colon.
function M.to_json(v, o)
  local out = {}
  write(out, v, o, 0)
  return table.concat(out)
end

return M
