"""What Jinja2 makes of many small templates, in the sandbox and with the settings in which transformers runs chat
templates. Writes templates.json: [{"t": template, "out": text} or {"t": template, "error": class of the error}].

    python3 tests/golden/make_templates.py
"""
import json
import os

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

CONTEXT = {
    "s": "Hello, wörld", "blank": "  a b\t\n", "n": 7, "f": 2.5, "yes": True, "no": False, "nothing": None,
    "xs": [3, 1, 2], "ws": ["b", "A", "c", "a"], "empty": [], "d": {"b": 1, "a": {"x": [1, None, True]}, "items": 5},
    "ms": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo", "tool_calls": [{"id": 1}]},
           {"role": "user", "content": ""}],
    "uni": "日本語 😀 é", "quote": "it's \"so\"\n", "big": 12345678901, "small": 1e-7, "nbsp": "\u00a0x\u3000",
}

# one expression a line; each is printed
PRINTED = r"""
s
n
f
yes
nothing
missing
xs
d
ms
quote
[quote, "it's", 'say "x"']
uni
[uni]
big
small
1e16
1e15
123456789.123
0.1 + 0.2
1.0
-0.0
3.0e10
1_000
(1,)
(1, 2)
()
[]
{}
{'a': 1, "b": [1, 2.0, none]}
{1: 2, true: 3}
"a" "b"
'\u00e9\n\x41\t\\ \' \d \101'
1 + 2 * 3 - 4 / 2
7 // 2
-7 // 2
7 % 3
-7 % 3
7.5 % 2
2 ** 3
2 ** -1
2 ** 3 ** 2
-2 ** 2
1 / 0
1 // 0
1 % 0
true + 1
"a" + "b"
"a" + 1
"a" ~ 1 ~ none ~ true ~ 1.5 ~ missing
"ab" * 3
3 * "ab"
[1] * 2
[1] + [2]
(1,) + (2,)
[1] + (2,)
1 + missing
missing + 1
-missing
- n
+ n
-"a"
not n
not missing
n and s
no or s
no and missing.x
yes or missing.x
1 if yes else 2
1 if no else 2
1 if no
1 if no else 2 if no else 3
1 < 2
1 < 2 < 3
1 < 3 < 2
3 > 2 >= 2
1 == 1.0
1 == true
"1" == 1
[1, 2] == [1, 2]
[1] == (1,)
{'a': 1} == {'a': 1.0}
missing == missing2
missing == none
none == none
"a" < "b"
"a" < 1
[1, 2] < [1, 3]
none < 1
missing < 1
1 in xs
9 in xs
9 not in xs
"ell" in s
1 in s
"a" in d
"zz" in d
1 in missing
1 in n
not 1 in xs
s[0]
s[-1]
s[1:4]
s[::-1]
s[10:]
uni[0:3]
uni[-1]
uni | length
xs[0]
xs[-1]
xs[5]
xs[5].x
xs[::-1]
xs[::2]
xs[1:]
xs[:-1]
xs[-2:]
xs[5:1]
xs[::0]
xs["a"]
xs[none]
xs[none:1]
xs["a":1]
(1, 2, 3)[1:]
d.b
d["b"]
d.zz
d.zz.y
d["a"]["x"]
d.a.x[0]
d["items"]
d.items() | list
d.keys() | list
d.values() | list
d.get("b")
d.get("zz")
d.get("zz", 5)
d.b.c
n.x
s.x
nothing.x
missing.x
missing["x"]
missing()
n()
xs.0
ms[0].role
ms | length
ms | map(attribute="role") | join(",")
ms | map(attribute="tool_calls", default="-") | list
ms | map(attribute="role") | map("upper") | list
ms | selectattr("role", "equalto", "user") | list | length
ms | selectattr("tool_calls") | map(attribute="content") | list
ms | selectattr("tool_calls", "defined") | list | length
ms | rejectattr("role", "equalto", "user") | map(attribute="role") | first
ms | rejectattr("tool_calls", "undefined") | list | length
ms | groupby("role") | list | length
ms | map(attribute="content") | select | list
xs | select("odd") | list
xs | reject("odd") | list
xs | select("greaterthan", 1) | list
nothing | select | list
missing | select | list
missing | map("upper") | list
xs | map("nofilter") | list
xs | select("notest") | list
xs | nofilter
xs is notest
xs | sort
xs | sort(reverse=true)
ws | sort
ws | sort(case_sensitive=true)
ws | unique | list
ws | unique(true) | list
ws | join
ws | join(", ")
xs | join("-")
[1, none, "a", 2.5, true] | join(",")
ms | join(",", attribute="role")
missing | join(",")
n | join(",")
xs | first
xs | last
empty | first
s | first
uni | last
xs | min
xs | max
empty | max
xs | sum
xs | sum(start=10)
xs | reverse | list
s | reverse
s | list
d | list
xs | length
s | length
d | length
n | length
nothing | length
missing | length
xs | count
d | dictsort
d | dictsort(reverse=true) | list | length
{'b': 1, 'A': 2} | dictsort
{'b': 1, 'A': 2} | dictsort(true)
{'b': 1, 'A': 2} | dictsort(by="value")
n | dictsort
d | items | list | length
missing | items | list
xs | items | list
s | upper
s | lower
s | title
s | capitalize
"hello-world foo_bar (baz) o'neil" | title
"hello-world foo_bar o'neil".title()
s | string
n | string
[1] | string
blank | trim
"xxaxx" | trim("x")
nbsp | trim | length
none | trim
s | replace("l", "L")
s | replace("l", "L", 1)
"aaa".replace("a", "b", 2)
"abc".replace("", "-")
s | safe
"<a & 'b'>" | e
n | default(5)
missing | default(5)
missing | d
nothing | default(5)
nothing | default(5, true)
"" | default("x", boolean=true)
"12" | int
"12.7" | int
"x" | int
"x" | int(7)
" 42 " | int
3.99 | int
-3.99 | int
true | int
none | int
missing | int
"ff" | int(0, 16)
"2.5" | float
"x" | float
3 | float
2.5 | round
3.5 | round
2.567 | round(2)
2.5 | round(0, "ceil")
2.7 | round(method="floor")
5 | round
-3 | abs
"%s is %d" | format("a", 3)
"%s-%r" % ("x", "y")
"%5.2f|%-5s|%05d" % (3.14159, "ab", 42)
"%d%%" % 5
"%s" % "a"
"%s %s" % ("a",)
"%s" % ("a", "b")
"{} {}".format("a", 1)
"{0}{1}{0}".format("a", "b")
"{x}-{y}".format(x=1, y="z")
"{:>5}|{:<5}|{:^5}|{:05d}|{:.2f}|{:,}".format("a", "b", "c", 42, 3.14159, 1234567)
"{{}} {}".format(1)
"{".format(1)
"{} {}".format(1)
"{0.role} {0[role]}".format(ms[0])
"{!r}".format("a")
"a\nb\n\nc" | indent
"a\nb" | indent(2, true)
"a\n\nb" | indent(2, false, true)
"a\nb" | indent("> ")
"one two  three" | wordcount
"ab" | center(6) ~ "|"
ms[0] | attr("role")
xs | batch(2) | list
xs | batch(2, "x") | list
d | tojson
d | tojson(indent=2)
d | tojson(indent=none)
[] | tojson(indent=2)
{} | tojson(indent=2)
[1, 2] | tojson(separators=(",", ":"))
{"b": 1, "a": 2} | tojson(sort_keys=true)
uni | tojson
uni | tojson(ensure_ascii=true)
uni | tojson(ensure_ascii=False)
quote | tojson
"\x01\x7f\b\f/<>&" | tojson
[1.0, 1e20, 1e-7, true, none] | tojson
{1: 2, none: 3, true: 4, 2.5: 6} | tojson
missing | tojson
{"a": missing} | tojson
range(3) | list
range(1, 4) | list
range(5, 0, -2) | list
range(0)|list
range()
range(1, 2, 0)
dict(a=1, b=2)
dict({"a": 1}, b=2)
namespace(a=1).a
s.upper()
s.lower()
s.split(",")
s.split()
blank.split()
"a,b,c".split(",", 1)
"a b  c d".split(none, 2)
"a,b,c".rsplit(",", 1)
"a,b".split("")
"abc".split("x")
blank.strip()
blank.lstrip() ~ "|"
blank.rstrip() ~ "|"
"xxaxyx".strip("xy")
"xxax".lstrip("x")
"axx".rstrip("x")
nbsp.strip()
s.startswith("Hell")
s.startswith(("x", "H"))
s.endswith("d")
s.endswith("")
s.startswith(1)
s.find("w")
s.find("zz")
s.rfind("l")
s.index("w")
s.index("zz")
s.count("l")
"-".join(ws)
"-".join(xs)
"abc".isdigit()
"123".isdigit()
"abc".isalpha()
"ABC".isupper()
"abc".islower()
"a1".isalnum()
"  ".isspace()
"a\nb\r\nc".splitlines()
"a=b=c".partition("=")
"a=b=c".rpartition("=")
"abc".partition("x")
"abc".removeprefix("a")
"abc".removesuffix("c")
"7".zfill(3)
"-7".zfill(4)
"a".ljust(3) ~ "|"
"a".rjust(3) ~ "|"
"a".center(4) ~ "|"
"héllo".capitalize()
"ÉCOLE".lower()
"straße".upper()
xs.index(1)
xs.count(1)
xs.index(9)
xs.append(4)
xs.pop()
d.pop("b")
d.update({"z": 1})
d.clear()
xs.copy()
s.nomethod()
s.__class__
n is number
f is number
yes is number
yes is integer
n is integer
f is float
s is string
n is string
d is mapping
xs is mapping
xs is sequence
s is sequence
d is sequence
n is sequence
xs is iterable
n is iterable
nothing is iterable
missing is iterable
missing is defined
s is defined
missing is undefined
s is not defined
d.zz is defined
missing.x is defined
nothing is none
missing is none
yes is true
yes is false
1 is true
no is boolean
n is boolean
n is odd
n is even
n is divisibleby 7
n is divisibleby(2)
n is eq 7
n is equalto 8
n is ne 8
n is gt 3
n is in [7]
1 is in xs
s is lower
"abc" is lower
"ABC" is upper
range is callable
s is callable
nothing is sameas none
missing is odd
s is odd
s is string and n is number
s is string or missing.x
n is defined and n > 3
n | string | length
-n | abs
-3 | abs
(n + 1) | string ~ "x"
n + 1 | string
[1, 2,]
{'a': 1,}
(xs | length) > 2
xs | length > 2
xs | length == 3 and yes
"a" in ["a"] and "b" not in ["a"]
not yes == no
not (yes and no)
loop
loop.index
caller()
raise_exception("no")
raise_exception()
strftime_now("%Y")
s[
(1
1 +
1 2
a b
{1}
{'a'}
"abc
'\x4'
@
s | 
s is
x.
x.1
foo(a=1, 2)
lambda
""".strip("\n").split("\n")

# whole templates
TEMPLATES = [
    "a\n", "a\n\n", "\n", "", "a\r\nb\r\n", "  {% if yes %}\nx\n  {% endif %}\ny", "  {{ n }}  \n x",
    "  {%- if yes -%}  x  {%- endif -%}  y", "a  {%+ if yes %}\n x{% endif %}", "{% if yes +%}\nx{% endif %}",
    "a\n  {# c #}\nb", "a {#- c -#} b", "a {# {{ n }} {% if %} #} b", "x {# unclosed", "{{ n", "{% if yes %}", "{% endif %}",
    "{% if yes %}a{% elif no %}b{% else %}c{% endif %}", "{% if no %}a{% elif yes %}b{% else %}c{% endif %}",
    "{% if no %}a{% elif no %}b{% else %}c{% endif %}", "{% if missing %}a{% else %}b{% endif %}",
    "{% if missing.x %}a{% endif %}", "{% for x in xs %}{{ x }},{% endfor %}", "{% for x in empty %}a{% else %}none{% endfor %}",
    "{% for x in missing %}a{% else %}none{% endfor %}", "{% for x in n %}a{% endfor %}", "{% for x in nothing %}a{% endfor %}",
    "{% for c in s %}{{ c }}.{% endfor %}", "{% for k in d %}{{ k }}.{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}",
    "{% for a, b in [[1, 2], [3, 4]] %}{{ a + b }} {% endfor %}", "{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}",
    "{% for (a, b) in [(1, 2)] %}{{ a }}{{ b }}{% endfor %}",
    "{% for x in xs if x > 1 %}{{ loop.index }}{{ x }} {% endfor %}", "{% for x in xs if x > 9 %}a{% else %}b{% endfor %}",
    "{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}"
    "{{ loop.length }}|{% endfor %}",
    "{% for x in xs %}{{ loop.previtem }}<{{ x }}<{{ loop.nextitem }} {% endfor %}",
    "{% for x in xs %}{% if loop.previtem is defined %}p{% endif %}{% if loop.nextitem is undefined %}n{% endif %}{% endfor %}",
    "{% for x in xs %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for x in xs %}{% for y in xs %}{{ loop.depth }}{% endfor %}{% endfor %}",
    "{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in xs %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% break %}", "{% continue %}",
    "{% for x in xs %}{% set y = x %}{% endfor %}{{ y }}", "{% set y = 0 %}{% for x in xs %}{% set y = y + x %}{{ y }}{% endfor %}{{ y }}",
    "{% set ns = namespace(t=0) %}{% for x in xs %}{% set ns.t = ns.t + x %}{% endfor %}{{ ns.t }}",
    "{% set d.x = 1 %}", "{% set zz.x = 1 %}", "{% set ns = namespace() %}{{ ns.a }}{{ ns.a is defined }}",
    "{% if yes %}{% set y = 5 %}{% endif %}{{ y }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = [1] %}",
    "{% set a = 1, 2 %}{{ a }}", "{% set x %}a{{ n }}\n b{% endset %}[{{ x }}]", "{% set x | upper %}abc{% endset %}{{ x }}",
    "{% set x | replace('a', 'b') | upper %}abc{% endset %}{{ x }}", "{% set x %}{% set z = 1 %}{% endset %}{{ z }}",
    "{% set %}", "{% set x %}a", "{% set 1 = 2 %}", "{% set x = %}",
    "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=5, a=4) }} {{ m() }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}",
    "{% macro m() %}{{ q }}{% endmacro %}{% set q = 5 %}{{ m() }}", "{% macro m() %}{% set q = 5 %}{% endmacro %}{{ m() }}{{ q }}",
    "{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(4) }}",
    "{% macro m(x) %}[{{ caller() }}{{ x }}]{% endmacro %}{% call m(1) %}in{% endcall %}",
    "{% macro m() %}{{ caller(3) }}{% endmacro %}{% call(v) m() %}<{{ v }}>{% endcall %}",
    "{% macro m(a, b=a) %}{{ b }}{% endmacro %}{{ m(3) }}", "{{ m() }}{% macro m() %}x{% endmacro %}",
    "{% for x in xs %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}", "{% macro m() %}{{ x }}{% endmacro %}{% for x in xs %}{{ m() }}{% endfor %}",
    "{% filter upper %}a{{ s }}{% endfilter %}", "{% filter replace('a', 'b') %}abc{% endfilter %}", "{% filter upper | trim %} a {% endfilter %}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with %}{% set a = 1 %}{% endwith %}{{ a }}",
    "{% raw %}{{ n }} {% if %}{% endraw %}x", "a {%- raw -%} b {%- endraw -%} c", "{% raw %}x", "{% generation %}a{{ n }}{% endgeneration %}b",
    "{% for x in xs %}{% generation %}{% set q = 1 %}{{ x }}{% endgeneration %}{{ q }}{% endfor %}", "{% generation %}x",
    "{% unknown %}", "{% include 'x' %}", "{% if yes %}{% for x in xs %}{% endif %}{% endfor %}", "{{ }}", "{% %}", "{{ n }} }}",
    "{{ '}}' }}", "{{ {'a': {'b': 1}} }}", "{{ {'a': {'b': 1}}['a']['b'] }}", "{{ '{%' }}", "{{ n -}}   x", "x   {{- n }}", "{{- n -}}\n\n y",
    "{%- set x = 1 -%}\n\n y", "{% set x = 1 %}\n\n y", "a\n    {% set x = 1 %}    \n b", "{% if yes %}\n    a\n{% endif %}\n", "\t{% if yes %}a{% endif %}",
    "a{{ n }}\n{{ n }}\n", "{{ 1 }},{{ 2, 3 }}", "{% for x in 1, 2 %}{{ x }}{% endfor %}", "{% for x in (xs if yes else []) %}{{ x }}{% endfor %}",
    "{{ ms[0]['role'] + ': ' + ms[0].content | trim + '!' }}", "{% set m = ms[-1] %}{{ m.role }}", "{% for m in ms[1:] %}{{ m.role }}{% endfor %}",
    "{% for m in ms | reverse %}{{ m.role }} {% endfor %}", "{% for m in ms %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate!') }}{% endif %}{% endfor %}ok",
    "{%if yes%}a{%endif%}", "{%-if yes-%}a{%-endif-%}", "{{n}}", "{{-n-}}", "{% if not yes %}a{% endif %}b", "{% if n in [7, 8] and s is string %}a{% endif %}",
    "{{ s.split(',')[1].strip() | upper }}", "{{ (d.a.x | length) ~ ('x' if yes) }}", "{{ \"a\nb\" }}", "{{ 'multi\n  line' }}",
    "{% set x = [] %}{% set x = x + [1] %}{% set x = x + [2] %}{{ x }}", 
    "{% for i in range(3) %}{% for j in range(i) %}{{ loop.index }}{% endfor %};{% endfor %}", "{% set loop = 1 %}{{ loop }}",
    "{% for x in xs %}{% set loop_first = loop.first %}{% for y in [1] %}{{ loop_first }}{% endfor %}{% endfor %}",
    "{% if yes %}{{ missing }}{% endif %}|", "{{ missing.x.y }}", "{{ d['zz']['y'] }}", "{{ none.x }}",
]


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def main():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: "2025"
    cases = []
    for t in ["{{ " + e + " }}" for e in PRINTED] + TEMPLATES:
        try:
            cases.append({"t": t, "out": env.from_string(t).render(**CONTEXT)})
        except Exception as e:
            cases.append({"t": t, "error": type(e).__name__})
    here = os.path.dirname(os.path.abspath(__file__))
    origin = {"made_by": "make_templates.py", "jinja2": jinja2.__version__}
    with open(os.path.join(here, "templates.json"), "w") as f:
        f.write('{"origin": %s,\n"context": %s,\n"cases": [\n' % (json.dumps(origin), json.dumps(CONTEXT)))
        f.write(",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]}\n")
    print(len(cases), "cases,", sum("error" in c for c in cases), "errors")


main()
