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
/* of deepseek-llm: letters with case, punctuation, Chinese and Korean */
#define PRE_LATIN                                                                                                      \
    "\\s?[A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}"               \
    "\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}\\x{388}-\\x{38A}"             \
    "\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-"          \
    "\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}"         \
    "\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}"         \
    "-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-"         \
    "\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-"         \
    "\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-"          \
    "\\x{211D}\\x{2124}\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}"           \
    "\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}"          \
    "\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-"         \
    "\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}"         \
    "\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-"                  \
    "\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}]+"
#define PRE_PUNCT "\\s?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+"
#define PRE_CJK   "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"

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
    {.name = "deepseek-llm", .split = {"[\\r\\n]", PRE_LATIN, PRE_PUNCT, "\\s+$", PRE_CJK, "\\p{N}+"}},
    {.name = "deepseek-coder", .split = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", PRE_CJK}, .digits = true},
};

const pfi_pre *pfi_pre_find(const char *name) {
    for (int i = 0; i < PFI_COUNT(pre_table); i++) {
        if (strcmp(pre_table[i].name, name) == 0) return &pre_table[i];
    }
    return NULL;
}

const pfi_pre *pfi_pre_match(const pfi_pre *as) {
    for (int i = 0; i < PFI_COUNT(pre_table); i++) {
        const pfi_pre *p = &pre_table[i];
        bool same = p->digits == as->digits && p->words == as->words && p->nfc == as->nfc &&
                    p->ignore_merges == as->ignore_merges;
        for (int k = 0; same && k < PFI_PRE_SPLITS; k++)
            same = !p->split[k] == !as->split[k] && (!p->split[k] || strcmp(p->split[k], as->split[k]) == 0);
        if (same) return p;
    }
    return NULL;
}
