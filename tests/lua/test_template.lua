-- Chat templates: 79 published ones and hundreds of small ones against Jinja2; limits; what a template cannot reach.
local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
local pf = require "pofit"
local json, sys = pf.json, pf.sys

local golden = json.decode(sys.read(check.root .. "tests/golden/templates.json"))

-- what a case gives: a text, or nil and the message
local function render(source, variables, opts)
  local ok, text, info = pcall(function() return pf.template(source, "t"):render(variables, opts) end)
  if ok then return text, info end
  return nil, text
end

check.test("small templates, as Jinja2 renders them", function()
  local wrong = {}
  for _, case in ipairs(golden.cases) do
    local text, message = render(case.t, golden.context, { date = "2025-01-02" })
    if text ~= case.out then
      wrong[#wrong + 1] = ("%s\n    got  %s\n    want %s"):format(case.t, tostring(text or message),
        case.out or case.error)
    elseif not text then
      check.matches(message, "t:%d+:%d+: ", case.t) -- an error of the template, not of the program
    end
  end
  check.ok(#wrong == 0, #wrong .. " of " .. #golden.cases .. " differ:\n" .. table.concat(wrong, "\n"))
end)

local published = (os.getenv "POFIT_TESTDATA" or "") .. "/data/chat-templates/goldens.json"
if not sys.exists(published) then
  check.skip("published templates", "POFIT_TESTDATA has no data/chat-templates")
else
  local data = json.decode(sys.read(published))

  -- byte spans of a text to character spans from 0, as Python has them
  local function characters(text, spans)
    local out = {}
    for i, span in ipairs(spans or {}) do
      out[i] = { utf8.len(text:sub(1, span[1] - 1)), utf8.len(text:sub(1, span[2])) }
    end
    return out
  end

  check.test("published templates, byte for byte", function()
    local compiled, spans = {}, 0
    for _, case in ipairs(data.cases) do
      local name = ("%s, %s, %s"):format(case.template, case.context, case.add_generation_prompt)
      local source = data.templates[case.template]
      compiled[source] = compiled[source] or pf.template(source, case.template)
      local ok, text, info = pcall(compiled[source].render, compiled[source], { messages = data.contexts[case.context],
        add_generation_prompt = case.add_generation_prompt, bos_token = "<s>", eos_token = "</s>" },
        { date = "2025-01-02" })
      check.eq(ok, case.error == nil, name .. ": " .. tostring(text))
      if ok then
        check.ok(text == case.output, ("%s:\n%s\n-- expected --\n%s"):format(name, text, tostring(case.output)))
        if case.assistant_char_spans then
          check.eq(characters(text, info.spans), setmetatable(case.assistant_char_spans, nil), name)
          spans = spans + 1
        end
      end
    end
    check.eq(#data.cases, 632)
    check.eq(spans, 136)
  end)
end

check.test("mistakes are named with line and column", function()
  local function says(pattern, source, variables)
    local text, message = render(source, variables or {})
    check.ok(not text, source)
    check.matches(message, pattern, source)
  end
  says("t:2:1: a tag that begins here does not end", "a\n{% if x\n")
  says("t:1:7: expected '%)', found the text 'b'", "{{ (a 'b') }}")
  says("t:3:4: unknown tag 'iff'", "\n\n{% iff x %}")
  says("t:1:14: the template ends before 'endif'", "{% if a %}abc")
  says("t:2:4: unknown tag 'endfor'", "\n{% endfor %}")
  says("t:1:10: unexpected character '@'", "{{ 'é' + @ }}")
  says("t:1:4: a text that begins here does not end", "{{ 'abc }}")
  says("t:1:1: a comment that begins here does not end", "{# abc")
  says("t:2:5: 'x' is undefined", "\n{{ x.y.z }}")
  says("t:1:15: 'dict object' has no attribute 'content'", "{{ (m.content).x }}", { m = { role = "user" } })
  says("t:1:6: there is no filter 'uper'", "{{ a|uper }}")
  says("t:1:9: there is no test 'defnied'", "{{ a is defnied }}")
  says("t:1:6: division by zero", "{{ 1 / 0 }}")
  says("the template refuses this conversation: roles must alternate", "{{ raise_exception('roles must alternate') }}")
  says("byte 3 is not valid UTF%-8", "ab\xFF")
  says("'append' of a list is not allowed", "{{ x.append(1) }}", { x = { 1 } })
  says("strftime_now does not know the format '%%Q'", "{{ strftime_now('%Q') }}")
  says("'include' is not supported", "{% include 'a' %}")
  says("recursive loops are not supported", "{% for x in y recursive %}{% endfor %}")
  check.fails("there is no date 2025%-02%-29", function() pf.template("a"):render({}, { date = "2025-02-29" }) end)
  check.fails("expected YYYY%-MM%-DD", function() pf.template("a"):render({}, { date = "yesterday" }) end)
  check.fails("a function cannot be given", function() pf.template("a"):render { f = print } end)
end)

check.test("steps, output, macros and nesting are limited", function()
  local function too_much(source)
    local text, message = render(source, {})
    check.ok(not text and (message:find "too many steps" or message:find "nested more than"), message or source)
  end
  too_much "{% for i in range(1000000000) %}{% endfor %}"
  too_much "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}"
  too_much "{{ 'x' * 1000000000 }}"
  too_much "{{ [0] * 1000000000 }}"
  too_much "{% set ns = namespace(x='xxxxxxxx') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}"
  too_much "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}"
  too_much "{% set x %}{% for i in range(99999) %}{{ 'abc' * 999 }}{% endfor %}{% endset %}"
  too_much "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"
  too_much "{{ 'x'.ljust(1000000000) }}"
  too_much "{{ '%999999999d' % 1 }}"
  too_much "{{ '{:999999999}'.format(1) }}"
  too_much("{{ 'aaaaaaaaaa'.replace('a', 'b' * 60000000) }}")
  too_much("{{ ['a', 'b', 'c'] | join('x' * 50000000) }}")
  too_much("{{ " .. ("("):rep(5000) .. "1" .. (")"):rep(5000) .. " }}")
  too_much("{{ " .. ("["):rep(5000) .. ("]"):rep(5000) .. " }}")
  too_much("{{ " .. ("not "):rep(5000) .. "1 }}")
  too_much("{{ " .. ("-"):rep(5000) .. "1 }}")
  too_much(("{% if 1 %}"):rep(5000))
  local deep = {}
  for _ = 1, 300 do deep = { deep } end
  check.matches(select(2, render("{{ x }}", { x = deep })), "100 deep")
end)

check.test("nothing of Lua can be reached", function()
  for _, name in ipairs { "os", "io", "_G", "_ENV", "require", "string", "load", "debug", "pf", "print" } do
    check.eq(render(("{{ %s is defined }}"):format(name), {}), "False", name)
  end
  for _, path in ipairs { "s.rep", "s.gsub", "s.dump", "s.__index", "d.__class__", "d.order", "d.values.x", "xs.n",
    "range.call", "range.name", "loop.parent", "d.n" } do
    check.eq(render("{{ (" .. path .. ") is defined }}", { s = "a", d = {}, xs = { 1 } }) ~= "True", true, path)
  end
  check.eq(render("{% set range = 1 %}{% set x = 2 %}{{ range }}{{ x }}", { x = 1 }), "12")
  check.eq(render("{{ range(2) | list }}", {}), "[0, 1]")
end)

check.test("values from Lua: order, null, and the date", function()
  check.eq(render("{{ x }}{{ y }}{{ z }}", { x = json.null, y = { b = 1, a = 2 }, z = json.decode '{"b":1,"a":[]}' }),
    "None{'a': 2, 'b': 1}{'b': 1, 'a': []}")
  local text, info = render("{{ strftime_now('%d %b %Y, %H') }}", {}, { date = "2026-07-04T05:06:07" })
  check.eq(text, "04 Jul 2026, 05")
  check.eq(info.dated, true)
  check.eq(select(2, render("a", {})).dated, false)
end)

check.test("what the assistant says", function()
  local loop = "{% for m in x %}é{% generation %}{{ m }}{% endgeneration %}{% endfor %}"
  local _, info = render(loop, { x = { "ab", "c" } })
  check.eq(info.spans, { { 3, 4 }, { 7, 7 } })
  check.eq(select(2, render("a", {})).spans, nil)
  _, info = render("{% macro m() %}{% generation %}a{% endgeneration %}{% endmacro %}{{ m() }}", {})
  check.eq(info.spans, nil) -- its place in the text is not known there
end)

check.test("damaged templates give texts, or errors of the template", function()
  local g, failed = require("pofit.random").new(1, "damage"), 0
  local pieces = { "{{", "}}", "{%", "%}", "(", ")", "[", "]", ".", "|", "x", "0", "'", "not ", " in ", " is ", "none",
    "~", ",", ":", "=", "**", "{", "}", "for ", "if ", "set ", "\n", "1e9", "[::-1]", "|list", "|join", ".split()" }
  for _ = 1, os.getenv "POFIT_LONG" and 20000 or 600 do
    local source = golden.cases[g:int(1, #golden.cases)].t
    for _ = 1, g:int(1, 3) do
      local i = g:int(1, #source + 1)
      local rest = g:int(1, 2) == 1 and g:pick(pieces) .. source:sub(i) or source:sub(i + g:int(1, 4))
      source = source:sub(1, i - 1) .. rest
    end
    local text, message = render(source, golden.context, { date = "2025-01-02" })
    if not text and utf8.len(source) then check.matches(message, "t:%d+:%d+: ", source) end
    failed = failed + (text and 0 or 1)
  end
  check.ok(failed > 100, failed .. " of them fail")
end)

check.done()
