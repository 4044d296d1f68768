# --memory: the plan is told, what was used is told, and a run that goes on follows the plan that it began with.
. tests/e2e/common.sh
tiny
ARGS="$RECIPES/dpo.lua --model $MODEL --data prefs.jsonl --steps 30 --batch 16 --checkpoint-every 4 --threads 2"
dpo() { "$POFIT" $ARGS "$@"; }
become_dpo() { exec "$POFIT" $ARGS "$@"; }

dpo --name free --quiet
dpo --name plenty --memory 4GiB 2> err
grep -q '^memory: 4.00 GiB asked, .* predicted; weights' err || { cat err; fail "the plan is not told"; }
grep -q '^memory: .* predicted, .* used by the process at most' err || { cat err; fail "what was used is not told"; }
same runs/free/metrics.jsonl runs/plenty/metrics.jsonl
same runs/free/model/model.safetensors runs/plenty/model/model.safetensors

dpo --name eight --optim adamw_8bit --quiet
cmp -s runs/free/model/model.safetensors runs/eight/model/model.safetensors && fail "--optim changed nothing"
fails 2 'expected one of adamw, adamw_8bit, sgd' dpo --name bad --optim adam_8

fails 1 'expected a size like 4GiB' dpo --name bad --memory much
fails 1 'are too little: training takes' dpo --name bad --memory 1MiB
least=$(dpo --name bad --memory 1MiB 2>&1 | sed -n 's/.*training takes \([0-9]*\) MiB.*/\1/p')

# What the process held at most is within what was asked for. A sanitizer holds more.
within() {
    used=$(sed -n 's/^memory: .* \([0-9]*\) MiB used by the process at most.*/\1/p' err)
    [ -n "${POFIT_SANITIZED:-}" ] || [ "$used" -le "$1" ] || { cat err; fail "$used MiB used, $1 asked"; }
}

# batches of ever other sizes leave no gaps
cat > sizes.lua <<'EOF'
local pf = require "pofit"
local model = pf.model.new({ model_type = "llama", hidden_size = 192, intermediate_size = 512, num_hidden_layers = 4,
  num_attention_heads = 3, num_key_value_heads = 1, max_position_embeddings = 256, rms_norm_eps = 1e-5,
  initializer_range = 0.05, tie_word_embeddings = true, vocab_size = 2000, bos_token_id = 0, eos_token_id = 1 },
  { seed = 1 })
local function batch(_, rows)
  local sequences = {}
  for i = 1, 12 do
    local ids = { i }
    for t = 2, 100 + (rows[1] * 37 + i * 11) % 50 do ids[t] = t end
    sequences[i] = { ids = ids, scored_from = 51 }
  end
  return pf.batch(nil, sequences)
end
pf.threads(2)
pf.train { model = model, data = { n = 6, batch = batch }, steps = 6, batch = 1, memory = "4GiB",
  loss = function(m, b) return pf.loss.nll { logp = m:logp(b) } end }
EOF
"$POFIT" sizes.lua 2> err
within "$(sed -n 's/^memory: .* asked, \([0-9]*\) MiB predicted.*/\1/p' err)"

[ "$least" -lt 40 ] || fail "a small model needs $least MiB"

# as little as will do: in parts
dpo --name tight --memory "${least}MiB" 2> err
within "$least"
grep -q 'batches in parts of' err || { cat err; fail "no parts"; }

# cut NAME [OPTION...]: a run that is killed in the middle; false if it came to its end
cut() {
    name=$1
    shift
    become_dpo --name "$name" --quiet "$@" 2>/dev/null &
    pid=$!
    while kill -0 $pid 2>/dev/null && [ "$( (wc -l < "runs/$name/metrics.jsonl") 2>/dev/null || echo 0)" -lt 9 ]; do
        sleep 0.01
    done
    kill -9 $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    [ ! -e "runs/$name/result.json" ]
}

# went_on NAME AS [OPTION...]: it goes on and ends like AS
went_on() {
    name=$1 as=$2
    shift 2
    dpo --name "$name" --resume --quiet "$@"
    same "runs/$as/metrics.jsonl" "runs/$name/metrics.jsonl"
    same "runs/$as/model/model.safetensors" "runs/$name/model/model.safetensors"
}

# What was begun in parts goes on in the same ones, within the same limit, another or none.
if cut same --memory "${least}MiB"; then
    same runs/tight/memory.json runs/same/memory.json
    went_on same tight --memory "${least}MiB"
fi
if cut more --memory "${least}MiB"; then went_on more tight --memory 4GiB; fi
if cut none --memory "${least}MiB"; then went_on none tight; fi
# What was begun with whole batches goes on with them; a limit may have layers computed again.
if cut whole; then
    fails 1 'which round otherwise: resume with more memory' dpo --name whole --resume --memory "${least}MiB"
    went_on whole free --memory "$((least + 2))MiB"
    grep -q '"recompute":0,' runs/whole/memory.json && fail "no layer was computed again"
fi
true
