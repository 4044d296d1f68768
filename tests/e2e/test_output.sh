# Output that cannot be written is an error, however the program ends; a file size limit is one like a full disk.
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

# limited BLOCKS 'text' WORDS...: files may grow to so many blocks of 512 bytes
limited() {
    blocks=$1 text=$2
    shift 2
    fails 1 "$text" sh -c 'ulimit -f "$0" && exec "$@"' "$blocks" "$POFIT" "$@"
}
MODEL=$ROOT/tests/golden/llama_a
mkdir d
limited 8 'cannot write d/file.txt: File too large' -e 'pf.sys.write("d/file.txt", ("x"):rep(10000))'
limited 8 'cannot write d/model.part/model.safetensors: File too large' convert "$MODEL" --out d/model
limited 8 'cannot write d/model.gguf: File too large' convert "$MODEL" --out d/model.gguf
[ -z "$(ls d)" ] || { ls d; fail "what could not be written whole is left"; }
limited 8 'cannot write log.txt: File too large' -e 'pf.sys.append("log.txt"):write(("x"):rep(10000))'
[ ! -s log.txt ] || fail "half a row is left in a log"
status=0
(ulimit -f 8 && "$POFIT" -e 'print(("x"):rep(10000))' >out 2>err) || status=$?
{ [ "$status" = 1 ] && grep -q 'pofit: standard output: ' err; } || { cat err; fail "cut output is not told"; }
