/* Models: life, making, copying and asking. */
#include "model/adapter.h"
#include "model/family.h"

/* ---- life ---- */

/* Configuration, and room for the layers; no weights yet. */
static pf_status model_shell(pf_ctx *ctx, const char *text, size_t len, const char *file, pf_dtype dtype,
                             pf_model **out) {
    PF_TRY(pfi_keep_check(ctx, dtype));
    pf_model *m = pfi_calloc(ctx, 1, sizeof *m);
    if (!m) return PF_NOMEM;
    m->ctx = ctx;
    m->refs = 1;
    m->dtype = dtype == PF_F64 ? PF_F64 : PF_F32;
    m->keep = dtype;
    m->slots.m = m;
    pfi_hold(ctx);
    *out = m;
    PF_TRY(pfi_config_read(ctx, text, len, file, &m->family, &m->config));
    m->config_text = pfi_strndup(ctx, text, len);
    m->layer = pfi_calloc(ctx, (size_t)m->config.layers, sizeof *m->layer);
    return m->config_text && m->layer ? PF_OK : PF_NOMEM;
}

pf_status pfi_model_shell(pf_ctx *ctx, const char *text, size_t len, const char *file, pf_dtype dtype, pf_model **out) {
    pf_status s = model_shell(ctx, text, len, file, dtype, out);
    if (s != PF_OK) {
        pf_model_free(*out);
        *out = NULL;
    }
    return s;
}

/* the constants of the forward pass as tensors */
static pf_status model_constants(pf_model *m) {
    const pfi_config *c = &m->config;
    for (int i = 0; i < 4; i++) {
        const pfi_rope *r = &c->rope[i / 2];
        const int64_t n = r->channels / 2;
        if (!n || (i % 2 && !r->original)) continue;
        pf_tensor *t = pf_tensor_from(m->ctx, m->dtype, 1, &n, r->freq[i % 2], (size_t)n);
        if (!t) return PF_NOMEM;
        m->freq[i / 2][i % 2] = t;
    }
    if (c->embedding_scale == 1) return PF_OK;
    m->scale = pf_tensor_from(m->ctx, m->dtype, 0, NULL, &c->embedding_scale, 1);
    return m->scale ? PF_OK : PF_NOMEM;
}

/* the places of the weights, room for them, and constants; names are chosen */
pf_status pfi_model_prepare(pf_model *m) {
    PF_TRY(m->family->slots(m, &m->slots));
    m->parameter = pfi_calloc(m->ctx, (size_t)m->slots.n, sizeof(pf_tensor *));
    if (!m->parameter) return PF_NOMEM;
    pfi_step *open = m->ctx->step;
    m->ctx->step = NULL; /* what a model holds outlives any step */
    pf_status s = model_constants(m);
    m->ctx->step = open;
    return s;
}

static pf_status model_fill(pf_model *m, pfi_make make, void *ud) {
    for (int i = 0; i < m->slots.n; i++) {
        const pfi_slot *slot = &m->slots.slot[i];
        pf_tensor *t = make(m, slot, ud);
        if (!t) return m->ctx->code;
        memcpy(t->name, slot->name, sizeof t->name);
        m->parameter[m->n_parameters++] = *slot->field = t;
    }
    if (m->config.tied) m->head.w = m->embedding;
    return PF_OK;
}

pf_status pfi_model_fill(pf_model *m, pfi_make make, void *ud) {
    pfi_step *open = m->ctx->step;
    m->ctx->step = NULL;
    pf_status s = model_fill(m, make, ud);
    m->ctx->step = open;
    return s;
}

pf_status pfi_model_done(pf_status s, pf_model *m, pf_model **out) {
    *out = s == PF_OK ? m : NULL;
    if (s != PF_OK) pf_model_free(m);
    return s;
}

pf_model *pf_model_retain(pf_model *m) {
    m->refs++;
    return m;
}

void pf_model_free(pf_model *m) {
    if (!m || --m->refs > 0) return;
    pf_ctx *ctx = m->ctx;
    pfi_adapter_free(m);
    for (int i = 0; i < m->n_parameters; i++) pf_tensor_free(m->parameter[i]);
    for (int i = 0; i < m->n_aside; i++) pf_tensor_free(m->aside[i]);
    for (int i = 0; i < 4; i++) pf_tensor_free(m->freq[i / 2][i % 2]);
    pf_tensor_free(m->scale);
    pfi_free(ctx, m->aside);
    pfi_free(ctx, m->dir);
    pfi_free(ctx, m->parameter);
    pfi_free(ctx, m->slots.slot);
    pfi_free(ctx, m->layer);
    pfi_free(ctx, m->config_text);
    pf_tokenizer_free(m->tokenizer);
    pfi_free(ctx, m);
    pfi_release(ctx);
}

/* ---- making and copying ---- */

typedef struct model_random {
    uint64_t seed, stream;
    double range;
} model_random;

static pf_tensor *model_make_random(pf_model *m, const pfi_slot *slot, void *ud) {
    model_random *r = ud;
    pf_tensor *t = pfi_tensor_make(m->ctx, m->dtype, slot->nd, slot->dim);
    if (!t) return NULL;
    for (size_t i = 0; i < pfi_numel(t); i++)
        pfi_set(t, i, slot->fill == slot->fill ? slot->fill : r->range * pfi_random_normal(r->seed, r->stream, i));
    r->stream++;
    t->needs_grad = true;
    return t;
}

pf_status pf_model_new(pf_ctx *ctx, const char *config_json, pf_tokenizer *tok, uint64_t seed, pf_model **out) {
    pf_model *m = NULL;
    pf_status s = pfi_model_shell(ctx, config_json, strlen(config_json), "the configuration", PF_F32, &m);
    if (s == PF_OK && tok) {
        m->tokenizer = pf_tokenizer_retain(tok);
        if ((int64_t)pf_tokenizer_size(tok) > m->config.vocab)
            s = pfi_fail(ctx, PF_RANGE, "the tokenizer has %zu tokens, vocab_size is %lld", pf_tokenizer_size(tok),
                         (long long)m->config.vocab);
    }
    model_random r = {seed, 0, s == PF_OK ? m->config.init_range : 0};
    if (s == PF_OK) s = pfi_model_prepare(m);
    if (s == PF_OK) s = pfi_model_fill(m, model_make_random, &r);
    return pfi_model_done(s, m, out);
}

/* weights of its own; those that can never change are shared */
static pf_tensor *model_make_copy(pf_model *m, const pfi_slot *slot, void *ud) {
    const pf_model *from = ud;
    pf_tensor *src = from->parameter[slot - m->slots.slot]; /* the same slots in the same order */
    if (pfi_dtype_stored(src->dtype)) return pf_tensor_retain(src);
    pf_tensor *t = pfi_tensor_make(m->ctx, m->dtype, slot->nd, slot->dim);
    if (t) memcpy(pfi_data(t), pfi_data(src), pfi_dtype_bytes(t->dtype, pfi_numel(t)));
    return t;
}

/* what does not follow from config.json */
static pf_status model_copy_rest(const pf_model *m, pf_model *c) {
    c->names = m->names;
    c->config.n_eos = m->config.n_eos;
    memcpy(c->config.eos, m->config.eos, sizeof c->config.eos);
    if (m->dir && !(c->dir = pfi_strndup(m->ctx, m->dir, strlen(m->dir)))) return PF_NOMEM;
    c->aside = pfi_calloc(m->ctx, (size_t)m->n_aside + 1, sizeof *c->aside);
    if (!c->aside) return PF_NOMEM;
    while (c->n_aside < m->n_aside) {
        c->aside[c->n_aside] = pf_tensor_retain(m->aside[c->n_aside]);
        c->n_aside++;
    }
    return PF_OK;
}

pf_status pf_model_copy(const pf_model *m, pf_model **out) {
    pf_model *c = NULL;
    pf_status s = pfi_model_shell(m->ctx, m->config_text, strlen(m->config_text), "the configuration", m->keep, &c);
    if (s == PF_OK && m->tokenizer) c->tokenizer = pf_tokenizer_retain(m->tokenizer);
    if (s == PF_OK) s = model_copy_rest(m, c);
    if (s == PF_OK) s = pfi_model_prepare(c);
    if (s == PF_OK) s = pfi_model_fill(c, model_make_copy, (void *)(uintptr_t)m);
    if (s == PF_OK && m->adapter) s = pfi_adapter_copy(m, c);
    return pfi_model_done(s, c, out);
}

/* c takes m's own tensors */
static void model_share(const pf_model *m, pf_model *c) {
    for (int i = 0; i < m->n_parameters; i++) {
        c->parameter[i] = *c->slots.slot[i].field = pf_tensor_retain(m->parameter[i]);
        c->n_parameters++;
    }
    if (c->config.tied) c->head.w = c->embedding;
}

pf_status pf_model_reference(const pf_model *m, pf_model **out) {
    if (!m->adapter) return pf_model_copy(m, out);
    pf_model *c = NULL;
    pf_status s = pfi_model_shell(m->ctx, m->config_text, strlen(m->config_text), "the configuration", m->keep, &c);
    if (s == PF_OK && m->tokenizer) c->tokenizer = pf_tokenizer_retain(m->tokenizer);
    if (s == PF_OK) s = model_copy_rest(m, c);
    if (s == PF_OK) s = pfi_model_prepare(c);
    if (s == PF_OK) model_share(m, c);
    if (s == PF_OK && !m->adapter->fresh) s = pfi_adapter_copy(m, c);
    return pfi_model_done(s, c, out);
}

/* ---- asking ---- */

pf_tokenizer *pf_model_tokenizer(const pf_model *m) { return m->tokenizer; }

int pf_model_parameter_count(const pf_model *m) { return m->n_parameters + (m->adapter ? m->adapter->n_param : 0); }

pf_tensor *pf_model_parameter(const pf_model *m, int i) {
    if (i < 0 || i >= pf_model_parameter_count(m)) return NULL;
    return i < m->n_parameters ? m->parameter[i] : m->adapter->param[i - m->n_parameters];
}

const char *pf_tensor_name(const pf_tensor *t) { return t->name; }

int64_t pf_model_size(const pf_model *m, const char *name) {
    const pfi_config *c = &m->config;
    int64_t parameters = 0, trainable = 0;
    for (int i = 0; i < pf_model_parameter_count(m); i++) {
        const pf_tensor *t = pf_model_parameter(m, i);
        parameters += (int64_t)pfi_numel(t);
        if (t->needs_grad) trainable += (int64_t)pfi_numel(t);
    }
    const struct {
        const char *name;
        int64_t value;
    } size[] = {{"vocab_size", c->vocab},          {"hidden_size", c->hidden},
                {"intermediate_size", c->ffn},     {"num_hidden_layers", c->layers},
                {"num_attention_heads", c->heads}, {"num_key_value_heads", c->kv_heads},
                {"head_dim", c->head_dim},         {"max_position_embeddings", c->context},
                {"bos_token_id", c->bos},          {"eos_token_id", c->n_eos ? c->eos[0] : -1},
                {"parameters", parameters},        {"trainable_parameters", trainable}};
    for (int i = 0; i < PFI_COUNT(size); i++)
        if (strcmp(size[i].name, name) == 0) return size[i].value;
    return -1;
}

uint64_t pf_model_fingerprint(const pf_model *m) {
    uint64_t h = pfi_hash64(0, m->config_text, strlen(m->config_text));
    for (int i = 0; i < pf_model_parameter_count(m); i++) {
        const pf_tensor *t = pf_model_parameter(m, i);
        h = pfi_hash64(h, pfi_data(t), pfi_dtype_bytes(t->dtype, pfi_numel(t)));
    }
    return m->adapter ? pfi_hash64(h, m->adapter->config, strlen(m->adapter->config)) : h;
}
