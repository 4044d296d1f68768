-- pf.turns: conversations in which a model tries again, with its failed attempts kept in context, and rows of them
-- whose loss is on chosen turns alone (recursive introspection, Qu et al. 2024, arXiv 2407.18219).
--
-- An attempt is a sample {ids=, text=, finish=, correct=, answer=, reward=}; its ids stand in the conversation as they
-- were sampled. reward: 1 right, 0 wrong, -1 if no answer can be read from it.
local core = require "pofit.core"
local chat = require "pofit.chat"
local random = require "pofit.random"
local rollout = require "pofit.rollout"
local stats = require "pofit.stats"

local M = {}

local function append(ids, more) return table.move(more, 1, #more, #ids + 1, ids) end

-- ---- the conversation ----

-- Without a chat template: problem, attempt, feedback, attempt, ... one after the other.
local function plain(tok, problem, attempts, feedback)
  local ids = chat.encode(tok, problem.text)
  for _, attempt in ipairs(attempts) do
    append(ids, attempt.ids)
    append(ids, tok:encode(feedback(problem), { special = false }))
  end
  return ids
end

-- With one: what the template writes between the attempts is encoded, and the attempts keep their ids. A template that
-- writes history otherwise than it was is refused.
local function templated(tok, problem, attempts, feedback)
  local messages = chat.is_messages(problem.text) and table.move(problem.text, 1, #problem.text, 1, {})
    or { { role = "user", content = problem.text } }
  local text = tok:chat(messages, { generation_prompt = true })
  local ids = chat.encode(tok, text)
  for _, attempt in ipairs(attempts) do
    messages[#messages + 1] = { role = "assistant", content = attempt.text }
    messages[#messages + 1] = { role = "user", content = feedback(problem) }
    local whole, begun = tok:chat(messages, { generation_prompt = true }), text .. attempt.text
    if whole:sub(1, #begun) ~= begun then
      core.raise("turns: the chat template rewrites earlier turns, so attempts cannot be kept as they were sampled")
    end
    append(ids, attempt.ids)
    local between = tok:encode(whole:sub(#begun + 1), { special = false })
    local first = between[1] ~= nil and between[1] == ids[#ids] and 2 or 1 -- the token that ended the attempt
    table.move(between, first, #between, #ids + 1, ids)
    text = whole
  end
  return ids
end

local function again(problem) return problem.text end

M.TRY_AGAIN = "The answer is incorrect. Please try again. Here's the question: "

--- Feedback in words, for models that talk.
function M.try_again(problem)
  local text = problem.text
  return M.TRY_AGAIN .. (chat.is_messages(text) and text[#text].content or text)
end

--- Ids of a conversation up to where its next attempt begins.
---@param tok pofit.Tokenizer
---@param problem table {text=}
---@param attempts table[] the earlier ones
---@param o? table chat (write it with the chat template; false), feedback = function(problem) -> what is said after
---  each attempt, right or wrong (default: the problem's text again, with chat: M.try_again), window (the question and
---  the last window - 1 attempts are seen; all)
---@return integer[] ids
function M.prompt(tok, problem, attempts, o)
  o = o or {}
  local first = o.window and math.max(1, #attempts - o.window + 2) or 1
  local seen = table.move(attempts, first, #attempts, 1, {})
  local write = o.chat and templated or plain
  return write(tok, problem, seen, o.feedback or o.chat and M.try_again or again)
end

-- as many of the last attempts as leave room for the next one
local function fitting(model, problem, attempts, o)
  local most = (model.max_position_embeddings or math.huge) - (o.max_tokens or 1)
  local window = math.min(o.window or math.huge, #attempts + 1)
  while true do
    local ids = M.prompt(model.tokenizer, problem, attempts, { chat = o.chat, feedback = o.feedback, window = window })
    if #ids <= most or window <= 1 then return ids end
    window = window - 1
  end
end

local function reward_of(sample)
  return sample.correct and 1 or sample.answer ~= nil and 0 or -1
end

-- the best of several samples, the first of equal ones
local function best(samples)
  local top
  for _, sample in ipairs(samples) do
    sample.reward = reward_of(sample)
    if not top or sample.reward > top.reward then top = sample end
  end
  return top
end

local ROLLOUT <const> = { "task", "max_tokens", "temperature", "top_p", "top_k", "min_p", "compute", "kv", "cache",
  "run", "quiet" }

--- Let a policy try, and try again. At each turn it sees its earlier attempts, oldest left out first where the context
--- is full; at evaluation nothing tells it whether they were right.
---@param model table
---@param problems table[]
---@param o table turns; best_of = {[t] = n}: at turn t the best of n samples is taken (self-distillation); stop (true:
---  a conversation ends with its first right attempt, as when data are collected); chat, feedback, window as in prompt;
---  seed; the rest goes to pf.rollout: task, max_tokens, temperature, cache, run, ...
---@return table[][] attempts a list a problem
---@return table counts samples, tokens, cut
function M.play(model, problems, o)
  local attempts, counts = {}, { samples = 0, tokens = 0, cut = 0 }
  for i = 1, #problems do attempts[i] = {} end
  for t = 1, o.turns do
    local prefixes, owner = {}, {}
    for i, problem in ipairs(problems) do
      local last = attempts[i][t - 1]
      if t == 1 or last and not (o.stop and last.correct) then
        prefixes[#prefixes + 1], owner[#prefixes + 1] = { problem = problem,
          prompt = fitting(model, problem, attempts[i], o) }, i
      end
    end
    -- equal histories of different turns are different draws
    local opts = { n = o.best_of and o.best_of[t] or 1, label = "turn " .. t,
      seed = random.bits(o.seed or 0, "turn", t) & 0x7fffffff }
    for _, name in ipairs(ROLLOUT) do opts[name] = o[name] end
    local samples, c = rollout(model, prefixes, opts)
    for name in pairs(counts) do counts[name] = counts[name] + c[name] end
    for k, i in ipairs(owner) do attempts[i][t] = best(samples[k]) end
  end
  return attempts, counts
end

-- ---- rows to learn from ----

local CRITERIA <const> = {
  all = function() return true end,
  better = function(list, t) return t == 1 or list[t].reward > list[t - 1].reward end,
  best = function(list, t)
    for s = 1, t - 1 do
      if list[s].reward > list[t].reward then return false end
    end
    return true
  end,
  success = function(list, t) return list[t].reward == 1 end,
}

--- Rows of one conversation: for every turn that the criterion keeps, the history and that turn, which alone is scored.
--- Empty attempts make no row; nor do ones that are equal to an earlier one of the conversation, unless repeats is set.
---@param tok pofit.Tokenizer
---@param problem table
---@param attempts table[]
---@param o? table criterion ("all", "better": than the turn before, "best": no earlier one is better, "success"); chat,
---  feedback, window; repeats
---@return table[] rows {ids=, turns = {{first=, last=, weight = 1}}, reward=, turn=, prompt = text of the problem}
function M.rows(tok, problem, attempts, o)
  local keep, rows, seen = CRITERIA[o and o.criterion or "all"], {}, {}
  if not keep then core.raise(('turns: criterion is one of all, better, best, success, not %q'):format(o.criterion)) end
  for t, attempt in ipairs(attempts) do
    local key = table.concat(attempt.ids, " ")
    if #attempt.ids > 0 and (o and o.repeats or not seen[key]) and keep(attempts, t) then
      local ids = M.prompt(tok, problem, table.move(attempts, 1, t - 1, 1, {}), o)
      local first = #ids + 1
      append(ids, attempt.ids)
      rows[#rows + 1] = { ids = ids, turns = { { first = first, last = #ids, weight = 1 } }, reward = attempt.reward,
        turn = t, prompt = problem.text }
    end
    seen[key] = true
  end
  return rows
end

--- Conversations to learn from: own attempts, and one turn more by a teacher who knows better: the best of
--- several samples of the model itself, or a right answer that is given.
---@param model table
---@param problems table[]
---@param o table turns (own attempts at most; 0: the teacher speaks first); stop (true: a right attempt is the last
---  turn; else the teacher speaks then, too, as what measures the turns goes on);
---  gold = function(problem) -> sample {ids=}, best_of (n samples; 0: gold answers); the rest as in M.play
---@return table[][] attempts
---@return table counts
function M.collect(model, problems, o)
  local itself = (o.best_of or 0) > 0
  local attempts, counts = M.play(model, problems, setmetatable({ turns = o.turns + (itself and 1 or 0),
    best_of = itself and { [o.turns + 1] = o.best_of } or {} }, { __index = o }))
  for i, list in ipairs(attempts) do
    local last = list[#list]
    if not itself and not (o.stop and last and last.correct) then
      list[#list + 1] = o.gold(problems[i])
      list[#list].reward = reward_of(list[#list])
    end
  end
  return attempts, counts
end

--- Rows of many conversations, as M.rows makes them.
---@param tok pofit.Tokenizer
---@param problems table[]
---@param attempts table[][]
---@param o? table as M.rows'
---@return table[]
function M.all_rows(tok, problems, attempts, o)
  local all = {}
  for i, list in ipairs(attempts) do
    local rows = M.rows(tok, problems[i], list, o)
    table.move(rows, 1, #rows, #all + 1, all)
  end
  return all
end

--- Rows as pf.show prints them: what the turn comes after, the turn, its reward.
---@param rows table[]
---@return table[]
function M.shown(rows)
  local out = {}
  for i, row in ipairs(rows) do
    local turn = row.turns[#row.turns]
    out[i] = { prompt = table.move(row.ids, 1, turn.first - 1, 1, {}), reward = row.reward,
      completion = { ids = table.move(row.ids, turn.first, turn.last, 1, {}) } }
  end
  return out
end

local Set = {}
Set.__index = Set

--- The batch of the rows numbered in indices. Each turn that is scored is a group: batch.group = its number for each
--- entry, batch.groups = how many; batch.weight = weight of each group; batch.row = the row of each group; batch.reward
--- and batch.prompt (a number a problem) = of each row. With one turn a row groups and rows are the same.
function Set:batch(indices)
  local sequences, groups, numbers, problems = {}, 0, {}, 0
  local group, weight, owner, reward, prompt = {}, {}, {}, {}, {}
  for k, i in ipairs(indices) do
    local row, score = self.rows[i], {}
    for t = 1, #row.ids do score[t] = 0 end
    for _, turn in ipairs(row.turns) do
      groups = groups + 1
      weight[groups], owner[groups] = turn.weight or 1, k
      for t = turn.first, turn.last do score[t], group[#group + 1] = 1, groups end
    end
    sequences[k] = { ids = row.ids, score = score }
    if not numbers[row.prompt] then problems = problems + 1 end
    numbers[row.prompt] = numbers[row.prompt] or problems
    reward[k], prompt[k] = row.reward or 0, numbers[row.prompt]
  end
  local batch = require "pofit.batch"(nil, sequences)
  batch.group, batch.groups, batch.weight, batch.row = group, groups, weight, owner
  batch.reward, batch.prompt = reward, prompt
  return batch
end

--- A fingerprint of the rows.
function Set:fingerprint()
  local h, sys = 0, require "pofit.sys"
  for _, row in ipairs(self.rows) do
    h = sys.hash(table.concat(row.ids, " ") .. ":" .. tostring(row.reward), h)
    for _, turn in ipairs(row.turns) do
      h = sys.hash(("%d %d %s"):format(turn.first, turn.last, tostring(turn.weight)), h)
    end
  end
  return h
end

--- A data set of rows for pf.train; rows longer than most ids (opts.max_length, the model's context) are counted in
--- dropped.
---@param rows table[] as M.rows makes them; turns may be several, in order, each with a weight of its own
---@param o? table model, max_length
---@return table set {n=, rows=, dropped=}
function M.data(rows, o)
  local most = math.min(o and o.max_length or math.huge, o and o.model and o.model.max_position_embeddings or math.huge)
  local set = setmetatable({ rows = {}, n = 0, dropped = 0 }, Set)
  for i, row in ipairs(rows) do
    for k, turn in ipairs(row.turns) do
      local after = k > 1 and row.turns[k - 1].last or 1
      if turn.first <= after or turn.last < turn.first or turn.last > #row.ids then
        core.raise(("turns: turn %d of row %d goes from token %d to %d of %d, after %d"):format(k, i, turn.first,
          turn.last, #row.ids, after))
      end
    end
    if #row.ids <= most then
      set.n = set.n + 1
      set.rows[set.n] = row
    else
      set.dropped = set.dropped + 1
    end
  end
  if set.n == 0 then core.refuse(("turns: no rows left, %d were too long"):format(set.dropped)) end
  return set
end

-- ---- what the turns are worth ----

--- Is the answer that most samples vote for right? Samples without an answer do not vote.
---@param samples table[]
---@param o? table tie
---@return boolean
function M.voted(samples, o)
  local answers = {}
  for i, sample in ipairs(samples) do answers[i] = sample.answer end
  local winner = stats.vote(answers, { tie = o and o.tie, n = #samples })
  for _, sample in ipairs(samples) do
    if winner ~= nil and sample.answer == winner and sample.correct then return true end
  end
  return false
end

--- Figures of conversations that were played to the end (stop = false), a value a problem.
---@param attempts table[][]
---@param o? table tie of the vote ("last")
---@return table {turn = {[t] = is attempt t right}, vote (m1@t: majority over the turns), any (p1@t: with an oracle)}
---@return table {confidence = P(the last is right | the first is), critique = P(it is right | the first is wrong)}
function M.figures(attempts, o)
  local out, kept, fixed = { turn = {}, vote = {}, any = {} }, { 0, 0 }, { 0, 0 }
  for i, list in ipairs(attempts) do
    local any = false
    for t, attempt in ipairs(list) do
      out.turn[t] = out.turn[t] or {}
      out.turn[t][i], any = attempt.correct, any or attempt.correct
    end
    out.vote[i], out.any[i] = M.voted(list, { tie = o and o.tie or "last" }), any
    local count = list[1].correct and kept or fixed
    count[1], count[2] = count[1] + (list[#list].correct and 1 or 0), count[2] + 1
  end
  return out, { confidence = kept[1] / kept[2], critique = fixed[1] / fixed[2] }
end

--- Measure a model that tries several times, as Run:finish takes it. With T turns: "m1@t1" is the first attempt right;
--- "mT@t1" the vote of as many samples that know nothing of each other; "m1@tT" that of the turns; "p1@tT" is any of
--- them right (what an oracle would stop at); "last@tT" the last one.
---@param model table
---@param problems table[]
---@param o table turns (5), task, seed, max_tokens, temperature (1), chat, feedback, window, cache, quiet
---@return {scores: table, answers: table}
function M.measure(model, problems, o)
  local n, answers, votes, samples = o.turns or 5, {}, {}, {}
  local opts = setmetatable({ turns = n, best_of = {}, stop = false, run = false, temperature = o.temperature or 1.0 },
    { __index = o })
  local attempts = M.play(model, problems, opts)
  local starts = require "pofit.problems".starts(problems)
  for i, start in ipairs(starts) do start.prompt = M.prompt(model.tokenizer, problems[i], {}, opts) end
  samples.n, samples.seed = n, random.bits(o.seed or 0, "votes", n) & 0x7fffffff
  for _, name in ipairs(ROLLOUT) do samples[name] = opts[name] end
  for i, list in ipairs((rollout(model, starts, samples))) do votes[i] = M.voted(list, { tie = "last" }) end
  for i = 1, math.min(5, #problems) do
    local last, parts = attempts[i][#attempts[i]], {}
    for t, attempt in ipairs(attempts[i]) do parts[t] = attempt.text end
    answers[i] = { prompt = problems[i].text, text = table.concat(parts, " | "), ok = last.correct }
  end
  local f = M.figures(attempts)
  return { answers = answers, attempts = attempts, scores = { { "m1@t1", f.turn[1] }, { ("m%d@t1"):format(n), votes },
    { ("m1@t%d"):format(n), f.vote }, { ("p1@t%d"):format(n), f.any }, { ("last@t%d"):format(n), f.turn[n] } } }
end

return M
