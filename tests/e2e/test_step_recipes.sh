# Recipes over steps and turns: what they would learn from, seen on real word problems; and killed at any moment they go
# on to the same bytes.
. tests/e2e/common.sh
export OMP_NUM_THREADS=1
tiny 60
sed 's/"prompt"/"question"/; s/"chosen"/"answer"/' prefs.jsonl > rows.jsonl
# right is what is of even length; an answer's steps are its characters
cat > lax.lua <<'END_OF_LUA'
return {
  verify = function(_, text) return { correct = #text % 2 == 0, answer = #text } end,
  steps = function(text)
    local steps = {}
    for i = 1, #text do steps[i] = { first = i, last = i, text = text:sub(i, i) } end
    return steps
  end,
}
END_OF_LUA

# ---- killed and resumed ----

OPTIONS="--model $MODEL --data rows.jsonl --verifier lax.lua --samples 4 --steps 24 --batch 4 --max-tokens 12 --lr 1e-3
    --checkpoint-every 5 --quiet"
for recipe in rise step_advantage step_weighted introspect; do
    more=""
    case $recipe in step*) more="--rollouts 2" ;; rise) more="--editor random --edits 2" ;; esac
    # shellcheck disable=SC2086
    begin() { exec "$POFIT" "$RECIPES/$recipe.lua" $OPTIONS $more "$@"; }
    (begin --name "$recipe") || fail "$recipe"
    [ "$(wc -l < "runs/$recipe/metrics.jsonl")" = 24 ] || fail "$recipe: 24 updates, 24 rows"
    for rows in 1 9 16; do
        begin --name "$recipe-$rows" 2>/dev/null &
        pid=$!
        while kill -0 $pid 2>/dev/null; do
            logged=$(cat "runs/$recipe-$rows/metrics.jsonl" "runs/$recipe-$rows"/round-*/metrics.jsonl 2>/dev/null |
                wc -l)
            [ "$logged" -lt $rows ] || break
            sleep 0.005
        done
        kill -9 $pid 2>/dev/null || true
        wait $pid 2>/dev/null || true
        if [ ! -e "runs/$recipe-$rows/result.json" ]; then
            (begin --name "$recipe-$rows" --resume) || fail "$recipe --resume after $rows rows"
        fi
        same "runs/$recipe/metrics.jsonl" "runs/$recipe-$rows/metrics.jsonl"
        same "runs/$recipe/model/model.safetensors" "runs/$recipe-$rows/model/model.safetensors"
        same "runs/$recipe/result.json" "runs/$recipe-$rows/result.json"
    done
done

# ---- word problems, with answers of other models in the place of samples ----

if [ -z "${POFIT_TESTDATA:-}" ]; then
    echo "SKIP GSM8K: POFIT_TESTDATA is not set"
    exit 0
fi
cat > make.lua <<'END_OF_LUA'
local pf = require "pofit"
local data, gold, rows, pool, seen = os.getenv "POFIT_TESTDATA" .. "/data/", {}, {}, {}, {}
for row in pf.data.jsonl(data .. "gsm8k/gsm8k_sft.jsonl") do gold[row.prompt] = row.completion end
for row in pf.data.jsonl(data .. "preferences/gsm8k_model_unpaired.jsonl") do
  if gold[row.prompt] and #row.prompt + #row.completion < 420 then
    if not seen[row.prompt] then
      if #rows == 120 then break end
      rows[#rows + 1] = pf.json.encode { question = row.prompt, answer = gold[row.prompt] }
    end
    seen[row.prompt] = true
    pool[#pool + 1] = pf.json.encode { prompt = row.prompt, completion = (row.completion:gsub("\nA: ", "\n#### ")) }
  end
end
pf.sys.write("questions.jsonl", table.concat(rows, "\n") .. "\n")
pf.sys.write("pool.jsonl", table.concat(pool, "\n") .. "\n")
END_OF_LUA
"$POFIT" make.lua
GSM="--model $POFIT_TESTDATA/data/stories260K --data questions.jsonl --pool pool.jsonl --dry-run"

# shellcheck disable=SC2086
"$POFIT" "$RECIPES/rise.lua" $GSM --name shown --full 0 >shown 2>err || { cat err; fail "rise on word problems"; }
cat > look.lua <<'END_OF_LUA'
-- each pair against the answers in the pool, and worked out by Lua itself
local pf = require "pofit"
local answers, n, types = {}, 0, {}
for row in pf.data.jsonl "pool.jsonl" do answers[#answers + 1] = row.prompt .. row.completion end
local function worked(line)
  local expression, result = line:match "<<(.-)=(.-)>>"
  return math.abs(load("return " .. expression)() - tonumber(result)) < 0.01
end
local text = pf.sys.read "shown"
for given, right, wrong, kind, step in text:gmatch "(.-)\n  %+ (.-)\n    \n  %- (.-)\n    \n    type (%a+)\n    step (%d+)\n" do
  given, n = given:gsub("\n    ", "\n"), n + 1
  local found = false
  for _, answer in ipairs(answers) do found = found or answer:sub(1, #given + #right) == given:gsub("\n$", "\n") .. right end
  assert(found, "no answer goes " .. given .. right)
  local before = select(2, given:gsub("\n", "\n"))
  assert(before + 1 == tonumber(step), ("%d lines before step %s"):format(before, step))
  assert(right ~= wrong and worked(right), right)
  assert(worked(wrong) == (kind ~= "value"), kind .. ": " .. wrong)
  local a, b = right:match "<<(.-)=", wrong:match "<<(.-)="
  assert((a == b) == (kind == "value"), a .. " and " .. b)
  assert(right:match ">>(.*)$":gsub("^[%d.,]+", "") == wrong:match ">>(.*)$":gsub("^[%d.,]+", ""), wrong)
  types[kind] = true
end
assert(n == 20 and text:find "\n%d+ rows, the first 20 are shown", ("%d pairs were read"):format(n))
for _, kind in ipairs { "value", "operator", "operand", "omission" } do assert(types[kind], "none of type " .. kind) end
END_OF_LUA
"$POFIT" look.lua || { cat shown; fail "a pair is not what it should be"; }

# a wrong answer goes up to its pit, which is a line; the small model knows no way to go on, so the first one is it
# shellcheck disable=SC2086
"$POFIT" "$RECIPES/step_advantage.lua" $GSM --name shown --problems 8 --rollouts 2 --max-tokens 4 >shown 2>err ||
    { cat err; fail "step_advantage on word problems"; }
grep -q '^  - ' shown || { cat shown; fail "no pairs"; }
! grep '^  - ' shown | grep -q '####' || { cat shown; fail "more than the first line is rejected"; }
[ "$(grep -c '^    step 1$' shown)" = "$(grep -c '^  - ' shown)" ] || { cat shown; fail "the pit is the first step"; }
grep -q '^    #### [0-9]*</s>$' shown || { cat shown; fail "the chosen side is a whole answer, with its end"; }

# conversations: the model's own attempt, the question again, and the worked answer
# shellcheck disable=SC2086
"$POFIT" "$RECIPES/introspect.lua" $GSM --name shown --problems 4 --max-tokens 8 >shown 2>err ||
    { cat err; fail "introspect on word problems"; }
[ "$(grep -c '^    reward 1$' shown)" = 4 ] || { cat shown; fail "the teacher's turns"; }
grep -q '^    #### [0-9]*</s>$' shown || { cat shown; fail "the worked answer, with its end"; }
