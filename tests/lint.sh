#!/bin/sh
# Static checks and limits: tests/lint.sh BUILD, where BUILD holds a libpofit.a. Run by
# `make lint`, which also compiles with warnings as errors.
set -u
build=$1
cd "$(dirname "$0")/.." || exit 2
failed=0
fail() {
    echo "lint: $*"
    failed=1
}
# none MESSAGE TEXT: fails with the message if there is any text, and shows it
none() {
    [ -z "$2" ] && return
    echo "$2" | head -n 20
    fail "$1"
}
c_files() { find core lua examples tests -name '*.[ch]' | LC_ALL=C sort; }
sources() { find core lua examples tests/unit tests/fuzz -name '*.c' | LC_ALL=C sort; }

# ---- layout and checkers ----

none "run make format" "$(c_files | xargs clang-format --dry-run -Werror 2>&1 | grep -E 'error|warning')"
luacheck -q --no-color lua recipes examples tests/lua tests/claims tests/bench || fail "luacheck"

# log(0) is minus infinity here, and the byte offsets of scratch memory are multiples of 64
# shellcheck disable=SC2046
cppcheck -j2 -q --error-exitcode=1 --std=c11 --inline-suppr --enable=warning,portability \
    --suppress=missingInclude --suppress=unknownMacro --suppress=normalCheckLevelMaxBranches \
    --suppress=invalidFunctionArg --suppress=invalidPointerCast --suppress='nullPointerRedundantCheck:tests/unit/*' \
    -Icore -I"$build/gen" -DPFI_SYMBOL_CHECK $(sources) || fail "cppcheck"

# ---- sizes ----

# limit LINES FILES
limit() {
    most=$1
    shift
    for f; do
        n=$(wc -l <"$f")
        [ "$n" -le "$most" ] || fail "$f has $n lines, the limit is $most"
    done
}
limit 600 core/pofit.h
# shellcheck disable=SC2046
limit 500 $(find core -name '*.[ch]' ! -name pofit.h)
limit 120 $(ls core/op/*.c | grep -vE '/(apply|gradcheck)\.c$')
limit 140 core/loss/*.c
limit 400 lua/bind/*.c
limit 80 recipes/*.lua
limit 110 examples/*
limit 250 tests/bench/*
functions=$(grep -c '^PF_API' core/pofit.h)
[ "$functions" -le 84 ] || fail "core/pofit.h has $functions functions, the limit is 84"

# Functions of at most 70 lines, blocks at most 4 deep in them. The layout is clang-format's: a function begins in the
# first column and ends with the first brace that stands there.
# shellcheck disable=SC2046
none "functions are too long or too deep" "$(awk '
    FNR == 1 { inside = 0; head = 0 }
    inside {
        code = $0
        gsub(/"([^"\\]|\\.)*"|\047([^\047\\]|\\.)*\047|\/\*.*\*\//, "", code)
        if (code ~ /[{]$/ && code ~ /^ *(if|for|while|switch|do|else|[}] else|#pragma)/) {
            match(code, /^ */)
            deep = RLENGTH / 4
            if (deep > 4) print FILENAME ":" FNR ": block " deep " deep, the limit is 4"
        }
        if (/^}/) {
            if (FNR - start + 1 > 70) print FILENAME ":" start ": function of " FNR - start + 1 " lines, the limit is 70"
            inside = head = 0
        }
        next
    }
    /^[a-zA-Z_].*[(]/ { head = FNR }
    head && /[)] [{]$/ { inside = 1; start = head }
    /^}|;$/ { head = 0 }
' $(c_files))"

# ---- layers ----

none "core/ must not know Lua" "$(grep -rnE 'include *[<"](lua|lauxlib)' core)"
none "lua/bind must not compute" "$(grep -nE 'math\.h|pfk_|kernel/|"op/|"tensor/' lua/bind/*.[ch])"
none "core/kernel must not know tensors" \
    "$(grep -nE 'include *"(tensor|op|loss|forest|model|train|text|file)/' core/kernel/*.[ch])"
none "a lower layer of core/ must not know a higher one" \
    "$(grep -nE 'include *"(forest|model|train|text|file)/' core/op/*.[ch] core/loss/*.[ch] core/tensor/*.[ch] core/base/*.[ch])"

# ---- what the library's objects hold and call ----

none "core/ must hold no variables that outlive a call" "$(objdump -t "$build/libpofit.a" |
    awk '/ O / && /[ \t](\.data|\.bss|\.tdata|\.tbss|\*COM\*)/ && !/\.data\.rel\.ro/')"
none "core/ must not print, exit, abort or share random numbers" "$(nm -u "$build/libpofit.a" |
    grep -wE 'abort|_?exit|printf|puts|putchar|fprintf|perror|stderr|stdout|s?rand|__assert_fail' | sort | uniq -c)"

[ "$failed" = 0 ] && echo "lint: clean"
exit "$failed"
