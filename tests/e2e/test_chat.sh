# pofit chat: what is said and kept, preferences that a recipe trains on, Ctrl-C in a real terminal.
. tests/e2e/common.sh
tiny 3
chat() { "$POFIT" chat "$MODEL" --max-tokens 12 "$@" 2>err; }
says() { grep -qF -- "$1" err || { cat err; fail "\"$1\" is not said"; }; }

printf 'Hi\n/regenerate\n/better\n/better 1+2=3\nand \\\nmore\n/save talk.jsonl\n/quit\nunread\n' |
    chat --prefer prefs.jsonl --system 'short answers' > out || fail "chat"
says '1 preference in this conversation, kept in prefs.jsonl'
says '2 preferences'
says '5 messages appended to talk.jsonl'
"$POFIT" -e 'local rows = {} for row in pf.data.jsonl("prefs.jsonl") do rows[#rows + 1] = row end
local n = #rows
local a, b = rows[n - 1], rows[n]
assert(a.prompt[1].role == "system" and a.prompt[2].content == "Hi" and #a.prompt == 2, "prompt")
assert(a.chosen[1].role == "assistant" and a.chosen[1].content ~= a.rejected[1].content, "answers")
assert(b.chosen[1].content == "1+2=3" and b.rejected[1].content == a.chosen[1].content, "own answer")
local talk = pf.data.jsonl("talk.jsonl")()
assert(talk.messages[3].content == "1+2=3" and talk.messages[4].content == "and \nmore", "history")'

# what was marked can be trained on
for i in 1 2 3 4 5 6; do printf 'Hi %d\n/regenerate\n/worse\n/reset\n' $i; done | chat --prefer mine.jsonl > out || fail "chat"
"$POFIT" "$RECIPES/dpo.lua" --model "$MODEL" --data mine.jsonl --steps 2 --batch 2 --quiet --name mine || fail "dpo on preferences of a chat"

# what cannot be done is said, and the conversation goes on
printf '/better\n/worse\n/regenerate\n/bettr x\n/save x\n/prefer\nHi\n/better\n\377\n/system\n/reset\n//slash\n%s\nHi\n' \
    "$(yes 1+1 | head -n 500 | tr -d '\n')" | chat --no-quiet > out || fail "chat"
says 'only one answer to compare'
says 'there is no answer yet'
says 'did you mean /better?'
says 'nothing has been said yet'
says 'UTF-8'
says 'it was not sent'
[ "$(wc -l < out)" -ge 3 ] || fail "the conversation did not go on"
printf 'Hi\n/better yes\n' | chat > out
says '/prefer FILE names the file'
fails 1 'cannot open nodir/x' "$POFIT" chat "$MODEL" --prefer nodir/x
printf 'Hi\n' | chat --quiet > /dev/full && cat err
says 'No space left'
fails 1 'no such model' "$POFIT" chat nowhere
fails 2 'MODEL is required' "$POFIT" chat

# in a terminal: Ctrl-C stops an answer and not the program. Keys are typed when what they answer to is on the screen.
when() { # when COUNT 'text' keys: type them once the screen has shown the text so often
    tries=0
    until [ "$(grep -cF -- "$2" screen)" -ge "$1" ] || [ $tries -ge 600 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    printf "$3"
}
terminal() { # terminal MODEL TOKENS: chat there; the last line on the screen is its exit status
    # script(1) starts $SHELL or sh; the trap keeps dash, which Ctrl-C reaches too, from ending before it has said so
    script -qfec "trap : INT; '$POFIT' chat '$1' --max-tokens $2; echo chat ended: \$?" screen >/dev/null 2>&1 || true
}
shown() { grep -qF -- "$1" screen || { tail -n 20 screen; fail "\"$1\" is not on the screen"; }; }
if command -v script >/dev/null && script -qec true /dev/null </dev/null >/dev/null 2>&1; then
    : > screen
    { when 1 'Ctrl-D ends]' '/hlp\r'; when 1 'did you mean /help?' '\003'; when 1 'or /quit ends' 'Hi\r'
        when 1 'a second,' '\004'; when 1 'chat ended' ''; } | terminal "$MODEL" 12
    shown 'did you mean /help?'
    shown 'Ctrl-D or /quit ends'
    shown 'cut at --max-tokens 12'
    shown 'chat ended: 0'
    "$POFIT" -e 'local tok = pf.tokenizer.load(...)
pf.model.new({ model_type = "llama", architectures = { "LlamaForCausalLM" }, vocab_size = tok.size, hidden_size = 192,
  intermediate_size = 512, num_hidden_layers = 8, num_attention_heads = 4, num_key_value_heads = 4,
  max_position_embeddings = 100000, rms_norm_eps = 1e-5, hidden_act = "silu" }, { tokenizer = tok }):save("slow")' "$MODEL"
    : > screen
    { when 1 'Ctrl-D ends]' 'Hi\r'
        for n in 1 2 3; do sleep 0.7; printf '\003'; when $n ', interrupted' 'Hi\r'; done
        sleep 0.7; printf '\003'; when 4 ', interrupted' '/hlp\r'; when 1 'did you mean /help?' '\004'; when 1 'chat ended' ''
    } | terminal slow 0
    [ "$(grep -cF 'a second, interrupted' screen)" = 4 ] || { tail -n 20 screen; fail "four answers were to be interrupted"; }
    grep -qF 'Ctrl-D or /quit ends' screen && fail "Ctrl-C of an answer was taken for one at the prompt"
    shown 'did you mean /help?'
    shown 'chat ended: 0'
else
    echo "SKIP chat in a terminal: script(1) is not installed"
fi
