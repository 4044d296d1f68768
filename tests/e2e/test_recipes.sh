# Every recipe: its header, its length, --help, and three steps that give the same bytes twice, on any number of threads.
. tests/e2e/common.sh
tiny
awk '{ sub(/}$/, ""); match($0, /"chosen": "[^"]*"/); print $0 ", \"completion\"" substr($0, RSTART + 8, RLENGTH - 8) \
    ", \"label\": " (NR % 2 ? "true" : "false") "}" }' prefs.jsonl > rows.jsonl

echo 'return function(_, text) return { correct = #text % 2 == 0, answer = #text } end' > lax.lua

for file in "$RECIPES"/*.lua; do
    recipe=$(basename "$file" .lua)
    for field in paper formula data run cost expect; do
        sed -n '/^--/!q; p' "$file" | grep -q "^-- $field: *[^ ]" || fail "the header of $recipe.lua has no \"$field:\""
    done
    sed -n 1p "$file" | grep -q '^-- .*\.$' || fail "$recipe.lua does not begin with a sentence that says what it is"
    [ "$(wc -l < "$file")" -le 80 ] || fail "$recipe.lua has more than 80 lines"
    grep -q "^-- run: *pofit recipes/$recipe.lua" "$file" || fail "run: of $recipe.lua names another file"

    "$POFIT" "$file" --help >help 2>err || fail "$recipe.lua --help"
    [ ! -s err ] || fail "$recipe.lua --help writes to stderr"
    for option in model data steps lr seed resume; do
        grep -q -- "^  --$option\( \|$\)" help || fail "--help of $recipe.lua does not tell of --$option"
    done
    [ ! -e "runs/$recipe" ] || fail "$recipe.lua --help left runs/$recipe"

    # one that samples gets a verifier that any policy passes now and then
    verifier=""
    grep -q -- "^  --verifier" help && verifier="--verifier lax.lua --max-tokens 12"
    for threads in 1 2; do
        # shellcheck disable=SC2086
        "$POFIT" "$file" $verifier --model "$MODEL" --data rows.jsonl --steps 3 --batch 8 --name "$recipe-$threads" \
            --threads $threads --quiet || fail "$recipe.lua"
    done
    [ "$(wc -l < "runs/$recipe-1/metrics.jsonl")" = 3 ] || fail "$recipe.lua: three steps, three rows"
    for kept in metrics.jsonl result.json model/model.safetensors; do
        same "runs/$recipe-1/$kept" "runs/$recipe-2/$kept"
    done
    for kept in config.json timing.jsonl report.html model/config.json model/tokenizer.json; do
        [ -s "runs/$recipe-1/$kept" ] || fail "$recipe.lua left no $kept"
    done
done
