# README: its commands, its page of Lua and its page of C run as they stand.
. tests/e2e/common.sh
tiny
awk '{ sub(/"rejected".*/, ""); sub(/"chosen"/, "\"completion\""); sub(/, $/, "}"); print }' prefs.jsonl > answers.jsonl
BUILD=${BUILD:-$ROOT/build}
ln -s "$BUILD" build
ln -s "$RECIPES" recipes
mkdir path path/to
cp -r "$MODEL" path/to/llama
mkdir -p runs/base-1
cp -r "$MODEL" runs/base-1/model
echo '{}' > runs/base-1/result.json

# block LANGUAGE N: the N-th fenced block of a language
block() { awk -v lang="$1" -v want="$2" '/^```/ { inside = 0; if ($0 == "```" lang) { n++; inside = n == want; next } } inside' "$ROOT/README.md"; }

block sh 1 | grep -qx 'make run' || fail "README does not begin with make run"
block sh 1 | grep -qx 'make test' || fail "README does not say make test"
block sh 2 > commands
[ -s commands ] || fail "README has no recipe commands"
while read -r line; do
    echo "$line"
    sh -ec "$line" >out 2>&1 </dev/null || { cat out; fail "$line"; }
done < commands

block lua 1 > page.lua
[ -s page.lua ] || fail "README has no page of Lua"
build/pofit page.lua >out 2>&1 || { cat out; fail "README's page of Lua"; }
if [ -z "${POFIT_SANITIZED:-}" ]; then
    lua5.4 -e 'package.cpath = "build/?.so;" .. package.cpath' page.lua >out 2>&1 || { cat out; fail "README's Lua in lua5.4"; }
fi

{ printf '#include <pofit.h>\n#include <stdio.h>\nint main(void) {\n'; block c 1; printf 'return 0;\n}\n'; } > page.c
${CC:-cc} -std=c11 -I"$ROOT/core" page.c -o page ${POFIT_SANITIZED:+-fsanitize=address,undefined} "$BUILD/libpofit.a" \
    $(pkg-config --libs openblas libzstd jansson libpcre2-8 libutf8proc) -fopenmp -lm || fail "README's C does not compile"
[ "$(ASAN_OPTIONS=detect_leaks=0 ./page)" = "" ] || fail "README's C says: $(./page)"
[ -s path/to/learned/model.safetensors ] || fail "README's C saved no model"
