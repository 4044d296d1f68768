-- Cutting sequences that are too long. All answers to a prompt lose the same tokens of it.
--
--   max_completion_length   answers lose what is behind that many tokens
--   max_prompt_length       prompts lose their beginning
--   max_length              of both together: truncation "drop" leaves the row out, "keep_start" cuts at the right (and
--                           leaves the row out if nothing of an answer is left), "keep_end" at the left
local M = {}

local function prompt_of(s) return s.scored_from - 1 end

-- tokens first..last of a sequence with all that belongs to them; the first token is never scored
local function cut(s, first, last)
  if first == 1 and last >= #s.ids then return false end
  for _, name in ipairs { "ids", "score", "step", "target" } do
    if s[name] then s[name] = table.move(s[name], first, math.min(last, #s[name]), 1, {}) end
  end
  s.scored_from = math.max(2, s.scored_from - first + 1)
  return true
end

local function longest(sequences)
  local n = 0
  for _, s in ipairs(sequences) do n = math.max(n, #s.ids) end
  return n
end

local function shorten_right(sequences, length_of)
  local any = false
  for _, s in ipairs(sequences) do any = cut(s, 1, length_of(s)) or any end
  return any
end

local function shorten_left(sequences, n)
  for _, s in ipairs(sequences) do cut(s, n + 1, #s.ids) end
  return n > 0
end

--- Number of scored tokens.
function M.scored(s)
  if not s.score then return math.max(0, #s.ids - s.scored_from + 1) end
  local n = 0
  for i = s.scored_from, #s.ids do n = n + (s.score[i] ~= 0 and 1 or 0) end
  return n
end

local function learnable(sequences)
  for _, s in ipairs(sequences) do
    if M.scored(s) == 0 then return false end
  end
  return true
end

--- Cut the sequences of a row in place.
---@param o table max_length, max_prompt_length, max_completion_length, truncation
---@return string? reason why the row cannot be used: "too_long", "nothing_left"
---@return table cuts {prompt = true, completion = true}
function M.apply(sequences, o)
  local cuts = {}
  if o.max_completion_length then
    cuts.completion = shorten_right(sequences, function(s) return prompt_of(s) + o.max_completion_length end)
  end
  if o.max_prompt_length and sequences[1] then
    cuts.prompt = shorten_left(sequences, math.max(0, prompt_of(sequences[1]) - o.max_prompt_length))
  end
  local over = longest(sequences) - o.max_length
  if over > 0 then
    if o.truncation == "drop" then return "too_long", cuts end
    if o.truncation == "keep_start" then
      cuts.completion = shorten_right(sequences, function() return o.max_length end) or cuts.completion
    else
      cuts.prompt = shorten_left(sequences, over)
    end
  end
  return not learnable(sequences) and "nothing_left" or nil, cuts
end

return M
