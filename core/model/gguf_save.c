/* Writing a model as a GGUF file. What llama.cpp does not know of a family is refused rather than left out. (The
 * windows of Mistral and Phi-3 are written, though llama.cpp does not look at them: it agrees up to the window's
 * length.) */
#include <math.h>

#include "model/adapter.h"
#include "model/gguf.h"
#include "text/tokenizer.h"

typedef struct gguf_save {
    const pf_model *m;
    const pfi_config *c;
    const pfi_gguf_arch *arch;
    pfi_gguf_writer *w;
    pf_dtype type;    /* of matrices */
    const char *rope; /* type of the scaling of rotary embeddings */
    json_t *params;   /* its parameters; NULL: none */
    bool divided;     /* ... is written as divisors of the frequencies */
} gguf_save;

static pf_status save_refuse(const gguf_save *g, const char *what) {
    return pfi_fail(g->m->ctx, PF_UNSUPPORTED,
                    "llama.cpp has no %s for the architecture %s: the GGUF file is not written", what, g->arch->name);
}

static bool save_is(const gguf_save *g, const char *arch) { return strcmp(g->arch->name, arch) == 0; }
static bool save_is_gemma23(const gguf_save *g) { return save_is(g, "gemma2") || save_is(g, "gemma3"); }

/* ---- what llama.cpp computes ---- */

static pf_status save_check_layers(const gguf_save *g) {
    const pfi_config *c = g->c;
    const bool windows = save_is_gemma23(g) || save_is(g, "phi3") || strcmp(g->arch->model_type, "mistral") == 0;
    for (int64_t i = 0; i < c->layers; i++) {
        const bool still = save_is(g, "smollm3") && (i + 1) % 4 == 0, local = save_is(g, "gemma3");
        if (!windows && c->layer[i] & PFI_LAYER_WINDOW) return save_refuse(g, "sliding window");
        if (still != !!(c->layer[i] & PFI_LAYER_STILL)) return save_refuse(g, "such no_rope_layers");
        if (local && !(c->layer[i] & PFI_LAYER_WINDOW) != !(c->layer[i] & PFI_LAYER_LOCAL))
            return save_refuse(g, "such layer_types");
    }
    return PF_OK;
}

static pf_status save_check(const gguf_save *g) {
    const pfi_config *c = g->c;
    const bool gemma = strncmp(g->arch->name, "gemma", 5) == 0;
    const pfi_act act = gemma || save_is(g, "gpt2") ? PFI_GELU_TANH : save_is(g, "gptneox") ? PFI_GELU_EXACT : PFI_SILU;
    if (c->act != act) return save_refuse(g, "such activation");
    const bool largest = c->layers == (save_is(g, "gemma3") ? 62 : 46); /* 27B */
    const double scalar = largest ? (double)(c->hidden / c->heads) : (double)c->head_dim;
    if (save_is_gemma23(g) && fabs(c->attention_scale - 1 / sqrt(scalar)) > 1e-9)
        return save_refuse(g, "such query_pre_attn_scalar");
    if (!save_is_gemma23(g) && c->attention_scale != 0) return save_refuse(g, "unscaled attention");
    if (save_is(g, "gemma2") && !(c->attention_cap > 0 && c->head_cap > 0)) return save_refuse(g, "model without caps");
    if (save_is(g, "gptneox") && !c->qkv_bias) return save_refuse(g, "attention without biases");
    if (c->rope[0].channels && c->rope[0].channels != c->head_dim && !save_is(g, "phi3") && !save_is(g, "gptneox"))
        return save_refuse(g, "partial rotary embedding");
    return save_check_layers(g);
}

/* is a parameter there with another value than the usual one */
static bool save_other(const gguf_save *g, const char *key, double usual) {
    json_t *v = json_object_get(g->params, key);
    return json_is_number(v) && json_number_value(v) != usual;
}

/* Which way does the scaling go? Divisors of the frequencies say all that has no factor and no second set. */
static pf_status save_choose_rope(gguf_save *g) {
    static const char *const attention[] = {"attention_factor", "mscale", "mscale_all_dim"};
    const pfi_rope *r = &g->c->rope[0];
    g->rope = "default";
    if (g->params) {
        g->rope = json_string_value(json_object_get(g->params, "type"));
        const char *newer = json_string_value(json_object_get(g->params, "rope_type"));
        if (newer) g->rope = newer;
        if (!g->rope) g->rope = "default";
    }
    if (strcmp(g->rope, "default") == 0 || strcmp(g->rope, "dynamic") == 0 || strcmp(g->rope, "linear") == 0)
        return PF_OK;
    if (save_is(g, "phi3")) return PF_OK;
    bool same = true;
    for (int64_t j = 0; j < r->channels / 2; j++) same = same && r->freq[0][j] == r->freq[1][j];
    g->divided = save_is(g, "llama") && r->factor == 1 && (same || !r->original);
    if (g->divided) return PF_OK;
    if (strcmp(g->rope, "yarn") != 0) return save_refuse(g, "such scaling of rotary embeddings");
    for (int i = 0; i < PFI_COUNT(attention); i++)
        if (save_other(g, attention[i], 0)) return save_refuse(g, "yarn with an attention factor of its own");
    const json_t *truncate = json_object_get(g->params, "truncate");
    if (json_is_false(truncate) || json_is_null(truncate)) return save_refuse(g, "yarn without truncation");
    if (save_other(g, "beta_fast", 32) || save_other(g, "beta_slow", 1)) return save_refuse(g, "yarn with such betas");
    return PF_OK;
}

/* ---- metadata ---- */

static pf_status save_int(const gguf_save *g, const char *key, int64_t x) {
    char name[96];
    snprintf(name, sizeof name, "%s.%.60s", g->arch->name, key);
    return pfi_gguf_put_int(g->w, name, PFI_GGUF_U32, x);
}

static pf_status save_number(const gguf_save *g, const char *key, double x) {
    char name[96];
    snprintf(name, sizeof name, "%s.%.60s", g->arch->name, key);
    return pfi_gguf_put_number(g->w, name, PFI_GGUF_F32, x);
}

static pf_status save_string(const gguf_save *g, const char *key, const char *text) {
    return pfi_gguf_put_string(g->w, key, text, strlen(text));
}

static pf_status save_general(const gguf_save *g) {
    static const int file_type[PF_DTYPES] = {[PF_F16] = 1, [PF_Q8_0] = 7, [PF_BF16] = 32};
    PF_TRY(save_string(g, "general.architecture", g->arch->name));
    PF_TRY(save_string(g, "general.type", "model"));
    PF_TRY(pfi_gguf_put_int(g->w, "general.file_type", PFI_GGUF_U32, file_type[g->type]));
    return pfi_gguf_put_int(g->w, "general.quantization_version", PFI_GGUF_U32, 2);
}

static pf_status save_sizes(const gguf_save *g) {
    const pfi_config *c = g->c;
    PF_TRY(save_int(g, "context_length", c->context));
    PF_TRY(save_int(g, "embedding_length", c->hidden));
    PF_TRY(save_int(g, "block_count", c->layers));
    PF_TRY(save_int(g, "feed_forward_length", c->ffn));
    PF_TRY(save_int(g, "attention.head_count", c->heads));
    PF_TRY(save_int(g, "vocab_size", c->vocab));
    if (c->centred) return save_number(g, "attention.layer_norm_epsilon", c->norm_eps);
    PF_TRY(save_int(g, "attention.head_count_kv", c->kv_heads));
    PF_TRY(save_int(g, "attention.key_length", c->head_dim));
    PF_TRY(save_int(g, "attention.value_length", c->head_dim));
    return save_number(g, "attention.layer_norm_rms_epsilon", c->norm_eps);
}

/* a parameter of the scaling under its name in GGUF, if it is there */
static pf_status save_param(const gguf_save *g, const char *json, const char *key, bool is_int) {
    json_t *v = json_object_get(g->params, json);
    if (!json_is_number(v)) return PF_OK;
    return is_int ? save_int(g, key, (int64_t)json_number_value(v)) : save_number(g, key, json_number_value(v));
}

static pf_status save_rope(const gguf_save *g) {
    const pfi_rope *r = g->c->rope;
    if (!r->channels) return PF_OK;
    PF_TRY(save_int(g, "rope.dimension_count", r->channels));
    PF_TRY(save_number(g, "rope.freq_base", r->theta));
    if (r[1].channels) PF_TRY(save_number(g, "rope.freq_base_swa", r[1].theta));
    char type[64];
    snprintf(type, sizeof type, "%s.rope.scaling.type", g->arch->name);
    if (save_is(g, "phi3")) {
        PF_TRY(save_int(g, "rope.scaling.original_context_length", r->original ? r->original : g->c->context));
        if (!r->original) return PF_OK;
        PF_TRY(save_string(g, type, "longrope"));
        return save_number(g, "rope.scaling.attn_factor", r->factor);
    }
    if (g->divided || !(strcmp(g->rope, "linear") == 0 || strcmp(g->rope, "yarn") == 0)) return PF_OK;
    PF_TRY(save_string(g, type, g->rope));
    PF_TRY(save_param(g, "factor", "rope.scaling.factor", false));
    if (strcmp(g->rope, "yarn") != 0) return PF_OK;
    return save_param(g, "original_max_position_embeddings", "rope.scaling.original_context_length", true);
}

/* which layers have windows, if llama.cpp would think otherwise */
static pf_status save_pattern(const gguf_save *g) {
    const int64_t every = save_is(g, "gemma3") ? 6 : 2;
    bool usual = true;
    for (int64_t i = 0; i < g->c->layers; i++)
        usual = usual && !!(g->c->layer[i] & PFI_LAYER_WINDOW) == ((i + 1) % every != 0);
    if (usual) return PF_OK;
    char name[64];
    snprintf(name, sizeof name, "%s.attention.sliding_window_pattern", g->arch->name);
    PF_TRY(pfi_gguf_put_array(g->w, name, PFI_GGUF_BOOL, (size_t)g->c->layers));
    for (int64_t i = 0; i < g->c->layers; i++) PF_TRY(pfi_gguf_put_bool(g->w, NULL, g->c->layer[i] & PFI_LAYER_WINDOW));
    return PF_OK;
}

static pf_status save_particular(const gguf_save *g) {
    const pfi_config *c = g->c;
    if (c->window || save_is(g, "phi3")) PF_TRY(save_int(g, "attention.sliding_window", c->window));
    if (save_is_gemma23(g)) PF_TRY(save_pattern(g));
    if (c->attention_cap > 0) PF_TRY(save_number(g, "attn_logit_softcapping", c->attention_cap));
    if (c->head_cap > 0) PF_TRY(save_number(g, "final_logit_softcapping", c->head_cap));
    if (!save_is(g, "gptneox")) return PF_OK;
    return pfi_gguf_put_bool(g->w, "gptneox.use_parallel_residual", c->parallel);
}

/* the tokenizer, and the tokens that end a text */
static pf_status save_tokens(const gguf_save *g) {
    const pfi_config *c = g->c;
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    PF_TRY(g->m->tokenizer ? pfi_tokenizer_put_gguf(g->m->tokenizer, (size_t)c->vocab, g->w)
                           : save_string(g, "tokenizer.ggml.model", "none"));
    if (c->bos >= 0 && !g->m->tokenizer)
        PF_TRY(pfi_gguf_put_int(g->w, "tokenizer.ggml.bos_token_id", PFI_GGUF_U32, c->bos));
    for (int i = 0; i < PFI_MIN(c->n_eos, PFI_COUNT(ends)); i++)
        PF_TRY(pfi_gguf_put_int(g->w, ends[i], PFI_GGUF_U32, c->eos[i]));
    return PF_OK;
}

/* ---- tensors ---- */

/* vectors stay float32, and so do matrices whose rows are no multiple of the type's block */
static pf_dtype save_type(const gguf_save *g, const pfi_slot *s) {
    const bool fits = s->nd > 1 && s->dim[1] % pfi_dtype_block(g->type) == 0;
    return fits && strncmp(s->gguf, "position_embd", 13) != 0 ? g->type : PF_F32;
}

/* divisors that turn the plain frequencies into freq[which] */
static pf_status save_divisors(const gguf_save *g, int which) {
    const pfi_rope *r = &g->c->rope[0];
    for (int64_t j = 0; j < r->channels / 2; j++) {
        const float x = (float)(pow(r->theta, -2.0 * (double)j / (double)r->channels) / r->freq[which][j]);
        PF_TRY(pfi_gguf_put_values(g->w, &x, 1));
    }
    return PF_OK;
}

static pf_status save_describe(const gguf_save *g) {
    const int64_t half = g->c->rope[0].channels / 2;
    if (g->divided) PF_TRY(pfi_gguf_put_tensor(g->w, "rope_freqs.weight", PF_F32, 1, &half));
    if (save_is(g, "phi3") && g->c->rope[0].original) {
        PF_TRY(pfi_gguf_put_tensor(g->w, "rope_factors_long.weight", PF_F32, 1, &half));
        PF_TRY(pfi_gguf_put_tensor(g->w, "rope_factors_short.weight", PF_F32, 1, &half));
    }
    for (int i = 0; i < g->m->slots.n; i++) {
        const pfi_slot *s = &g->m->slots.slot[i];
        PF_TRY(pfi_gguf_put_tensor(g->w, s->gguf, save_type(g, s), s->nd, s->dim));
    }
    return PF_OK;
}

/* one weight a row after the other, in the order of the file: row `to` of it is found by asking all where they lie */
static pf_status save_weight(const gguf_save *g, const pfi_slot *s, const pf_tensor *t) {
    const int64_t rows = s->dim[0], cols = s->nd > 1 ? s->dim[1] : 1;
    pf_ctx *ctx = g->m->ctx;
    float *x = pfi_alloc_data(ctx, (size_t)(rows * cols) * sizeof *x);
    if (!x) return PF_NOMEM;
    for (int64_t i = 0; i < rows * cols; i++)
        x[pfi_slot_place(s, true, i / cols, i % cols)] = (float)(pfi_get(t, (size_t)i) + s->offset);
    pf_status st = pfi_gguf_put_values(g->w, x, (size_t)(rows * cols));
    pfi_free(ctx, x);
    return st;
}

static pf_status save_data(const gguf_save *g) {
    if (g->divided) PF_TRY(save_divisors(g, 0));
    if (save_is(g, "phi3") && g->c->rope[0].original) {
        PF_TRY(save_divisors(g, 1));
        PF_TRY(save_divisors(g, 0));
    }
    for (int i = 0; i < g->m->slots.n; i++) PF_TRY(save_weight(g, &g->m->slots.slot[i], g->m->parameter[i]));
    return PF_OK;
}

/* ---- all of it ---- */

static pf_status save_all(gguf_save *g) {
    PF_TRY(save_check(g));
    PF_TRY(save_choose_rope(g));
    PF_TRY(save_general(g));
    PF_TRY(save_sizes(g));
    PF_TRY(save_rope(g));
    PF_TRY(save_particular(g));
    PF_TRY(save_tokens(g));
    PF_TRY(save_describe(g));
    return save_data(g);
}

/* the object in which the scaling of rotary embeddings stands */
static json_t *save_params(json_t *json) {
    json_t *text = json_object_get(json, "text_config");
    if (!text) text = json;
    json_t *p = json_object_get(text, "rope_scaling");
    if (json_object_size(p) == 0) p = json_object_get(text, "rope_parameters");
    json_t *full = json_object_get(p, "full_attention");
    return full ? full : json_is_object(p) ? p : NULL;
}

pf_status pfi_model_save_gguf(const pf_model *m, const char *path, pf_dtype type) {
    pf_ctx *ctx = m->ctx;
    gguf_save g = {.m = m, .c = &m->config, .type = type, .arch = pfi_gguf_arch_find(NULL, m->family->model_type)};
    if (!g.arch) return pfi_fail(ctx, PF_UNSUPPORTED, "a %s model cannot be written as GGUF", m->family->model_type);
    json_t *json = pfi_json_parse(ctx, m->config_text, strlen(m->config_text), "config.json");
    if (!json) return pf_errcode(ctx);
    g.params = save_params(json);
    pf_status s = pfi_gguf_writer_open(ctx, path, &g.w);
    if (s == PF_OK) s = save_all(&g);
    json_decref(json);
    if (s == PF_OK) return pfi_gguf_writer_commit(g.w);
    pfi_gguf_writer_abandon(g.w);
    return s;
}
