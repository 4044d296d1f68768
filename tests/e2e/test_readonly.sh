# Directories and files that may not be written, and a disk that is full: a message that names the place, nothing lost,
# nothing half-written left behind.
. tests/e2e/common.sh
plain() { "$@"; }
if [ "$(id -u)" = 0 ]; then # root may write everywhere, but for root without capabilities
    setpriv --bounding-set=-all --inh-caps=-all true 2>err || { echo "SKIP read-only: root, and no setpriv"; exit 0; }
    plain() { setpriv --bounding-set=-all --inh-caps=-all "$@"; }
fi
tiny 3
gguf=$TMP/m.gguf
"$POFIT" convert "$MODEL" --out "$gguf" >out 2>&1
echo '{"prompt": "1+2?"}' > one.jsonl
echo '{"prompt": "kept"}' > kept.jsonl
mkdir locked shut
chmod 555 locked
chmod 000 shut
chmod 444 kept.jsonl

refused() {
    place=$1
    shift
    fails 1 "$place: Permission denied" plain "$POFIT" "$@"
    [ -z "$(ls -A locked)" ] || fail "left behind: $(ls -A locked)"
    [ "$(cat kept.jsonl)" = '{"prompt": "kept"}' ] || fail "kept.jsonl is lost"
}
refused locked/x.part convert "$MODEL" --out locked/x
refused locked/x.gguf convert "$MODEL" --out locked/x.gguf
refused locked/x.float32 convert "$gguf" --out locked/x
refused locked/x.part convert "$MODEL" --out locked/x --max-shard-size 50KB
refused locked/x.float32 merge "$ROOT/tests/golden/peft/lora" --model "$ROOT/tests/golden/llama_a" --out locked/x
refused locked/m -e 'pf.model.load(arg[1]):save("locked/m")' "$MODEL"
refused locked/o.jsonl.part generate --model "$MODEL" --data one.jsonl --out locked/o.jsonl --max-tokens 2
refused shut/o.jsonl.part generate --model "$MODEL" --data one.jsonl --out shut/o.jsonl --max-tokens 2
refused kept.jsonl generate --model "$MODEL" --data one.jsonl --out kept.jsonl --max-tokens 2
[ ! -e kept.jsonl.part ] || fail "kept.jsonl.part is left behind"
refused locked/p.jsonl chat "$MODEL" --prefer locked/p.jsonl
refused kept.jsonl chat "$MODEL" --prefer kept.jsonl
chmod 555 runs
refused runs/.other.lock "$RECIPES/dpo.lua" --model "$MODEL" --data prefs.jsonl --steps 1 --name other
chmod 755 runs

# a preference that cannot be kept is still there to be kept elsewhere
printf '1+2?\n/regenerate\n/prefer locked/p.jsonl\n/better\n/prefer p.jsonl\n/better\n' > say
plain "$POFIT" chat "$MODEL" --prefer p.jsonl --temperature 3 --max-tokens 4 < say > out 2>err || fail "chat"
grep -q 'cannot open locked/p.jsonl: Permission denied' err || { cat err; fail "/prefer of a locked directory"; }
[ "$(wc -l < p.jsonl)" = 2 ] || { cat err; fail "preferences: $(wc -l < p.jsonl)"; }
"$POFIT" chat "$MODEL" --prefer unused.jsonl < one.jsonl > out 2>&1
[ ! -e unused.jsonl ] || fail "a file of no preferences"

# files of 48 KB at most; the signal of the limit is ignored, so that writing fails as on a full disk
full() { (trap '' XFSZ; ulimit -f 96; "$POFIT" "$@"); }
full_disk() {
    place=$1
    shift
    fails 1 "cannot write $place" full "$@"
    for left in x x.*; do [ ! -e "$left" ] || fail "left behind: $left"; done
}
full_disk x.part/model.safetensors convert "$MODEL" --out x
full_disk x.gguf convert "$MODEL" --out x.gguf
full_disk x.float32/model.safetensors convert "$gguf" --out x
full_disk x.float32/model.safetensors convert "$gguf" --out x --dtype bf16

# a line is appended whole or not at all
awk 'BEGIN { for (i = 0; i < 49100; i++) printf "x"; print "" }' > rows.jsonl
cp rows.jsonl before
fails 1 'cannot write rows.jsonl: File too large' full -e 'pf.sys.append("rows.jsonl"):write(("y"):rep(200) .. "\n")'
same rows.jsonl before
