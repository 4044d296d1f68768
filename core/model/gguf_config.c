/* A config.json from the metadata of a GGUF file: the rest of the library knows one way to read a configuration. */
#include "model/gguf.h"

#include <math.h>

/* ---- architectures ---- */

static const pfi_gguf_size gguf_rms[] = {{"context_length", "max_position_embeddings", true},
                                         {"embedding_length", "hidden_size", true},
                                         {"block_count", "num_hidden_layers", true},
                                         {"feed_forward_length", "intermediate_size", true},
                                         {"attention.head_count", "num_attention_heads", true},
                                         {"attention.head_count_kv", "num_key_value_heads", true},
                                         {"attention.key_length", "head_dim", true},
                                         {"attention.layer_norm_rms_epsilon", "rms_norm_eps", false},
                                         {"rope.freq_base", "rope_theta", false},
                                         {"attention.sliding_window", "sliding_window", true},
                                         {"attn_logit_softcapping", "attn_logit_softcapping", false},
                                         {"final_logit_softcapping", "final_logit_softcapping", false},
                                         {"rope.freq_base_swa", "rope_local_base_freq", false},
                                         {NULL, NULL, false}};
static const pfi_gguf_size gguf_gpt2[] = {{"context_length", "n_positions", true},
                                          {"embedding_length", "n_embd", true},
                                          {"block_count", "n_layer", true},
                                          {"feed_forward_length", "n_inner", true},
                                          {"attention.head_count", "n_head", true},
                                          {"attention.layer_norm_epsilon", "layer_norm_epsilon", false},
                                          {NULL, NULL, false}};
static const pfi_gguf_size gguf_neox[] = {{"context_length", "max_position_embeddings", true},
                                          {"embedding_length", "hidden_size", true},
                                          {"block_count", "num_hidden_layers", true},
                                          {"feed_forward_length", "intermediate_size", true},
                                          {"attention.head_count", "num_attention_heads", true},
                                          {"attention.layer_norm_epsilon", "layer_norm_eps", false},
                                          {"rope.freq_base", "rotary_emb_base", false},
                                          {NULL, NULL, false}};

static const pfi_gguf_arch gguf_archs[] = {
    {"llama", "llama", gguf_rms},   {"llama", "mistral", gguf_rms},      {"qwen2", "qwen2", gguf_rms},
    {"qwen3", "qwen3", gguf_rms},   {"smollm3", "smollm3", gguf_rms},    {"gemma", "gemma", gguf_rms},
    {"gemma2", "gemma2", gguf_rms}, {"gemma3", "gemma3_text", gguf_rms}, {"gemma3", "gemma3", gguf_rms},
    {"phi3", "phi3", gguf_rms},     {"gpt2", "gpt2", gguf_gpt2},         {"gptneox", "gpt_neox", gguf_neox}};

const pfi_gguf_arch *pfi_gguf_arch_find(const char *name, const char *model_type) {
    for (int i = 0; i < PFI_COUNT(gguf_archs); i++)
        if (strcmp(model_type ? gguf_archs[i].model_type : gguf_archs[i].name, model_type ? model_type : name) == 0)
            return &gguf_archs[i];
    return NULL;
}

/* ---- values ---- */

/* What is read and written. After a failure of the json library `broken` is set: out of memory. */
typedef struct gguf_read {
    pf_ctx *ctx;
    const pfi_weights *w;
    const pfi_gguf *g;
    const pfi_gguf_arch *arch;
    json_t *json;
    bool broken;
} gguf_read;

static void gguf_set(gguf_read *r, json_t *in, const char *name, json_t *value) {
    if (json_object_set_new(in, name, value) != 0) r->broken = true;
}

/* the shortest decimal number that is the same float */
static json_t *gguf_real(double x) {
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtof(text, NULL) == (float)x) return json_real(strtod(text, NULL));
    }
    return json_real(x);
}

static const char *gguf_full(const gguf_read *r, const char *key, char buf[128]) {
    snprintf(buf, 128, "%.40s.%.80s", r->arch->name, key);
    return buf;
}

/* *out is left alone where the key is not there. JSON has neither infinity nor NaN */
static pf_status gguf_number(const gguf_read *r, const char *key, double *out) {
    double x = 0;
    const char *full = gguf_full(r, key, (char[128]){0});
    PF_TRY(pfi_gguf_number_opt(r->g, full, &x));
    if (!isfinite(x)) return pfi_fail(r->ctx, PF_FORMAT, "%s: key \"%s\" is %g", pfi_gguf_name(r->g), full, x);
    return pfi_gguf_number_opt(r->g, full, out);
}

static pf_status gguf_int(const gguf_read *r, const char *key, int64_t *out) {
    return pfi_gguf_int_opt(r->g, gguf_full(r, key, (char[128]){0}), out);
}

/* ---- refusing what is not known ---- */

static pf_status gguf_refuse_unknown(const gguf_read *r) {
    static const char *const more[] = {"vocab_size",
                                       "rope.dimension_count",
                                       "attention.value_length",
                                       "attention.sliding_window_pattern",
                                       "use_parallel_residual",
                                       "tensor_data_layout",
                                       "rope.scale_linear",
                                       "rope.scaling.type",
                                       "rope.scaling.factor",
                                       "rope.scaling.attn_factor",
                                       "rope.scaling.original_context_length",
                                       "rope.scaling.finetuned",
                                       "rope.scaling.yarn_attn_factor",
                                       "rope.scaling.yarn_beta_fast",
                                       "rope.scaling.yarn_beta_slow"};
    const size_t n = strlen(r->arch->name);
    for (size_t i = 0; i < pfi_gguf_keys(r->g); i++) {
        pfi_gguf_type type;
        const char *key = pfi_gguf_key(r->g, i, &type);
        if (strncmp(key, r->arch->name, n) != 0 || key[n] != '.') continue;
        bool known = false;
        for (int k = 0; !known && k < PFI_COUNT(more); k++) known = strcmp(key + n + 1, more[k]) == 0;
        for (const pfi_gguf_size *k = r->arch->keys; !known && k->key; k++) known = strcmp(key + n + 1, k->key) == 0;
        if (!known)
            return pfi_fail(r->ctx, PF_UNSUPPORTED,
                            "%s: key \"%s\" is not known for this architecture and may change the mathematics",
                            pfi_gguf_name(r->g), key);
    }
    return PF_OK;
}

/* ---- rotary embeddings ---- */

/* a tensor of divisors as a list; false if it is not there */
static bool gguf_list(gguf_read *r, const char *tensor, json_t *in, const char *name) {
    const pfi_weight *t = pfi_weights_find(r->w, tensor);
    pf_tensor *x = t ? pfi_weights_tensor(r->w, t) : NULL;
    if (!x) return false;
    json_t *list = json_array();
    for (size_t i = 0; i < pfi_numel(x); i++)
        if (json_array_append_new(list, gguf_real(pfi_get(x, i))) != 0) r->broken = true;
    pf_tensor_free(x);
    gguf_set(r, in, name, list);
    return true;
}

/* Divisors of the frequencies: longrope's, or those of llama3, which are the same for every length. */
static pf_status gguf_divisors(gguf_read *r, json_t *rope) {
    int64_t context = 2048;
    double factor = 1;
    PF_TRY(gguf_int(r, "context_length", &context));
    gguf_set(r, rope, "type", json_string("longrope"));
    if (gguf_list(r, "rope_freqs.weight", rope, "short_factor")) {
        gguf_list(r, "rope_freqs.weight", rope, "long_factor");
    } else {
        gguf_list(r, "rope_factors_short.weight", rope, "short_factor");
        gguf_list(r, "rope_factors_long.weight", rope, "long_factor");
        PF_TRY(gguf_int(r, "rope.scaling.original_context_length", &context));
        PF_TRY(gguf_number(r, "rope.scaling.attn_factor", &factor));
    }
    json_t *at = strcmp(r->arch->model_type, "phi3") == 0 ? r->json : rope; /* where the family has it */
    gguf_set(r, at, "original_max_position_embeddings", json_integer(context));
    gguf_set(r, rope, "attention_factor", gguf_real(factor));
    return PF_OK;
}

static pf_status gguf_scaled(gguf_read *r, json_t *rope, const char *type, double factor) {
    static const char *const yarn[][2] = {{"rope.scaling.yarn_attn_factor", "attention_factor"},
                                          {"rope.scaling.yarn_beta_fast", "beta_fast"},
                                          {"rope.scaling.yarn_beta_slow", "beta_slow"},
                                          {"rope.scaling.original_context_length", "original_max_position_embeddings"}};
    gguf_set(r, rope, "type", json_string(type));
    gguf_set(r, rope, "factor", gguf_real(factor));
    for (int i = 0; strcmp(type, "yarn") == 0 && i < PFI_COUNT(yarn); i++) {
        double x = (double)NAN;
        PF_TRY(gguf_number(r, yarn[i][0], &x));
        if (x == x) gguf_set(r, rope, yarn[i][1], i == 3 ? json_integer((json_int_t)x) : gguf_real(x));
    }
    return PF_OK;
}

static pf_status gguf_rope(gguf_read *r) {
    const char *type = "none";
    double factor = 0;
    PF_TRY(pfi_gguf_string_opt(r->g, gguf_full(r, "rope.scaling.type", (char[128]){0}), &type, NULL));
    PF_TRY(gguf_number(r, "rope.scale_linear", &factor));
    PF_TRY(gguf_number(r, "rope.scaling.factor", &factor));
    if (strcmp(type, "none") == 0 && factor > 0) type = "linear"; /* llama.cpp's default */
    const bool divisors =
        pfi_weights_find(r->w, "rope_freqs.weight") || pfi_weights_find(r->w, "rope_factors_long.weight");
    if (strcmp(type, "yarn") != 0 && strcmp(type, "linear") != 0 && strcmp(type, "none") != 0 &&
        strcmp(type, "longrope") != 0)
        return pfi_fail(r->ctx, PF_UNSUPPORTED, "%s: %s.rope.scaling.type \"%s\" is not supported", pfi_gguf_name(r->g),
                        r->arch->name, type);
    json_t *rope = json_object();
    pf_status s = PF_OK;
    if (divisors)
        s = gguf_divisors(r, rope);
    else if (factor > 0 && factor != 1)
        s = gguf_scaled(r, rope, type, factor);
    if (json_object_size(rope))
        gguf_set(r, r->json, "rope_scaling", rope);
    else
        json_decref(rope);
    return s;
}

/* ---- what a family has besides ---- */

static pf_status gguf_biases(gguf_read *r) {
    const char *type = r->arch->model_type;
    if (strcmp(type, "gpt_neox") == 0) {
        bool parallel = true;
        PF_TRY(pfi_gguf_bool_opt(r->g, "gptneox.use_parallel_residual", &parallel));
        gguf_set(r, r->json, "use_parallel_residual", json_boolean(parallel));
        gguf_set(r, r->json, "attention_bias", json_boolean(pfi_weights_find(r->w, "blk.0.attn_qkv.bias")));
    } else if (pfi_weights_find(r->w, "blk.0.attn_q.bias") && strcmp(type, "qwen2") != 0) {
        gguf_set(r, r->json, "attention_bias", json_true());
    }
    if (pfi_weights_find(r->w, "blk.0.ffn_gate.bias")) gguf_set(r, r->json, "mlp_bias", json_true());
    return PF_OK;
}

/* what llama.cpp makes of the sizes of Gemma 2 and 3: the scale of the scores, and which layers have windows */
static pf_status gguf_gemma(gguf_read *r, int64_t head_dim) {
    const bool third = strcmp(r->arch->name, "gemma3") == 0;
    int64_t layers = 0, hidden = 0, heads = 1, every = third ? 6 : 2, window = third ? 0 : 4096;
    PF_TRY(gguf_int(r, "attention.sliding_window", &window));
    if (window == 0) every = 1;
    PF_TRY(gguf_int(r, "block_count", &layers));
    PF_TRY(gguf_int(r, "embedding_length", &hidden));
    PF_TRY(gguf_int(r, "attention.head_count", &heads));
    const bool largest = layers == (third ? 62 : 46) && heads > 0; /* 27B */
    gguf_set(r, r->json, "query_pre_attn_scalar", json_integer(largest ? hidden / heads : head_dim));
    const char *key = gguf_full(r, "attention.sliding_window_pattern", (char[128]){0});
    pfi_gguf_array list = {0};
    if (pfi_gguf_list_opt(r->g, key, PFI_GGUF_I64, &list) != PF_OK) PF_TRY(pfi_gguf_int(r->g, key, &every));
    if (every < 1 || layers < 0 || layers > PFI_MAX_LAYERS)
        return pfi_fail(r->ctx, PF_FORMAT, "%s: %s is %lld", pfi_gguf_name(r->g), key, (long long)every);
    json_t *types = json_array();
    for (int64_t i = 0; i < layers; i++) {
        const bool slides = list.n ? pfi_gguf_next_int(&list) != 0 : (i + 1) % every != 0;
        if (json_array_append_new(types, json_string(slides ? "sliding_attention" : "full_attention")) != 0)
            r->broken = true;
    }
    gguf_set(r, r->json, "layer_types", types);
    return PF_OK;
}

/* channels of a head, and how many of them turn */
static pf_status gguf_heads(gguf_read *r, int64_t *head_dim) {
    int64_t hidden = 0, heads = 0, value = 0, rotary = 0;
    PF_TRY(pfi_gguf_int(r->g, gguf_full(r, "embedding_length", (char[128]){0}), &hidden));
    PF_TRY(pfi_gguf_int(r->g, gguf_full(r, "attention.head_count", (char[128]){0}), &heads));
    *head_dim = heads > 0 ? hidden / heads : 0;
    PF_TRY(gguf_int(r, "attention.key_length", head_dim));
    value = rotary = *head_dim;
    PF_TRY(gguf_int(r, "attention.value_length", &value));
    PF_TRY(gguf_int(r, "rope.dimension_count", &rotary));
    if (value != *head_dim)
        return pfi_fail(r->ctx, PF_UNSUPPORTED, "%s: values have %lld channels a head, keys %lld", pfi_gguf_name(r->g),
                        (long long)value, (long long)*head_dim);
    const bool neox = strcmp(r->arch->name, "gptneox") == 0;
    if ((neox || rotary != *head_dim) && *head_dim > 0) /* the half keeps the quotient's product above the number */
        gguf_set(r, r->json, neox ? "rotary_pct" : "partial_rotary_factor",
                 json_real(((double)rotary + (rotary < *head_dim ? 1e-6 : 0)) / (double)*head_dim));
    return PF_OK;
}

/* ---- all of it ---- */

static pf_status gguf_tokens(gguf_read *r) {
    int64_t bos = -1, eos[3] = {-1, -1, -1};
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    PF_TRY(pfi_gguf_int_opt(r->g, "tokenizer.ggml.bos_token_id", &bos));
    if (bos >= 0) gguf_set(r, r->json, "bos_token_id", json_integer(bos));
    json_t *list = json_array();
    pf_status s = PF_OK;
    for (int i = 0; s == PF_OK && i < PFI_COUNT(ends); i++) {
        s = pfi_gguf_int_opt(r->g, ends[i], &eos[i]);
        bool again = eos[i] < 0;
        for (int k = 0; k < i; k++) again = again || eos[k] == eos[i];
        if (!again && json_array_append_new(list, json_integer(eos[i])) != 0) r->broken = true;
    }
    gguf_set(r, r->json, "eos_token_id", list);
    return s;
}

static pf_status gguf_read_all(gguf_read *r) {
    int64_t window = 0, head_dim = 0;
    PF_TRY(gguf_int(r, "attention.sliding_window", &window));
    if (strcmp(r->arch->name, "llama") == 0 && window > 0) r->arch = pfi_gguf_arch_find(NULL, "mistral");
    PF_TRY(gguf_refuse_unknown(r));
    gguf_set(r, r->json, "model_type", json_string(r->arch->model_type));
    const pfi_weight *embedding = pfi_weights_find(r->w, "token_embd.weight");
    if (!embedding || embedding->nd != 2)
        return pfi_fail(r->ctx, PF_FORMAT, "%s: there is no matrix \"token_embd.weight\"", pfi_gguf_name(r->g));
    gguf_set(r, r->json, "vocab_size", json_integer(embedding->dim[0]));
    gguf_set(r, r->json, "tie_word_embeddings", json_boolean(!pfi_weights_find(r->w, "output.weight")));
    for (const pfi_gguf_size *k = r->arch->keys; k->key; k++) {
        double x = (double)NAN;
        PF_TRY(gguf_number(r, k->key, &x));
        const bool none = strcmp(k->json, "sliding_window") == 0 && x == 0;
        if (k->is_int && x == x && x != floor(x))
            return pfi_fail(r->ctx, PF_FORMAT, "%s: key \"%s.%s\" is %g, expected an integer", pfi_gguf_name(r->g),
                            r->arch->name, k->key, x);
        if (x == x && !none) gguf_set(r, r->json, k->json, k->is_int ? json_integer((json_int_t)x) : gguf_real(x));
    }
    PF_TRY(gguf_heads(r, &head_dim));
    PF_TRY(gguf_rope(r));
    PF_TRY(gguf_biases(r));
    if (strcmp(r->arch->name, "gemma2") == 0 || strcmp(r->arch->name, "gemma3") == 0) PF_TRY(gguf_gemma(r, head_dim));
    return gguf_tokens(r);
}

pf_status pfi_gguf_config(pf_ctx *ctx, const pfi_weights *w, pfi_buf *out) {
    gguf_read r = {.ctx = ctx, .w = w, .g = pfi_weights_gguf(w)};
    const char *name = NULL;
    PF_TRY(pfi_gguf_string(r.g, "general.architecture", &name, NULL));
    r.arch = pfi_gguf_arch_find(name, NULL);
    if (!r.arch)
        return pfi_fail(ctx, PF_UNSUPPORTED,
                        "%s: general.architecture \"%s\" is not supported; supported: llama, qwen2, qwen3, smollm3, "
                        "gemma, gemma2, gemma3, phi3, gpt2, gptneox",
                        pfi_gguf_name(r.g), name);
    r.json = json_object();
    r.broken = !r.json;
    pf_status s = r.broken ? PF_OK : gguf_read_all(&r);
    char *text = s == PF_OK && !r.broken ? json_dumps(r.json, JSON_INDENT(2)) : NULL;
    if (s == PF_OK) s = text ? pfi_buf_str(ctx, out, text) : pfi_fail(ctx, PF_NOMEM, "not enough memory");
    free(text);
    json_decref(r.json);
    return s;
}
