# --memory: the plan is told, what was used is told, and a run that goes on follows the plan that it began with.
. tests/e2e/common.sh
tiny
ARGS="$RECIPES/dpo.lua --model $MODEL --data prefs.jsonl --steps 30 --batch 16 --checkpoint-every 4"
dpo() { "$POFIT" $ARGS "$@"; }
become_dpo() { exec "$POFIT" $ARGS "$@"; }

dpo --name free --quiet
dpo --name plenty --memory 4GiB 2> err
grep -q '^memory: 4.00 GiB asked, .* predicted; weights' err || { cat err; fail "the plan is not told"; }
grep -q '^memory: .* predicted, .* used' err || { cat err; fail "what was used is not told"; }
same runs/free/metrics.jsonl runs/plenty/metrics.jsonl
same runs/free/model/model.safetensors runs/plenty/model/model.safetensors

dpo --name eight --optim adamw_8bit --quiet
cmp -s runs/free/model/model.safetensors runs/eight/model/model.safetensors && fail "--optim changed nothing"
fails 2 'expected one of adamw, adamw_8bit, sgd' dpo --name bad --optim adam_8

fails 1 'expected a size like 4GiB' dpo --name bad --memory much
fails 1 'are too little: training takes' dpo --name bad --memory 50MiB
least=$(dpo --name bad --memory 50MiB 2>&1 | sed -n 's/.*training takes \([0-9]*\) MiB.*/\1/p')

# as little as will do: in parts, and killed in the middle
dpo --name tight --memory "${least}MiB" 2> err
grep -q 'batches in parts of' err || { cat err; fail "no parts"; }
become_dpo --name cut --memory "${least}MiB" --quiet 2>/dev/null &
pid=$!
while kill -0 $pid 2>/dev/null && [ "$( (wc -l < runs/cut/metrics.jsonl) 2>/dev/null || echo 0)" -lt 9 ]; do
    sleep 0.01
done
kill -9 $pid 2>/dev/null || true
wait $pid 2>/dev/null || true
if [ ! -e runs/cut/result.json ]; then
    same runs/tight/memory.json runs/cut/memory.json
    fails 1 'was started with' dpo --name cut --resume --memory 4GiB
    dpo --name cut --resume --memory "${least}MiB" --quiet
fi
same runs/tight/metrics.jsonl runs/cut/metrics.jsonl
same runs/tight/model/model.safetensors runs/cut/model/model.safetensors
