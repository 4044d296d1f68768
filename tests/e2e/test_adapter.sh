# Recipes with adapters: what they write, resuming, going on from an adapter, and what is refused before training.
. tests/e2e/common.sh
tiny
cp -r "$MODEL" base
ARGS="$RECIPES/dpo.lua --model base --data prefs.jsonl --batch 8 --lr 0.005"
LORA="--lora-rank 2 --lora-alpha 4 --lora-dropout 0.1 --lora-dora --steps 40 --checkpoint-every 7 --quiet"
dpo() { "$POFIT" $ARGS "$@"; }
become_dpo() { exec "$POFIT" $ARGS $LORA "$@"; }
says() { grep -qF -- "$1" log || { cat log; fail "\"$1\" is not in the log"; }; }
ln2() { head -n 1 "runs/$1/metrics.jsonl" | grep -q '"loss": 0.6931' || fail "runs/$1 does not start at ln 2"; }

# the adapter alone is kept, and the log says what the reference is
dpo --name new --lora-rank 2 --steps 4 --export-gguf 2>log
says 'reference = base, adapter off'
ln2 new
[ -e runs/new/adapter/adapter_model.safetensors ] && [ ! -e runs/new/model ] || fail "not the adapter alone"
[ "$(head -c 4 runs/new/adapter.gguf)" = GGUF ] || fail "no LoRA file for llama.cpp"
dpo --name more --adapter runs/new/adapter --steps 4 2>log
says 'reference = base + a frozen copy of that adapter'
ln2 more
same base/model.safetensors "$MODEL/model.safetensors"
cmp -s runs/new/adapter/adapter_model.safetensors runs/more/adapter/adapter_model.safetensors && fail "nothing was learned"

# over a base that is held narrow; without an adapter there is nothing to train in it
dpo --name narrow --lora-rank 2 --steps 4 --dtype q8_0 --quiet
ln2 narrow
fails 1 '--dtype bfloat16 freezes the weights' dpo --name no --dtype bfloat16 --steps 2

# killed and resumed, with dropout: the same bytes
dpo $LORA --name whole
become_dpo --name cut 2>/dev/null &
pid=$!
while [ ! -e runs/cut/checkpoint.zst ] && kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -9 $pid 2>/dev/null || true
wait $pid 2>/dev/null || true
[ -e runs/cut/result.json ] || dpo $LORA --name cut --resume
same runs/whole/metrics.jsonl runs/cut/metrics.jsonl
same runs/whole/adapter/adapter_model.safetensors runs/cut/adapter/adapter_model.safetensors

# refused before anything is trained or written
fails 1 "cannot hold DoRA" dpo --name no --lora-rank 2 --lora-dora --export-gguf
fails 1 'runs/new/adapter is an adapter: load its base' "$POFIT" generate --model runs/new/adapter "1+2?"
fails 1 'no such adapter directory' "$POFIT" generate --model "$MODEL" --adapter "$MODEL/config.json" "1+2?"
fails 1 'no adapter to write as GGUF' dpo --name no --export-gguf
fails 1 'leave --lora-rank out' dpo --name no --lora-rank 2 --adapter runs/new/adapter
fails 1 '"q_prj" fits no matrix product' dpo --name no --lora-rank 2 --lora-targets q_prj
fails 1 'matches no parameter' dpo --name no --freeze 'model.nothing'
[ ! -e runs/no ] || fail "a run was begun"

# merged it is a model like any other; frozen parameters stay as they were
cat > check.lua <<'EOF'
local pf = require "pofit"
local text = "3+4?"
local m = pf.model.load("base", { adapter = "runs/whole/adapter" })
local with = m:generate(text, { temperature = 0, max_tokens = 12 })[1][1]
m:merge():save("merged")
local merged = pf.model.load("merged"):generate(text, { temperature = 0, max_tokens = 12 })[1][1]
assert(with.text == merged.text, "merging changed what is said")
local base, part = pf.model.load("base"):parameters(), pf.model.load("runs/part/model"):parameters()
for _, name in ipairs(base) do
  local same = (base[name] - part[name]):abs():max():item() == 0
  assert(same == (name:find("mlp") ~= nil), name)
end
EOF
dpo --name part --freeze '*.mlp.*' --steps 4 --quiet
"$POFIT" check.lua
echo "adapters: ok"
