# The way of a user with a model and preferences: look, train an adapter, see what it did, take it elsewhere.
. tests/e2e/common.sh
if [ -z "${POFIT_TESTDATA:-}" ]; then
    echo "SKIP own model: POFIT_TESTDATA is not set"
    exit 0
fi
model=$POFIT_TESTDATA/data/stories260K
head -n 60 "$POFIT_TESTDATA/data/preferences/rasbt_instruction_pref.jsonl" > prefs.jsonl

"$POFIT" inspect model "$model" > out || { cat out; fail "inspect model"; }
"$POFIT" inspect data prefs.jsonl --model "$model" > out 2>&1 || { cat out; fail "inspect data"; }

"$POFIT" "$RECIPES/dpo.lua" --model "$model" --data prefs.jsonl --lora-rank 8 --lr 5e-3 --batch 8 --steps 30 \
    --name own --export-gguf --quiet > out 2>&1 || { cat out; fail "dpo with an adapter"; }
"$POFIT" -e 'local first, last, n = 0, 0, 0
local rows = {}
for row in pf.data.jsonl("runs/own/metrics.jsonl") do rows[#rows + 1] = row end
assert(#rows == 30, "30 updates")
assert(math.abs(rows[1].loss - math.log(2)) < 1e-5, "an adapter begins as nothing: the loss is ln 2")
for i = 0, 4 do last = last + rows[#rows - i].loss / 5 end
assert(last < 0.6, "the loss fell to " .. last .. " only")
local acc = 0
for i = 0, 4 do acc = acc + rows[#rows - i]["rewards/accuracies"] / 5 end
assert(acc > 0.7, "reward accuracy " .. acc)
local r = pf.json.decode(pf.sys.read("runs/own/result.json"))
print(("reward accuracy on rows held out: %s"):format(pf.json.encode(r)))'

for kept in adapter/adapter_config.json adapter/adapter_model.safetensors adapter.gguf report.html; do
    [ -s "runs/own/$kept" ] || fail "the run left no $kept"
done
[ ! -e runs/own/model ] || fail "an adapter's run wrote a whole model"
"$POFIT" inspect model runs/own/adapter > out || { cat out; fail "inspect model of the adapter"; }
grep -q 'LORA, rank 8' out || { cat out; fail "the adapter has another rank"; }
"$POFIT" inspect model runs/own/adapter.gguf > out || { cat out; fail "inspect model of adapter.gguf"; }
grep -q 'adapter for llama.cpp' out || { cat out; fail "adapter.gguf is no adapter"; }

# the merged model says what model and adapter say
"$POFIT" merge runs/own/adapter --out merged > out || { cat out; fail "merge"; }
prompt='Edit the following sentence for grammar.'
a=$("$POFIT" generate --model merged "$prompt" --greedy --max-tokens 40)
b=$("$POFIT" generate --model "$model" --adapter runs/own/adapter "$prompt" --greedy --max-tokens 40)
c=$("$POFIT" generate --model "$model" "$prompt" --greedy --max-tokens 40)
[ "$a" = "$b" ] || fail "merged: $a; with the adapter: $b"
[ "$a" != "$c" ] || fail "the adapter changes nothing that is said"

# and training can go on from the adapter
"$POFIT" "$RECIPES/dpo.lua" --model "$model" --adapter runs/own/adapter --data prefs.jsonl --steps 2 --batch 4 \
    --name further --quiet > out 2>&1 || { cat out; fail "going on from the adapter"; }
