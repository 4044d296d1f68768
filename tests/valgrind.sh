#!/bin/sh
# The unit tests under valgrind: tests/valgrind.sh BUILD. Errors and leaks fail. Long tests run in their short form.
set -u
build=$1
export POFIT_VALGRIND=1 OMP_NUM_THREADS=1
failed=0
for t in "$build"/tests/test_*; do
    log=$build/valgrind-$(basename "$t").log
    if valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite,possible \
        --suppressions=tests/valgrind.supp --log-file="$log" "$t" >"$log.out" 2>&1; then
        echo "  ok      $t"
    else
        echo "  FAILED  $t"
        tail -n 30 "$log"
        failed=$((failed + 1))
    fi
done
echo "$failed failed under valgrind"
[ "$failed" = 0 ]
