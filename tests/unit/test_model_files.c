/* What a model directory holds besides the weights, what is refused by name, and what happens when memory runs out. */
#include "families.h"

#include <sys/stat.h>

static const char small[] = "\"vocab_size\": 12, \"num_hidden_layers\": 1, \"max_position_embeddings\": 32";
static const char sizes[] = "\"hidden_size\": 16, \"intermediate_size\": 8, \"num_attention_heads\": 2, "
                            "\"num_key_value_heads\": 1, \"head_dim\": 8";

/* a configuration of a type with more keys */
static const char *config_of(const char *type, const char *more) {
    static char text[4096];
    const char *own =
        strcmp(type, "gpt2") == 0 ? "\"n_embd\": 16, \"n_layer\": 1, \"n_head\": 2, \"n_positions\": 32" : sizes;
    const char *first = strcmp(type, "gpt2") == 0 ? "\"vocab_size\": 12" : small;
    snprintf(text, sizeof text, "{\"model_type\": \"%s\", %s, %s%s%s}", type, first, own, *more ? ", " : "", more);
    return text;
}

/* ---- refusals ---- */

static void test_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *type, *more;
        pf_status want;
        const char *word;
    } cases[] = {
        {"mamba", "", PF_UNSUPPORTED, "\"mamba\""},
        {"llama", "\"quantization_config\": {\"quant_method\": \"awq\"}", PF_UNSUPPORTED, "quantization_config"},
        {"llama", "\"sliding_window\": 4", PF_UNSUPPORTED, "sliding_window"},
        {"llama", "\"hidden_act\": \"relu\"", PF_UNSUPPORTED, "\"relu\""},
        {"llama", "\"rope_interleaved\": true", PF_UNSUPPORTED, "rope_interleaved"},
        {"llama", "\"rope_scaling\": {\"type\": \"ntk\", \"factor\": 2}", PF_UNSUPPORTED, "\"ntk\""},
        {"llama", "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2, \"alpha\": 3}", PF_UNSUPPORTED, "\"alpha\""},
        {"llama", "\"rope_scaling\": {\"type\": \"linear\"}", PF_FORMAT, "factor"},
        {"llama", "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}", PF_FORMAT, "factor"},
        {"llama", "\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 2, \"low_freq_factor\": 1}", PF_FORMAT,
         "high_freq_factor"},
        {"llama", "\"rope_theta\": -1", PF_FORMAT, "rope_theta"},
        {"llama", "\"rms_norm_eps\": -1", PF_FORMAT, "epsilon of the norms is -1"},
        {"llama", "\"eos_token_id\": [1, 99]", PF_FORMAT, "eos_token_id has the number 99, expected ids below"},
        {"llama", "\"partial_rotary_factor\": 0.5", PF_UNSUPPORTED, "partial_rotary_factor"},
        {"llama", "\"rope_parameters\": {\"partial_rotary_factor\": 0.5}", PF_UNSUPPORTED, "partial_rotary_factor"},
        {"phi3", "\"partial_rotary_factor\": 2", PF_FORMAT, "share"},
        {"mistral", "\"sliding_window\": 0", PF_FORMAT, "sliding_window"},
        {"mistral", "\"layer_types\": [\"full_attention\"]", PF_UNSUPPORTED, "layer_types"},
        {"qwen2", "\"use_mrope\": true", PF_UNSUPPORTED, "use_mrope"},
        {"qwen2", "\"layer_types\": [\"sliding_attention\"]", PF_UNSUPPORTED, "sliding_window"},
        {"qwen3", "\"layer_types\": [\"chunked_attention\"]", PF_UNSUPPORTED, "chunked_attention"},
        {"qwen3", "\"layer_types\": []", PF_FORMAT, "layer_types"},
        {"smollm3", "\"no_rope_layers\": []", PF_FORMAT, "no_rope_layers"},
        {"gemma", "\"use_bidirectional_attention\": true", PF_UNSUPPORTED, "use_bidirectional_attention"},
        {"gemma2", "\"query_pre_attn_scalar\": -4", PF_FORMAT, "query_pre_attn_scalar"},
        {"gemma2", "\"query_pre_attn_scalar\": null", PF_FORMAT, "query_pre_attn_scalar is null"},
        {"gemma3_text", "\"attn_logit_softcapping\": 50.0", PF_UNSUPPORTED, "attn_logit_softcapping"},
        {"gemma3_text", "\"rope_parameters\": {\"rope_theta\": 5.0}", PF_UNSUPPORTED, "rope_theta"},
        {"gemma3", "", PF_UNSUPPORTED, "vocab_size"},
        {"gemma3_text", "\"query_pre_attn_scalar\": null", PF_FORMAT, "query_pre_attn_scalar is null"},
        {"phi3",
         "\"rope_scaling\": {\"type\": \"longrope\", \"original_max_position_embeddings\": 8, \"short_factor\": "
         "[1, 1, 1, 1], \"long_factor\": [2, 2, 2, 2]}",
         PF_UNSUPPORTED, "original_max_position_embeddings is 8 here and missing outside"},
        {"phi3", "\"lm_head_bias\": true", PF_UNSUPPORTED, "lm_head_bias"},
        {"phi3", "\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1], \"long_factor\": [1]}", PF_FORMAT,
         "short_factor"},
        {"gpt2", "\"scale_attn_by_inverse_layer_idx\": true", PF_UNSUPPORTED, "scale_attn_by_inverse_layer_idx"},
        {"gpt2", "\"reorder_and_upcast_attn\": true", PF_UNSUPPORTED, "reorder_and_upcast_attn"},
        {"gpt2", "\"activation_function\": \"quick_gelu\"", PF_UNSUPPORTED, "quick_gelu"},
        {"gpt_neox", "\"num_experts\": 4", PF_UNSUPPORTED, "num_key_value_heads"},
    };
    pf_ctx *ctx = support_open();
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        pf_model *m;
        pf_status s = pf_model_new(ctx, config_of(cases[i].type, cases[i].more), NULL, 1, &m);
        if (s != cases[i].want || !strstr(pf_errmsg(ctx), cases[i].word))
            fail_msg("%s with %s: status %d, %s", cases[i].type, cases[i].more, s, pf_errmsg(ctx));
    }
    support_close(ctx);
}

/* ---- longrope ---- */

/* sequences on both sides of the original length cannot be one forest; a sample that begins within ends there */
static void test_longrope(void **state) {
    (void)state;
    static const char rope[] = "\"original_max_position_embeddings\": 8, \"rope_scaling\": {\"type\": \"longrope\", "
                               "\"short_factor\": [1, 1, 1, 1], \"long_factor\": [2, 2, 2, 2]}";
    pf_ctx *ctx = support_open();
    pf_model *m;
    support_ok(ctx, pf_model_new(ctx, config_of("phi3", rope), NULL, 1, &m));
    int32_t ids[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0};
    pf_sequence s[2] = {{.ids = ids, .n = 8, .scored_from = 2}, {.ids = ids, .n = 9, .scored_from = 2}};
    pf_batch *b;
    support_ok(ctx, pf_batch_new(ctx, s, 2, &b));
    assert_null(pf_model_logp(m, b, NULL));
    assert_non_null(strstr(pf_errmsg(ctx), "original_max_position_embeddings"));
    pf_batch_free(b);
    for (int i = 0; i < 2; i++) {
        support_ok(ctx, pf_batch_new(ctx, &s[i], 1, &b));
        pf_tensor *logp = pf_model_logp(m, b, NULL), *z = pf_model_logits(m, ids, s[i].n);
        assert_non_null(logp);
        assert_non_null(z);
        pf_tensor_free(logp);
        pf_tensor_free(z);
        pf_batch_free(b);
    }
    pf_generate_options o = pf_generate_defaults();
    pf_sample *out;
    for (size_t n = 3; n <= 8; n += 5) {
        support_ok(ctx, pf_generate(m, &(pf_sequence){.ids = ids, .n = n}, 1, &o, &out));
        assert_int_equal(out->finish, PF_FINISH_LENGTH);
        assert_int_equal(n + out->n, n == 3 ? 8 : 32);
        pf_samples_free(ctx, out, 1);
    }
    support_fails(ctx, pf_generate(m, (pf_sequence[]){{.ids = ids, .n = 3}, {.ids = ids, .n = 8}}, 2, &o, &out),
                  PF_RANGE, "list of prompts");
    pf_model_free(m);
    support_close(ctx);
}

/* ---- files ---- */

static void put(const char *name, const char *text) { support_write(name, text, strlen(text)); }

static void same_file(const char *name, const char *want) {
    char got[4096];
    FILE *f = fopen(support_path(name), "rb");
    if (!f) fail_msg("%s is not there", name);
    got[fread(got, 1, sizeof got - 1, f)] = 0;
    fclose(f);
    assert_string_equal(got, want);
}

/* tokens that end a text come from generation_config.json; files beside the weights are saved as they were; config.json
 * says of which type the saved weights are */
static void test_beside(void **state) {
    (void)state;
    static const char generation[] = "{\"eos_token_id\": [3, 5],  \"top_k\": 50}\n", merges[] = "#version: 0.2\na b\n";
    pf_ctx *ctx = support_open();
    pf_model *m, *copy, *again;
    support_ok(
        ctx, pf_model_new(ctx, config_of("qwen2", "\"torch_dtype\": \"bfloat16\", \"eos_token_id\": 7"), NULL, 1, &m));
    assert_int_equal(pf_model_size(m, "eos_token_id"), 7);
    support_ok(ctx, pf_model_save(m, support_path("from")));
    pf_model_free(m);
    put("from/generation_config.json", generation);
    put("from/merges.txt", merges);
    support_ok(ctx, pf_model_load(ctx, support_path("from"), PF_F32, &m));
    support_ok(ctx, pf_model_copy(m, &copy));
    assert_int_equal(copy->config.n_eos, 2);
    assert_int_equal(copy->config.eos[1], 5);
    support_ok(ctx, pf_model_save(copy, support_path("to")));
    same_file("to/generation_config.json", generation);
    same_file("to/merges.txt", merges);
    json_error_t e;
    json_t *config = json_load_file(support_path("to/config.json"), 0, &e);
    assert_string_equal(json_string_value(json_object_get(config, "torch_dtype")), "float32");
    json_decref(config);
    support_ok(ctx, pf_model_load(ctx, support_path("to"), PF_F32, &again));
    assert_int_equal(again->config.n_eos, 2);
    put("to/generation_config.json", "{\"eos_token_id\": 12}");
    pf_model *bad;
    support_fails(ctx, pf_model_load(ctx, support_path("to"), PF_F32, &bad), PF_FORMAT, "to/generation_config.json");
    pf_model_free(m);
    pf_model_free(copy);
    pf_model_free(again);
    support_close(ctx);
}

/* a tensor too few, too many, of another shape, from a GGUF of a strange kind */
static void test_weights_refused(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m, *bad;
    support_ok(ctx, pf_model_new(ctx, config_of("gpt2", ""), NULL, 1, &m));
    support_ok(ctx, pf_model_save(m, support_path("gpt")));
    pf_model_free(m);
    put("gpt/config.json", config_of("gpt2", "\"n_inner\": 40"));
    support_fails(ctx, pf_model_load(ctx, support_path("gpt"), PF_F32, &bad), PF_SHAPE, "c_fc.weight");
    put("gpt/config.json", config_of("gpt2", "\"tie_word_embeddings\": false"));
    support_fails(ctx, pf_model_load(ctx, support_path("gpt"), PF_F32, &bad), PF_FORMAT, "lm_head.weight");
    put("gpt/config.json",
        "{\"model_type\": \"gpt2\", \"vocab_size\": 12, \"n_embd\": 16, \"n_layer\": 0, \"n_head\": 2}");
    support_fails(ctx, pf_model_load(ctx, support_path("gpt"), PF_F32, &bad), PF_FORMAT, "n_layer");
    pfi_gguf_writer *w;
    support_ok(ctx, pfi_gguf_writer_open(ctx, support_path("x.gguf"), &w));
    support_ok(ctx, pfi_gguf_put_string(w, "general.architecture", "bert", 4));
    support_ok(ctx, pfi_gguf_writer_commit(w));
    support_fails(ctx, pf_model_load(ctx, support_path("x.gguf"), PF_F32, &bad), PF_UNSUPPORTED, "\"bert\"");
    support_ok(ctx, pfi_gguf_writer_open(ctx, support_path("x.gguf"), &w));
    support_ok(ctx, pfi_gguf_put_string(w, "general.architecture", "llama", 5));
    support_ok(ctx, pfi_gguf_put_int(w, "llama.expert_count", PFI_GGUF_U32, 8));
    support_ok(ctx, pfi_gguf_writer_commit(w));
    support_fails(ctx, pf_model_load(ctx, support_path("x.gguf"), PF_F32, &bad), PF_UNSUPPORTED, "llama.expert_count");
    static const char header[] = "{\"transformer.wte.weight\": {\"dtype\": \"I64\", \"shape\": [12, 16], "
                                 "\"data_offsets\": [0, 1536]}}";
    static char file[8 + sizeof header - 1 + 1536] = {sizeof header - 1};
    memcpy(file + 8, header, sizeof header - 1);
    support_write("gpt/model.safetensors", file, sizeof file);
    put("gpt/config.json", config_of("gpt2", ""));
    support_fails(
        ctx, pf_model_load(ctx, support_path("gpt"), PF_F32, &bad), PF_UNSUPPORTED,
        "\"transformer.wte.weight\" is stored as I64, which is not read as weights; F32, F64, F16, BF16, Q8_0");
    support_close(ctx);
}

/* a head beside a tied embedding: the embedding once more is fine, another one would be lost */
static void test_tied_head(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m, *again;
    support_ok(ctx, pf_model_new(ctx, config_of("llama", ""), NULL, 1, &m));
    assert_false(m->config.tied);
    support_ok(ctx, pf_model_save(m, support_path("tied")));
    put("tied/config.json", config_of("llama", "\"tie_word_embeddings\": true"));
    support_fails(ctx, pf_model_load(ctx, support_path("tied"), PF_F32, &again), PF_UNSUPPORTED,
                  "tied/model.safetensors: tensor \"lm_head.weight\" differs from \"model.embed_tokens.weight\"");
    memcpy(pfi_data(m->head.w), pfi_data(m->embedding), pfi_numel(m->embedding) * sizeof(float));
    support_ok(ctx, pf_model_save(m, support_path("same")));
    put("same/config.json", config_of("llama", "\"tie_word_embeddings\": true"));
    support_ok(ctx, pf_model_load(ctx, support_path("same"), PF_F32, &again));
    assert_true(again->head.w == again->embedding);
    pf_model_free(again);
    pf_model_free(m);
    support_close(ctx);
}

/* a GGUF file of a llama with one number given as x */
static void number_gguf(pf_ctx *ctx, const char *key, double x) {
    static const char *const sizes_of[] = {"embedding_length", "block_count", "attention.head_count",
                                           "feed_forward_length"};
    pfi_gguf_writer *w;
    char full[64];
    support_ok(ctx, pfi_gguf_writer_open(ctx, support_path("number.gguf"), &w));
    support_ok(ctx, pfi_gguf_put_string(w, "general.architecture", "llama", 5));
    for (int i = 0; i < PFI_COUNT(sizes_of); i++) {
        snprintf(full, sizeof full, "llama.%s", sizes_of[i]);
        if (strcmp(key, sizes_of[i]) != 0) support_ok(ctx, pfi_gguf_put_int(w, full, PFI_GGUF_U32, 8));
    }
    snprintf(full, sizeof full, "llama.%s", key);
    if (x != 0) support_ok(ctx, pfi_gguf_put_number(w, full, PFI_GGUF_F32, x));
    support_ok(ctx, pfi_gguf_put_tensor(w, "token_embd.weight", PF_F32, 2, (int64_t[]){8, 8}));
    support_ok(ctx, pfi_gguf_put_values(w, (float[64]){0}, 64));
    support_ok(ctx, pfi_gguf_writer_commit(w));
}

/* numbers of GGUF metadata that a configuration cannot hold are refused by their GGUF name, and missing ones too */
static void test_gguf_numbers(void **state) {
    (void)state;
    static const struct {
        const char *key;
        double x;
        const char *word;
    } cases[] = {{"rope.freq_base", (double)NAN, "number.gguf: key \"llama.rope.freq_base\" is nan"},
                 {"attention.layer_norm_rms_epsilon", (double)INFINITY, "layer_norm_rms_epsilon\" is inf"},
                 {"attention.head_count_kv", 1.5, "\"llama.attention.head_count_kv\" is 1.5, expected an integer"},
                 {"embedding_length", 0, "key \"llama.embedding_length\" is missing"},
                 {"attention.head_count", 0, "key \"llama.attention.head_count\" is missing"}};
    pf_ctx *ctx = support_open();
    pf_model *bad;
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        number_gguf(ctx, cases[i].key, cases[i].x);
        support_fails(ctx, pf_model_load(ctx, support_path("number.gguf"), PF_F32, &bad), PF_FORMAT, cases[i].word);
    }
    support_close(ctx);
}

/* ---- memory ---- */

static pf_status load_and_save(pf_ctx *ctx, void *ud) {
    pf_model *m;
    const char *const *path = ud;
    PF_TRY(pf_model_load(ctx, path[0], PF_F32, &m));
    pf_status s = pf_model_save(m, path[1]);
    pf_model_free(m);
    return s;
}

static void test_memory(void **state) {
    (void)state;
    json_t *j = family_figures();
    pf_ctx *ctx = support_open();
    static char paths[6][256];
    snprintf(paths[0], 256, "tests/golden/families/gemma.gguf");
    snprintf(paths[1], 256, "%s", support_path("memory.gguf"));
    snprintf(paths[2], 256, "%s",
             family_dir(ctx, json_object_get(json_object_get(j, "cases"), "gpt2"), "memory", "config"));
    snprintf(paths[3], 256, "%s", support_path("memory.saved"));
    snprintf(paths[4], 256, "tests/golden/families/phi3_long.gguf");
    snprintf(paths[5], 256, "%s", support_path("memory.from"));
    pf_close(ctx);
    for (int i = 0; i < 3; i++) support_sweep(load_and_save, (const char *[]){paths[2 * i], paths[2 * i + 1]}, 7);
    json_decref(j);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused_by_name), cmocka_unit_test(test_longrope),
                                       cmocka_unit_test(test_beside),          cmocka_unit_test(test_weights_refused),
                                       cmocka_unit_test(test_tied_head),       cmocka_unit_test(test_gguf_numbers),
                                       cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
