/* The tokenizer against ids that other implementations gave for real vocabularies. */
#include "tokens.h"

#include <utf8proc.h>

static char data_path[512];

static bool data_have(const char *test, const char *rel) {
    return support_data(data_path, sizeof data_path, test, rel);
}

static json_t *data_json(pf_ctx *ctx, const char *test, const char *rel) {
    data_have(test, rel);
    json_t *v = pfi_json_load(ctx, data_path);
    if (!v) fail_msg("%s", pf_errmsg(ctx));
    return v;
}

/* NFC changes the text: an implementation without normalisation gives other ids */
static bool data_decomposed(const char *s, size_t n) {
    utf8proc_uint8_t *r;
    utf8proc_ssize_t len =
        utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &r, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    bool same = len == (utf8proc_ssize_t)n && memcmp(r, s, n) == 0;
    free(r);
    return !same;
}

static void data_one(pf_ctx *ctx, pf_tokenizer *tok, const json_t *text, const json_t *want, int flags) {
    const char *s = json_string_value(text);
    size_t len = json_string_length(text), n, back;
    int32_t *ids;
    char *out;
    support_ok(ctx, pfi_tokenizer_encode(tok, s, len, flags, &ids, &n));
    if (n != json_array_size(want)) fail_msg("\"%s\": %zu ids, expected %zu", s, n, json_array_size(want));
    for (size_t i = 0; i < n; i++) {
        json_int_t w = json_integer_value(json_array_get(want, i));
        if (ids[i] != w) fail_msg("\"%s\": id %zu is %d, expected %lld", s, i, ids[i], (long long)w);
    }
    support_ok(ctx, pf_tokenizer_decode(tok, ids, n, false, &out, &back));
    if (back != len || memcmp(out, s, len) != 0) fail_msg("\"%s\" decodes to \"%s\"", s, out);
    pfi_free(ctx, out);
    pfi_free(ctx, ids);
}

/* the texts and ids of one vocabulary; nfc: the tokenizer normalises, the reference did not */
static void data_all(pf_ctx *ctx, pf_tokenizer *tok, const json_t *texts, const json_t *ids, bool nfc, size_t least) {
    size_t i, seen = 0;
    json_t *text;
    json_array_foreach(texts, i, text) {
        if (nfc && data_decomposed(json_string_value(text), json_string_length(text))) continue;
        data_one(ctx, tok, text, json_array_get(ids, i), PFI_TOK_LITERAL);
        seen++;
    }
    assert_true(seen >= least);
}

static void data_cases(pf_ctx *ctx, pf_tokenizer *tok, const char *rel) {
    json_t *list = data_json(ctx, rel, rel), *e;
    size_t i;
    json_array_foreach(list, i, e) data_one(ctx, tok, json_object_get(e, "text"), json_object_get(e, "ids"), 0);
    assert_true(i > 40);
    json_decref(list);
}

static json_t *data_ids(const json_t *file, const char *name) {
    return json_object_get(json_object_get(file, "ids"), name);
}

/* SentencePiece-style BPE with byte fallback, a real trained model */
static void test_stories(void **state) {
    (void)state;
    if (!data_have("tokenizer_stories260K", "stories260K")) skip();
    pf_ctx *ctx = support_open();
    pf_tokenizer *tok;
    support_ok(ctx, pf_tokenizer_load(ctx, data_path, &tok));
    assert_int_equal(pf_tokenizer_size(tok), 512);
    assert_int_equal(pf_tokenizer_bos(tok), 1);
    assert_int_equal(pf_tokenizer_eos(tok), 2);
    json_t *f = data_json(ctx, "tokenizer_stories260K", "tokenizers/gguf_llama_tokenize.json");
    data_all(ctx, tok, json_object_get(f, "texts"), data_ids(f, "stories260K"), false, 963);
    json_decref(f);
    assert_string_equal(tokens_ids(ctx, tok, "Once upon a time", PFI_TOK_SPECIAL), "1 403 407 261 378");
    assert_string_equal(tokens_ids(ctx, tok, "</s>", 0), "2");
    pf_tokenizer_free(tok);
    support_close(ctx);
}

/* ---- byte-level BPE ---- */

/* tokenizer.json from the older pair of files, as transformers converts them */
static pf_tokenizer *data_convert(pf_ctx *ctx, const char *vocab_rel, const char *merges_rel, const char *added,
                                  const char *normalizer, const char *pre) {
    pfi_buf b = {0}, vocab = {0};
    pfi_lines *l;
    const char *line;
    size_t len;
    int n = 0;
    data_have("vocabulary", vocab_rel);
    support_ok(ctx, pfi_file_read(ctx, data_path, &vocab));
    support_ok(ctx, pfi_buf_fmt(ctx, &b,
                                "{\"added_tokens\":[%s],\"normalizer\":%s,\"pre_tokenizer\":%s,"
                                "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":",
                                added, normalizer, pre));
    support_ok(ctx, pfi_buf_add(ctx, &b, vocab.data, vocab.len));
    support_ok(ctx, pfi_buf_str(ctx, &b, ",\"merges\":["));
    data_have("merges", merges_rel);
    support_ok(ctx, pfi_lines_open(ctx, data_path, &l));
    while (pfi_lines_next(l, &line, &len, NULL) == PF_OK && line) {
        if (strncmp(line, "#version", 8) == 0) continue;
        if (n++) support_ok(ctx, pfi_buf_str(ctx, &b, ","));
        support_ok(ctx, pfi_json_quote(ctx, &b, line, len));
    }
    pfi_lines_close(l);
    support_ok(ctx, pfi_buf_str(ctx, &b, "]}}"));
    const char *path = support_write("converted.json", b.data, b.len);
    pf_tokenizer *tok;
    support_ok(ctx, pf_tokenizer_load(ctx, path, &tok));
    pfi_buf_free(ctx, &b);
    pfi_buf_free(ctx, &vocab);
    return tok;
}

#define DATA_QWEN2                                                                                                     \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| "                                  \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|"                                                                         \
    "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

static void test_qwen2(void **state) {
    (void)state;
    if (!data_have("tokenizer_qwen2", "tokenizers/qwen2")) skip();
    pf_ctx *ctx = support_open();
    pf_tokenizer *tok = data_convert(
        ctx, "tokenizers/qwen2/vocab.json", "tokenizers/qwen2/merges.txt",
        "{\"id\":151643,\"content\":\"<|endoftext|>\",\"special\":true},"
        "{\"id\":151644,\"content\":\"<|im_start|>\",\"special\":true},"
        "{\"id\":151645,\"content\":\"<|im_end|>\",\"special\":true}",
        "{\"type\":\"NFC\"}",
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" DATA_QWEN2 "\"},"
        "\"behavior\":\"Isolated\",\"invert\":false},"
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false,\"use_regex\":false}]}");
    json_t *f = data_json(ctx, "tokenizer_qwen2", "tokenizers/bytelevel_bpe.json");
    data_all(ctx, tok, json_object_get(f, "texts"), data_ids(f, "qwen2"), true, 950);
    json_decref(f);
    data_cases(ctx, tok, "tokenizers/ggml-vocab-qwen2.gguf.cases.json");
    assert_string_equal(tokens_ids(ctx, tok, "<|im_start|>user\n", 0), "151644 872 198");
    pf_tokenizer_free(tok);
    support_close(ctx);
}

static void test_gpt2(void **state) {
    (void)state;
    if (!data_have("tokenizer_gpt2", "tokenizers/gpt2")) skip();
    pf_ctx *ctx = support_open();
    pf_tokenizer *tok =
        data_convert(ctx, "tokenizers/gpt2/gpt2_vocab.json", "tokenizers/gpt2/gpt2_merges.txt",
                     "{\"id\":50256,\"content\":\"<|endoftext|>\",\"special\":true}", "null",
                     "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}");
    json_t *f = data_json(ctx, "tokenizer_gpt2", "tokenizers/bytelevel_bpe.json");
    data_all(ctx, tok, json_object_get(f, "texts"), data_ids(f, "r50k_base"), false, 964);
    json_decref(f);
    f = data_json(ctx, "tokenizer_gpt2", "tokenizers/gguf_llama_tokenize.json");
    data_all(ctx, tok, json_object_get(f, "texts"), data_ids(f, "ggml-vocab-gpt-2"), false, 963);
    json_decref(f);
    data_cases(ctx, tok, "tokenizers/ggml-vocab-gpt-2.gguf.cases.json");

    /* the pieces of a byte-level text put together are the text */
    const char *text = "naïve 😀 résumé\n";
    int32_t *ids;
    size_t n;
    pfi_buf b = {0};
    support_ok(ctx, pf_tokenizer_encode(tok, text, strlen(text), false, &ids, &n));
    for (size_t i = 0; i < n; i++) support_ok(ctx, pfi_tokenizer_piece(tok, ids[i], &b));
    assert_string_equal(b.data, text);
    pfi_buf_free(ctx, &b);
    pfi_free(ctx, ids);
    pf_tokenizer_free(tok);
    support_close(ctx);
}

/* a real tokenizer.json: pairs as merges, NFC, added tokens that are matched after normalisation */
static void test_pythia(void **state) {
    (void)state;
    if (!data_have("tokenizer_pythia", "tokenizers/pythia")) skip();
    pf_ctx *ctx = support_open();
    pf_tokenizer *tok;
    support_ok(ctx, pf_tokenizer_load(ctx, data_path, &tok));
    assert_int_equal(pf_tokenizer_eos(tok), 0);
    json_t *f = data_json(ctx, "tokenizer_pythia", "tokenizers/gguf_llama_tokenize.json");
    data_all(ctx, tok, json_object_get(f, "texts"), data_ids(f, "ggml-vocab-mpt"), true, 950);
    json_decref(f);
    data_cases(ctx, tok, "tokenizers/ggml-vocab-mpt.gguf.cases.json");
    pf_tokenizer_free(tok);
    support_close(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_qwen2),
        cmocka_unit_test(test_gpt2),
        cmocka_unit_test(test_pythia),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
