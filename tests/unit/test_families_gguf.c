/* GGUF files that llama.cpp's converter made of every family it has, against the figures of transformers; our own GGUF
 * files; what llama.cpp would compute otherwise is refused. */
#include "families.h"

static double worst;

static int32_t *read_ids(const json_t *j, int32_t *ids, size_t *n) {
    *n = (size_t)(family_ids(json_object_get(j, "ids"), ids) - ids);
    return ids;
}

static pf_tensor *logits_of(pf_model *m, const json_t *j, const char *name) {
    int32_t ids[FAMILY_MOST];
    size_t n;
    read_ids(j, ids, &n);
    pf_tensor *z = pf_model_logits(m, ids, n);
    if (!z) fail_msg("%s: %s", name, pf_errmsg(m->ctx));
    return z;
}

static void near(double got, double want, const char *name, const char *what, size_t at) {
    const double far = fabs(got - want) / fmax(1, fabs(want));
    if (!(far <= 1e-4)) fail_msg("%s: %s %zu is %.9g, expected %.9g", name, what, at, got, want);
    worst = fmax(worst, far);
}

static void check_figures(pf_model *m, const json_t *j, const json_t *one, const char *name) {
    pf_tensor *z = logits_of(m, j, name);
    const json_t *last = json_object_get(one, "last"), *probe = json_object_get(one, "probe");
    const size_t n = json_array_size(probe), V = json_array_size(last);
    assert_int_equal(pfi_numel(z), n * V);
    for (size_t t = 0; t < n; t++) {
        double sum = 0;
        for (size_t v = 0; v < V; v++) sum += pfi_get(z, t * V + v) * family_noise(999, v);
        near(sum, json_number_value(json_array_get(probe, t)), name, "probe", t);
    }
    for (size_t v = 0; v < V; v++)
        near(pfi_get(z, (n - 1) * V + v), json_number_value(json_array_get(last, v)), name, "logit", v);
    pf_tensor_free(z);
}

/* a and b compute the same but for the rounding of numbers in the metadata to float32 */
static void check_same(pf_model *a, pf_model *b, const json_t *j, const char *name) {
    pf_tensor *x = logits_of(a, j, name), *y = logits_of(b, j, name);
    for (size_t i = 0; i < pfi_numel(x); i++)
        if (!(fabs(pfi_get(x, i) - pfi_get(y, i)) <= 2e-5 * fmax(1, fabs(pfi_get(x, i)))))
            fail_msg("%s: logit %zu is %.9g, after saving as GGUF %.9g", name, i, pfi_get(x, i), pfi_get(y, i));
    pf_tensor_free(x);
    pf_tensor_free(y);
}

/* models that llama.cpp would compute otherwise, and the words by which they are refused */
static const char *const refused[][2] = {{"llama_bias", "activation"},
                                         {"llama_yarn", "betas"},
                                         {"converted-yarn", "betas"},
                                         {"llama_yarn_mscale", "attention factor"},
                                         {"llama_yarn_factor", "attention factor"},
                                         {"qwen2_window", "sliding window"},
                                         {"qwen3_bias", "sliding window"},
                                         {"smollm3", "no_rope_layers"},
                                         {"smollm3_list", "sliding window"},
                                         {"gemma_act", "activation"},
                                         {"gemma2", "query_pre_attn_scalar"},
                                         {"gemma2_nocap", "query_pre_attn_scalar"},
                                         {"gemma3_text", "query_pre_attn_scalar"},
                                         {"gemma3", "query_pre_attn_scalar"},
                                         {"gpt2_wide", "activation"},
                                         {"gpt_neox_serial", "without biases"}};

/* saved as GGUF and read again */
static void check_round_trip(pf_model *m, const json_t *j, const char *name) {
    pf_ctx *ctx = m->ctx;
    pf_model *again;
    char file[128];
    snprintf(file, sizeof file, "%s.gguf", name);
    const char *path = support_path(file);
    for (int i = 0; i < PFI_COUNT(refused); i++) {
        if (strcmp(refused[i][0], name) != 0) continue;
        support_fails(ctx, pf_model_save(m, path), PF_UNSUPPORTED, refused[i][1]);
        assert_int_not_equal(access(path, F_OK), 0);
        return;
    }
    if (pf_model_save(m, path) != PF_OK) fail_msg("%s: %s", name, pf_errmsg(ctx));
    if (pf_model_load(ctx, path, PF_F32, &again) != PF_OK) fail_msg("%s: %s", name, pf_errmsg(ctx));
    check_same(m, again, j, name);
    pf_model_free(again);
}

static void test_converted(void **state) {
    (void)state;
    json_error_t e;
    json_t *j = json_load_file("tests/golden/families_gguf.json", 0, &e), *one;
    if (!j) fail_msg("tests/golden/families_gguf.json: %s", e.text);
    const char *name;
    json_object_foreach(json_object_get(j, "cases"), name, one) {
        pf_ctx *ctx = support_open();
        pf_model *m;
        char path[128], label[64];
        snprintf(label, sizeof label, "converted-%s", name);
        snprintf(path, sizeof path, "tests/golden/families/%s.gguf", name);
        if (pf_model_load(ctx, path, PF_F32, &m) != PF_OK) fail_msg("%s: %s", name, pf_errmsg(ctx));
        check_figures(m, j, one, name);
        check_round_trip(m, j, label);
        pf_model_free(m);
        support_close(ctx);
    }
    printf("farthest from transformers: %.1e of a logit\n", worst);
    json_decref(j);
}

static void test_saved(void **state) {
    (void)state;
    json_t *j = family_figures(), *one;
    const char *name;
    json_object_foreach(json_object_get(j, "cases"), name, one) {
        pf_ctx *ctx = support_open();
        pf_model *m;
        support_ok(ctx, pf_model_load(ctx, family_dir(ctx, one, name, "config"), PF_F32, &m));
        check_round_trip(m, j, name);
        pf_model_free(m);
        support_close(ctx);
    }
    json_decref(j);
}

/* switches that no case above has: a serial GPT-NeoX, windows on other layers than usual */
static void test_switches(void **state) {
    (void)state;
    static const char *const configs[][2] = {
        {"serial", "{\"model_type\": \"gpt_neox\", \"vocab_size\": 40, \"hidden_size\": 16, \"intermediate_size\": 12, "
                   "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"use_parallel_residual\": false, "
                   "\"initializer_range\": 0.4}"},
        {"windows",
         "{\"model_type\": \"gemma3_text\", \"vocab_size\": 40, \"hidden_size\": 16, \"intermediate_size\": 12, "
         "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"head_dim\": 8, "
         "\"query_pre_attn_scalar\": 8, \"sliding_window\": 3, \"initializer_range\": 0.4, "
         "\"layer_types\": [\"full_attention\", \"sliding_attention\"]}"}};
    json_t *j = family_figures();
    pf_ctx *ctx = support_open();
    for (int i = 0; i < PFI_COUNT(configs); i++) {
        pf_model *m;
        support_ok(ctx, pf_model_new(ctx, configs[i][1], NULL, 3, &m));
        check_round_trip(m, j, configs[i][0]);
        pf_model_free(m);
    }
    json_decref(j);
    support_close(ctx);
}

/* the types that a name asks for */
static void test_types(void **state) {
    (void)state;
    static const struct {
        const char *file;
        pf_dtype type;
    } cases[] = {{"m.gguf", PF_F32}, {"m-f16.gguf", PF_F16}, {"m.BF16.gguf", PF_BF16}, {"m_q8_0.gguf", PF_Q8_0}};
    pf_ctx *ctx = support_open();
    pf_model *m;
    support_ok(ctx, pf_model_new(ctx,
                                 "{\"model_type\": \"llama\", \"vocab_size\": 9, \"hidden_size\": 32, "
                                 "\"intermediate_size\": 64, \"num_hidden_layers\": 1, \"num_attention_heads\": 2}",
                                 NULL, 1, &m));
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        pfi_gguf *g;
        support_ok(ctx, pf_model_save(m, support_path(cases[i].file)));
        support_ok(ctx, pfi_gguf_open(ctx, support_path(cases[i].file), &g));
        assert_int_equal(pfi_gguf_find(g, "blk.0.attn_q.weight")->pf, cases[i].type);
        assert_int_equal(pfi_gguf_find(g, "blk.0.attn_norm.weight")->pf, PF_F32);
        pfi_gguf_release(g);
    }
    pf_model_free(m);
    support_close(ctx);
}

/* a tokenizer, through GGUF and back: the same ids, chat template and ends of texts */
static void test_tokenizer(void **state) {
    (void)state;
    static const char *const texts[] = {"Once upon a time", "  two  spaces\n\n1234 it's",
                                        "d\303\251j\303\240 \342\200\224"};
    char from[512];
    if (!support_data(from, sizeof from, "test_tokenizer", "stories260K")) return;
    pf_ctx *ctx = support_open();
    pf_model *m, *again;
    support_ok(ctx, pf_model_load(ctx, from, PF_F32, &m));
    support_ok(ctx, pf_model_save(m, support_path("stories.gguf")));
    support_ok(ctx, pf_model_load(ctx, support_path("stories.gguf"), PF_F32, &again));
    pf_tokenizer *a = pf_model_tokenizer(m), *b = pf_model_tokenizer(again);
    assert_non_null(b);
    assert_int_equal(pf_tokenizer_bos(a), pf_tokenizer_bos(b));
    assert_int_equal(pf_model_size(m, "eos_token_id"), pf_model_size(again, "eos_token_id"));
    for (int i = 0; i < PFI_COUNT(texts); i++) {
        int32_t *x, *y;
        size_t n, k;
        support_ok(ctx, pf_tokenizer_encode(a, texts[i], strlen(texts[i]), true, &x, &n));
        support_ok(ctx, pf_tokenizer_encode(b, texts[i], strlen(texts[i]), true, &y, &k));
        assert_int_equal(n, k);
        assert_memory_equal(x, y, n * sizeof *x);
        pf_release(ctx, x);
        pf_release(ctx, y);
    }
    pf_model_free(m);
    pf_model_free(again);
    support_close(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tokenizer), cmocka_unit_test(test_converted),
                                       cmocka_unit_test(test_saved), cmocka_unit_test(test_switches),
                                       cmocka_unit_test(test_types)};
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
