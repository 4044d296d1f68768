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
    fails 1 'was started it was' dpo --name broken --resume --lr 0.5
    dpo --name broken --resume
fi
same runs/whole/metrics.jsonl runs/broken/metrics.jsonl
same runs/whole/model/model.safetensors runs/broken/model/model.safetensors

# Ctrl-C before there is a step: no place in a script, and how to go on if the run has kept something
cat > early.lua <<'EOF'
local pf = require "pofit"
local opt = pf.options { "Waits.", { "name", "early", "the run" }, { "begin", false, "with a run directory" } }
local run = pf.run(opt)
local function wait()
  io.stderr:write((opt.begin and run.dir or "no run") .. "\n")
  while true do end
end
wait()
EOF
early() {
    : > early.err
    "$POFIT" early.lua "$@" 2>early.err &
    pid=$!
    while [ ! -s early.err ]; do sleep 0.01; done
    kill -INT $pid
    status=0
    wait $pid || status=$?
    [ "$status" = 130 ] || { cat early.err; fail "status $status after Ctrl-C, expected 130"; }
}
early
printf 'no run\npofit: interrupted\n' | cmp - early.err || { cat early.err; fail "another message after Ctrl-C"; }
early --begin
printf 'runs/early\npofit: interrupted\nruns/early keeps what is done. To go on:\n  %s early.lua --begin --resume\n' "$POFIT" |
    cmp - early.err || { cat early.err; fail "the message does not say how to resume"; }

# a run goes on with the rows it was started with, and with no other process in it
become_dpo --name live 2>/dev/null &
pid=$!
while [ ! -s runs/live/metrics.jsonl ]; do sleep 0.01; done
fails 1 'in use by another process' dpo --name live
while [ ! -e runs/live/checkpoint.zst ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -9 $pid 2>/dev/null || true
wait $pid 2>/dev/null || true
if [ ! -e runs/live/result.json ]; then
    cp prefs.jsonl kept.jsonl
    sed -i '1s/chosen/x/; 1s/rejected/chosen/; 1s/x/rejected/' prefs.jsonl
    fails 1 'other data rows' dpo --name live --resume
    mv kept.jsonl prefs.jsonl
fi

# a finished run is put aside by the next of its name, and by none that fails before it writes
fails 1 'no such model' "$POFIT" "$RECIPES/dpo.lua" --model nowhere --data prefs.jsonl --name whole
[ -s runs/whole/result.json ] || fail "a run that failed at once took the earlier run away"

# a corrupt checkpoint is named and refused; the reference cache is rebuilt
mkdir -p runs/bad && cp runs/whole/config.json runs/bad/ && sed -i 's/"whole"/"bad"/' runs/bad/config.json
printf 'not a checkpoint' > runs/bad/checkpoint.zst
fails 1 'checkpoint.zst' dpo --name bad --resume
fails 1 'nothing to resume' dpo --name whole --resume
# a run that was killed before it wrote anything starts from the beginning
dpo --name never --resume
same runs/whole/metrics.jsonl runs/never/metrics.jsonl

dpo --name whole
same runs/whole.1/metrics.jsonl runs/whole/metrics.jsonl
