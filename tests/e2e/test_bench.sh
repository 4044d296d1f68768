# The bench as it is run, on its smallest works: pofit measures itself, a made-up peer answers as the real ones do. No time
# is judged.
. tests/e2e/common.sh
BENCH=$ROOT/tests/bench
bench() { "$POFIT" "$BENCH/run.lua" "$@" >out 2>err; }
rows() { grep -c "$1" out; }

"$POFIT" "$BENCH/run.lua" --list > list
[ "$(wc -l < list)" -ge 30 ] || fail "there are few works"
grep -q "^dpo full float32 384+128 (8 pairs) .*trl tuned .*long" list || { cat list; fail "the list"; }
fails 1 "no work has such a name: nonsense" "$POFIT" "$BENCH/run.lua" --only nonsense

# without peers every row says what is missing
unset POFIT_BENCH_LLAMA POFIT_BENCH_PRELOAD
export POFIT_BENCH_PYTHON="$TMP/python"
bench --layers 1 --rounds 1 --only embedded,start-up,"size of pofit","cost (1 " || { cat err; fail "the bench without peers"; }
grep -q "^embedded dpo (50 updates of 16 pairs) *pofit " out || { cat out; fail "no row of pofit"; }
[ "$(rows 'is missing: ')" = 3 ] || { cat out; fail "trl twice, tuned once are missing"; }
grep -q "^stripped: pofit [0-9.]* MB" out || { cat out; fail "no size"; }
[ -s build/bench.csv ] && [ -s build/bench.md ] || fail "a file is missing"
[ ! -e build/bench.svg ] || fail "a picture of no ratio"

# a peer that answers as pofit did: once when it is ready, and for every line that comes
printf '\n\n\n' | "$POFIT" "$BENCH/ours.lua" --work "embedded dpo (50 updates of 16 pairs)" > right
sed 's/"result":[^,}]*/"result":99/' right > wrong
cat > python <<'END'
#!/bin/sh
echo "some noise"
sed -n 1p "$ANSWERS"
n=1
while read -r line; do
    n=$((n + 1))
    sed -n ${n}p "$ANSWERS"
done
END
chmod +x python
export ANSWERS=right
bench --only "embedded dpo" --peers trl || { cat out err; fail "a peer whose results are ours"; }
grep -q " trl .* x .* MB yes" out || { cat out; fail "the peer's row"; }
grep -q '<rect class="trl"' build/bench.svg || fail "no bar"
fails 1 "a peer's result is not ours" env ANSWERS=wrong "$POFIT" "$BENCH/run.lua" --only "embedded dpo" --peers trl
grep -q "NO: .* off" out || { cat out; fail "the row does not say that the results differ"; }

# a peer that breaks down on the way is named, and so is why
printf '#!/bin/sh\necho "{\\"flops\\": 1}"\nread line\necho "out of memory" >&2\nexit 1\n' > python
bench --only "embedded dpo" --peers tuned || { cat err; fail "a peer that breaks down"; }
grep -q "tuned *is missing: out of memory" out || { cat out; fail "why it broke down"; }

# two builds
"$POFIT" "$BENCH/diff.lua" --old "$BUILD" --rounds 2 --only "embedded dpo,size of pofit" >out 2>err ||
    { cat err; fail "two builds"; }
[ "$(wc -l < out)" = 4 ] || { cat out; fail "a row for each work"; }
grep -q "^embedded dpo.* ms .* x .* to .* MB" out || { cat out; fail "the row of a comparison"; }
! grep -q "other results" out || fail "the same build has the same results"
fails 1 "there is no pofit there" "$POFIT" "$BENCH/diff.lua" --old nowhere
