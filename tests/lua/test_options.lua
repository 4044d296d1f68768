-- Options: declaration, command line, file, help.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local options = require "pofit.options"

local spec = options.spec{
  "Direct preference optimisation: pairs of a chosen and a rejected answer, on the embedded task or on your own data",
  {"beta", 0.1, "strength of the KL constraint", above = 0, max = 10},
  {"steps", 200, "updates", min = 1},
  {"lora_rank", 8, "rank"},
  {"variant", "sigmoid", "loss", choices = {"sigmoid", "ipo", "hinge"}},
  {"targets", {"q_proj", "v_proj"}, "matrices to adapt"},
  {"betas", {0.9, 0.999}, "of the optimiser", min = 0},
  {"shuffle", true, "shuffle the rows"},
  {"stop_at", nil, "loss to stop at", type = "number"},
  {"model", "", "model directory"},
}

local NULL = {}
-- stands for a decoder of JSON: the "file" is a Lua table constructor
local env = {
  json = {
    null = NULL,
    decode = function(text, name)
      local f, why = load("local null = ...; return " .. text)
      return f and f(NULL) or error(("%s: %s"):format(name, why), 0)
    end,
  },
  read = function(path)
    if path == "none" then
      return nil, "none: No such file or directory"
    end
    return path
  end,
}

local function parse(...)
  return options.parse(spec, {...}, env)
end

local function refused(pattern, ...)
  local opt, message = parse(...)
  check.ok(opt == nil, "accepted: " .. table.concat({...}, " "))
  check.matches(message, pattern)
end

check.test("defaults keep value and type", function()
  local opt = parse()
  check.eq(opt.beta, 0.1)
  check.eq(opt.steps, 200)
  check.eq(opt.targets, {"q_proj", "v_proj"})
  check.eq(opt.stop_at, nil)
  check.eq(opt.seed, 1)
  check.eq(opt.shuffle, true)
  check.eq(opt.quiet, false)
end)

check.test("the ways to write a value", function()
  local opt = parse("--lora-rank", "4", "--beta=1", "--no-shuffle", "--variant", "ipo", "--targets=a,b,c", "--quiet")
  check.eq(opt.lora_rank, 4)
  check.eq(opt.beta, 1.0)
  check.eq(opt.shuffle, false)
  check.eq(opt.variant, "ipo")
  check.eq(opt.targets, {"a", "b", "c"})
  check.eq(opt.quiet, true)
  opt = parse("--lora_rank=1e2", "--stop-at", "-0.5", "--betas", "0.5,1", "--shuffle=no", "--model=--odd",
    "--targets", "")
  check.eq(opt.lora_rank, 100)
  check.eq(opt.stop_at, -0.5)
  check.eq(opt.betas, {0.5, 1.0})
  check.eq(opt.shuffle, false)
  check.eq(opt.model, "--odd")
  check.eq(opt.targets, {})
end)

check.test("further names, of words and of letters", function()
  local o = options.spec{"Samples", {"prompt", nil, "what to continue", type = "string", bare = true, alias = "-p"},
    {"max_tokens", 9, "how many", alias = "-n n_predict"}, {"n", 1, "samples"}}
  local opt = options.parse(o, {"-n", "5", "--n", "2", "-p", "words"}, env)
  check.eq({opt.max_tokens, opt.n, opt.prompt}, {5, 2, "words"})
  opt = options.parse(o, {"words", "--n-predict=7"}, env)
  check.eq({opt.max_tokens, opt.prompt}, {7, "words"})
  check.matches(select(2, options.parse(o, {"--n-predict", "7", "--max-tokens", "8"}, env)), "%-%-max%-tokens is given")
  check.matches(select(2, options.parse(o, {"-x", "7"}, env)), 'what is "%-x"')
  check.matches(select(2, options.parse(o, {"-n"}, env)), "%-%-max%-tokens needs a value")
  check.matches(options.help(o), "%(also %-n, %-%-n%-predict%)")
end)

check.test("mistakes on the command line are named", function()
  refused("^unknown option %-%-bata; did you mean %-%-beta%?$", "--bata", "1")
  refused("^unknown option %-%-lora%-rang; did you mean %-%-lora%-rank%?$", "--lora_rang=1")
  refused("^unknown option %-%-xyzzyx$", "--xyzzyx")
  refused("^%-%-beta needs a value %(number%)$", "--beta")
  refused("^%-%-beta needs a value", "--beta", "--steps", "3")
  refused("^%-%-beta much: expected a number$", "--beta", "much")
  refused('^%-%-beta "": expected a number$', "--beta=")
  refused("expected a number$", "--beta", "1e999")
  refused("expected a number$", "--beta", "nan")
  refused("^%-%-beta 0: expected a number above 0 and at most 10$", "--beta", "0")
  refused("expected a number above 0 and at most 10$", "--beta", "11")
  refused("^%-%-steps 2.5: expected an integer$", "--steps", "2.5")
  refused("^%-%-steps 0: expected an integer at least 1$", "--steps", "0")
  refused("^%-%-variant sigmod: expected one of sigmoid, ipo, hinge %(sigmoid%?%)$", "--variant", "sigmod")
  refused("^%-%-betas 0.9,x: expected a number as element 2$", "--betas", "0.9,x")
  refused("^%-%-betas 0.9,%-1: expected a number at least 0 as element 2$", "--betas", "0.9,-1")
  refused("^%-%-steps is given twice$", "--steps", "1", "--steps=1")
  refused("^%-%-shuffle is given twice$", "--shuffle", "--no-shuffle")
  refused("^%-%-shuffle maybe: expected true or false$", "--shuffle=maybe")
  refused("^%-%-no%-shuffle takes no value$", "--no-shuffle=1")
  refused("^%-%-beta is not a switch", "--no-beta")
  refused('^what is "true"%? %-%-quiet is a switch', "--quiet", "true")
  refused('^what is "stray"%? options are written %-%-name value$', "stray")
  refused('^what is "%-x"', "-x")
end)

check.test("flag over file over default", function()
  local opt = parse("--config", "{beta = 1, ['lora-rank'] = 2, steps = 3.0, targets = {'x'}}", "--lora-rank", "16")
  check.eq(opt.beta, 1.0)
  check.eq(opt.steps, 3)
  check.eq(opt.lora_rank, 16)
  check.eq(opt.targets, {"x"})
  check.eq(opt.variant, "sigmoid")
  check.eq(options.source(opt, "beta"), "config")
  check.eq(options.source(opt, "lora_rank"), "flag")
  check.eq(options.source(opt, "variant"), "default")
  check.eq(parse("--config", "{stop_at = null, beta = null}").beta, 0.1)
end)

check.test("mistakes in the file name file, key and what was found", function()
  refused('^{bata=1}: unknown option "bata"; did you mean "beta"%?$', "--config", "{bata=1}")
  refused('"beta": expected a number, found "1"$', "--config", "{beta='1'}")
  refused('"steps": expected an integer, found 1.5$', "--config", "{steps=1.5}")
  refused('"steps": expected an integer at least 1, found %-1$', "--config", "{steps=-1}")
  refused('"shuffle": expected true or false, found 1$', "--config", "{shuffle=1}")
  refused('"targets": expected a list, found "q"$', "--config", "{targets='q'}")
  refused('"targets": expected a list, found a list or object$', "--config", "{targets={a=1}}")
  refused('"model": expected a text, found true$', "--config", "{model=true}")
  refused("is given twice$", "--config", "{lora_rank=1, ['lora-rank']=2}")
  refused('unknown option "config"', "--config", "{config='x'}")
  refused("expected an object of options, found a list$", "--config", "{1, 2}")
  refused("expected an object of options, found 7$", "--config", "7")
  refused("^%-%-config: none: No such file", "--config", "none")
  refused("^syntax error here: ", "--config", "syntax error here")
  local failing = {read = env.read, json = {decode = function(_, name)
    error(name .. ":2:7: not valid", 0)
  end}}
  check.eq(select(2, options.parse(spec, {"--config", "c.json"}, failing)), "c.json:2:7: not valid")
end)

check.test("the real file is read, and one that is not there is named", function()
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write("{beta = 2}")
  file:close()
  check.eq(options.parse(spec, {"--config", path}, {json = env.json}).beta, 2.0)
  os.remove(path)
  local _, message = options.parse(spec, {"--config", path}, {json = env.json})
  check.matches(message, "No such file")
end)

check.test("an undeclared name raises, in reading and in writing", function()
  local opt = parse()
  check.fails("unknown option bata; did you mean beta%?", function()
    return opt.bata
  end)
  check.fails("cannot set unknown option stepz; did you mean steps%?", function()
    opt.stepz = 1
  end)
  opt.steps, opt.stop_at = 5, 0.25
  check.eq(opt.steps, 5)
  check.eq(opt.stop_at, 0.25)
end)

check.test("defaults are not shared between two parses", function()
  parse().targets[1] = "spoiled"
  check.eq(parse().targets[1], "q_proj")
end)

check.test("listing and pairs keep the declared order", function()
  local opt = parse("--quiet", "--beta", "1")
  local names, values = {}, {}
  for i, item in ipairs(options.list(opt)) do
    names[i], values[i] = item[1], item[2]
  end
  local order = "beta steps lora_rank variant targets betas shuffle stop_at model seed name threads memory "
    .. "optim checkpoint_every"
  check.eq(table.concat(names, " "), order)
  check.eq(values[1], 1.0)
  names = {}
  for name in pairs(opt) do
    names[#names + 1] = name
  end
  check.eq(table.concat(names, " "),
    "beta steps lora_rank variant targets betas shuffle model seed name threads checkpoint_every resume quiet profile "
      .. "config")
end)

check.test("help: every option, its default, within 80 columns", function()
  local opt, text, what = parse("--beta", "x", "--help")
  check.eq(opt, nil)
  check.eq(what, "help")
  for line in text:gmatch("[^\n]+") do
    check.ok(#line <= 80, "too long: " .. line)
  end
  check.matches(text, "^Direct preference optimisation")
  check.matches(text, "\n  %-%-beta X +strength of the KL constraint %(above 0 and at most 10%)%s+%[0.1%]\n")
  check.matches(text, "\n  %-%-variant TEXT +loss %(sigmoid, ipo, hinge%) %[sigmoid%]\n")
  check.matches(text, "\n  %-%-targets A,B +matrices to adapt %[q_proj,v_proj%]\n")
  check.matches(text, "\n  %-%-no%-shuffle +shuffle the rows")
  check.matches(text, "\n\n  %-%-seed N")
  check.matches(text, "\n  %-%-help ")
  check.matches(select(2, options.parse(spec, {"-h"}, {program = "pofit r.lua"})), "usage: pofit r.lua %[")
  local long = options.spec{"x", {"a_very_long_name_of_an_option", 1e-5, "help"}}
  check.matches(options.help(long), "\n  %-%-a%-very%-long%-name%-of%-an%-option X\n +help %[1e%-5%]\n")
end)

check.test("a directory in the place of another option may be what a required one was to be", function()
  local generate = options.spec{"x", {"prompt", nil, "", type = "string", bare = true},
    {"model", nil, "", type = "string", required = true}}
  check.eq(select(2, options.parse(generate, {"/"})), "--model is required; did you mean --model /?")
  check.matches(select(2, options.parse(generate, {"/", "once"})), 'what is "once"%?.*did you mean %-%-model /%?$')
  check.eq(select(2, options.parse(generate, {"once"})), "--model is required")
  check.eq(select(2, options.parse(generate, {arg[0]})), "--model is required", "a file is no model")
  check.matches(select(2, options.parse(generate, {"m.gguf"})), "did you mean %-%-model m.gguf%?$")
  local number = options.spec{"x", {"prompt", nil, "", type = "string", bare = true},
    {"n", nil, "", type = "integer", required = true}}
  check.eq(select(2, options.parse(number, {"/"})), "--n is required")
  check.matches(select(2, options.parse(generate, {"--model", "m", "/", "once"})), "%-%-name value$")
end)

check.test("a required option must come", function()
  local required = options.spec{"x", {"data", nil, "preferences", type = "string", required = true}}
  check.eq(select(2, options.parse(required, {})), "--data is required (preferences)")
  check.eq(options.parse(required, {"--data", "p.jsonl"}).data, "p.jsonl")
  check.matches(options.help(required), "preferences %[required%]")
end)

check.test("a recipe may give a common option another default", function()
  local own = options.spec{"x", {"name", "dpo", "run"}, {"beta", 1.0, ""}}
  local opt = options.parse(own, {})
  check.eq(opt.name, "dpo")
  check.eq(options.list(opt)[1], {"name", "dpo"})
end)

check.test("mistakes in a declaration are raised", function()
  check.fails("beta is declared twice", options.spec, {"x", {"beta", 1}, {"beta", 2}})
  check.fails("data needs a default or a type", options.spec, {"x", {"data"}})
  check.fails("a name is letters, digits and _, not lora%-rank", options.spec, {"x", {"lora-rank", 1}})
  check.fails("the default of beta is 0, expected a number above 0", options.spec,
    {"x", {"beta", 0.0, "", above = 0}})
  check.fails("the default of v is c, expected one of a, b", options.spec,
    {"x", {"v", "c", "", choices = {"a", "b"}}})
  check.fails("beta has no setting minimum", options.spec, {"x", {"beta", 0.0, "", minimum = 0}})
  check.fails("help is there already", options.spec, {"x", {"help", false}})
end)

check.test("a value's nearest name", function()
  check.eq(options.nearest("lernin_rate", {"learning_rate", "lr"}), "learning_rate")
  check.eq(options.nearest("q", {"r", "s"}), nil)
  check.eq(options.nearest("abcdefgh", {"hgfedcba"}), nil)
end)

check.test("parse_or_exit tells and exits: 0 after help, 2 after a mistake", function()
  local interpreter = arg[-1] or "lua5.4"
  local function run(words)
    local code = ("package.path=%q; local o = require[[pofit.options]]; "
      .. "print(o.parse_or_exit(o.spec{[[demo]], {[[beta]], 0.5}}, {%s}).beta)"):format(package.path, words)
    local pipe = io.popen(("%s -e '%s' 2>&1"):format(interpreter, code))
    local text = pipe:read("a")
    local _, _, status = pipe:close()
    return text, status
  end
  local text, status = run("[[--beta]], [[2]]")
  check.eq({text, status}, {"2.0\n", 0})
  text, status = run("[[--help]]")
  check.matches(text, "^demo\n")
  check.eq(status, 0)
  text, status = run("[[--bta]], [[2]]")
  check.matches(text, "^pofit: unknown option %-%-bta; did you mean %-%-beta%?\n")
  check.eq(status, 2)
end)

check.test("words without a name", function()
  local bare = options.spec({
    "A command",
    {"file", nil, "to read", type = "string", required = true, bare = true},
    {"rows", {}, "numbers", of = "integer", bare = true},
    {"loud", false, "say more"},
  }, {"threads"})
  local opt = options.parse(bare, {"--loud", "a.jsonl", "3", "--threads", "2", "5"})
  check.eq({opt.file, opt.rows, opt.loud, opt.threads}, {"a.jsonl", {3, 5}, true, 2})
  check.fails("unknown option seed", function() return opt.seed end)
  check.eq(options.parse(bare, {"--file", "a"}).file, "a")
  check.matches(select(2, options.parse(bare, {})), "^FILE is required")
  check.matches(select(2, options.parse(bare, {"a", "x"})), "ROWS x: expected an integer")
  check.matches(select(2, options.parse(bare, {"a", "-x"})), 'what is "%-x"')
  check.matches(select(2, options.parse(bare, {"--help"})), "usage: pofit RECIPE.lua FILE %[ROWS%.%.%.%]")
end)

check.done()
