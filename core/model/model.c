/* Models: loading, making, copying and saving. */
#include "model/model.h"

#include <stdarg.h>

#include "file/file.h"
#include "file/safetensors.h"
#include "kernel/kernel.h"
#include "model/adapter.h"
#include "text/tokenizer.h"

/* ---- what a model is made of ---- */

pf_status pfi_slot_add(pfi_slots *s, pf_tensor **field, int64_t rows, int64_t cols, const char *fmt, ...) {
    if (s->n == s->cap) {
        int cap = 2 * s->cap + 16;
        pfi_slot *slot = pfi_realloc(s->ctx, s->slot, (size_t)cap * sizeof *slot);
        if (!slot) return PF_NOMEM;
        s->slot = slot;
        s->cap = cap;
    }
    pfi_slot *slot = &s->slot[s->n++];
    *slot = (pfi_slot){.field = field, .nd = cols ? 2 : 1, .dim = {rows, cols}};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(slot->name, sizeof slot->name, fmt, ap);
    va_end(ap);
    return PF_OK;
}

/* ---- life ---- */

static pf_status model_shell(pf_ctx *ctx, const char *text, size_t len, const char *file, pf_dtype dtype,
                             pf_model **out) {
    if (dtype != PF_F32 && dtype != PF_F64)
        return pfi_fail(ctx, PF_TYPE, "a model computes in float32 or float64, not %s", pfi_dtype_name(dtype));
    pf_model *m = pfi_calloc(ctx, 1, sizeof *m);
    if (!m) return PF_NOMEM;
    m->ctx = ctx;
    m->refs = 1;
    m->dtype = dtype;
    pfi_hold(ctx);
    *out = m;
    PF_TRY(pfi_config_read(ctx, text, len, file, &m->family, &m->config));
    m->config_text = pfi_strndup(ctx, text, len);
    m->layer = pfi_calloc(ctx, (size_t)m->config.layers, sizeof *m->layer);
    if (!m->config_text || !m->layer) return PF_NOMEM;
    m->slots.ctx = ctx;
    PF_TRY(m->family->slots(m, &m->slots));
    m->parameter = pfi_calloc(ctx, (size_t)m->slots.n, sizeof(pf_tensor *));
    return m->parameter ? PF_OK : PF_NOMEM;
}

/* Fill every slot: make the tensor, let fill put values in. Parameters are leaves that collect gradients. */
static pf_status model_fill(pf_model *m, pf_status (*fill)(void *ud, const pfi_slot *s, pf_tensor *t), void *ud) {
    pfi_step *open = m->ctx->step;
    m->ctx->step = NULL; /* weights outlive any step */
    pf_status s = PF_OK;
    for (int i = 0; s == PF_OK && i < m->slots.n; i++) {
        const pfi_slot *slot = &m->slots.slot[i];
        pf_tensor *t = pfi_tensor_make(m->ctx, m->dtype, slot->nd, slot->dim);
        if (!t) {
            s = PF_NOMEM;
            break;
        }
        memcpy(t->name, slot->name, sizeof t->name);
        t->needs_grad = true;
        m->parameter[m->n_parameters++] = *slot->field = t;
        s = fill(ud, slot, t);
    }
    m->ctx->step = open;
    if (m->config.tied) m->head.w = m->embedding;
    return s;
}

static pf_status model_done(pf_status s, pf_model *m, pf_model **out) {
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
    pfi_free(ctx, m->parameter);
    pfi_free(ctx, m->slots.slot);
    pfi_free(ctx, m->layer);
    pfi_free(ctx, m->config_text);
    pf_tokenizer_free(m->tokenizer);
    pfi_free(ctx, m);
    pfi_release(ctx);
}

/* ---- loading ---- */

/* Does the file hold this weight as config.json describes it? Looked at for all before memory is taken for any. */
static pf_status model_check_slot(pf_ctx *ctx, pfi_weights *w, const pfi_slot *slot) {
    const pfi_weight *from = pfi_weights_find(w, slot->name);
    if (!from)
        return pfi_fail(ctx, PF_FORMAT, "the weights have no tensor \"%s\", which config.json asks for", slot->name);
    bool fits = from->nd == slot->nd;
    for (int i = 0; fits && i < slot->nd; i++) fits = (int64_t)from->dim[i] == slot->dim[i];
    if (!fits)
        return pfi_fail(ctx, PF_SHAPE, "%s: tensor \"%s\" has another shape than config.json asks for, %s", from->file,
                        slot->name, pfi_shape_text((char[96]){0}, 96, slot->nd, slot->dim));
    if (from->pf < 0 || from->pf == PF_I32)
        return pfi_fail(ctx, PF_UNSUPPORTED, "%s: tensor \"%s\" is stored as %s, which is not read as weights",
                        from->file, slot->name, from->dtype);
    return PF_OK;
}

static pf_status model_check_weights(pf_model *m, pfi_weights *w) {
    for (int i = 0; i < m->slots.n; i++) PF_TRY(model_check_slot(m->ctx, w, &m->slots.slot[i]));
    return PF_OK;
}

static pf_status model_fill_from_file(void *ud, const pfi_slot *slot, pf_tensor *t) {
    pf_tensor *src = pfi_weights_tensor(ud, pfi_weights_find(ud, slot->name));
    if (!src) return pf_errcode(t->ctx);
    if (t->dtype == PF_F32)
        pfk_widen_f32(src->dtype, pfi_data(src), pfi_data(t), (int64_t)pfi_numel(t));
    else
        pfk_widen_f64(src->dtype, pfi_data(src), pfi_data(t), (int64_t)pfi_numel(t));
    pf_tensor_free(src);
    return PF_OK;
}

/* a tensor in the file that no slot wants would be silently lost on saving: refuse it */
static pf_status model_check_leftover(pf_model *m, pfi_weights *w) {
    for (int i = 0; i < (int)pfi_weights_count(w); i++) {
        const char *name = pfi_weights_at(w, (size_t)i)->name;
        bool wanted = m->config.tied && strcmp(name, "lm_head.weight") == 0;
        size_t len = strlen(name);
        wanted = wanted || (len > 20 && strcmp(name + len - 20, ".rotary_emb.inv_freq") == 0); /* old files; derived */
        for (int k = 0; !wanted && k < m->n_parameters; k++) wanted = strcmp(name, m->parameter[k]->name) == 0;
        if (!wanted)
            return pfi_fail(m->ctx, PF_UNSUPPORTED, "the weights hold a tensor \"%s\" that a %s model does not have",
                            name, m->family->model_type);
    }
    return PF_OK;
}

static pf_status model_load_tokenizer(pf_model *m, const char *dir) {
    char *path = pfi_file_join(m->ctx, dir, "tokenizer.json");
    if (!path) return PF_NOMEM;
    bool there = pfi_file_exists(path);
    pfi_free(m->ctx, path);
    if (!there) return PF_OK;
    PF_TRY(pf_tokenizer_load(m->ctx, dir, &m->tokenizer));
    size_t n = pf_tokenizer_size(m->tokenizer);
    if ((int64_t)n > m->config.vocab)
        return pfi_fail(m->ctx, PF_FORMAT, "%s: the tokenizer has %zu tokens, the model's vocab_size is %lld", dir, n,
                        (long long)m->config.vocab);
    return PF_OK;
}

static pf_status model_load_into(pf_ctx *ctx, const char *dir, pf_dtype dtype, pf_model **m) {
    if (!pfi_file_is_dir(dir))
        return pfi_fail(ctx, PF_IO, "%s: no such model directory (expected config.json and model.safetensors in it)",
                        dir);
    char *path = pfi_file_join(ctx, dir, "config.json");
    if (!path) return PF_NOMEM;
    pfi_buf text = {0};
    pf_status s = pfi_file_read(ctx, path, &text);
    if (s == PF_OK) s = model_shell(ctx, text.data, text.len, path, dtype, m);
    pfi_buf_free(ctx, &text);
    pfi_free(ctx, path);
    pfi_weights *w = NULL;
    if (s == PF_OK) s = pfi_weights_open(ctx, dir, &w);
    if (s == PF_OK) s = model_check_weights(*m, w);
    if (s == PF_OK) s = model_fill(*m, model_fill_from_file, w);
    if (s == PF_OK) s = model_check_leftover(*m, w);
    pfi_weights_close(w);
    return s == PF_OK ? model_load_tokenizer(*m, dir) : s;
}

pf_status pf_model_load(pf_ctx *ctx, const char *dir, pf_dtype dtype, pf_model **out) {
    pf_model *m = NULL;
    pf_status s = model_load_into(ctx, dir, dtype, &m);
    return model_done(s, m, out);
}

/* ---- making and copying ---- */

typedef struct model_random {
    uint64_t seed, stream;
    double range;
} model_random;

static pf_status model_fill_random(void *ud, const pfi_slot *slot, pf_tensor *t) {
    model_random *r = ud;
    size_t n = pfi_numel(t);
    for (size_t i = 0; i < n; i++)
        pfi_set(t, i, slot->nd == 1 ? 1 : r->range * pfi_random_normal(r->seed, r->stream, i));
    r->stream++;
    return PF_OK;
}

pf_status pf_model_new(pf_ctx *ctx, const char *config_json, pf_tokenizer *tok, uint64_t seed, pf_model **out) {
    pf_model *m = NULL;
    pf_status s = model_shell(ctx, config_json, strlen(config_json), "the configuration", PF_F32, &m);
    if (s == PF_OK && tok) {
        m->tokenizer = pf_tokenizer_retain(tok);
        if ((int64_t)pf_tokenizer_size(tok) > m->config.vocab)
            s = pfi_fail(ctx, PF_RANGE, "the tokenizer has %zu tokens, vocab_size is %lld", pf_tokenizer_size(tok),
                         (long long)m->config.vocab);
    }
    model_random r = {seed, 0, s == PF_OK ? m->config.init_range : 0};
    if (s == PF_OK) s = model_fill(m, model_fill_random, &r);
    return model_done(s, m, out);
}

static pf_status model_fill_copy(void *ud, const pfi_slot *slot, pf_tensor *t) {
    const pf_model *from = ud;
    for (int i = 0; i < from->n_parameters; i++)
        if (strcmp(from->parameter[i]->name, slot->name) == 0)
            memcpy(pfi_data(t), pfi_data(from->parameter[i]), pfi_numel(t) * pfi_dtype_size(t->dtype));
    t->needs_grad = false;
    return PF_OK;
}

pf_status pf_model_copy(const pf_model *m, pf_model **out) {
    pf_model *c = NULL;
    pf_status s = model_shell(m->ctx, m->config_text, strlen(m->config_text), "the configuration", m->dtype, &c);
    if (s == PF_OK && m->tokenizer) c->tokenizer = pf_tokenizer_retain(m->tokenizer);
    if (s == PF_OK) s = model_fill(c, model_fill_copy, (void *)(uintptr_t)m);
    if (s == PF_OK && m->adapter) s = pfi_adapter_copy(m, c);
    return model_done(s, c, out);
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
    pf_status s = model_shell(m->ctx, m->config_text, strlen(m->config_text), "the configuration", m->dtype, &c);
    if (s == PF_OK && m->tokenizer) c->tokenizer = pf_tokenizer_retain(m->tokenizer);
    if (s == PF_OK) model_share(m, c);
    if (s == PF_OK && !m->adapter->fresh) s = pfi_adapter_copy(m, c);
    return model_done(s, c, out);
}

/* ---- saving ---- */

static pf_status model_save_weights(const pf_model *m, const char *path) {
    pf_ctx *ctx = m->ctx;
    pfi_st_entry *e = pfi_calloc(ctx, (size_t)m->n_parameters, sizeof *e);
    if (!e) return PF_NOMEM;
    for (int i = 0; i < m->n_parameters; i++) {
        pf_tensor *t = m->parameter[i];
        e[i] = (pfi_st_entry){.name = t->name, .dtype = t->dtype, .nd = t->nd, .dim = t->dim, .data = pfi_data(t)};
    }
    pf_status s = pfi_st_write(ctx, path, e, (size_t)m->n_parameters, (const char *const[]){"format", "pt", NULL});
    pfi_free(ctx, e);
    return s;
}

pf_status pf_model_save(const pf_model *m, const char *dir) {
    pf_ctx *ctx = m->ctx;
    if (m->adapter)
        return pfi_fail(ctx, PF_STATE,
                        "%s: the model has an adapter: save that by itself, or merge it into the base first", dir);
    PF_TRY(pfi_file_mkdirs(ctx, dir));
    char *config = pfi_file_join(ctx, dir, "config.json"), *weights = pfi_file_join(ctx, dir, "model.safetensors");
    pf_status s = config && weights ? PF_OK : PF_NOMEM;
    if (s == PF_OK) s = model_save_weights(m, weights);
    if (s == PF_OK && m->tokenizer) s = pfi_tokenizer_save(m->tokenizer, dir);
    if (s == PF_OK) s = pfi_file_write_atomic(ctx, config, m->config_text, strlen(m->config_text));
    pfi_free(ctx, config);
    pfi_free(ctx, weights);
    return s;
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
        h = pfi_hash64(h, pfi_data(t), pfi_numel(t) * pfi_dtype_size(t->dtype));
    }
    return m->adapter ? pfi_hash64(h, m->adapter->config, strlen(m->adapter->config)) : h;
}
