# kill -9 at random moments and --resume: the same bytes as the run that nobody disturbed.
. tests/e2e/common.sh
tiny
ARGS="$RECIPES/dpo.lua --model $MODEL --data prefs.jsonl --steps 60 --batch 8 --checkpoint-every 7 --quiet"
# in the background the shell must become the program, so that the signal reaches it
dpo() { "$POFIT" $ARGS "$@"; }
become_dpo() { exec "$POFIT" $ARGS "$@"; }

start=$(date +%s%N)
dpo --name whole
whole_ms=$((($(date +%s%N) - start) / 1000000))

kills=3
[ -n "${POFIT_LONG:-}" ] && kills=10
i=0
while [ $i -lt $kills ]; do
    i=$((i + 1))
    # $i-th moment, spread over the run and shifted by the clock
    ms=$((whole_ms * i / (kills + 1) + $(date +%N | sed 's/^0*//; s/...$//' | awk '{ print $1 % 40 }')))
    become_dpo --name "cut$i" 2>/dev/null &
    pid=$!
    sleep "$(awk "BEGIN { print $ms / 1000 }")"
    kill -9 $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    at=$(wc -l < "runs/cut$i/metrics.jsonl" 2>/dev/null || echo 0)
    [ -e "runs/cut$i/result.json" ] || dpo --name "cut$i" --resume
    echo "killed after $ms ms with $at rows logged"
    same runs/whole/metrics.jsonl "runs/cut$i/metrics.jsonl"
    same runs/whole/model/model.safetensors "runs/cut$i/model/model.safetensors"
done

# Ctrl-C: the step is finished, a checkpoint is there, and the message says how to go on
become_dpo --name broken 2>err &
pid=$!
while [ ! -s runs/broken/metrics.jsonl ]; do sleep 0.01; done
kill -INT $pid
status=0
wait $pid || status=$?
if [ "$status" != 0 ]; then
    [ "$status" = 130 ] || { cat err; fail "status $status after Ctrl-C, expected 130"; }
    grep -q -- '--resume' err || { cat err; fail "the message does not say how to resume"; }
    [ -e runs/broken/checkpoint.zst ] || fail "no checkpoint after Ctrl-C"
    fails 1 'was started with' dpo --name broken --resume --lr 0.5
    dpo --name broken --resume
fi
same runs/whole/metrics.jsonl runs/broken/metrics.jsonl
same runs/whole/model/model.safetensors runs/broken/model/model.safetensors

# a corrupt checkpoint is named and refused; the reference cache is rebuilt
mkdir -p runs/bad && cp runs/whole/config.json runs/bad/ && sed -i 's/"whole"/"bad"/' runs/bad/config.json
printf 'not a checkpoint' > runs/bad/checkpoint.zst
fails 1 'checkpoint.zst' dpo --name bad --resume
fails 1 'nothing to resume' dpo --name whole --resume
fails 1 'no run' dpo --name never --resume
