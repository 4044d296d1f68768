-- Losses, help, JSON and files as Lua sees them.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pf = require "pofit"
local json, sys = pf.json, pf.sys

local dir = os.tmpname()
os.remove(dir)
sys.mkdirs(dir .. "/a/b")
local path = dir .. "/a/b/file"

-- ---- losses ----

local function pair()
  return {
    policy_chosen = pf.tensor({ -1, -2 }, { grad = true }), policy_rejected = pf.tensor { -3, -1 },
    ref_chosen = pf.tensor { -1.5, -2 }, ref_rejected = { -2.5, -1.5 }, beta = 0.5,
  }
end

check.test("a loss returns its value and metrics", function()
  local loss, metrics = pf.loss.dpo(pair())
  local function f(u) return math.log(1 + math.exp(-u)) end
  check.near(loss:item(), (f(0.5) + f(-0.25)) / 2, 1e-6)
  check.near(metrics["rewards/margins"], (0.5 - 0.25) / 2, 1e-6)
  check.near(metrics["rewards/accuracies"], 0.5, 0)
  local t = pair()
  t.reduction = "none"
  check.eq(pf.loss.dpo(t).shape, { 2 })
  pf.loss.dpo(pair()):backward()
end)

check.test("what a loss refuses", function()
  local function with(name, value)
    local t = pair()
    t[name] = value
    return function() return pf.loss.dpo(t) end
  end
  check.fails("no argument \"betta\"; did you mean \"beta\"", with("betta", 1))
  check.fails("beta must be a number, got a string", with("beta", "x"))
  check.fails("variant cannot be \"sigmoidd\"", with("variant", "sigmoidd"))
  check.fails("reduction must be", with("reduction", "sum"))
  check.fails("reduction must be", with("reduction", 3))
  check.fails("\"policy_chosen\" is missing", with("policy_chosen", nil))
  check.fails("policy_chosen must be a tensor, a number or a list of numbers, got a string", with("policy_chosen", "x"))
  check.fails("cdpo", with("label_smoothing", 0.1))
  check.fails("by name", pf.loss.dpo, pf.tensor { 1 })
end)

check.test("labels may be booleans, steps count from 1", function()
  local loss = pf.loss.kto { policy = { -1, -2 }, ref = { -1, -2 }, label = { true, false } }
  check.ok(loss:item() > 0)
  local lp = pf.tensor({ -1, -2, -3 }, { grad = true })
  pf.loss.advantage { logp = lp, step = { 1, 0, 2 }, advantage = { 0, 1 }, temperature = 1, sequences = 1 }:backward()
  check.near(lp.grad:totable()[1], -1, 1e-6)
  check.near(lp.grad:totable()[2], 0, 0)
  check.near(lp.grad:totable()[3], -math.exp(1), 1e-5)
end)

check.test("mix, list, help", function()
  local a, ma = pf.loss.dpo(pair())
  local b, mb = pf.loss.nll { logp = { -1, -2 } }
  local sum, metrics = pf.loss.mix { { a, 1, ma }, { b, 0.5, mb } }
  check.near(sum:item(), a:item() + 0.75, 1e-6)
  check.ok(metrics["rewards/margins"] and metrics.nll_loss)
  check.fails("expected {{loss, weight}", pf.loss.mix, {})
  local list = pf.loss.list()
  check.eq(list.dpo.needs, { "policy_chosen", "policy_rejected" })
  for name, entry in pairs(list) do
    check.ok(entry.formula ~= "" and entry.source ~= "", name .. " has no formula or source")
  end
  check.matches(pf.help("dpo"), "arXiv 2305.18290")
  check.matches(pf.help("sum"), "pf.sum%(x, %[dim%], %[keep%]%)")
  check.matches(pf.help(), "logsumexp")
  check.fails("did you mean \"dpo\"", pf.help, "dpi")
end)

check.test("every public function has help", function()
  local functions = require "pofit.help.functions"
  local seen = {}
  for _, name in ipairs(functions.names()) do
    seen[name] = true
    local ok, text = pcall(pf.help, name)
    check.ok(ok, tostring(text))
    check.matches(text, "^pf%.[%w_.]+[({].-[)}]\n\n  %S[^\n]+", name) -- what it takes, then what it does
    check.eq(pf.help("pf." .. name), text)
  end
  for _, name in ipairs { "sum", "loss.dpo", "loss.mix", "data.preference", "task.chain", "credit", "credit.pit",
    "sys.write", "gradcheck", "train" } do
    check.ok(seen[name], name .. " is not among the public functions")
  end
  for _, name in ipairs(functions.tops(require "pofit.core".registry())) do check.matches(pf.help(name), "%S") end
end)

check.test("help on functions: what they take, return and hold", function()
  local _, found = pf.gradcheck(function(x) return (x * x):sum() end, { pf.tensor { 1, 2 } })
  local text = pf.help "gradcheck"
  check.matches(text, "^pf%.gradcheck%(f, inputs, %[opts%]%)\n")
  for name in pairs(found) do check.matches(text, "\n +" .. name .. " +%S", name) end
  check.matches(text, "\n  returns +boolean")
  check.matches(pf.help "data", "\n  pf%.data%.preference\n")
  check.matches(pf.help "credit", "^pf%.credit%(model, answers, opts%)\n.*\n  pf%.credit%.pit\n")
  check.matches(pf.help(), "gradcheck")
  check.fails('did you mean "gradcheck"', pf.help, "gradchek")
  check.fails('no help on "data.preferenc"; did you mean "data.preference"', pf.help, "pf.data.preferenc")
end)

check.test("what is wrong with a file is told without a place in the script, a script's own fault with it", function()
  local function message(f, ...) return select(2, pcall(f, ...)) end
  local here = "^[^:]*test_binding%.lua:%d+: "
  check.matches(message(pf.sys.read, "/no/where"), "^cannot open /no/where: ")
  check.matches(message(pf.sys.append, "/no/where"), "^cannot open /no/where: ")
  check.matches(message(pf.json.decode, "{", "a.json"), "^a%.json:1:1: not valid JSON")
  check.matches(message(pf.json.decode, "{"), here .. "JSON text:1:1: not valid JSON")
  check.matches(message(pf.model.load, "/no/where"), "^/no/where: no such model directory")
  check.matches(message(pf.model.load, 3), here .. "model.load: expected a directory")
  check.matches(message(pf.data.jsonl, "/no/where.jsonl"), "^cannot open /no/where%.jsonl: ")
  check.matches(message(pf.train, { modle = 1 }), here .. "pf.train has no option")
end)

-- ---- JSON ----

check.test("JSON keeps order, kind and numbers", function()
  local text = '{"z": 1, "a": [1, 2.0, 0.1, 1e+300, -0.0], "m": {}, "e": [], "n": null, "t": true, "s": "%s\\n\\"x"}'
  local v = json.decode(text:format("\\u00e9"))
  check.eq(json.encode(v), text:format("é"))
  local keys = {}
  for k in pairs(v) do keys[#keys + 1] = k end
  check.eq(keys, { "z", "a", "m", "e", "n", "t", "s" })
  check.eq(math.type(v.a[1]), "integer")
  check.eq(math.type(v.a[2]), "float")
  check.eq(v.n, json.null)
  v.b = 1
  v.aa = 2
  v.z = nil
  check.matches(json.encode(v), '^{"a": .*"s": "[^,]*", "aa": 2, "b": 1}$')
  local numbers = { 9007199254740993, math.maxinteger, math.mininteger, 0.1, 1 / 3, 5e-324, 1.7976931348623157e308 }
  for _, x in ipairs(numbers) do
    check.eq(json.decode(json.encode(x)), x)
  end
  local null = [[{"foo\u0000bar": "\u0000﷐\uFDD0", "\u0000": {"a\u0000b": 1},
    "a": {"b": 99999999999999999999, "a": 2}}]]
  local read = json.decode(null)
  check.eq({ read["foo\0bar"], read["\0"]["a\0b"] }, { "\0\u{FDD0}\u{FDD0}", 1 })
  check.eq(json.encode(read), '{"foo\\u0000bar": "\\u0000\u{FDD0}\u{FDD0}", "\\u0000": {"a\\u0000b": 1}, ' ..
    '"a": {"b": 1e+20, "a": 2}}')
  check.eq(json.decode(json.encode(read)), read)
  check.eq(json.encode(json.decode '[{"d\\u0000c": 1}, {"d": 1, "c": 2}]'), '[{"d\\u0000c": 1}, {"d": 1, "c": 2}]')
  check.eq(json.encode({ 1, { x = 2 } }, { indent = 2 }), '[1,\n  {\n    "x": 2\n  }\n]')
  check.eq(json.encode(json.array {}), "[]")
  check.eq(json.encode(json.object({ b = 1, a = 2 }, { "b", "a" })), '{"b": 1, "a": 2}')
  check.eq(json.encode {}, "{}")
end)

check.test("what JSON refuses", function()
  check.fails("JSON text:2:6: ", json.decode, '{"a": 1,\n "b" 2}')
  check.fails("rows%.jsonl:7", json.decode, "{", "rows.jsonl:7")
  check.fails("no way to write", json.encode, 0 / 0)
  check.fails("no way to write", json.encode, { math.huge })
  check.fails("one or the other", json.encode, { 1, x = 2 })
  check.fails("cannot be written", json.encode, { print })
  check.fails("not UTF%-8 at byte 2", json.encode, "a\xff")
  local loop = {}
  loop.x = loop
  check.fails("nested deeper", json.encode, loop)
  check.fails("a key of a table", json.encode, { [1.5] = 1 })
end)

-- ---- files ----

check.test("files", function()
  sys.write(path, "one\n\ntwo")
  check.eq(sys.read(path), "one\n\ntwo")
  check.eq(sys.size(path), 8)
  check.eq(sys.size(dir .. "/none"), nil)
  check.eq({ sys.exists(path), sys.exists(dir .. "/none"), sys.is_dir(dir) }, { true, false, true })
  local seen = {}
  for text, line in sys.lines(path) do seen[#seen + 1] = line .. text end
  check.eq(seen, { "1one", "3two" })
  sys.truncate(path, 3)
  local f = sys.append(path)
  f:write("!")
  f:close()
  check.fails("closed", f.write, f, "x")
  check.eq(sys.read(path), "one!")
  sys.write_zst(path .. ".zst", ("line\n"):rep(100))
  check.eq(#sys.read_zst(path .. ".zst"), 500)
  local n = 0
  for text in sys.lines(path .. ".zst") do n = n + #text end
  check.eq(n, 400)
  check.fails("none", sys.read, dir .. "/none")
  check.fails("none", sys.lines, dir .. "/none")
  check.fails("none", sys.write, dir .. "/none/x", "")
  check.fails("zst", sys.read_zst, path)
  for _, name in ipairs { path, path .. ".zst", dir .. "/a/b", dir .. "/a", dir } do sys.remove(name) end
  check.eq(sys.exists(dir), false)
end)

check.test("integers of GGUF metadata above 2^63 - 1 are read as floats", function()
  local name = os.tmpname()
  local gguf = name .. ".gguf"
  sys.write(gguf, "GGUF" .. string.pack("<I4I8I8s8I4i8s8I4I8", 3, 0, 2, "a", 10, -1, "b", 11, 7))
  check.eq(require("pofit.core").weights(gguf).meta, { a = 2.0 ^ 64, b = 7 })
  os.remove(gguf)
  os.remove(name)
end)

check.test("clock, random numbers, hash", function()
  local t = sys.clock()
  check.ok(sys.clock() >= t)
  check.matches(sys.date(), "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$")
  check.eq(sys.uniform(1, 2, 3), sys.uniform(1, 2, 3))
  check.ok(sys.uniform(1, 2, 3) ~= sys.uniform(1, 2, 4))
  check.ok(sys.hash("a") ~= sys.hash("b"))
  check.eq(sys.interrupted(), false)
  check.eq(sys.poll(true), false)
  check.eq(sys.poll(false), true)
end)

check.test("unknown global names raise in the program", function()
  check.fails("there is no variable \"pring\"; did you mean \"print\"", function() return pring end)
  check.fails("write local", function() oops = 1 end)
end)

check.test("angles that are made once turn as rope does", function()
  local x, freq, position = pf.randn({ 3, 2, 6 }, { seed = 1 }), pf.tensor { 1, 0.25 }, { 0, 3, 900 }
  local once = x:rope_turn(pf.rope_angles(freq, position, 1.5))
  check.eq(once:totable(), x:rope(position, nil, freq, 1.5):totable())
  check.ok(once:totable()[2][1][1] ~= x:totable()[2][1][1], "nothing turned")
end)

check.done()
