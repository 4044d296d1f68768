# Bad input: an error that names file, line or key, what was found and what was expected; nothing is lost.
. tests/e2e/common.sh
tiny 3
# what is wrong with the input is one sentence, without a place in the recipe
fails_plainly() {
    fails "$@"
    ! grep -qE '^pofit: .*\.lua:[0-9]|^ *lua/' err || { cat err; fail "the message points at a script: $*"; }
}
dpo() { "$POFIT" "$RECIPES/dpo.lua" --steps 2 --quiet "$@"; }

fails 2 'did you mean' dpo --betta 0.2
fails 2 'beta' dpo --beta much
fails 2 'batch' dpo --batch 0
fails_plainly 1 "runs/base-3 is a base policy's" dpo --model "$MODEL" --data prefs.jsonl --name base-3
fails_plainly 1 'no such model' dpo --model nowhere --data prefs.jsonl
fails_plainly 1 'nowhere.jsonl' dpo --model "$MODEL" --data nowhere.jsonl

"$POFIT" help convert | grep -q -- '--max-shard-size' || fail "pofit help convert does not tell of its options"
"$POFIT" help inspect | grep -q 'checkpoint, data, model' || fail "pofit help inspect does not tell what there is"
fails 1 'there is no help on "convrt"' "$POFIT" help convrt

printf '{"prompt": "1+2?", "chosen": "1+2=3;#3"}\n' > row.jsonl
fails_plainly 1 'row.jsonl:1' dpo --model "$MODEL" --data row.jsonl
fails_plainly 1 'rejected' dpo --model "$MODEL" --data row.jsonl
{ head -n 3 prefs.jsonl; printf '{"prompt": "1\377", "chosen": "1", "rejected": "2"}\n'; } > utf8.jsonl
fails_plainly 1 'utf8.jsonl' dpo --model "$MODEL" --data utf8.jsonl
fails_plainly 1 'UTF-8' dpo --model "$MODEL" --data utf8.jsonl
{ head -n 2 prefs.jsonl; echo '{"prompt": '; } > cut.jsonl
fails_plainly 1 ' cut.jsonl:3:11: not valid JSON: ' dpo --model "$MODEL" --data cut.jsonl
{ head -n 2 prefs.jsonl; printf '{"prompt": "a\000"}\n'; } > zero.jsonl
fails_plainly 1 ' zero.jsonl:3: not valid JSON: a zero byte at byte 14' dpo --model "$MODEL" --data zero.jsonl
: > empty.jsonl
fails_plainly 1 'empty.jsonl has no rows' dpo --model "$MODEL" --data empty.jsonl
echo '[1, 2]' > list.jsonl
fails_plainly 1 'list.jsonl:1' dpo --model "$MODEL" --data list.jsonl
echo '{"prompt": 3, "chosen": "1", "rejected": "2"}' > type.jsonl
fails_plainly 1 'prompt' dpo --model "$MODEL" --data type.jsonl

fails_plainly 1 '--lora-targets is for a new adapter: give its rank, --lora-rank' dpo --model "$MODEL" --data prefs.jsonl --lora-targets q_proj
fails_plainly 1 '--lora-dora is for a new adapter: leave it out with --adapter' dpo --model "$MODEL" --data prefs.jsonl --adapter a --lora-dora
fails_plainly 1 '--dtype q8_0 freezes the weights: give --lora-rank' dpo --model "$MODEL" --data prefs.jsonl --dtype q8_0

head -n 1 prefs.jsonl > one.jsonl
printf '{"prompt": "1+2?", "answer": "3"}\n{"prompt": "1+3?", "answer": "4"}\n' > answers.jsonl
echo 'return 1' > odd.lua
echo 'local pf = require "pofit" pf.data.preference({ { prompt = "1", chosen = "2" } }, pf.tokenizer.load(...))' > row.lua
fails_plainly 1 'there is no column "good" for chosen' dpo --model "$MODEL" --data prefs.jsonl --columns chosen=good
fails_plainly 1 'columns: "x"; expected FIELD=COLUMN' dpo --model "$MODEL" --data prefs.jsonl --columns x
fails_plainly 1 'prefs.txt.gz: .gz is not read' dpo --model "$MODEL" --data prefs.txt.gz
fails_plainly 1 'rows are too few to hold out' dpo --model "$MODEL" --data one.jsonl
fails_plainly 1 'no preference rows left' dpo --model "$MODEL" --data prefs.jsonl --max-length 2
fails_plainly 1 'fits no matrix product of this model' dpo --model "$MODEL" --data prefs.jsonl --lora-rank 2 --lora-targets x
fails_plainly 1 'freeze: "x" matches no parameter' dpo --model "$MODEL" --data prefs.jsonl --freeze x
fails_plainly 1 'nowhere: no such adapter' dpo --model "$MODEL" --data prefs.jsonl --adapter nowhere
fails_plainly 1 'steps must be a whole number, at least 1' "$POFIT" "$RECIPES/dpo.lua" --steps 0 --model "$MODEL" --data prefs.jsonl
fails_plainly 1 'lr must be a number from 0, got -1' dpo --model "$MODEL" --data prefs.jsonl --lr -1
fails_plainly 1 '--name "a/b": a name is made of' dpo --model "$MODEL" --data prefs.jsonl --name a/b
own() { "$POFIT" "$RECIPES/rise.lua" --model "$MODEL" --quiet "$@"; }
fails_plainly 1 'cannot open nowhere.jsonl' own --data nowhere.jsonl
fails_plainly 1 'row.jsonl:1: field "answer" is missing' own --data row.jsonl
printf '{\n' > cut.json
fails_plainly 2 'pofit: cut.json:2:0: not valid JSON' own --data answers.jsonl --config cut.json
fails_plainly 1 'the model has no tokenizer (tokenizer.json' "$POFIT" "$RECIPES/rise.lua" --model "$ROOT/tests/golden/llama_a" --data answers.jsonl --quiet
fails_plainly 1 'nowhere.lua' own --data answers.jsonl --verifier nowhere.lua
fails_plainly 1 'expected a function(problem, text)' own --data answers.jsonl --verifier odd.lua
# but a mistake in a script is shown with its place
sed 's/model:logp(batch)/model:logpp(batch)/' "$RECIPES/dpo.lua" > wrong.lua
fails 1 "wrong.lua:$(grep -n logpp wrong.lua | cut -d: -f1): " "$POFIT" wrong.lua --model "$MODEL" --data prefs.jsonl --quiet
fails 1 'row.lua:1: row 1: field "rejected" is missing' "$POFIT" row.lua "$MODEL"

# over-long rows are counted and named; a row longer than the context is not trained on
long=$(awk 'BEGIN { for (i = 0; i < 200; i++) printf "1+" }')
{ cat prefs.jsonl; printf '{"prompt": "%s1?", "chosen": "1", "rejected": "2"}\n' "$long"; } > long.jsonl
dpo --model "$MODEL" --data long.jsonl --name long >out 2>&1 || { cat out; fail "an over-long row stopped the run"; }
"$POFIT" "$RECIPES/dpo.lua" --steps 2 --name long --model "$MODEL" --data long.jsonl 2>&1 | grep -q 'long.jsonl:41' || fail "the over-long row is not named"

# a damaged model
damage() { rm -rf m && cp -r "$MODEL" m; }
damage && head -c 2000 "$MODEL/model.safetensors" > m/model.safetensors
fails_plainly 1 'model.safetensors' dpo --model m --data prefs.jsonl
damage && printf '\377\377\377\377\377\377\377\177' | dd of=m/model.safetensors conv=notrunc 2>/dev/null
fails_plainly 1 'model.safetensors' dpo --model m --data prefs.jsonl
damage
"$POFIT" -e 'local j = pf.json; local f = "m/tokenizer.json"; local t = j.decode(pf.sys.read("'"$MODEL"'/tokenizer.json")); t.model.merges = nil; pf.sys.write(f, j.encode(t))'
fails_plainly 1 'merges' dpo --model m --data prefs.jsonl
damage && rm m/config.json
fails_plainly 1 'config.json' dpo --model m --data prefs.jsonl
damage && sed -i 's/"model_type": *"llama"/"model_type": "mamba"/' m/config.json
fails_plainly 1 'mamba' dpo --model m --data prefs.jsonl
damage && sed -i 's/"hidden_size"/"partial_rotary_factor": 0.5, "hidden_size"/' m/config.json
fails_plainly 1 'partial_rotary_factor' dpo --model m --data prefs.jsonl

# before anything is read
fails 2 'expected one of sigmoid, hinge' dpo --model nowhere --data prefs.jsonl --variant nope

# a full disk: what was there stays
if mkdir full 2>/dev/null && mount -t tmpfs -o size=64k tmpfs full 2>/dev/null; then
    cp prefs.jsonl full/
    cp -r "$MODEL" copy
    "$POFIT" -e 'pf.sys.write("copy/README.md", ("x"):rep(100000))'
    for out in full/copy full/copy.gguf; do fails 1 'No space left' "$POFIT" convert copy --out "$out"; done
    [ "$(ls full)" = prefs.jsonl ] || { ls full; fail "what could not be written whole is left"; }
    status=0
    (cd full && "$POFIT" "$RECIPES/dpo.lua" --model "$MODEL" --data prefs.jsonl --steps 5 --checkpoint-every 1 --quiet --name f) >out 2>err || status=$?
    umount full
    [ "$status" = 1 ] || { cat err; fail "status $status on a full disk, expected 1"; }
    grep -q 'No space left' err || { cat err; fail "the message does not say that the disk is full"; }
else
    echo "SKIP disk full: no permission to mount a small file system"
fi
