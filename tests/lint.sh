#!/bin/sh
# Static checks and size limits: tests/lint.sh BUILD. Run by `make lint`, which also compiles with warnings as errors.
set -u
build=$1
failed=0
fail() { echo "lint: $*"; failed=1; }

files=$(git ls-files 'core/*.c' 'lua/*.c' 'examples/*.c' 'tests/unit/*.c')
# shellcheck disable=SC2086
clang-format --dry-run -Werror $(git ls-files '*.c' '*.h') 2>&1 | head -n 20 | grep . && fail "run make format"
luacheck -q lua recipes examples tests/lua || failed=1
# shellcheck disable=SC2086
cppcheck -q --error-exitcode=1 --std=c11 --inline-suppr --enable=warning,portability --suppress=missingInclude \
    --suppress=unknownMacro --suppress=normalCheckLevelMaxBranches -Icore -I"$build/gen" -DPFI_SYMBOL_CHECK $files || failed=1

# sizes: file, limit
limit() {
    for f in $2; do
        n=$(wc -l <"$f")
        [ "$n" -le "$1" ] || fail "$f has $n lines, the limit is $1"
    done
}
limit 500 "$(git ls-files 'core/*.c')"
limit 600 core/pofit.h
limit 400 "$(git ls-files 'lua/bind/*.c')"
limit 80 "$(git ls-files 'recipes/*.lua')"
limit 100 "$(git ls-files 'examples/*')"
grep -nE '\b(abort|exit|printf|puts|putchar|fprintf|perror) *\(' $(git ls-files 'core/*.c' 'core/*.h') | grep -v 'snprintf\|vsnprintf\|PF_FORMAT_ATTR' && fail "core/ must not print, exit or abort"
grep -nE 'include *[<"](lua|lauxlib)' $(git ls-files 'core/*') && fail "core/ must not know Lua"
grep -nE 'math\.h|pfk_|pfi_' $(git ls-files 'lua/bind/*') && fail "lua/bind must not compute"
grep -n 'PF_API' core/pofit.h | wc -l | awk '{ if ($1 > 84) { print "lint: pofit.h has " $1 " functions"; exit 1 } }' || failed=1
[ "$failed" = 0 ] && echo "lint: clean"
exit "$failed"
