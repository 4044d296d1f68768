-- The progress line, with a clock, a width and a writer of our own.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local progress = require "pofit.progress"

local function display(o)
  local out, time = {}, 100.0
  o.write = function(text)
    out[#out + 1] = text
  end
  o.clock = function()
    return time
  end
  local p = progress.new(o)
  return p, out, function(seconds)
    time = time + seconds
  end
end

local function metrics(step)
  return {step = step, loss = 0.69315, ["rewards/accuracies"] = 0.5, ["rewards/margins"] = 0.0123, tokens = 1700}
end

local function last_line(out)
  return (out[#out]:gsub("\r", ""):gsub("\27%[K", ""))
end

check.test("a terminal gets one line with everything, redrawn", function()
  local p, out, pass = display{total = 200, label = "dpo", terminal = true, width = 120}
  pass(0.5)
  p:update(metrics(1))
  pass(0.5)
  p:update(metrics(2))
  check.eq(#out, 2)
  check.eq(out[2],
    "\rdpo 2/200  ....................  loss 0.6932  acc 0.50  margin +0.012  3.4k tok/s  1:39 left\27[K")
  pass(99)
  p:update(metrics(100))
  check.matches(last_line(out), "dpo 100/200  ==========%.%.%.%.%.%.%.%.%.%.  ")
  check.matches(last_line(out), "1:40 left$")
end)

check.test("the line fits whatever the width, and drops what matters least first", function()
  local seen = {}
  for width = 2, 100 do
    local p, out, pass = display{total = 200, label = "dpo", terminal = true, width = width, unicode = width % 2 == 0}
    pass(0.5)
    p:update(metrics(7))
    local line = last_line(out)
    check.ok(utf8.len(line) < width, line)
    seen[width] = line
  end
  check.matches(seen[96], "━")
  check.eq(seen[60], "dpo 7/200  loss 0.6932  acc 0.50  margin +0.012  0:14 left")
  check.eq(seen[40], "dpo 7/200  loss 0.6932  0:14 left")
  check.eq(seen[24], "dpo 7/200  loss 0.6932")
  check.eq(seen[12], "dpo 7/200")
  check.eq(seen[4], "dpo")
end)

check.test("the width is asked for at each drawing", function()
  local width = 100
  local p, out, pass = display{total = 10, terminal = true, width = function()
    return width
  end}
  pass(1)
  p:update(metrics(1))
  width = 11
  pass(1)
  p:update(metrics(2))
  check.eq(last_line(out), "2/10")
end)

check.test("redrawing is not faster than the eye, but the last step is always drawn", function()
  local p, out, pass = display{total = 100, terminal = true}
  for step = 1, 100 do
    pass(0.01)
    p:update(metrics(step))
  end
  check.ok(#out >= 9 and #out <= 12, #out .. " drawings in a second")
  check.matches(last_line(out), "^100/100")
end)

check.test("elsewhere plain lines, every so many steps and at the end", function()
  local p, out, pass = display{total = 45, label = "sft", every = 20}
  for step = 1, 45 do
    pass(1)
    p:update(metrics(step))
  end
  p:finish()
  check.eq(#out, 4)
  check.eq(out[1], "sft 20/45  loss 0.6932  acc 0.50  margin +0.012  1.7k tok/s  0:25 left\n")
  check.matches(out[3], "^sft 45/45 .*0:00 left\n$")
  check.eq(out[4], "sft 45/45  loss 0.6932  acc 0.50  margin +0.012  in 0:45\n")
  for _, text in ipairs(out) do
    check.ok(not text:find("[\r\27]"), "control characters in a plain line")
  end
end)

check.test("a resumed run counts its own time", function()
  local p, out, pass = display{total = 100, first = 50, every = 1}
  pass(2)
  p:update(metrics(51))
  check.matches(out[1], "1:38 left\n$")
end)

check.test("what a step does not tell stays as it was; speed needs tokens", function()
  local p, out, pass = display{total = 10, every = 1}
  pass(1)
  p:update{step = 1, loss = 2, accuracy = 0.25}
  pass(1)
  p:update{step = 2}
  check.eq(out[2], "2/10  loss 2.0000  acc 0.25  0:08 left\n")
end)

check.test("speed is that of the last updates", function()
  local p, out, pass = display{total = 200, every = 200}
  for step = 1, 200 do
    pass(step < 100 and 10 or 1)
    p:update{step = step, tokens = 500}
  end
  check.matches(out[1], "  500 tok/s")
end)

check.test("notes stand on lines of their own", function()
  local p, out, pass = display{total = 10, terminal = true}
  p:note("before")
  check.eq(out[1], "before\n")
  pass(1)
  p:update(metrics(1))
  p:note("step 1: skipped")
  check.eq(out[3], "\r\27[Kstep 1: skipped\n")
  check.matches(out[4], "^\r1/10 ")
  p:finish()
  check.eq(out[5], "\r\27[K")
  check.matches(out[6], "^1/10 .* in 0:01\n$")
end)

check.test("quiet shows notes alone", function()
  local p, out, pass = display{total = 10, terminal = true, quiet = true}
  pass(1)
  p:update(metrics(10))
  p:note("careful")
  p:finish()
  check.eq(out, {"careful\n"})
end)

check.test("values that are not finite do no harm", function()
  local p, out, pass = display{total = 10, every = 1}
  pass(1)
  p:update{step = 1, loss = 0 / 0, ["rewards/margins"] = -math.huge}
  check.matches(out[1], "loss %-?nan  margin %-inf")
end)

check.done()
