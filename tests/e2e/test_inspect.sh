# pofit inspect model and checkpoint: what is told of good ones, and of damaged ones.
. tests/e2e/common.sh
tiny 3
golden=$ROOT/tests/golden
model() { "$POFIT" inspect model "$@"; }
says() { grep -qE -- "$1" out || { cat out; fail "\"$1\" is not said"; }; }

model "$MODEL" > out || fail "a good model"
says 'kind +Hugging Face directory'
says 'architecture +llama'
says 'sizes +[0-9]+ layers, hidden [0-9]+'
says 'tokenizer +BPE, [0-9]+ tokens, BOS <s> \(0\), EOS </s> \(1\)'
says 'chat template +none'
says 'weights +model.safetensors, [0-9.]+ [KM]B, F32'
says "fingerprint $("$POFIT" -e 'print(pf.model.load(...):fingerprint())' "$MODEL")"
model "$golden/llama_a" --json --rank 2 > out
"$POFIT" -e 'local f = pf.json.decode(pf.sys.read("out"))
local m, n = pf.model.load(...), 0
for _, name in ipairs(m:parameters()) do n = n + m:parameters()[name]:numel() end
assert(f.parameters == n and f.layers == m.num_hidden_layers and f.hidden == m.hidden_size, "sizes")
assert(f.memory.training == 20 * n, "memory")
-- q, k, v, o, gate, up and down of two layers: hidden 32, keys 16, feed-forward 48
local adapter = 2 * 2 * (64 + 48 + 48 + 64 + 80 + 80 + 80)
assert(f.memory.lora_parameters == adapter and f.memory.lora == 4 * n + 16 * adapter, "memory of an adapter")
assert(f.kv_bytes == 2 * 4 * 2 * 2 * 8, "cache")' "$golden/llama_a"
model "$golden/llama_a" --tensors --no-load > out
says 'model.layers.1.self_attn.v_proj.weight +F32 +\[16, 32\]'
says 'loads +not tried$'
model "$golden/peft/lora" > out || fail "an adapter"
says 'adapter +LORA, rank 4, alpha 8'
says 'targets +q_proj, v_proj'
says '896 in 8 tensors of 2 layers'
model "$golden/peft/dora" > out
says 'adapter +DoRA'
if [ -n "${POFIT_TESTDATA:-}" ]; then
    model "$POFIT_TESTDATA/data/stories260K/stories260K.gguf" --no-load > out || fail "a GGUF file"
    says 'kind +GGUF file'
    says '5 layers, hidden 64, 8 heads \(4 for keys and values\), feed-forward 172'
    says 'tokenizer +llama, 512 tokens, BOS 1, EOS 2'
    says '292,800 in 48 tensors'
else
    echo "SKIP inspect model of a GGUF file: POFIT_TESTDATA is not set"
fi

fails 1 'no such file or directory' model nowhere
fails 1 'neither a model directory' model "$RECIPES"
fails 1 'runs/tiny/model is there' model runs/tiny
fails 2 'PATH is required' model
fails 2 "did you mean \"pofit inspect model $MODEL\"?" "$POFIT" inspect "$MODEL"
fails 2 'did you mean --tensors?' model "$MODEL" --tensor
cp -r "$MODEL" cut && head -c 3000 "$MODEL/model.safetensors" > cut/model.safetensors
fails 1 'cut/model.safetensors' model cut
cp -r "$MODEL" odd && sed -i 's/"model_type": *"llama"/"model_type": "mamba"/' odd/config.json
status=0
model odd > out || status=$?
[ "$status" = 1 ] || fail "status $status of a model that cannot be loaded, expected 1"
says 'loads +no: .*mamba'
mkdir plain && echo '{"layers": 2}' > plain/config.json
fails 1 'plain/config.json: the key "model_type" is missing' model plain
rm -rf nan && cp -r "$MODEL" nan
printf '\000\000\300\177' | dd of=nan/model.safetensors bs=1 conv=notrunc seek=$(($(wc -c < nan/model.safetensors) - 4)) 2>/dev/null
! "$POFIT" inspect model nan >out 2>err || fail "a model with NaN passes"
says 'loads +no: model.* holds values that are not finite'

# ---- checkpoints
"$POFIT" "$RECIPES/sft.lua" --name half --problems 60 --heldout 20 --steps 100000 --checkpoint-every 2 --quiet 2>/dev/null & pid=$!
for _ in $(seq 300); do [ -s runs/half/checkpoint.zst ] && break; sleep 0.1; done
kill -9 $pid
wait $pid 2>/dev/null || true
"$POFIT" inspect checkpoint runs/half > out || fail "a good checkpoint"
says 'intact'
says 'update +[0-9]*[02468] of 100000'
says 'optimizer +adamw'
says 'options .*--steps 100000'
"$POFIT" inspect checkpoint runs/half/checkpoint.zst > out || fail "a checkpoint by its file"
ck=runs/half/checkpoint.zst
head -c 5000 $ck > short.zst
fails 1 'short.zst' "$POFIT" inspect checkpoint short.zst
cp $ck flipped.zst && printf 'XYZ' | dd of=flipped.zst bs=1 seek=20000 conv=notrunc 2>/dev/null
fails 1 'flipped.zst' "$POFIT" inspect checkpoint flipped.zst
echo 'no checkpoint at all, but long enough for its head' | zstd -q --check > text.zst
fails 1 'not a checkpoint of pofit' "$POFIT" inspect checkpoint text.zst
printf 'pofit-ck\377\377\377\377\377\377\377\177 12345678' | zstd -q --check > far.zst
fails 1 'is damaged' "$POFIT" inspect checkpoint far.zst
fails 1 'finished run' "$POFIT" inspect checkpoint runs/tiny
fails 1 'no checkpoint.zst' "$POFIT" inspect checkpoint .
fails 1 'nowhere' "$POFIT" inspect checkpoint nowhere
