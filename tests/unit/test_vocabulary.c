/* Tokenizers out of GGUF vocabularies: ids as llama.cpp gives them, saving, refusals, memory. */
#include <math.h>

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

/* ---- plain arrays ---- */

#define VOCAB_N 10
/* "ab" comes before "bc"; of the two ways to "abc" the one with the longer left part comes first */
static const char *const vocab_tokens[VOCAB_N] = {"<unk>", "<s>", "</s>", "a", "b", "c", "ab", "bc", "abc", "<x>"};
static const float vocab_scores[VOCAB_N] = {0, 0, 0, -10, -11, -12, -1, -2, -3, 0};
static const int32_t vocab_types[VOCAB_N] = {2, 3, 3, 1, 1, 1, 1, 1, 1, 4};
static const char *const vocab_merges[] = {"a b", "b c", "ab c"};

typedef struct vocab_arrays {
    const char *token[VOCAB_N], *merge[3];
    size_t token_len[VOCAB_N], merge_len[3];
    float score[VOCAB_N];
    int32_t type[VOCAB_N];
} vocab_arrays;

static pfi_vocab_source vocab_source(vocab_arrays *w, const char *model, const char *pre) {
    for (int i = 0; i < VOCAB_N; i++) {
        w->token[i] = vocab_tokens[i];
        w->token_len[i] = strlen(vocab_tokens[i]);
        w->score[i] = vocab_scores[i];
        w->type[i] = vocab_types[i];
    }
    for (int i = 0; i < 3; i++) {
        w->merge[i] = vocab_merges[i];
        w->merge_len[i] = strlen(vocab_merges[i]);
    }
    bool bytes = strcmp(model, "gpt2") == 0;
    return (pfi_vocab_source){.model = model,
                              .pre = pre,
                              .token = w->token,
                              .token_len = w->token_len,
                              .score = bytes ? NULL : w->score,
                              .type = w->type,
                              .n = VOCAB_N,
                              .merge = bytes ? w->merge : NULL,
                              .merge_len = bytes ? w->merge_len : NULL,
                              .n_merges = bytes ? 3 : 0,
                              .bos = -1,
                              .eos = -1,
                              .unk = -1,
                              .pad = -1,
                              .add_bos = -1,
                              .add_eos = -1,
                              .add_space_prefix = -1};
}

static const char *vocab_ids(pf_ctx *ctx, const pfi_vocab_source *v, const char *text) {
    pf_tokenizer *tok, *again;
    static char first[500];
    support_ok(ctx, pfi_tokenizer_from_vocab(ctx, "test", v, &tok));
    snprintf(first, sizeof first, "%s", tokens_ids(ctx, tok, text, PFI_TOK_SPECIAL));
    /* what is saved gives the same */
    support_ok(ctx, pfi_file_mkdirs(ctx, support_path("saved")));
    support_ok(ctx, pfi_tokenizer_save(tok, support_path("saved")));
    support_ok(ctx, pf_tokenizer_load(ctx, support_path("saved"), &again));
    assert_string_equal(first, tokens_ids(ctx, again, text, PFI_TOK_SPECIAL));
    assert_int_equal(pf_tokenizer_bos(tok), pf_tokenizer_bos(again));
    assert_int_equal(pf_tokenizer_eos(tok), pf_tokenizer_eos(again));
    pf_tokenizer_free(again);
    pf_tokenizer_free(tok);
    return first;
}

static void test_arrays(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    vocab_arrays w;
    pfi_vocab_source v = vocab_source(&w, "llama", NULL);
    /* the prefix "▁" has no token; bos 1 is what the model adds if nothing else is said */
    assert_string_equal(vocab_ids(ctx, &v, "abcab<x>c"), "1 0 8 6 9 0 5");
    v.add_space_prefix = 0;
    v.add_bos = 0;
    v.add_eos = 1;
    assert_string_equal(vocab_ids(ctx, &v, "abcab<x>c</s>"), "8 6 9 5 2 2");
    w.score[7] = -0.5F; /* "bc" before "ab": "abc" is now a + bc, which is a merge too */
    assert_string_equal(vocab_ids(ctx, &v, "abcab"), "8 6 2");
    w.type[7] = PFI_VOCAB_UNUSED; /* takes no part in merges */
    assert_string_equal(vocab_ids(ctx, &v, "bcabc"), "4 5 8 2");
    v = vocab_source(&w, "gemma", NULL);
    assert_string_equal(vocab_ids(ctx, &v, "ab"), "1 6");

    v = vocab_source(&w, "gpt2", "gpt-2");
    assert_string_equal(vocab_ids(ctx, &v, "abc<x>bc"), "8 9 7");
    v.add_bos = 1;
    v.bos = v.eos = 2;
    v.add_eos = 1;
    assert_string_equal(vocab_ids(ctx, &v, "abc"), "2 8 2");
    v.chat_template = "{{ x }}";
    pf_tokenizer *tok;
    support_ok(ctx, pfi_tokenizer_from_vocab(ctx, "test", &v, &tok));
    assert_string_equal(pfi_tokenizer_template(tok), "{{ x }}");
    assert_int_equal(pf_tokenizer_eos(tok), 2);
    assert_true(pfi_tokenizer_special(tok, 1) && !pfi_tokenizer_special(tok, 9));
    pf_tokenizer_free(tok);
    support_close(ctx);
}

/* llama3 takes a whole word that is a token; the others need the merges */
static void test_pre(void **state) {
    (void)state;
    static const char *const names[] = {"default",  "gpt-2",     "mpt",          "olmo",          "qwen2",
                                        "qwen35",   "smollm",    "refact",       "gpt-4o",        "falcon",
                                        "phi-2",    "starcoder", "tekken",       "llama-bpe",     "llama3",
                                        "gpt-neox", "command-r", "deepseek-llm", "deepseek-coder"};
    pf_ctx *ctx = support_open();
    vocab_arrays w;
    for (int i = 0; i < PFI_COUNT(names); i++) {
        pfi_vocab_source v = vocab_source(&w, "gpt2", names[i]);
        v.n_merges = 2;
        v.add_bos = 0;
        bool whole = strcmp(names[i], "tekken") == 0 || strncmp(names[i], "llama", 5) == 0;
        assert_string_equal(vocab_ids(ctx, &v, "abc"), whole ? "8" : "6 5");
    }
    support_close(ctx);
}

static void vocab_refused(pf_ctx *ctx, const pfi_vocab_source *v, pf_status status, const char *message) {
    pf_tokenizer *tok;
    support_fails(ctx, pfi_tokenizer_from_vocab(ctx, "x.gguf", v, &tok), status, message);
    assert_non_null(strstr(pf_errmsg(ctx), "x.gguf"));
    assert_null(tok);
}

static void test_refused(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    vocab_arrays w;
    pfi_vocab_source v = vocab_source(&w, "bert", NULL);
    vocab_refused(ctx, &v, PF_UNSUPPORTED, "the tokenizer model \"bert\" is not supported");
    v = vocab_source(&w, "gpt2", "odd-bpe");
    vocab_refused(ctx, &v, PF_UNSUPPORTED, "the pre-tokenizer \"odd-bpe\" is not supported");
    v = vocab_source(&w, "gpt2", NULL);
    v.merge = NULL;
    vocab_refused(ctx, &v, PF_FORMAT, "no merges");
    v = vocab_source(&w, "llama", NULL);
    v.score = NULL;
    vocab_refused(ctx, &v, PF_FORMAT, "no scores");
    v = vocab_source(&w, "llama", NULL);
    w.score[8] = NAN;
    vocab_refused(ctx, &v, PF_FORMAT, "the score of token 8 is not a number");
    v = vocab_source(&w, "llama", NULL);
    w.token[5] = "ab";
    w.token_len[5] = 2;
    vocab_refused(ctx, &v, PF_FORMAT, "the tokens 5 and 6 are both \"ab\"");
    v = vocab_source(&w, "llama", NULL);
    w.token[5] = "\xFF";
    vocab_refused(ctx, &v, PF_FORMAT, "token 5 is not valid UTF-8");
    v = vocab_source(&w, "llama", NULL);
    v.n = 0;
    vocab_refused(ctx, &v, PF_FORMAT, "a vocabulary of 0 tokens");
    v = vocab_source(&w, "llama", NULL);
    v.eos = VOCAB_N;
    vocab_refused(ctx, &v, PF_FORMAT, "the eos token has the id 10, but there are 10 tokens");
    v = vocab_source(&w, "gpt2", "gpt-2");
    w.merge[1] = "bc";
    w.merge_len[1] = 2;
    vocab_refused(ctx, &v, PF_FORMAT, "merge 2 is \"bc\", expected two tokens");
    v = vocab_source(&w, "gpt2", "gpt-2");
    w.merge[1] = "c c";
    vocab_refused(ctx, &v, PF_FORMAT, "merge 2 needs the token \"cc\"");
    v = vocab_source(&w, "gpt2", "gpt-2");
    v.chat_template = "\xC3";
    vocab_refused(ctx, &v, PF_FORMAT, "the chat template is not valid UTF-8");
    support_close(ctx);
}

static pf_status vocab_everything(pf_ctx *ctx, void *model) {
    vocab_arrays w;
    pfi_vocab_source v = vocab_source(&w, model, "deepseek-coder");
    v.chat_template = "{{ x }}";
    pf_tokenizer *tok;
    pf_status s = pfi_tokenizer_from_vocab(ctx, "test", &v, &tok);
    pf_tokenizer_free(tok);
    return s;
}

static void test_memory(void **state) {
    (void)state;
    support_sweep(vocab_everything, (void *)(uintptr_t) "llama", 1);
    support_sweep(vocab_everything, (void *)(uintptr_t) "gpt2", 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),   cmocka_unit_test(test_arrays), cmocka_unit_test(test_pre),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
