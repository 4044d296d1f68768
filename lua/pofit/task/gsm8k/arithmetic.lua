--- The arithmetic of GSM8K's annotations: numbers, + - * / and parentheses.
local M = {}

--- A written number as a number: 1,200 and .5 and -3 too; nil if it is none.
---@param text string
---@return number?
function M.number(text)
  local sign, plain = text:gsub(",(%d%d%d)", "%1"):match("^(-?)(%.?%d[%d%.]*)$")
  local n = plain and tonumber(plain)
  return n and (sign == "-" and -n or n) or nil
end

--- The tokens of an expression: numbers and operators as written; nil and the reason if something else stands there.
---@param text string
---@return string[]? tokens
---@return string? why
function M.tokens(text)
  local out, at = {}, 1
  while at <= #text do
    local piece = text:match("^%.?%d[%d%.,]*", at) or text:match("^[%+%-%*/%(%)]", at)
    if not piece then
      return nil, ("%q is neither a number nor an operation"):format(text:sub(at, at))
    end
    out[#out + 1], at = piece, at + #piece
  end
  return out
end

-- recursive descent: sum = product (+- product)*, product = factor (*/ factor)*, factor = number | (sum) | +- factor
local function reader(tokens)
  local at = 1
  local sum
  local function factor()
    local t = tokens[at]
    at = at + 1
    if t == "(" then
      local v = sum()
      at = at + 1
      return tokens[at - 1] == ")" and v or nil
    elseif t == "-" then
      local v = factor()
      return v and -v
    elseif t == "+" then
      return factor()
    end
    return t and M.number(t)
  end
  local function chain(part, one, other, apply)
    return function()
      local v = part()
      while v and (tokens[at] == one or tokens[at] == other) do
        local op = tokens[at]
        at = at + 1
        local w = part()
        v = w and apply(op, v, w)
      end
      return v
    end
  end
  local product = chain(factor, "*", "/", function(op, v, w) return op == "*" and v * w or v / w end)
  sum = chain(product, "+", "-", function(op, v, w) return op == "+" and v + w or v - w end)
  local v = sum()
  return at > #tokens and v or nil
end

--- What tokens come to; nil if they are no expression or divide by zero.
---@param tokens string[]
---@return number?
function M.value(tokens)
  local v = reader(tokens)
  return v and v == v and math.abs(v) < math.huge and v or nil
end

--- Is the written number what the value rounds, or is cut, to at its own number of decimals? One without decimals has
--- to be the value itself.
---@param value number
---@param written string
---@return boolean
function M.agrees(value, written)
  local n = M.number(written)
  if not n then
    return false
  end
  local decimals = #(written:match("%.(%d*)$") or "")
  local close = 1e-9 * math.max(1, math.abs(value))
  return math.abs(value - n) <= (decimals > 0 and 10.0 ^ -decimals or 0) + close
end

--- A value as the data write it: at most two decimals; nil if it needs more.
---@param value number
---@return string?
function M.write(value)
  local cents = math.floor(value * 100 + 0.5)
  if math.abs(value * 100 - cents) > 1e-6 or math.abs(value) >= 1e12 then
    return nil
  end
  return (("%.2f"):format(cents / 100):gsub("%.?0*$", ""))
end

return M
