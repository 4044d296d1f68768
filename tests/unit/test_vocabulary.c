/* Tokenizers out of GGUF vocabularies: ids as llama.cpp gives them, saving, refusals, memory. */
#include "tokens.h"

#include "file/gguf.h"

static char vocab_path[512];

static bool vocab_have(const char *test, const char *rel) {
    return support_data(vocab_path, sizeof vocab_path, test, rel);
}

static json_t *vocab_json(pf_ctx *ctx, const char *rel) {
    if (!vocab_have("vocabulary", rel)) return NULL;
    json_t *v = pfi_json_load(ctx, vocab_path);
    if (!v) fail_msg("%s", pf_errmsg(ctx));
    return v;
}

/* how many of the texts get other ids than expected */
static int vocab_wrong(pf_ctx *ctx, pf_tokenizer *tok, const char *name, const json_t *text, const json_t *want,
                       int flags) {
    int32_t *ids;
    size_t n, at = 0;
    const char *s = json_string_value(text);
    support_ok(ctx, pfi_tokenizer_encode(tok, s, json_string_length(text), flags, &ids, &n));
    bool same = n == json_array_size(want);
    for (; same && at < n; at++) same = ids[at] == json_integer_value(json_array_get(want, at));
    if (!same) print_message("%s: \"%s\": %zu ids, expected %zu\n", name, s, n, json_array_size(want));
    pfi_free(ctx, ids);
    return !same;
}

/* differs: texts on which the two must differ, as Hugging Face's tokenizers do (NFC) */
static void vocab_file(const char *name, bool cases, int differ) {
    char rel[200];
    snprintf(rel, sizeof rel, "tokenizers/%s.gguf", name);
    pf_ctx *ctx = support_open();
    pf_tokenizer *tok;
    vocab_have(name, rel);
    support_ok(ctx, pf_tokenizer_load(ctx, vocab_path, &tok));
    json_t *f = vocab_json(ctx, "tokenizers/gguf_llama_tokenize.json"), *text;
    json_t *texts = json_object_get(f, "texts"), *ids = json_object_get(json_object_get(f, "ids"), name);
    size_t i;
    int wrong = 0;
    assert_int_equal(json_array_size(ids), 963);
    json_array_foreach(texts, i, text) wrong +=
        vocab_wrong(ctx, tok, name, text, json_array_get(ids, i), PFI_TOK_LITERAL);
    json_decref(f);
    snprintf(rel, sizeof rel, "tokenizers/%s.gguf.cases.json", name);
    f = cases ? vocab_json(ctx, rel) : NULL;
    json_array_foreach(f, i, text) wrong +=
        vocab_wrong(ctx, tok, name, json_object_get(text, "text"), json_object_get(text, "ids"), PFI_TOK_LITERAL);
    json_decref(f);
    if (wrong != differ) fail_msg("%s: %d texts differ, expected %d", name, wrong, differ);
    pf_tokenizer_free(tok);
    support_close(ctx);
}

static void test_files(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool cases; /* there is a .cases.json too */
        int differ;
    } files[] = {
        {"ggml-vocab-baichuan", false, 0},    {"ggml-vocab-deepseek-coder", true, 0},
        {"ggml-vocab-deepseek-llm", true, 0}, {"ggml-vocab-falcon", true, 0},
        {"ggml-vocab-gpt-2", true, 0},        {"ggml-vocab-gpt-neox", false, 0},
        {"ggml-vocab-llama-spm", true, 0},    {"ggml-vocab-mpt", true, 3},
        {"ggml-vocab-phi-3", true, 1},        {"ggml-vocab-refact", true, 0},
        {"ggml-vocab-starcoder", true, 0},
    };
    if (!vocab_have("vocabulary_files", "tokenizers")) skip();
    for (int i = 0; i < PFI_COUNT(files); i++) vocab_file(files[i].name, files[i].cases, files[i].differ);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
