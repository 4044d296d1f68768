-- The program as a user runs it: arguments, exit status, errors, prompt; and require "pofit" from stock Lua.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")

local program = arg[-1]
local dir = os.tmpname()
os.remove(dir)
os.execute("mkdir -p " .. dir)

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

-- what a command prints (both streams) and its exit status
local function run(command, input)
  local text = dir .. "/input"
  local f = assert(io.open(text, "w"))
  f:write(input or "")
  f:close()
  local p = assert(io.popen(command .. " 2>&1 <" .. text))
  local out = p:read "a"
  local _, _, status = p:close()
  return out, status
end

local function script(name, text)
  local path = dir .. "/" .. name
  local f = assert(io.open(path, "w"))
  f:write(text)
  f:close()
  return path
end

check.test("threads that the user binds have a processor each", function()
  local processors = run "nproc"
  if tonumber(processors) < 2 then return end
  local file = script("bound.lua", [[
    local pf = require "pofit"
    pf.threads(2)
    pf.matmul(pf.randn { 512, 512 }, pf.randn { 512, 512 })
    os.execute "grep -h Cpus_allowed_list /proc/$PPID/task/*/status | sort -u | wc -l"
  ]])
  local out = run(("env -u GOMP_SPINCOUNT OMP_PROC_BIND=true %s %s"):format(program, file))
  check.eq(tonumber(out), 2)
end)

check.test("version, help, unknown options", function()
  local out, status = run(program .. " --version")
  check.matches(out, "^pofit 0%.1%.0 ")
  check.eq(status, 0)
  out, status = run(program .. " --help")
  check.matches(out, "usage: pofit")
  check.eq(status, 0)
  out, status = run(program .. " --hepl")
  check.matches(out, "unknown option %-%-hepl")
  check.eq(status, 2)
  check.matches(run(program .. " -e"), "something must follow %-e")
  check.matches(run(program .. " help dpo"), "arXiv 2305.18290")
  out, status = run(program .. " help dppo")
  check.matches(out, "did you mean \"dpo\"")
  check.eq(status, 1)
end)

check.test("commands are found by the names of their files", function()
  local out, status = run(program .. " inspect data --help")
  check.matches(out, "usage: pofit inspect data FILE")
  check.eq(status, 0)
  check.matches(run(program .. " inspect --help"), "WHAT is one of .*data")
  check.matches(run(program .. " help"), "pofit inspect data +%S")
  out, status = run(program .. " inspect dta")
  check.matches(out, 'knows .*, not "dta"; did you mean "data"')
  check.eq(status, 2)
  out, status = run(program .. " inspct data")
  check.matches(out, 'no command or file "inspct"; did you mean "inspect"')
  check.eq(status, 2)
  for wrong, right in pairs { hel = "help", halp = "help", hepl = "help", inspec = "inspect", convrt = "convert",
    mrge = "merge", generat = "generate", chatt = "chat" } do
    check.matches(run(program .. " " .. wrong), ('"%s"; did you mean "%s"?'):format(wrong, right))
    check.matches(run(program .. " help " .. wrong), ('no help on "%s"; did you mean "%s"?'):format(wrong, right))
  end
  check.matches(run(program .. " inspect"), "pofit inspect: what%?")
  out, status = run(program .. " inspect data")
  check.matches(out, "FILE is required")
  check.eq(status, 2)
  script("plain", "print(41 + 1)")
  check.eq(run(("cd %s && %s plain"):format(dir, program)), "42\n")
end)

check.test("scripts get their arguments and may require their neighbours", function()
  script("near.lua", "return { x = 41 }")
  local path = script("a.lua", 'print(require("near").x + 1, arg[0], ...) print(#arg, arg[1])')
  local out, status = run(("%s %s one --two"):format(program, path))
  check.eq(out, ("42\t%s\tone\t--two\n2\tone\n"):format(path))
  check.eq(status, 0)
  check.eq(run(program .. " -e " .. quote("print(pf.tensor(2):item(), ...)") .. " x"), "2.0\tx\n")
  check.eq(run(program .. " - ", "print(1 + 1)"), "2\n")
  check.eq(run(program, "x = 1\nprint(x)"), "1\n")
end)

check.test("errors: one line and a status; a traceback when asked for", function()
  local path = script("bad.lua", 'local pf = require "pofit"\nlocal x = pf.tensor { 1, 2 }\nreturn x + { 1, 2, 3 }')
  local out, status = run(program .. " " .. path)
  check.matches(out, "^pofit: .*bad%.lua:3: add: ")
  check.eq(select(2, out:gsub("\n", "")), 1)
  check.eq(status, 1)
  check.matches(run(program .. " --traceback " .. path), "stack traceback")
  out = run(program .. " " .. script("typo.lua", "print(pritn)"))
  check.matches(out, 'typo.lua:1: there is no variable "pritn"; did you mean "print"')
  check.matches(run(program .. " " .. script("syntax.lua", "x ==")), "^pofit: .*syntax.lua:1: ")
  out, status = run(program .. " " .. dir .. "/none.lua")
  check.matches(out, "cannot open .*none%.lua")
  check.eq(status, 1)
  check.eq(select(2, run(program .. " " .. script("exit.lua", "os.exit(7, true)"))), 7)
  local object = "error(setmetatable({}, { __tostring = function() return 'mine' end }))"
  check.matches(run(program .. " -e " .. quote(object)), "mine")
end)

check.test("a recipe says what it can be told", function()
  local path = script("recipe.lua", [[
local pf = require "pofit"
local opt = pf.options { "A recipe", { "beta", 0.1, "strength" } }
print(opt.beta)]])
  check.eq(run(program .. " " .. path .. " --beta 0.5"), "0.5\n")
  local out, status = run(program .. " " .. path .. " --help")
  check.matches(out, "beta")
  check.eq(status, 0)
  out, status = run(program .. " " .. path .. " --beat 1")
  check.matches(out, "beta")
  check.eq(status, 2)
end)

check.test("the library's Lua files may come from a directory", function()
  os.execute("mkdir -p " .. dir .. "/lua/pofit")
  script("lua/pofit/stats.lua", "return { here = true }")
  local out = run(("%s --lua %s/lua -e %s"):format(program, dir, quote "print(pf.stats.here, pf.pair)"))
  check.matches(out, "^true\t")
end)

check.test("Ctrl-C stops a script", function()
  local path = script("loop.lua", "while true do end")
  local out = run(("timeout --foreground -s INT 1 %s %s"):format(program, path))
  check.matches(out, "pofit: interrupted")
  path = script("poll.lua", [[
local sys = require("pofit").sys
sys.poll(true)
while not sys.interrupted() do end
print "asked"]])
  check.eq(run(("timeout --foreground -s INT 1 %s %s"):format(program, path)), "asked\n")
end)

check.test("editor stubs are current", function()
  local fresh = run(program .. " --stubs")
  local f = assert(io.open(check.root .. "lua/pofit/_meta.lua"))
  local kept = f:read "a"
  f:close()
  check.ok(fresh == kept, "lua/pofit/_meta.lua is stale: run make meta")
  check.ok(load(fresh), "the stubs are not Lua")
  check.ok(not pcall(dofile, check.root .. "lua/pofit/_meta.lua"), "_meta.lua can be loaded")
end)

check.test("starts fast", function()
  local pf = require "pofit"
  local start = pf.sys.clock()
  for _ = 1, 5 do run(program .. " --version") end
  for _ = 1, 5 do run(program .. " -e 1") end
  local each = (pf.sys.clock() - start) / 10
  check.ok(os.getenv "POFIT_SANITIZED" or each < 0.2, ("%.0f ms each"):format(each * 1000))
end)

local module = program:match "^(.*/)" .. "pofit.so"
local stock = io.popen("command -v lua5.4 lua"):read "l"
if os.getenv "POFIT_SANITIZED" or not stock or not io.open(module) then
  check.skip("stock lua", "needs lua5.4, pofit.so and a build without sanitizers")
else
  check.test("require from stock Lua", function()
    local code = ([[package.cpath = %q .. "?.so"
      local pf = require "pofit"
      local x = pf.tensor({ 1, 2 }, { grad = true }); (x * x):sum():backward()
      print(x.grad, pf.stats.mean { 1, 2 }, pf.sys.interrupted(), _G.pf)]]):format(module:match "^(.*/)")
    check.eq(run(stock .. " -e " .. quote(code)), "tensor [2] float32 {2, 4}\t1.5\tfalse\tnil\n")
  end)
end

os.execute("rm -rf " .. dir)
check.done()
