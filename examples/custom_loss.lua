-- A loss that nobody ships, checked and trained. IPO asks that the margin h of a pair be 1 / (2 beta); with Huber's
-- penalty in place of the square, a pair that is far off, perhaps because its label is wrong, pulls with bounded force:
--   L = mean delta^2 (sqrt(1 + (e / delta)^2) - 1),  e = h - 1 / (2 beta)      run: pofit examples/custom_loss.lua
local pf = require "pofit"

local function huber_ipo(h, beta, delta)
  local e = h - 1 / (2 * beta)
  return (delta ^ 2 * (((e / delta) ^ 2 + 1):sqrt() - 1)):mean()
end
pf.gradcheck(function(h) return huber_ipo(h, 0.1, 2) end, { pf.randn { 8 } }) -- raises if backward is wrong

-- right solutions of small sums, and the same with a slip in the first result
local task = pf.task.chain { modulus = 10, operands = { 2, 3 }, ops = "+" }
local rows = {}
for i, p in ipairs(task:problems("preference", 200)) do
  local right = task:solution(p)
  local wrong = right:gsub("=(%d)", function(d) return "=" .. (d + 1 + i % 8) % 10 end, 1)
  rows[i] = { prompt = p.text, chosen = right, rejected = wrong }
end
local policy = pf.base.new("runs/custom_loss/model", task, 1) -- random weights
local train, heldout = pf.data.preference(rows, policy.tokenizer):split(0.3, 1)
train:reference(policy:copy())

local before = pf.evaluate.preferences(policy, heldout)
pf.train {
  model = policy, data = train, steps = 120, batch = 30, lr = 3e-3, label = "huber", loss = function(model, batch)
    local ratio = pf.sum_by(model:logp(batch) - batch.ref_logp, batch.sequence, batch.sequences)
    local h = ratio:index(batch.chosen) - ratio:index(batch.rejected)
    return huber_ipo(h, 0.1, 2), { ["rewards/margins"] = h:mean():item() }
  end,
}
local after = pf.evaluate.preferences(policy, heldout)
local function share(score) return pf.stats.percent(pf.stats.mean(score.scores[1][2])) end
print(("held-out pairs with the right solution ahead: %s before, %s after"):format(share(before), share(after)))
