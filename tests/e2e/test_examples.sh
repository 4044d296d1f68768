# The examples run as their first lines say, and what they train gets better.
. tests/e2e/common.sh
: "${BUILD:=$ROOT/build}"

"$POFIT" "$ROOT/examples/custom_loss.lua" >out 2>err || { cat err; fail "examples/custom_loss.lua"; }
awk '$1 == "held-out" { ok = $8 > 35 && $8 < 65 && $11 > 75 } END { exit !ok }' out ||
    { cat out; fail "custom_loss.lua should go from about half to more than 75 %"; }
[ "$(wc -l < "$ROOT/examples/custom_loss.lua")" -lt 40 ] || fail "custom_loss.lua has 40 lines or more"

"$BUILD/examples/embed" >out || { cat out; fail "examples/embed"; }
grep -q '^step .* loss 0.6931 ' out || { cat out; fail "embed does not start at ln 2"; }
grep -Eq ': [0-3] of 16 before, 1[0-6] after; 0 bytes left$' out ||
    { cat out; fail "embed should learn most answers and give every byte back"; }
if ldd "$BUILD/examples/embed" | grep -qi lua; then fail "embed links Lua"; fi
[ "$(grep -c '#include <pofit' "$ROOT/examples/embed.c")" = 1 ] || fail "embed.c includes more than pofit.h"
