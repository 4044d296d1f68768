--- Text inside HTML.
local M = {}

local ESCAPES <const> = {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;"}

-- bytes that are no UTF-8 become U+FFFD, control characters their pictures
local function legible(text)
  local out, at = {}, 1
  while at <= #text do
    local _, bad = utf8.len(text, at)
    out[#out + 1] = text:sub(at, (bad or #text + 1) - 1)
    if bad then
      out[#out + 1] = "\u{FFFD}"
    end
    at = (bad or #text) + 1
  end
  return (table.concat(out):gsub("[\0-\8\11-\31\127]", function(c)
    return c == "\127" and "\u{2421}" or utf8.char(0x2400 + c:byte())
  end))
end

--- Any value as text that is safe between tags and inside quoted attributes.
---@param value any
---@return string
function M.escape(value)
  return (legible(tostring(value)):gsub("[&<>\"']", ESCAPES))
end

--- A text with the characters first to last marked.
---@param text string
---@param first? integer
---@param last? integer
---@return string
function M.marked(text, first, last)
  if not first then
    return M.escape(text)
  end
  last = last or first
  local from, to = first, last
  local length = utf8.len(text)
  if length then
    from = utf8.offset(text, math.min(first, length + 1))
    to = utf8.offset(text, math.min(last, length) + 1) - 1
  end
  local inside = text:sub(from, to)
  -- a mistake where the text has ended already still has to be seen
  inside = inside == "" and "\u{2026}" or M.escape(inside)
  return ("%s<mark>%s</mark>%s"):format(M.escape(text:sub(1, from - 1)), inside, M.escape(text:sub(to + 1)))
end

return M
