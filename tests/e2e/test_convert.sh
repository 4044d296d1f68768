# pofit convert and merge: other types, shards, an adapter in its base; nothing is overwritten, what is unfit is refused.
. tests/e2e/common.sh
tiny 3
golden=$ROOT/tests/golden
convert() { "$POFIT" convert "$@" >out; }

# float32 -> bfloat16 -> float32 -> bfloat16: the last step changes nothing, the first rounds to nearest
convert "$MODEL" --out b16 --dtype bf16
convert b16 --out f32 --dtype f32
convert f32 --out again --dtype bf16
same b16/model.safetensors again/model.safetensors
same b16/tokenizer.json "$MODEL/tokenizer.json"
"$POFIT" -e 'local a, b = pf.model.load(arg[1]):parameters(), pf.model.load("f32"):parameters()
for _, name in ipairs(a) do
  assert((a[name] - b[name]):abs():max():item() <= a[name]:abs():max():item() * 2^-8, name)
  local near = a[name]:detach():clone():to("bfloat16"):to("float32")
  assert((near - b[name]):abs():max():item() == 0, "not the nearest in " .. name)
end' "$MODEL"
# shards, and back to one file: the same bytes
convert "$MODEL" --out shards --max-shard-size 50KB
[ -s shards/model.safetensors.index.json ] && [ ! -e shards/model.safetensors ] || fail "no shards"
"$POFIT" -e 'local size, largest = {}, 0
for _, t in ipairs(require("pofit.core").weights("shards")) do
  size[t.file], largest = (size[t.file] or 0) + t.bytes, math.max(largest, t.bytes)
end
local n = 0
for _, bytes in pairs(size) do n = n + 1; assert(bytes <= math.max(50000, largest), "a shard of " .. bytes) end
assert(n > 2, n .. " shards")'
convert shards --out whole
convert "$MODEL" --out same
same whole/model.safetensors same/model.safetensors
want=$("$POFIT" generate -m "$MODEL" "1+2?" --greedy -n 8)
[ "$("$POFIT" generate -m shards "1+2?" --greedy -n 8)" = "$want" ] || fail "the shards say something else"

# GGUF and back: the same values, types by option and by name; what is left out is said
convert "$MODEL" --out f32.gguf 2>err
if "$POFIT" inspect model f32.gguf --no-load | grep -q 'tokenizer *none'; then
    grep -q "the tokenizer of $MODEL is not in f32.gguf" err || { cat err; fail "a lost tokenizer is not told"; }
fi
convert f32.gguf --out back 2>/dev/null
convert "$MODEL" --out m-q8_0.gguf 2>/dev/null
convert "$MODEL" --out q8.gguf --dtype q8_0 2>/dev/null
same m-q8_0.gguf q8.gguf
convert q8.gguf --out q8 --dtype f32 2>/dev/null
convert b16 --out b16.gguf 2>/dev/null
"$POFIT" inspect model b16.gguf --no-load | grep -q 'BF16 (9' || fail "b16.gguf is not bfloat16"
"$POFIT" -e 'local a, b, q = pf.model.load(arg[1]):parameters(), pf.model.load("back"):parameters(), pf.model.load("q8"):parameters()
for _, name in ipairs(a) do
  assert((a[name] - b[name]):abs():max():item() == 0, name)
  assert((a[name] - q[name]):abs():max():item() <= a[name]:abs():max():item() / 200, name) -- half of 1/127
end' "$MODEL"
"$POFIT" merge "$golden/peft/lora" --model "$golden/llama_a" --out merged.gguf >out
"$POFIT" -e 'local ids = { 1, 5, 9, 33, 7 }
local a, b = pf.model.load(arg[1], { adapter = arg[2] }):logits(ids), pf.model.load("merged.gguf"):logits(ids)
assert((a - b):abs():max():item() < 1e-5, "the merged GGUF file computes something else")' "$golden/llama_a" "$golden/peft/lora"
fails 2 'leave --max-shard-size out' "$POFIT" convert "$MODEL" --out x.gguf --max-shard-size 1GB

# a value that the type cannot hold is refused by the name of its tensor, and nothing is left in its place
cp -r "$MODEL" big
"$POFIT" -e 'local m = pf.model.load("big") local p = m:parameters() local n = p[1]
p[n]:copy_((p[n]:detach() * 0 + 1e6):totable()) m:save("big")'
fails 1 'embed_tokens.weight" holds 1e+06, which float16 cannot hold' "$POFIT" convert big --out big16 --dtype f16
[ ! -e big16 ] || fail "a refused model was written"
convert big --out bigb --dtype bf16

# an adapter in its base computes what both did
"$POFIT" merge "$golden/peft/lora" --model "$golden/llama_a" --out merged >out
"$POFIT" -e 'local ids = { 1, 5, 9, 33, 7 }
local a = pf.model.load(arg[1], { adapter = arg[2] }):logits(ids)
local b, base = pf.model.load("merged"):logits(ids), pf.model.load(arg[1]):logits(ids)
local far = (a - base):abs():max():item()
assert(far > 1e-3, "the adapter changes nothing")
assert((a - b):abs():max():item() < 1e-5, "the merged model computes something else")' "$golden/llama_a" "$golden/peft/lora"
"$POFIT" merge "$golden/peft/dora" --model "$golden/llama_b" --out merged16 --dtype bf16 >out
"$POFIT" inspect model merged16 > out
grep -q 'BF16' out || { cat out; fail "merged16 is not bfloat16"; }
[ ! -e merged16.float32 ] && [ ! -e merged16.part ] || fail "something is left beside merged16"

# names that promise what is not written
fails 1 'a GGUF file is written as f32, f16, bf16 or q8_0' "$POFIT" convert "$MODEL" --out m-q4_k_m.gguf
fails 1 'a GGUF file is written as' "$POFIT" merge "$golden/peft/lora" --model "$golden/llama_a" --out m.IQ2_XXS.gguf
fails 1 'written as a directory, or as NAME.gguf' "$POFIT" convert "$MODEL" --out m.safetensors
"$POFIT" merge "$golden/peft/lora" --model "$golden/llama_a" --out merged-q8_0.gguf >out
grep -q 'Q8_0' out || { cat out; fail "merged-q8_0.gguf is of another type"; }
convert "$MODEL" --out odd-q4_0.gguf --dtype f32 2>/dev/null

fails 1 'exists already' "$POFIT" convert "$MODEL" --out merged
fails 2 '--out is required' "$POFIT" convert "$MODEL"
fails 1 'no directory nodir' "$POFIT" convert "$MODEL" --out nodir/x
fails 1 'safetensors holds no q8_0' "$POFIT" convert "$MODEL" --out q --dtype q8_0
fails 2 'expected one of auto, f32' "$POFIT" convert "$MODEL" --out q --dtype q80
fails 2 'expected a size such as 5GB' "$POFIT" convert "$MODEL" --out q --max-shard-size big
fails 1 'is an adapter: pofit merge' "$POFIT" convert "$golden/peft/lora" --out q
fails 1 'is no adapter' "$POFIT" merge "$MODEL" --out q
fails 1 'give --model DIR' "$POFIT" merge "$golden/peft/lora" --out q
fails 1 'nowhere' "$POFIT" merge "$golden/peft/lora" --model nowhere --out q
fails 1 'nowhere' "$POFIT" convert nowhere --out q
[ ! -e q ] || fail "a refused model was written"
