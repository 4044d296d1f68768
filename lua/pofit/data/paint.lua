-- Rows for the eye: each token, what of it is scored, where the answer begins and how it ends. In colour on a terminal,
-- with marks elsewhere.
local M = {}

-- marks: what stands around a part without colour
local STYLES <const> = {
  prompt = { "\27[2m", "", "" }, scored = { "\27[32m", "", "" }, special = { "\27[35m", "", "" },
  straddle = { "\27[1;31m", "", "" }, title = { "\27[1m", "", "" }, warn = { "\27[33m", "", "" },
}

--- A painter: paint(style, text).
---@param colour boolean
function M.painter(colour)
  return function(style, text)
    local s = STYLES[style]
    return colour and s[1] .. text .. "\27[0m" or text
  end
end

-- what a token adds to the text; bytes that make no character yet are shown as ░
local function pieces(tok, ids)
  local out, before = {}, ""
  for i = 1, #ids do
    local text = tok:decode(table.move(ids, 1, i, 1, {}))
    if text:sub(1, #before) == before and not text:sub(#before + 1):find "\u{FFFD}" then
      out[i], before = text:sub(#before + 1), text
    else
      out[i] = "░"
    end
    if out[i] == "" then out[i] = "░" end
  end
  return out
end

local function visible(piece)
  return (piece:gsub("\n", "↵\n"):gsub("\t", "→"):gsub("[%c\x7F]", function(c) return c == "\n" and c or "·" end))
end

local function is_special(tok, id)
  local token = tok:token(id)
  return token ~= nil and token:find "^<[^ ]+>$" ~= nil and not token:find "^<0x"
end

-- which tokens are shown: the first and last quarter of the limit, of the prompt and of the answer
local function shown_of(s, limit)
  local show, n, quarter = {}, #s.ids, math.max(1, limit // 4)
  local prompt = math.min(s.scored_from - 1, n)
  local function both_ends(first, last)
    local short = last - first + 1 <= 2 * quarter
    for i = first, last do show[i] = short or i < first + quarter or i > last - quarter end
  end
  if n <= limit then quarter = n end
  both_ends(1, prompt)
  both_ends(prompt + 1, n)
  return show
end

--- The tokens of a sequence between bars: those that are scored stand between « and », also where there is no colour.
---@param tok pofit.Tokenizer
---@param s table {ids, scored_from, score}
---@param boundary? integer tokens of the prompt by itself: scored ones up to there hold the prompt's end, too
---@param paint function
---@param limit integer about how many tokens to show: the middles of a long prompt and of a long answer are left out
---@return string
function M.tokens(tok, s, boundary, paint, limit)
  local out, inside, hidden = {}, false, 0
  local show = shown_of(s, limit)
  local function put(i, piece)
    local scored = i >= s.scored_from and (not s.score or s.score[i] ~= 0)
    local style = is_special(tok, s.ids[i]) and "special" or scored and "scored" or "prompt"
    if scored and boundary and i <= boundary and i == s.scored_from then style = "straddle" end
    if hidden > 0 then
      out[#out + 1] = (" ... %d tokens ... "):format(hidden)
    elseif scored == inside and i > 1 then
      out[#out + 1] = "|"
    end
    if scored ~= inside then out[#out + 1] = scored and "«" or "»" end
    inside, hidden = scored, 0
    out[#out + 1] = paint(style, visible(piece))
  end
  for i, piece in ipairs(pieces(tok, s.ids)) do
    if show[i] then put(i, piece) else hidden = hidden + 1 end
  end
  return table.concat(out) .. (inside and "»" or "")
end

return M
