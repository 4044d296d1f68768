# Sourced by the end-to-end tests: a scratch directory that is removed, and comparisons that say what they saw.
set -eu
ROOT=$PWD
: "${POFIT:=$ROOT/build/pofit}"
TMP=$(mktemp -d "${TMPDIR:-/tmp}/pofit-e2e-XXXXXX")
trap 'rm -rf "$TMP"' EXIT
RECIPES=$ROOT/recipes
cd "$TMP"

fail() { echo "FAILED: $*"; exit 1; }
same() { cmp "$1" "$2" || fail "$1 and $2 differ"; }

# fails STATUS 'text' command...: the command must fail with this status and say the text, in one line, on stderr
fails() {
    want=$1 text=$2
    shift 2
    status=0
    "$@" >out 2>err </dev/null || status=$?
    [ "$status" = "$want" ] || { cat err; fail "status $status, expected $want: $*"; }
    grep -qF -- "$text" err || { cat err; fail "\"$text\" is not in the message of: $*"; }
}

# a small policy and preference rows for it
tiny() {
    "$POFIT" "$RECIPES/sft.lua" --name tiny --problems 60 --heldout 20 --steps "${1:-20}" --quiet 2>/dev/null
    MODEL=$TMP/runs/tiny/model
    awk 'BEGIN { for (i = 0; i < 40; i++) { a = i % 10; b = int(i / 4); s = (a + b) % 20; w = (s + 1) % 20;
        printf "{\"prompt\": \"%d+%d?\", \"chosen\": \"%d+%d=%d;#%d\", \"rejected\": \"%d+%d=%d;#%d\"}\n",
        a, b, a, b, s, s, a, b, w, w } }' > prefs.jsonl
}
