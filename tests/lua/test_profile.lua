-- --profile: what is observed, its sums, and the trace.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pf = require "pofit"
local profile = require "pofit.profile"
local tiny = dofile((arg[0]:match("^.*/") or "") .. "tiny.lua")

local function sums(rows)
  local by = {}
  for _, row in ipairs(rows) do
    local key = ("%s %s %s"):format(row.name, row.backward and "backward" or "forward", row.layer or "-")
    check.eq(by[key], nil, key)
    by[key] = row
  end
  return by
end

check.test("every operation of a training step, by layer", function()
  local model = tiny.model(1)
  local batch = pf.batch(nil, { { prompt = { 2, 3, 4 }, completion = { 5, 6 } }, { prompt = { 2, 3, 4 },
    completion = { 7, 8, 9 } } })
  local trainer = pf.trainer(model, { lr = 0.1, steps = 1 })
  local p = profile.start()
  pf.step(function() trainer:accumulate(pf.loss.nll { logp = model:logp(batch) }, 1) end)
  trainer:step()
  p.core:stop()
  pf.step(function() model:logp(batch) end) -- no longer seen
  local by = sums(p.core:rows())
  -- 7 products in each of two layers: 32 x (32 + 16 + 16 + 32) and 3 x 32 x 64 for the nodes
  local flops = 2 * batch.nodes * (32 * (32 + 16 + 16 + 32) + 3 * 32 * 64)
  for layer = 1, 2 do
    check.eq(by["linear forward " .. layer].calls, 7)
    check.eq(by["linear forward " .. layer].flops, flops + 0.0)
    check.eq(by["linear backward " .. layer].flops, 2.0 * flops)
    check.eq(by["attention forward " .. layer].calls, 1)
    check.ok(by["attention backward " .. layer].flops == 2 * by["attention forward " .. layer].flops)
  end
  check.eq(by["linear forward -"], nil)
  local head = 2.0 * 5 * 32 * tiny.tok.size -- five tokens are scored, two of them at the same node
  check.ok(by["token_logp forward -"].flops < 2 * head and by["token_logp backward -"].flops < head)
  check.eq(by["token_logp forward -"].flops, 2 * 2.0 * 4 * 32 * tiny.tok.size)
  check.eq(by["adamw forward -"].calls, 1)
  check.eq(by["norm forward -"].calls, 1)
  local count, total = 0, 0
  while p.core:event(count + 1) do count = count + 1 end
  for _, row in ipairs(p.core:rows()) do total = total + row.calls end
  check.eq(count, total)
  check.eq(p.core:left_out(), 0)
  check.eq(p.core:event(0), nil)
end)

check.test("text and trace", function()
  local p = profile.start()
  tiny.model(1):generate({ { 2, 3 } }, { n = 2, max_tokens = 4, seed = 1 })
  p.core:stop()
  local text = p:text()
  check.matches(text, "s in operations and")
  check.matches(text, "\nlinear +%d+ +%d+%.%d+ +%d+%.%d %% +%d")
  check.matches(text, "\n2 +%d+%.%d+ s +%d+ GFLOP/s")
  local path = tiny.dir .. "/trace.json"
  p:trace(path)
  local trace = pf.json.decode(pf.sys.read(path), path)
  local last = 0
  for _, e in ipairs(trace.traceEvents) do
    check.eq(e.ph, "X")
    check.ok(e.ts >= last and e.dur >= 0)
    last = e.ts
  end
  check.ok(#trace.traceEvents > 20)
end)

check.test("a recipe leaves it in its run", function()
  local here = os.getenv "PWD"
  local program = os.getenv "POFIT" or here .. "/" .. arg[-1]
  local out = io.popen(("cd %s && %s %s/recipes/sft.lua %s 2>&1"):format(tiny.dir, program, here .. "/" .. check.root,
    "--name seen --steps 2 --problems 40 --heldout 10 --profile --quiet"))
  local text = out:read "a"
  check.ok(out:close(), text)
  check.matches(text, "linear backward")
  check.matches(text, "trace: runs/seen/trace.json")
  check.ok(pf.sys.exists(tiny.dir .. "/runs/seen/trace.json"))
  check.ok(not pf.sys.read(tiny.dir .. "/runs/seen/config.json"):find "profile")
end)

tiny.clean()
check.done()
