# A user's rows: what inspect shows of them, and recipes that read them from CSV, JSON, several files, conversations.
. tests/e2e/common.sh
tiny 3

{ cat prefs.jsonl; cat <<'ROWS'; } > rows.jsonl
{"prompt": "0+0?", "chosen": "0+0=0;#0", "rejected": "0+0=1;#1"}
{"prompt": "1+1?", "chosen": "1+1=2;#2", "rejected": "1+1=2;#2"}
{"prompt": "1+2?", "chosen": "", "rejected": "1+2=4;#4"}
{"prompt": "0+0?", "chosen": "0+0=1;#1", "rejected": "0+0=0;#0"}
{"prompt": "9+9?", "chosen": "9+9=18;#18", "rejected": "9+9=18;#19"}
ROWS
"$POFIT" inspect data rows.jsonl --model "$MODEL" --rows 1,40 > out || fail "inspect data"
for text in '<s>|0|+|0|?«0|+|0|=|0|;|#|0|</s>»' 'row 40  preference  rows.jsonl:40' '44 rows kept, preference' \
    'left out: an empty answer: rows.jsonl:43' 'the same as an earlier row: rows.jsonl:41 as rows.jsonl:1' \
    'equal answers in a pair: rows.jsonl:42' 'the contrary of another pair: rows.jsonl:44 against rows.jsonl:1' \
    'nearly equal answers in a pair (90 % of the tokens): rows.jsonl:45' 'the prompt of an earlier row'; do
    grep -qF -- "$text" out || { cat out; fail "inspect does not say: $text"; }
done
grep -q "$(printf '\033')" out && fail "colours where there is no terminal"
"$POFIT" inspect data rows.jsonl --model "$MODEL" --rows 0 --max-length 15 > out
grep -qF 'left out: longer than 15 tokens' out || { cat out; fail "over-long rows are not told"; }
fails 1 'there is no row 99: 44 rows were kept' "$POFIT" inspect data rows.jsonl --model "$MODEL" --rows 99
fails 1 'rows.jsonl:1: field "completion" is missing' "$POFIT" inspect data rows.jsonl --model "$MODEL" --type unpaired
fails 1 'there is no column "good" for chosen' "$POFIT" inspect data rows.jsonl --model "$MODEL" --columns chosen=good
fails 2 'FILE is required' "$POFIT" inspect data --model "$MODEL"
fails 1 'nowhere' "$POFIT" inspect data rows.jsonl --model nowhere
head -n 1 rows.jsonl > one.jsonl
"$POFIT" inspect data one.jsonl --model "$MODEL" > out || fail "a file of one row"
grep -q '1 rows kept, preference' out || { cat out; fail "the one row is not kept"; }
# rows that lack something to be what their fields point at
inspect() { "$POFIT" inspect data "$@" --model "$MODEL" > out || fail "inspect data $*"; }
says() { grep -qF -- "$1" out || { cat out; fail "inspect does not say: $1"; }; }
sed 's/, "rejected".*/}/' prefs.jsonl > half.jsonl
inspect half.jsonl
says '40 rows kept, prompt'
says 'DPO needs chosen and rejected, supervised fine-tuning completion'
says '     40  with "chosen", without "rejected": preferences (DPO) need both: half.jsonl:1, half.jsonl:2'
sed 's/"rejected": "[^"]*"/"rejected": null/' prefs.jsonl > null.jsonl
inspect null.jsonl
says '     40  with "chosen", without "rejected": preferences (DPO) need both'
sed 's/"prompt"[^,]*, //' half.jsonl > bare.jsonl
fails 1 'no kind of row: chosen (TRL has prompt' "$POFIT" inspect data bare.jsonl --model "$MODEL"
fails 1 'with "chosen", without "rejected": preferences (DPO) need both' "$POFIT" inspect data bare.jsonl --model "$MODEL"
{ echo '{"prompt": "1+1?"}'; cat prefs.jsonl; echo '{"prompt": "1+1?", "label": true}'; } > mixed.jsonl
inspect mixed.jsonl
says '     40  rows of preference, read as prompt, as the first row is: mixed.jsonl:2, mixed.jsonl:3'
says '      1  with "label", without "completion": rows with labels (KTO) need both: mixed.jsonl:42'
inspect prefs.jsonl
grep -qE 'without|read as' out && { cat out; fail "whole rows are said to lack something"; }
"$POFIT" -e 'local row = { prompt = ("1+"):rep(200), chosen = "1", rejected = "2" }
pf.sys.write("long.jsonl", pf.json.encode(row) .. "\n")'
"$POFIT" inspect data long.jsonl,one.jsonl --model "$MODEL" > out || fail "a row longer than the context"
grep -q 'left out: longer than [0-9]* tokens: long.jsonl:1' out || { cat out; fail "longer than the context: not told"; }
: > none.jsonl
fails 1 'none.jsonl has no rows' "$POFIT" inspect data one.jsonl,none.jsonl --model "$MODEL"

# recipes: CSV with its own names, two files with weights, truncation
awk 'BEGIN { print "question,good,bad"; for (i = 0; i < 12; i++) printf "%d+1?,\"%d+1=%d;#%d\",\"1\n\"\n", i, i, i + 1, i + 1 }' > p.csv
"$POFIT" "$RECIPES/dpo.lua" --model "$MODEL" --data p.csv --columns prompt=question,chosen=good,rejected=bad --steps 2 \
    --name csv > out 2>&1 || { cat out; fail "dpo on CSV"; }
grep -q '12 rows kept' out || { cat out; fail "the rows of the CSV are not all there"; }
"$POFIT" "$RECIPES/dpo.lua" --model "$MODEL" --data prefs.jsonl:2,prefs.jsonl --steps 2 --max-length 14 \
    --truncation keep_start --name two > out 2>&1 || { cat out; fail "dpo on two files"; }
grep -q '120 rows kept; the end of an answer was cut off in' out || { cat out; fail "weights or truncation are not told"; }
fails 1 'p.csv:2: field "chosen" is missing' "$POFIT" "$RECIPES/dpo.lua" --model "$MODEL" --data p.csv --columns prompt=question

# supervised: conversations by the model's own template, the assistant's tokens alone
printf '%s' "{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}" \
    > "$MODEL/chat_template.jinja"
awk 'BEGIN { for (i = 0; i < 20; i++) printf "{\"messages\": [{\"role\": \"user\", \"content\": \"%d+1?\"}, {\"role\": \"assistant\", \"content\": \"%d+1=%d;#%d\"}]}\n", i, i, i + 1, i + 1 }' > talk.jsonl
"$POFIT" inspect data talk.jsonl --model "$MODEL" --assistant-only --rows 1 > out
grep -qF '0|+|1|?«0|+|1|=|1|;|#|1|</s>»' out || { cat out; fail "the assistant's tokens are not those that are scored"; }
"$POFIT" "$RECIPES/sft.lua" --model "$MODEL" --data talk.jsonl --steps 2 --name talk > out 2>&1 || { cat out; fail "sft on conversations"; }
grep -q '20 rows kept' out || { cat out; fail "the conversations are not all there"; }
cmp "$MODEL/chat_template.jinja" runs/talk/model/chat_template.jinja || fail "the template was not kept"
fails 1 'a row of preference; expected prompt and completion, text, or messages' "$POFIT" "$RECIPES/sft.lua" --model "$MODEL" \
    --data prefs.jsonl --steps 2 --name wrong
