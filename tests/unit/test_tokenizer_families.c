/* The tokenizers of the model families, cut down, against what Hugging Face's library makes of generated texts
 * (tests/golden/make_tokenizers.py): ids with and without special tokens, text with and without them. */
#include "tokens.h"

static void family_ids(pf_ctx *ctx, pf_tokenizer *tok, const char *where, const json_t *text, const json_t *want,
                       int flags) {
    int32_t *ids;
    size_t n;
    support_ok(ctx, pfi_tokenizer_encode(tok, json_string_value(text), json_string_length(text), flags, &ids, &n));
    for (size_t i = 0; i < PFI_MAX(n, json_array_size(want)); i++) {
        int expected = (int)json_integer_value(json_array_get(want, i));
        if (i >= n || i >= json_array_size(want) || ids[i] != expected)
            fail_msg("%s: \"%s\": %zu ids, id %zu is %d; expected %zu, %d", where, json_string_value(text), n, i,
                     i < n ? ids[i] : -1, json_array_size(want), expected);
    }
    pfi_free(ctx, ids);
}

static void family_text(pf_ctx *ctx, pf_tokenizer *tok, const char *where, const json_t *list, const json_t *want,
                        bool skip) {
    int32_t ids[2048];
    char *text;
    size_t i, len;
    json_t *e;
    if (!want) return; /* the reference loses an added token's text */
    assert_true(json_array_size(list) <= PFI_COUNT(ids));
    json_array_foreach(list, i, e) ids[i] = (int32_t)json_integer_value(e);
    support_ok(ctx, pf_tokenizer_decode(tok, ids, i, skip, &text, &len));
    if (len != json_string_length(want) || memcmp(text, json_string_value(want), len) != 0)
        fail_msg("%s: decodes to \"%s\", expected \"%s\"", where, text, json_string_value(want));
    pfi_free(ctx, text);
}

/* a text that is still growing is valid UTF-8 at every token, also in the middle of a character */
static void family_prefixes(pf_ctx *ctx, pf_tokenizer *tok, const char *where, const json_t *list) {
    int32_t ids[2048];
    size_t i, len;
    json_t *e;
    json_array_foreach(list, i, e) {
        char *text;
        ids[i] = (int32_t)json_integer_value(e);
        support_ok(ctx, pf_tokenizer_decode(tok, ids, i + 1, false, &text, &len));
        if (pfi_utf8_check(text, len) < len) fail_msg("%s: the first %zu tokens give broken UTF-8", where, i + 1);
        pfi_free(ctx, text);
    }
}

static pf_tokenizer *family_load(pf_ctx *ctx, const char *name, pfi_lines *l) {
    const char *line;
    size_t len;
    pf_tokenizer *tok;
    pfi_buf file[PFI_TOK_FILES] = {0};
    support_ok(ctx, pfi_lines_next(l, &line, &len, NULL));
    support_ok(ctx, pfi_buf_add(ctx, &file[0], line, len));
    support_ok(ctx, pfi_tokenizer_from_files(ctx, name, false, file, &tok));
    return tok;
}

static void family_one(const char *name) {
    char path[200];
    const char *line;
    size_t len;
    long at;
    int seen = 0;
    pfi_lines *l;
    pf_ctx *ctx = support_open();
    snprintf(path, sizeof path, "tests/golden/tokenizers/%s.jsonl.zst", name);
    support_ok(ctx, pfi_lines_open(ctx, path, &l));
    pf_tokenizer *tok = family_load(ctx, name, l);
    for (;;) {
        support_ok(ctx, pfi_lines_next(l, &line, &len, &at));
        if (!line) break;
        json_t *v = pfi_json_parse(ctx, line, len, path), *text = json_object_get(v, "text");
        json_t *all = json_object_get(v, "all");
        snprintf(path, sizeof path, "%s, line %ld", name, at);
        assert_non_null(all);
        if (text) family_ids(ctx, tok, path, text, json_object_get(v, "ids"), 0);
        if (text) family_ids(ctx, tok, path, text, all, PFI_TOK_SPECIAL);
        family_text(ctx, tok, path, all, json_object_get(v, "decoded"), false);
        family_text(ctx, tok, path, all, json_object_get(v, "plain"), true);
        if (seen % 4 == 0) family_prefixes(ctx, tok, path, all);
        json_decref(v);
        seen++;
    }
    assert_int_equal(seen, 300);
    pfi_lines_close(l);
    pf_tokenizer_free(tok);
    support_close(ctx);
}

static void test_families(void **state) {
    (void)state;
    static const char *const names[] = {"gpt2",     "neox",    "llama3",       "qwen2",  "smollm2", "smollm3",
                                        "phi4mini", "tekken",  "deepseek_llm", "llama2", "mistral", "phi3",
                                        "gemma",    "affixes", "flags",        "prefix"};
    for (int i = 0; i < PFI_COUNT(names); i++) family_one(names[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_families)};
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
