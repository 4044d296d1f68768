#!/bin/sh
# The unit tests under valgrind: tests/valgrind.sh BUILD [NAME...]. Errors and leaks fail. Sweeps run in their short form.
set -u
build=$1
shift
cd "$(dirname "$0")/.." || exit 2
jobs=$(nproc) # before OMP_NUM_THREADS is set, which nproc goes by
export POFIT_VALGRIND=1 OMP_NUM_THREADS=1
export build

one() {
    log=$build/valgrind-$(basename "$1").log
    start=$(date +%s)
    if valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite,possible \
        --suppressions=tests/valgrind.supp --log-file="$log" "$1" >"$log.out" 2>&1; then
        echo "  ok      $(($(date +%s) - start))s  $1"
    else
        echo "  FAILED  $(($(date +%s) - start))s  $1"
        tail -n 20 "$log.out"
        tail -n 30 "$log"
        return 1
    fi
}

if [ "${VALGRIND_ONE:-}" ]; then
    one "$VALGRIND_ONE"
    exit
fi
tests=$(for t in tests/unit/test_*.c; do echo "$build/tests/$(basename "$t" .c)"; done)
if [ $# -gt 0 ]; then tests=$(echo "$tests" | grep -E "$(printf '%s\n' "$@" | paste -sd '|' -)"); fi
if echo "$tests" | xargs -P "$jobs" -I{} env VALGRIND_ONE={} "$0" "$build"; then
    echo "clean under valgrind"
else
    echo "failed under valgrind"
    exit 1
fi
