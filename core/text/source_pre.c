/* What the names of tokenizer.ggml.pre stand for. The patterns are those of the tokenizer.json files the names were
 * made from; "default", "falcon" and the deepseek names as llama.cpp has them (src/llama-vocab.cpp). */
#include "text/source.h"

#define PRE_WORDS         "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"
#define PRE_SHORT         "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define PRE_SPACE         "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define PRE_LLAMA(digits) PRE_SHORT "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" PRE_SPACE
#define PRE_QWEN35                                                                                                     \
    PRE_SHORT "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" PRE_SPACE
#define PRE_UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define PRE_LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define PRE_CASED(short, digits)                                                                                       \
    "[^\\r\\n\\p{L}\\p{N}]?" PRE_UPPER "*" PRE_LOWER "+" short "|[^\\r\\n\\p{L}\\p{N}]?" PRE_UPPER "+" PRE_LOWER       \
                                                               "*" short "|" digits                                    \
                                                                         "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" PRE_SPACE
/* letters with case, of deepseek-llm */
#define PRE_LATIN                                                                                                                                                                                                                         \
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-"                                                      \
    "Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼι"                                                                                                                                                                                           \
    "ῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-" \
    "𐓓𐓘-𐓻"                                                                                                                                                                                                                       \
    "𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"
#define PRE_CJK "[一-龥ࠀ-一가-퟿]+"

static const pfi_pre pre_table[] = {
    {.name = "default", .split = {"[\\p{P}\\$\\+<=>\\^~\\|]+", PRE_WORDS, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {.name = "gpt-2", .words = true},
    {.name = "phi-2", .words = true},
    {.name = "mpt", .words = true, .nfc = true},
    {.name = "olmo", .words = true, .nfc = true},
    {.name = "gpt-neox", .words = true, .nfc = true},
    {.name = "llama-bpe", .split = {PRE_LLAMA("\\p{N}{1,3}")}, .ignore_merges = true, .bos = true},
    {.name = "llama-v3", .split = {PRE_LLAMA("\\p{N}{1,3}")}, .ignore_merges = true, .bos = true},
    {.name = "llama3", .split = {PRE_LLAMA("\\p{N}{1,3}")}, .ignore_merges = true, .bos = true},
    {.name = "qwen2", .split = {PRE_LLAMA("\\p{N}")}, .nfc = true},
    {.name = "deepseek-r1-qwen", .split = {PRE_LLAMA("\\p{N}")}, .nfc = true},
    {.name = "qwen35", .split = {PRE_QWEN35}, .nfc = true},
    {.name = "smollm", .digits = true, .words = true},
    {.name = "starcoder", .digits = true, .words = true},
    {.name = "refact", .digits = true, .words = true},
    {.name = "command-r", .digits = true, .words = true, .nfc = true},
    {.name = "gpt-4o", .split = {PRE_CASED(PRE_SHORT "?", "\\p{N}{1,3}")}},
    {.name = "tekken", .split = {PRE_CASED("", "\\p{N}")}, .ignore_merges = true, .bos = true},
    {.name = "falcon", .split = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", PRE_WORDS, "[0-9][0-9][0-9]"}},
    {.name = "deepseek-llm",
     .split = {"[\\r\\n]", PRE_LATIN, "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", PRE_CJK, "\\p{N}+"}},
    {.name = "deepseek-coder", .split = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", PRE_CJK}, .digits = true},
};

const pfi_pre *pfi_pre_find(const char *name) {
    for (int i = 0; i < PFI_COUNT(pre_table); i++) {
        if (strcmp(pre_table[i].name, name) == 0) return &pre_table[i];
    }
    return NULL;
}
