-- pf.groups: for each question a reference answer, right and wrong samples: what losses over groups learn from (AFT,
-- RRHF, PRO). A batch holds all answers of its questions, which share the question in the forest.
local core = require "pofit.core"
local row_of = require "pofit.batch".row

local Set = {}
Set.__index = Set

-- the different ones, right and wrong apart
local function sort_out(samples)
  local right, wrong, seen = {}, {}, {}
  for _, sample in ipairs(samples) do
    local key = table.concat(sample.ids, " ")
    if #sample.ids > 0 and not seen[key] then table.insert(sample.correct and right or wrong, sample) end
    seen[key] = true
  end
  return right, wrong
end

local function encode(tok, prompt, answer)
  local encoded = row_of(tok, { prompt = prompt, completion = type(answer) == "table" and answer.ids or answer })
  return encoded
end

-- question: {reference=, positive=, negative=} of encoded answers; nil if one is too long
local function question_of(tok, problem, samples, o)
  local right, wrong = sort_out(samples)
  local solution = o.solution(problem)
  local q = { prompt = problem.text, completion = solution, right = right, wrong = wrong, positive = {}, negative = {},
    reference = encode(tok, problem.text, solution) }
  local longest = #q.reference.ids
  for side, list in pairs { positive = right, negative = wrong } do
    for i, sample in ipairs(list) do
      q[side][i] = encode(tok, problem.text, sample)
      longest = math.max(longest, #q[side][i].ids)
    end
  end
  return longest <= o.most and q or nil
end

--- The batch of the questions numbered in indices. batch.reference: the sequence of each question's reference answer;
--- batch.positive, batch.negative: lists of the sequences of its right and wrong samples, either may be empty.
function Set:batch(indices)
  local sequences, reference, positive, negative = {}, {}, {}, {}
  local function add(answer)
    sequences[#sequences + 1] = answer
    return #sequences
  end
  for k, i in ipairs(indices) do
    local q = self.questions[i]
    reference[k], positive[k], negative[k] = add(q.reference), {}, {}
    if self.reference_positive then positive[k][1] = reference[k] end
    for _, answer in ipairs(q.positive) do table.insert(positive[k], add(answer)) end
    for _, answer in ipairs(q.negative) do table.insert(negative[k], add(answer)) end
  end
  local batch = require "pofit.batch"(self.tok, sequences)
  batch.reference, batch.positive, batch.negative = reference, positive, negative
  return batch
end

--- A fingerprint of the answers as they were tokenised.
function Set:fingerprint()
  local h, hash = 0, require "pofit.sys".hash
  for _, q in ipairs(self.questions) do
    for _, list in ipairs { { q.reference }, q.positive, q.negative } do
      h = hash("/", h)
      for _, answer in ipairs(list) do h = hash(table.concat(answer.ids, " "), h) end
    end
  end
  return h
end

--- What there is to learn from, as text.
function Set:summary()
  local both, right, wrong = 0, 0, 0
  for _, q in ipairs(self.questions) do
    right, wrong = right + #q.positive, wrong + #q.negative
    both = both + (#q.negative > 0 and (self.reference_positive or #q.positive > 0) and 1 or 0)
  end
  return ("%d questions, %d with something to compare; %d different right and %d wrong samples%s"):format(self.n, both,
    right, wrong, self.dropped > 0 and ("; %d questions too long"):format(self.dropped) or "")
end

--- A data set of groups for pf.train. Equal samples of a question count once.
---@param problems table[]
---@param samples table[][] a list a problem, as pf.rollout gives them
---@param tok pofit.Tokenizer
---@param o table solution = function(problem) -> reference answer (text, or {ids=}); reference_positive (true: the
---  reference is a right answer, too); model (its context is the longest), max_length
---@return table set {n=, questions=, dropped=}
return function(problems, samples, tok, o)
  if #problems ~= #samples then
    core.raise(("groups: %d problems with samples of %d"):format(#problems, #samples))
  end
  local set = setmetatable({ tok = tok, questions = {}, n = 0, dropped = 0,
    reference_positive = o.reference_positive ~= false }, Set)
  local most = math.min(o.max_length or math.huge, o.model and o.model.max_position_embeddings or math.huge)
  for i, problem in ipairs(problems) do
    local q = question_of(tok, problem, samples[i], { solution = o.solution, most = most })
    if q then
      set.n = set.n + 1
      set.questions[set.n] = q
    else
      set.dropped = set.dropped + 1
    end
  end
  if set.n == 0 then core.refuse("groups: no questions left: " .. set:summary()) end
  return set
end
