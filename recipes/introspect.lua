-- Recursive introspection: a policy learns to try again, from conversations that hold its own failed attempts.
--
-- paper:   Qu et al. 2024 (RISE), arXiv 2407.18219, section 4
-- formula: L = mean_b e^(r_b / tau) NLL(y_t | x, y_1, f_1, ..., y_(t-1), f_(t-1)), r = 1 right, 0 wrong, -1 no answer
-- data:    the policy's own attempts on CHAIN problems and a teacher's, or --data: question, answer
-- run:     pofit recipes/introspect.lua [--model DIR --data FILE --verifier FILE.lua]
-- cost:    about seven minutes on two cores, the base policy included
-- expect:  the vote of five turns beats the first turn, which loses nothing (make claims ARGS="--only introspect")
local pf = require "pofit"

local opt = pf.options(pf.problems.options {
  "Recursive introspection. Without --model and --data: improves a small policy on CHAIN by its own attempts.",
  { "name", "introspect", "the run: everything is kept in runs/NAME" },
  { "rounds", 2, "rounds; each takes one more of the policy's own attempts into its conversations", min = 1 },
  { "roll_in", 1, "own attempts in the first round", min = 0 },
  { "stop", false, "as in the paper, a right attempt ends a conversation; else it goes on, as when it is measured" },
  { "best_of", 0, "who teaches the turn after them: the best of so many own samples; 0: the worked answer", min = 0 },
  { "criterion", "all", "turns to learn from", choices = { "all", "better", "best", "success" } },
  { "tau", 0.4, "reward that makes a turn's weight e times as large", above = 0 },
  { "weights", "plain", "e^(r / tau) as it is, or relative to the problem's mean",
    choices = { "plain", "adv", "center" } },
  { "turns", 5, "turns when it is measured", min = 1 },
  { "window", nil, "the question and so many interactions less one are seen (default: 2 on CHAIN, else all)",
    type = "integer" },
  { "chat", false, "conversations are written with the chat template" },
  { "max_tokens", nil, "tokens of an answer at most (default: 20 on CHAIN, else 400)", type = "integer" },
  { "steps", nil, "updates of all rounds together (default: 600 on CHAIN, else 200)", type = "integer" },
  { "batch", 16, "turns an update", min = 1 },
  { "lr", nil, "peak learning rate (default: 1e-3 on CHAIN, else 1e-5)", type = "number" },
})
pf.base.fill(opt, opt.data == "" and { lr = 1e-3, steps = 600, max_tokens = 20, window = 2 }
  or { lr = 1e-5, steps = 200, max_tokens = 400 })
local run = pf.run(opt)
local set = pf.problems(opt, run)
local talk = { chat = opt.chat, window = opt.window, task = set.task, temperature = opt.temperature, run = run,
  max_tokens = set.max_tokens, quiet = opt.quiet, criterion = opt.criterion, best_of = opt.best_of,
  stop = opt.stop, repeats = not opt.stop, gold = function(problem) return set:gold(problem) end }
local function with(values) return setmetatable(values, { __index = talk }) end

-- (1) conversations: the policy's own attempts, kept in context, and one turn more by the teacher
local function collect(model, round, part)
  local attempts = pf.turns.collect(model, set.train, with { turns = opt.roll_in + round - 1, seed = opt.seed + round,
    cache = part.cache })
  return pf.turns.all_rows(model.tokenizer, set.train, attempts, talk)
end
if opt.dry_run then return pf.show(pf.turns.shown(collect(set.model, 1, run)), set.model.tokenizer, 20) end
local function measure(model)
  return pf.turns.measure(model, set.heldout, with { turns = opt.turns, seed = opt.seed, temperature = 1.0 })
end
local before = measure(set.model)

-- (2) each kept turn's likelihood after all that came before it, weighted by its reward; then again
local policy = pf.rounds { run = run, model = set.model, rounds = opt.rounds, collect = collect,
  train = function(model, rows, round, part)
    pf.train { model = model, data = pf.turns.data(rows, { model = model }), run = part, label = "round " .. round,
      seed = opt.seed, batch = opt.batch, lr = opt.lr, warmup = 0.04, schedule = "cosine",
      steps = math.max(1, opt.steps * round // opt.rounds - opt.steps * (round - 1) // opt.rounds),
      loss = function(m, batch)
        local logp = pf.mean_by(m:logp(batch), batch.group, batch.groups) -- nats a token of the turn
        return pf.loss.rwr { logp = logp, reward = batch.reward, prompt = batch.prompt, temperature = opt.tau,
          mode = opt.weights }
      end }
  end }
run:finish { model = policy, before = before, after = measure(policy), title = "Recursive introspection" }
