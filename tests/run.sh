#!/bin/sh
# Run the tests: tests/run.sh BUILD [NAME...]. A NAME selects the tests whose path holds it. As many run at a time as there
# are processors (JOBS=n: n); tests/run.sh BUILD --one TEST runs one of them, for itself.
#
# A test is a program of tests/unit, a file of tests/lua (run by the program, and by stock lua5.4 where it says so) or a
# script of tests/e2e. It fails by its exit status. A line "SKIP name: reason" on its output counts a skipped test; what
# is committed under tests/golden may never be skipped. POFIT_LONG=1 adds the long sweeps.
set -u
build=$1
shift
cd "$(dirname "$0")/.." || exit 2
POFIT=$PWD/$build/pofit
BUILD=$PWD/$build
LOGS=$build/test-logs
# threads that spin while others wait would make the tests fight over the machine
export POFIT BUILD GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}"

# those that take long come first
list() {
    ls tests/e2e/test_*.sh
    for t in tests/unit/test_*.c; do echo "$build/tests/$(basename "$t" .c)"; done
    ls tests/lua/test_*.lua
}

run_one() {
    t=$1
    log=$LOGS/$(basename "$t").log
    start=$(date +%s.%N)
    case $t in
    *.lua) "$POFIT" "$t" >"$log" 2>&1 ;;
    *.sh) sh "$t" >"$log" 2>&1 ;;
    *) "$t" >"$log" 2>&1 ;;
    esac
    status=$?
    echo "$status" >"$log.status"
    seconds=$(echo "$(date +%s.%N) $start" | awk '{ printf "%.1f", $1 - $2 }')
    skipped=$(grep -c '^SKIP ' "$log")
    if [ "$status" = 0 ]; then word=ok; else word=FAILED; fi
    [ "$skipped" -gt 0 ] && note=" ($skipped skipped)" || note=""
    {
        printf '  %-6s %6ss  %s%s\n' "$word" "$seconds" "$t" "$note"
        if [ "$status" != 0 ]; then grep -v '^\[ RUN\|^\[       OK' "$log" | tail -n 40 | sed 's/^/      /'; fi
    } >"$log.line" # written at once: others print, too
    cat "$log.line"
}

if [ "${1:-}" = --one ]; then
    run_one "$2"
    exit 0
fi
rm -rf "$LOGS"
mkdir -p "$LOGS"
tests=$(list)
if [ $# -gt 0 ]; then
    pattern=$(printf '%s\n' "$@" | paste -sd '|' -)
    tests=$(printf '%s\n' "$tests" | grep -E "$pattern")
fi
[ -n "$tests" ] || { echo "no test matches: $*"; exit 2; }
printf '%s\n' $tests | xargs -n 1 -P "${JOBS:-$(nproc)}" sh tests/run.sh "$build" --one

count() { cat "$LOGS"/*.status | grep -c "$@"; }
passed=$(count '^0$')
failed=$(($(printf '%s\n' $tests | wc -l) - passed)) # one that left no status failed, too
skipped=$(cat "$LOGS"/*.log | grep -c '^SKIP ')
fixtures=$(cat "$LOGS"/*.log | grep '^SKIP .*tests/golden')
if [ -n "$fixtures" ]; then
    echo "a committed fixture was skipped:"
    echo "$fixtures"
    failed=$((failed + 1))
fi
hint=""
[ "$skipped" -gt 0 ] && [ -z "${POFIT_TESTDATA:-}" ] && hint=" (POFIT_TESTDATA is not set)"
echo "$passed test programs passed, $failed failed, $skipped tests skipped$hint"
[ "$failed" = 0 ]
