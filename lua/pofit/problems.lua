-- pf.problems: where a recipe that samples and verifies gets its model, task and problems: the embedded default, or the
-- user's own model directory, questions with answers, and verifier.
local core = require "pofit.core"
local random = require "pofit.random"

local M = {}

local OPTIONS <const> = {
  { "model", "", "model directory (none: the base policy of the seed, trained first if there is none yet)" },
  { "data", "", "JSON lines with question and answer (none: CHAIN problems)" },
  { "verifier", "", "Lua file that returns function(problem, text) -> right? (none: the final answers are compared)" },
  { "problems", 1500, "problems to learn from (of --data: at most)", min = 1 },
  { "heldout", 500, "problems to measure on (of --data: at most)", min = 1 },
  { "heldout_share", 0.1, "share of --data to measure on", above = 0, max = 0.5 },
  { "samples", 8, "samples a problem", min = 1 },
  { "temperature", 1.0, "of the samples", min = 0 },
  { "max_tokens", 0, "tokens of an answer at most (0: 80 on CHAIN, else 400)", min = 0 },
  { "pool", "", "JSON lines with prompt (a question) and completion: answers in the place of the start's samples" },
  { "cache", "", "folder for sampled answers, may be shared by runs (none: runs/NAME/rollouts)" },
  { "dry_run", false, "print what would be learned from, and stop" },
}

--- A recipe's declaration with the options that all recipes of this kind share, for pf.options; one that the recipe
--- declares itself stays the recipe's.
---@param declaration table
---@return table
function M.options(declaration)
  local taken = {}
  for _, o in ipairs(declaration) do
    if type(o) == "table" then taken[o[1]] = true end
  end
  for _, list in ipairs { OPTIONS, require "pofit.adapter".options } do
    for _, o in ipairs(list) do
      if not taken[o[1]] then declaration[#declaration + 1] = o end
      taken[o[1]] = true
    end
  end
  return declaration
end

local function part(list, first, n)
  return table.move(list, first, math.min(first + n - 1, #list), 1, {})
end

-- the user's own rows: a shuffled share of them is held out
local function own(opt)
  local task = require "pofit.task.own"
  local list = task.problems(require "pofit.data".jsonl(opt.data))
  if #list < 2 then core.refuse(("%s has %d rows, too few to hold any out"):format(opt.data, #list)) end
  random.new(opt.seed, "problems"):shuffle(list)
  local held = math.min(#list - 1, math.max(1, math.floor(#list * opt.heldout_share + 0.5)))
  return task.new { verifier = opt.verifier }, part(list, held + 1, opt.problems),
    part(list, 1, math.min(held, opt.heldout))
end

local Problems = {}
Problems.__index = Problems

-- an answer that somebody else wrote, as if it had been sampled
local function as_sample(set, problem, text)
  local tok = set.model.tokenizer
  local ids = tok:encode(text, { special = false })
  if tok.eos then ids[#ids + 1] = tok.eos end
  local verdict = set.task:verify(problem, text)
  return { ids = ids, text = text, finish = "eos", correct = verdict.correct, answer = verdict.answer,
    reward = verdict.reward }
end

--- The task's worked answer of a problem as a sample, with the end token.
---@param problem table
---@return table sample
function Problems:gold(problem) return as_sample(self, problem, self.task:solution(problem)) end

-- the answers of --pool, by question
local function read_pool(path)
  local by = {}
  for row, line in require "pofit.data".jsonl(path) do
    local question = row.prompt or row.question
    if type(question) ~= "string" or type(row.completion) ~= "string" then
      core.refuse(("%s:%d: expected prompt and completion, both texts"):format(path, line))
    end
    by[question] = by[question] or {}
    table.insert(by[question], row.completion)
  end
  return by
end

local function pooled(set, problems)
  set.pool = set.pool or read_pool(set.opt.pool)
  local out = {}
  for i, problem in ipairs(problems) do
    out[i] = {}
    for k, text in ipairs(set.pool[problem.text] or {}) do out[i][k] = as_sample(set, problem, text) end
  end
  return out, { samples = 0, tokens = 0 }
end

--- What a rule (pf.keep) chooses of samples, in one list, each with its problem, as pf.credit takes them.
---@param problems table[]
---@param samples table[][]
---@param rule function
---@return table[]
function Problems.chosen(problems, samples, rule)
  local out = {}
  for i, problem in ipairs(problems) do
    for _, sample in ipairs(rule(samples[i], problem)) do
      sample.problem = problem
      out[#out + 1] = sample
    end
  end
  return out
end

--- Right and wrong answers as pf.pair takes them.
---@return table[]
function Problems.paired(problems, samples)
  local out = {}
  for i, problem in ipairs(problems) do out[i] = { prompt = problem.text, samples = samples[i] } end
  return out
end

--- Sample the recipe's model, or another one, on problems: pf.rollout with what the options say; or, for the recipe's
--- model, what --pool holds.
---@param problems table[]
---@param o? table n (--samples), model, and what else pf.rollout takes
---@return table[][] samples a list a problem
---@return table counts
function Problems:sample(problems, o)
  local starts, opt = {}, self.opt
  if opt.pool ~= "" and not (o and o.model) then return pooled(self, problems) end
  local all = { n = opt.samples, task = self.task, seed = opt.seed, temperature = opt.temperature, run = self.run,
    max_tokens = self.max_tokens, cache = self.cache, quiet = opt.quiet }
  for name, value in pairs(o or {}) do all[name] = value end
  all.model = nil
  for i, problem in ipairs(problems) do starts[i] = { problem = problem } end
  return require "pofit.rollout"(o and o.model or self.model, starts, all)
end

--- Greedy accuracy on the held-out problems, and with samples that at temperature 1, as Run:finish takes it.
---@param model table
---@param samples? integer
---@param o? table errors (true: rates of typed mistakes, too)
---@return table
function Problems:measure(model, samples, o)
  return require "pofit.evaluate".task { model = model, task = self.task, problems = self.heldout, samples = samples,
    seed = self.opt.seed, max_tokens = self.max_tokens, quiet = self.opt.quiet, errors = o and o.errors }
end

--- Model, task and problems by the options of M.options. Default: CHAIN with the base policy; problems of the split
--- "preference" to learn from, which the base policy has not seen, and of "heldout" to measure on.
---@param opt table
---@param run table pf.run(opt)
---@param o? table task (options of CHAIN, else pf.base.task), split ("preference"), heldout ("heldout")
---@return table set {model=, task=, train=, heldout=, max_tokens=, cache=}, with sample and measure
function M.open(opt, run, o)
  local base = require "pofit.base"
  local set = setmetatable({ opt = opt, run = run,
    max_tokens = opt.max_tokens > 0 and opt.max_tokens or opt.data == "" and 80 or 400 }, Problems)
  if opt.data ~= "" then
    if opt.model == "" then core.refuse("--data needs --model: the base policy can only read CHAIN") end
    set.task, set.train, set.heldout = own(opt)
  else
    set.task = require "pofit.task.chain".new(o and o.task or base.task)
    set.train = set.task:problems(o and o.split or "preference", opt.problems)
    set.heldout = set.task:problems(o and o.heldout or "heldout", opt.heldout)
  end
  set.model = require "pofit.model".open(opt, function() return base.policy(opt.seed) end)
  set.cache = opt.cache ~= "" and opt.cache or run.dir .. "/rollouts" -- the run begins when all that it needs is there
  return set
end

--- Starts of rollouts: one a problem, with no token of the answer yet.
---@param problems table[]
---@return table[]
function M.starts(problems)
  local out = {}
  for i, problem in ipairs(problems) do out[i] = { problem = problem } end
  return out
end

--- Supervised rows of problems: the task's worked answers.
---@param task table
---@param problems table[]
---@return table[] {prompt=, completion=}
function M.solutions(task, problems)
  local out = {}
  for i, problem in ipairs(problems) do out[i] = { prompt = problem.text, completion = task:solution(problem) } end
  return out
end

return setmetatable(M, { __call = function(_, opt, run, o) return M.open(opt, run, o) end })
