/* Normalizers, pre-tokenizers and decoders one by one, the byte alphabet, character classes. */
#include "tokens.h"

/* ---- normalizers ---- */

static void test_normalizers(void **state) {
    (void)state;
    static const struct {
        const char *json, *text, *want;
    } cases[] = {
        {"{'type':'NFC'}", "e\xCC\x81 ascii", "é ascii"},
        {"{'type':'NFD'}", "é", "e\xCC\x81"},
        {"{'type':'NFKC'}", "ﬁ①e\xCC\x81", "fi1é"},
        {"{'type':'NFKD'}", "ﬁé", "fie\xCC\x81"},
        {"{'type':'Lowercase'}", "ABÉΣİ1",
         "abéσi\xCC\x87"
         "1"},
        {"{'type':'StripAccents'}", "e\xCC\x81\xCC\xA7z", "ez"},
        /* characters that the tables of the reference do not have: U+1AC3, U+11935, U+A7F2 (tokenizers 0.23.3 says so)
         */
        {"{'type':'StripAccents'}", "e\xE1\xAB\x83\xCC\x81z", "e\xE1\xAB\x83z"},
        {"{'type':'StripAccents'}", "\xE1\xB3\xB2z", "z"}, /* U+1CF2, which has been a letter since */
        {"{'type':'NFC'}", "e\xE1\xAB\x83\xCC\x81", "e\xE1\xAB\x83\xCC\x81"},
        {"{'type':'NFC'}", "\xF0\x91\xA4\xB5\xF0\x91\xA4\xB0", "\xF0\x91\xA4\xB5\xF0\x91\xA4\xB0"},
        {"{'type':'NFKD'}", "\xEA\x9F\xB2ﬁ",
         "\xEA\x9F\xB2"
         "fi"},
        {"{'type':'Strip','strip_left':true,'strip_right':true}", " \xC2\xA0\tx y\xE3\x80\x80\n", "x y"},
        {"{'type':'Strip','strip_left':true,'strip_right':false}", " x ", "x "},
        {"{'type':'Strip','strip_left':false,'strip_right':true}", " x ", " x"},
        {"{'type':'Strip','strip_left':true,'strip_right':true}", "  ", ""},
        {"{'type':'Prepend','prepend':'▁'}", "x", "▁x"},
        {"{'type':'Prepend','prepend':'▁'}", "", ""},
        {"{'type':'Replace','pattern':{'String':' '},'content':'▁'}", " a  b ", "▁a▁▁b▁"},
        {"{'type':'Replace','pattern':{'String':'.'},'content':''}", "a.b.", "ab"},
        {"{'type':'Replace','pattern':{'Regex':' {2,}'},'content':' '}", "a   b c  ", "a b c "},
        {"{'type':'Replace','pattern':{'Regex':'x*'},'content':'-'}", "axxb", "a-b"},
        {"{'type':'Replace','pattern':{'Regex':'\\\\p{N}'},'content':'n'}", "1\xF0\x90\xB5\x84x", "nnx"},
        {"{'type':'ByteLevel'}", "a é\n", "aĠÃ©Ċ"},
        {"{'type':'Sequence','normalizers':[{'type':'Sequence','normalizers':[{'type':'Lowercase'}]},"
         "{'type':'Replace','pattern':{'String':'a'},'content':'b'}]}",
         "Aa", "bb"},
        {"{'type':'Sequence','normalizers':[]}", "Aa", "Aa"},
    };
    pf_ctx *ctx = support_open();
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        json_t *v = tokens_json(ctx, cases[i].json);
        pfi_stages st = {0};
        support_ok(ctx, pfi_normalizers_parse(ctx, v, "test", &st));
        pfi_buf a = {0}, b = {0};
        support_ok(ctx, pfi_buf_str(ctx, &a, cases[i].text));
        for (int k = 0; k < st.n; k++) {
            b.len = 0;
            support_ok(ctx, pfi_buf_str(ctx, &b, ""));
            support_ok(ctx, pfi_normalize(ctx, &st.s[k], a.data, a.len, &b));
            pfi_buf swap = a;
            a = b;
            b = swap;
        }
        if (strcmp(a.data, cases[i].want) != 0) fail_msg("%s: \"%s\"", cases[i].json, a.data);
        pfi_buf_free(ctx, &a);
        pfi_buf_free(ctx, &b);
        pfi_stages_free(ctx, &st);
        json_decref(v);
    }
    support_close(ctx);
}

/* ---- pre-tokenizers ---- */

/* the pieces with | between them; a piece at the start of the text has ^ before it */
static void stages_cut(pf_ctx *ctx, const pfi_stages *st, const char *text, bool first, pfi_buf *out) {
    pfi_pieces a = {0}, b = {0};
    support_ok(ctx, pfi_pieces_add(ctx, &a, text, strlen(text), -1, first));
    for (int k = 0; k < st->n; k++) {
        pfi_pieces_clear(&b);
        for (size_t i = 0; i < a.n; i++) {
            size_t from = pfi_piece_start(&a, i);
            support_ok(ctx, pfi_pretokenize(ctx, &st->s[k], a.text.data + from, a.p[i].end - from, a.p[i].first, &b));
        }
        pfi_pieces swap = a;
        a = b;
        b = swap;
    }
    support_ok(ctx, pfi_buf_str(ctx, out, ""));
    for (size_t i = 0; i < a.n; i++) {
        size_t from = pfi_piece_start(&a, i);
        support_ok(ctx, pfi_buf_fmt(ctx, out, "%s%s", i ? "|" : "", a.p[i].first ? "^" : ""));
        support_ok(ctx, pfi_buf_add(ctx, out, a.text.data + from, a.p[i].end - from));
    }
    pfi_pieces_free(ctx, &a);
    pfi_pieces_free(ctx, &b);
}

#define STAGES_SPLIT(b) "{'type':'Split','pattern':{'String':'-'},'behavior':'" b "','invert':false}"
/* quotes of both kinds: not to be written as the others */
static json_t *stages_llama3(void) {
    return json_pack("{s:s,s:{s:s},s:s}", "type", "Split", "pattern", "Regex",
                     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
                     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
                     "behavior", "Isolated");
}

static void test_pretokenizers(void **state) {
    (void)state;
    static const struct {
        const char *json, *text, *want;
    } cases[] = {
        {STAGES_SPLIT("Removed"), "the-final--countdown", "^the|final|countdown"},
        {STAGES_SPLIT("Removed"), "-a-", "a"},
        {STAGES_SPLIT("Isolated"), "the-final--countdown", "^the|-|final|-|-|countdown"},
        {STAGES_SPLIT("MergedWithPrevious"), "the-final--countdown", "^the-|final-|-|countdown"},
        {STAGES_SPLIT("MergedWithNext"), "the-final--countdown", "^the|-final|-|-countdown"},
        {STAGES_SPLIT("Contiguous"), "the-final--countdown", "^the|-|final|--|countdown"},
        {STAGES_SPLIT("MergedWithPrevious"), "--a", "^-|-|a"},
        {STAGES_SPLIT("MergedWithNext"), "a--", "^a|-|-"},
        {"{'type':'Split','pattern':{'Regex':'[a-z]+'},'behavior':'Removed','invert':true}", "12ab34c", "ab|c"},
        {"{'type':'Digits','individual_digits':true}", "a12 ½Ⅷx", "^a|1|2| |½|Ⅷ|x"},
        {"{'type':'Digits','individual_digits':false}", "a12 3x", "^a|12| |3|x"},
        /* letters, digits and marks of Unicode 16, which PCRE2 may not know yet */
        {"{'type':'Split','pattern':{'Regex':'\\\\p{L}+'},'behavior':'Isolated'}", "-a\xF0\x93\xB0\xB5-\xE0\xA2\x97",
         "^-|a\xF0\x93\xB0\xB5|-\xE0\xA2\x97"},
        {"{'type':'Split','pattern':{'Regex':'\\\\p{M}'},'behavior':'Removed'}", "a\xE0\xA2\x97-b", "^a|-b"},
        {"{'type':'Digits','individual_digits':true}", "a\xF0\x90\xB5\x84x", "^a|\xF0\x90\xB5\x84|x"},
        {"{'type':'ByteLevel','add_prefix_space':false}", "Hello my friend, I'm  2day?\n ok",
         "^Hello|Ġmy|Ġfriend|,|ĠI|'m|Ġ|Ġ2|day|?|Ċ|Ġok"},
        {"{'type':'ByteLevel','add_prefix_space':true}", "a é", "^Ġa|ĠÃ©"},
        {"{'type':'ByteLevel','add_prefix_space':true}", " a", "^Ġa"},
        {"{'type':'ByteLevel','add_prefix_space':false,'use_regex':false}", "a b", "^aĠb"},
        /* U+0085 is white space, U+180E is not */
        {"{'type':'ByteLevel','add_prefix_space':false}", "a\xC2\x85!", "^a|Âħ|!"},
        {"{'type':'ByteLevel','add_prefix_space':false}", "a \xE1\xA0\x8E!", "^a|Ġáłİ!"},
        {"{'type':'Metaspace','replacement':'▁','prepend_scheme':'always'}", "Hey  you", "^▁Hey|▁|▁you"},
        {"{'type':'Metaspace','replacement':'▁','prepend_scheme':'always'}", " Hey", "^▁Hey"},
        {"{'type':'Metaspace','replacement':'▁','prepend_scheme':'first'}", "Hey you", "^▁Hey|▁you"},
        {"{'type':'Metaspace','replacement':'▁','prepend_scheme':'never','split':false}", "Hey you", "^Hey▁you"},
        {"{'type':'Metaspace','replacement':'▁','add_prefix_space':false}", "Hey you", "^Hey|▁you"},
        {"{'type':'Metaspace','replacement':'▁'}", "Hey you", "^▁Hey|▁you"},
        {NULL, "I'LL go, 12345!\n\n  x\t\n  ", "^I|'LL| go|,| |123|45|!\n\n| | x|\t\n|  "},
        {"{'type':'Sequence','pretokenizers':[{'type':'Split','pattern':{'String':' "
         "'},'behavior':'MergedWithPrevious'},"
         "{'type':'Metaspace','replacement':'▁','prepend_scheme':'first','split':false}]}",
         "a b", "^▁a▁|b"},
    };
    pf_ctx *ctx = support_open();
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        json_t *v = cases[i].json ? tokens_json(ctx, cases[i].json) : stages_llama3();
        pfi_stages st = {0};
        support_ok(ctx, pfi_pretokenizers_parse(ctx, v, "test", &st));
        pfi_buf out = {0};
        stages_cut(ctx, &st, cases[i].text, true, &out);
        if (strcmp(out.data, cases[i].want) != 0) fail_msg("case %d: %s", i, out.data);
        pfi_buf_free(ctx, &out);
        pfi_stages_free(ctx, &st);
        json_decref(v);
    }
    support_close(ctx);
}

/* ---- decoders ---- */

static void test_decoders(void **state) {
    (void)state;
    static const struct {
        const char *json, *tokens, *want; /* tokens with | between */
    } cases[] = {
        {"{'type':'Fuse'}", "a|b", "ab"},
        {"{'type':'Replace','pattern':{'String':'▁'},'content':' '}", "▁a|b▁▁", " ab  "},
        {"{'type':'ByteFallback'}", "<0x61>|a", "aa"},
        {"{'type':'ByteFallback'}", "<0xE5>|<0x8f>|<0xAB>|a", "叫a"},
        {"{'type':'ByteFallback'}", "<0xE5>|a|<0xE5>|<0x8F>",
         "\xEF\xBF\xBD"
         "a\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"{'type':'ByteFallback'}", "<0xG1>|<0x1>|<0x123>", "<0xG1><0x1><0x123>"},
        {"{'type':'Strip','content':' ','start':1,'stop':0}", "  a |  b", " a  b"},
        {"{'type':'Strip','content':'H','start':1,'stop':2}", "HHaHHH", "HaH"},
        {"{'type':'Strip','content':'H','start':5,'stop':5}", "HH", ""},
        {"{'type':'ByteLevel'}", "aĠÃ|©Ċ|x y", "a é\nx y"},
        {"{'type':'Metaspace','replacement':'▁','prepend_scheme':'always'}", "▁Hey|▁you", "Hey you"},
        {"{'type':'Metaspace','replacement':'▁','prepend_scheme':'never'}", "▁Hey|▁you", " Hey you"},
        {"{'type':'Metaspace','replacement':'▁','add_prefix_space':false}", "▁Hey|▁you", " Hey you"},
        {"{'type':'Sequence','decoders':[{'type':'Replace','pattern':{'String':'▁'},'content':' '},"
         "{'type':'ByteFallback'},{'type':'Fuse'},{'type':'Strip','content':' ','start':1,'stop':0}]}",
         "▁a|▁|<0xC3>|<0xA9>|▁b", "a é b"},
    };
    pf_ctx *ctx = support_open();
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        json_t *v = tokens_json(ctx, cases[i].json);
        pfi_stages st = {0};
        support_ok(ctx, pfi_decoders_parse(ctx, v, "test", &st));
        pfi_pieces a = {0}, b = {0};
        for (const char *p = cases[i].tokens, *end; *p; p = *end ? end + 1 : end) {
            end = strchr(p, '|') ? strchr(p, '|') : p + strlen(p);
            support_ok(ctx, pfi_pieces_add(ctx, &a, p, (size_t)(end - p), -1, false));
        }
        for (int k = 0; k < st.n; k++) {
            pfi_pieces_clear(&b);
            support_ok(ctx, pfi_buf_str(ctx, &b.text, ""));
            support_ok(ctx, pfi_decode_stage(ctx, &st.s[k], &a, &b));
            pfi_pieces swap = a;
            a = b;
            b = swap;
        }
        if (strcmp(a.text.data, cases[i].want) != 0) fail_msg("case %d: %s", i, a.text.data);
        pfi_pieces_free(ctx, &a);
        pfi_pieces_free(ctx, &b);
        pfi_stages_free(ctx, &st);
        json_decref(v);
    }
    support_close(ctx);
}

/* ---- bytes and characters ---- */

/* GPT-2's own way to build the table */
static void test_byte_alphabet(void **state) {
    (void)state;
    int next = 256;
    for (int b = 0; b < 256; b++) {
        bool plain = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
        int want = plain ? b : next++;
        assert_int_equal(pfi_byte_char((unsigned char)b), want);
        assert_int_equal(pfi_char_byte(want), b);
    }
    const int32_t none[] = {-1, 0, ' ', 127, 160, 173, 256 + 68, 0x2581};
    for (int i = 0; i < PFI_COUNT(none); i++) assert_int_equal(pfi_char_byte(none[i]), -1);
}

static void test_classes(void **state) {
    (void)state;
    const int32_t space[] = {9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, 0x2003, 0x2028, 0x2029, 0x202F, 0x3000};
    const int32_t other[] = {8, 14, 0x1C, 'a', 0x180E, 0x200B, 0xFEFF};
    for (int i = 0; i < PFI_COUNT(space); i++) assert_true(pfi_char_space(space[i]) && !pfi_char_word(space[i]));
    for (int i = 0; i < PFI_COUNT(other); i++) assert_false(pfi_char_space(other[i]));
    assert_true(pfi_char_numeric('7') && pfi_char_numeric(0xBD) && pfi_char_numeric(0x2167) && !pfi_char_numeric('x'));
    assert_true(pfi_char_word('_') && pfi_char_word(0xE9) && pfi_char_word('7') && !pfi_char_word('-'));
    assert_true(pfi_char_mark(0x301) && !pfi_char_mark('e'));
}

/* the replacement of broken UTF-8, with the cases of the UTF-8 test file:
 * number:invalid hex:bytes:skipped:replaced, hex digits with blanks anywhere */
static size_t stages_hex(const char *p, const char *end, unsigned char *out) {
    size_t n = 0;
    int hi = -1;
    for (; p < end; p++) {
        const char *digits = "0123456789abcdef", *at = strchr(digits, *p | 0x20);
        if (*p <= ' ' || !at) continue;
        if (hi < 0) {
            hi = (int)(at - digits);
        } else {
            out[n++] = (unsigned char)(16 * hi + (int)(at - digits));
            hi = -1;
        }
    }
    return n;
}

static void test_lossy(void **state) {
    (void)state;
    char path[512];
    if (!support_data(path, sizeof path, "text_lossy", "malformed/utf8/utf8tests.txt")) skip();
    pf_ctx *ctx = support_open();
    pfi_lines *l;
    const char *text;
    size_t len;
    int seen = 0;
    json_t *v = tokens_json(ctx, "{'type':'ByteLevel'}");
    pfi_stages st = {0};
    support_ok(ctx, pfi_decoders_parse(ctx, v, "test", &st));
    support_ok(ctx, pfi_lines_open(ctx, path, &l));
    while (pfi_lines_next(l, &text, &len, NULL) == PF_OK && text) {
        const char *at = strstr(text, ":invalid hex:"), *end = text + len;
        if (!at || *text == '#') continue;
        at += strlen(":invalid hex:");
        const char *skipped = strchr(at, ':');
        const char *replaced = strchr(skipped + 1, ':') + 1;
        unsigned char raw[256], want[768];
        size_t n = stages_hex(at, skipped, raw), m = stages_hex(replaced, end, want);
        pfi_pieces a = {0}, b = {0};
        for (size_t i = 0; i < n; i++) {
            support_ok(ctx, pfi_utf8_add(ctx, &a.text, pfi_byte_char(raw[i])));
            support_ok(ctx, pfi_pieces_end(ctx, &a, -1, false));
        }
        support_ok(ctx, pfi_decode_stage(ctx, &st.s[0], &a, &b));
        if (b.text.len != m || memcmp(b.text.data, want, m) != 0) fail_msg("%s: %s", text, b.text.data);
        pfi_pieces_free(ctx, &a);
        pfi_pieces_free(ctx, &b);
        seen++;
    }
    assert_true(seen > 50);
    pfi_lines_close(l);
    pfi_stages_free(ctx, &st);
    json_decref(v);
    support_close(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normalizers),   cmocka_unit_test(test_pretokenizers), cmocka_unit_test(test_decoders),
        cmocka_unit_test(test_byte_alphabet), cmocka_unit_test(test_classes),       cmocka_unit_test(test_lossy),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
