# Output that cannot be written is an error, however the program ends.
. tests/e2e/common.sh

# full STATUS 'text' WORDS...: with standard output on a full device, the status and what is said
full() {
    want=$1 text=$2
    shift 2
    status=0
    "$POFIT" "$@" >/dev/full 2>err </dev/null || status=$?
    [ "$status" = "$want" ] || { cat err; fail "status $status with full standard output, expected $want: $*"; }
    grep -qF -- "$text" err || { cat err; fail "\"$text\" is not said with full standard output: $*"; }
    [ "$(grep -c . err)" = 1 ] || { cat err; fail "more than one line is said: $*"; }
}
if [ -w /dev/full ]; then
    echo 'print(1)' > one.lua
    echo 'require "pofit".options { "x", { "a", 1, "b" } }' > options.lua
    full 1 'pofit: standard output: No space left on device' --help
    full 1 'pofit: standard output: No space left on device' --version
    full 1 'pofit: standard output: No space left on device' help
    full 1 'pofit: standard output: No space left on device' help dpo
    full 1 'pofit: standard output: ' --stubs
    full 1 'pofit: standard output: ' inspect --help
    full 1 'pofit: standard output: ' inspect data --help
    full 1 'pofit: standard output: ' options.lua --help
    full 1 'pofit: standard output: ' one.lua
    full 1 'pofit: standard output: ' -e 'print(1)'
    full 1 'pofit: standard output: ' -e 'io.write(("x"):rep(100000))'
    full 1 'pofit: standard output: ' -e 'print(1) os.exit(0)'
    full 1 'pofit: standard output: ' -e 'io.write(1) os.exit(true, true)'
    full 1 'mine' -e 'print(1) error("mine")' # what went wrong first is told, and alone
    full 1 'cannot write to standard output: No space left' -e 'require "pofit.sampling".out("x")'
    "$POFIT" -e 'x = 1' >/dev/full || fail "nothing was written, so nothing can be wrong"
else
    echo "SKIP full standard output: there is no /dev/full"
fi
"$POFIT" -e 'x = 1' >&- || fail "a closed standard output that nothing was written to"
fails 1 'pofit: standard output: Bad file descriptor' sh -c '"$0" --version >&-' "$POFIT"
