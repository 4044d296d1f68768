# pofit generate: prompts from everywhere, rows in and out, resuming, Ctrl-C, bad input.
. tests/e2e/common.sh
tiny 3
gen() { "$POFIT" generate --model "$MODEL" "$@"; }
same_text() { [ "$1" = "$2" ] || fail "\"$1\" is not \"$2\""; }
lines() { [ "$(wc -l < "$1")" = "$2" ] || fail "$1 has $(wc -l < "$1") lines, expected $2"; }
# a model that is slow enough to be interrupted
"$POFIT" -e 'local tok = pf.tokenizer.load(...)
pf.model.new({ model_type = "llama", architectures = { "LlamaForCausalLM" }, vocab_size = tok.size, hidden_size = 192,
  intermediate_size = 512, num_hidden_layers = 8, num_attention_heads = 4, num_key_value_heads = 4,
  max_position_embeddings = 2048, rms_norm_eps = 1e-5, hidden_act = "silu" }, { tokenizer = tok }):save("slow")' "$MODEL"

# ---- one prompt: the same text from words, an option, a file, standard input, and under llama.cpp's names
want=$(gen "1+2?" --greedy --max-tokens 8)
[ -n "$want" ] || fail "no text"
printf '1+2?\n' > prompt.txt
same_text "$(gen --prompt "1+2?" --temperature 0 --max-tokens 8)" "$want"
same_text "$(gen --prompt-file prompt.txt --greedy --max-tokens 8)" "$want"
same_text "$(gen --prompt-file - --greedy --max-tokens 8 < prompt.txt)" "$want"
same_text "$(gen --greedy --max-tokens 8 < prompt.txt)" "$want"
same_text "$("$POFIT" generate -m "$MODEL" -p "1+2?" --temp 0 -n 8 -s 3 -t 1)" "$want"
same_text "$(gen "1+2?" --greedy --max-tokens 8 --json | "$POFIT" -e 'print(pf.json.decode(io.read()).completion)')" "$want"
same_text "$(gen "1+2?" --max-tokens 8 --seed 1)" "$(gen "1+2?" --max-tokens 8 --seed 1)"
gen "1+2?" --n 3 --max-tokens 8 > three
lines three 3
gen "1+2?" --max-tokens 8 --logp > logp
"$POFIT" -e 'local r = pf.json.decode(pf.sys.read("logp")); assert(#r.ids == #r.logp and #r.ids > 0 and r.logp[1] < 0)
assert(r.finish == "length" or r.finish == "eos")'
gen "1+2?" --n 2 --max-tokens 4 --out two.jsonl.zst
zstd -qdc two.jsonl.zst > two
lines two 2
[ ! -e two.jsonl.zst.part ] || fail "an unfinished file is left"

# ---- rows: other columns are carried along, unusable rows are named and counted
cat > rows.jsonl <<'END'
{"id": 1, "prompt": "1+2?"}
{"prompt": 3}

{"messages": [{"role": "user", "content": "1+2?"}], "z": {"b": 1, "a": []}}
{"prompt": "1+2?", "finish": "taken"}
{"prompt": [1, 2, 3]}
{"prompt": [1, 99999]}
END
printf '{"prompt": "1\377"}\n{"prompt"\n' >> rows.jsonl
echo '{"messages": [{"role": "user", "content": "1+2?"}, {"role": "assistant", "content": "3"}]}' >> rows.jsonl
echo '{"prompt": [1, "x"]}' >> rows.jsonl
status=0
gen --data rows.jsonl --greedy --max-tokens 6 --out out.jsonl 2>err || status=$?
[ "$status" = 1 ] || fail "status $status with unusable rows, expected 1"
for said in 'rows.jsonl:2: column "prompt" is a number' 'rows.jsonl:5: there is a column "finish"' \
    'rows.jsonl:7: token id 99999 is not in the vocabulary' 'rows.jsonl:8: byte 14' 'rows.jsonl:9:' \
    'rows.jsonl:10: the conversation in "messages" ends with an answer' 'rows.jsonl:11: token 2 of the ids is a string' \
    '7 of 10 rows could not be used'; do
    grep -qF "$said" err || { cat err; fail "\"$said\" is not said"; }
done
lines out.jsonl 3
"$POFIT" -e 'local r = {} for row in pf.data.jsonl("out.jsonl") do r[#r + 1] = row end
assert(r[1].id == 1 and r[1].completion == ... and r[1].finish, "first row")
assert(pf.json.encode(r[2].z) == [[{"b": 1, "a": []}]] and r[3].prompt[3] == 3, "columns")' \
    "$(gen "1+2?" --greedy --max-tokens 6)"
zstd -q rows.jsonl -o rows.jsonl.zst
gen --data rows.jsonl.zst --greedy --max-tokens 6 2>/dev/null > stdout.jsonl || true
same out.jsonl stdout.jsonl
printf '{"question": "1+2?"}\n' > column.jsonl
gen --data column.jsonl --column question --n 2 --logp --quiet > column.out
lines column.out 2

# ---- stopped and resumed: the same bytes
awk 'BEGIN { for (i = 1; i <= 12; i++) printf "{\"id\": %d, \"prompt\": \"%d+%d?\"}\n", i, i % 7, i % 5 }' > many.jsonl
# a model without a tokenizer: ids in, ids out; text for it is refused, with what to do
LLAMA=$ROOT/tests/golden/llama_a
printf '{"prompt": [1, 2, 3]}\n' > ids.jsonl
"$POFIT" generate --model "$LLAMA" --data ids.jsonl --max-tokens 4 --quiet > ids.out
"$POFIT" -e 'local r = pf.json.decode(pf.sys.read("ids.out")); assert(#r.ids == 4 and not r.completion)'
fails 1 'pofit generate: --data with rows like' "$POFIT" generate --model "$LLAMA" "1+2?"

slow="--model slow --data many.jsonl --max-tokens 80 --batch 2 --n 2 --logp"
slow() { "$POFIT" generate $slow "$@"; }
slow --quiet --out whole.jsonl
rm -f err # what an earlier one said must not be taken for its beginning
"$POFIT" generate $slow --out part.jsonl 2>err & pid=$!
for _ in $(seq 200); do grep -q 'generate' err 2>/dev/null && break; sleep 0.1; done
kill -INT $pid || : # it may be done
status=0
wait $pid || status=$?
if [ -e part.jsonl ]; then
    echo "SKIP generate interrupted: it was done before"
else
    [ "$status" = 130 ] || { cat err; fail "status $status after Ctrl-C, expected 130"; }
    grep -q 'interrupted after [0-9]* of 12 rows' err || { cat err; fail "the interruption is not told"; }
    fails 1 'add --resume' slow --out part.jsonl
    fails 1 'other options' slow --out part.jsonl --seed 9 --resume
    printf '{"id": 99, "torn' >> part.jsonl.part # a row that was being written when the machine went down
    slow --out part.jsonl --resume --quiet
    same whole.jsonl part.jsonl
    [ ! -e part.jsonl.part ] || fail "part.jsonl.part is left"
fi

# ---- Ctrl-C in the middle of an answer keeps what there is
"$POFIT" generate --model slow "1+2?" --max-tokens 0 > kept 2>err & pid=$!
for _ in $(seq 200); do [ -s kept ] && break; sleep 0.05; done
kill -INT $pid
status=0
wait $pid || status=$?
[ "$status" = 130 ] || { cat err; fail "status $status after Ctrl-C, expected 130"; }
[ "$(wc -c < kept)" -gt 1 ] || fail "nothing was kept"

# ---- bad input
fails 1 'no such model' "$POFIT" generate --model nowhere "1+2?"
fails 2 '--model is required' "$POFIT" generate "1+2?"
fails 2 'did you mean --temperature?' gen "1+2?" --temprature 1
fails 2 'standard input is empty' gen
fails 1 'prompt 1 has' gen "$(yes 1+1 | head -n 500 | tr -d '\n')"
fails 2 'given twice' gen "1+2?" --prompt-file prompt.txt
fails 2 'not both' gen "1+2?" --data rows.jsonl
fails 1 'no directory nodir' gen --data rows.jsonl --out nodir/x.jsonl
fails 1 'is a directory' gen --data rows.jsonl --out runs
fails 1 'nowhere.jsonl' gen --data nowhere.jsonl
fails 1 'is no file' gen --data /dev/null
: > empty.jsonl
fails 1 'empty.jsonl has no rows' gen --data empty.jsonl
fails 1 'No space left' gen --data many.jsonl --out /dev/full --quiet
status=0
gen "1+2?" > /dev/full 2>err || status=$?
[ "$status" = 1 ] && grep -q 'No space left' err || { cat err; fail "status $status on a full disk"; }
printf '1\377' > bad.txt
fails 1 'bad.txt is not UTF-8 at byte 2' gen --prompt-file bad.txt
status=0
gen < bad.txt 2>err || status=$?
[ "$status" = 1 ] && grep -q 'standard input is not UTF-8' err || { cat err; fail "status $status on bad UTF-8"; }
fails 1 'is cut short' sh -c 'head -c 40 rows.jsonl.zst > cut.jsonl.zst; exec "$0" generate --model "$1" --data cut.jsonl.zst' "$POFIT" "$MODEL"
