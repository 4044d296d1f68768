# The claims, quickly: both sides of each train for seconds, identities are checked, what is finished is not run again,
# and the outcome is written.
. tests/e2e/common.sh
export OMP_NUM_THREADS=1
CLAIMS=$ROOT/tests/claims/run.lua
"$POFIT" "$CLAIMS" --list > list
[ "$(wc -l < list)" -ge 8 ] || fail "there are few claims: $(cat list)"
"$POFIT" "$CLAIMS" --quick --seeds 101 >out 2>err || { cat err; fail "the claims"; }
! grep -q "not finished" err || { cat err; fail "a claim did not finish"; }
for name in $(cut -f1 list); do grep -q "^$name " out || fail "no outcome of $name"; done
grep -c "quick: the direction is" out | grep -qx "$(wc -l < list)" || { cat out; fail "a verdict each"; }
grep -q "updates" out || fail "the budgets are not told"
for kept in json md html; do [ -s build/claims.$kept ] || fail "no build/claims.$kept"; done
[ "$(grep -c '^| [0-9]' build/claims.md)" = "$(wc -l < list)" ] || fail "the table has a row a claim"
"$POFIT" "$CLAIMS" --quick --seeds 101 >again 2>err || fail "the claims, again"
same out again
[ ! -s err ] || { cat err; fail "what is finished was run again"; }

fails 1 "no claim is called nonsense" "$POFIT" "$CLAIMS" --only nonsense
mkdir claims
for part in run verdict context page; do cp "$ROOT/tests/claims/$part.lua" claims; done
mkdir recipes
cp "$RECIPES"/*.lua recipes
cat > claims/made_up.lua <<'END'
return { row = 1, title = "made up", better = "a", worse = "b", metric = "share", minimum = 0.1,
  run = function(seed) return { better = { 1, 1, 1, 1 }, worse = { 0, 0, 1, seed % 2 } } end }
END
"$POFIT" claims/run.lua --seeds 101,102,103,104 --jobs 2 --out two >out 2>err || { cat err; fail "two processes"; }
grep -q "made_up, seed 104" err || { cat err; fail "seed 104 was not run"; }
grep -q "+62.5 points \[.*4 seeds: \*reproduced\*" out || { cat out; fail "the verdict"; }
cat > claims/broken.lua <<'END'
return { row = 1, title = "broken", better = "a", worse = "b", metric = "share", minimum = 0.1,
  run = function() return { better = { 1 }, worse = { 1 } } end, check = function() error("the identity fails") end }
END
fails 1 "not finished: broken with seed 101" "$POFIT" claims/run.lua --seeds 101 --only broken
"$POFIT" claims/run.lua --seeds 101 --only broken 2>&1 | grep -q "the identity fails" || fail "why it failed"
echo "return { row = 1, run = print }" > claims/broken.lua
fails 1 "broken.lua: " "$POFIT" claims/run.lua
