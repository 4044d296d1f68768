/* Adapters: making, attaching, copying. */
#include <math.h>

#include "kernel/kernel.h"
#include "model/adapter.h"
#include "model/family.h"

/* ---- tensors ---- */

/* a named parameter that outlives any step */
static pf_status adapter_tensor(pfi_adapter *a, pf_dtype dtype, int nd, const int64_t *dim, const char *name,
                                const char *part, pf_tensor **out) {
    pf_tensor *t = pf_tensor_keep(pf_tensor_new(a->ctx, dtype, nd, dim));
    *out = t;
    if (!t) return PF_NOMEM;
    a->param[a->n_param++] = t;
    t->needs_grad = true;
    int n = snprintf(t->name, sizeof t->name, PFI_PEFT_PREFIX "%s%s", name, part);
    if (n < (int)sizeof t->name) return PF_OK;
    return pfi_fail(a->ctx, PF_RANGE, "the name \"" PFI_PEFT_PREFIX "%s%s\" is longer than %d bytes", name, part,
                    PF_MAX_NAME - 1);
}

static void adapter_uniform(pf_tensor *t, uint64_t seed, uint64_t stream, double bound) {
    const size_t n = pfi_numel(t);
    for (size_t i = 0; i < n; i++) pfi_set(t, i, bound * (2 * pfi_random_uniform(seed, stream, i) - 1));
}

/* A uniform in +-1 / sqrt(in), or normal with deviation 1 / r; B zero, or like A on request */
static void adapter_first_values(const pfi_adapter_config *c, const pfi_lora *l, uint64_t seed, uint64_t number) {
    const size_t n = pfi_numel(l->a);
    if (c->init)
        for (size_t i = 0; i < n; i++) pfi_set(l->a, i, pfi_random_normal(seed, 2 * number, i) / (double)l->rank);
    else
        adapter_uniform(l->a, seed, 2 * number, 1 / sqrt((double)l->in));
    if (!c->zero_b) adapter_uniform(l->b, seed, 2 * number + 1, 1 / sqrt((double)l->rank));
}

/* magnitudes begin as the norms of the rows */
static pf_status adapter_dora(pfi_adapter *a, pfi_lora *l) {
    PF_TRY(adapter_tensor(a, l->a->dtype, 1, &l->out, l->module, ".lora_magnitude_vector", &l->magnitude));
    l->gain = pfi_calloc(a->ctx, (size_t)l->out, sizeof *l->gain);
    l->squares = pfi_calloc(a->ctx, (size_t)l->out, sizeof *l->squares);
    if (!l->gain || !l->squares) return PF_NOMEM;
    PF_TRY(pfi_adapter_measure(l));
    pf_tensor *inverse = pfi_adapter_inverse(l);
    if (!inverse) return a->ctx->code;
    for (size_t i = 0; i < (size_t)l->out; i++) {
        double v = pfi_get(inverse, i);
        pfi_set(l->magnitude, i, v > 0 ? 1 / v : 0);
    }
    pf_tensor_free(inverse);
    return PF_OK;
}

static pf_status adapter_add_lora(pf_model *m, pfi_adapter *a, const pfi_adapter_config *c, int slot,
                                  const char *module, uint64_t seed) {
    pfi_linear *on = (pfi_linear *)m->slots.slot[slot].field;
    if (on == &m->head)
        return pfi_fail(
            m->ctx, PF_UNSUPPORTED, "%s: \"%s\" is the output head, which takes no low-rank adapter%s", c->what, module,
            m->config.tied ? " (it is the embedding: tie_word_embeddings)" : "; name it in modules_to_save");
    pfi_lora *l = &a->lora[a->n_lora];
    l->on = on;
    l->slot = slot;
    memcpy(l->module, module, sizeof l->module);
    l->out = on->w->dim[0];
    l->in = on->w->dim[1];
    PF_TRY(pfi_adapter_sizes(m->ctx, c, module, &l->rank, &l->alpha));
    l->scale = c->rslora ? l->alpha / sqrt((double)l->rank) : l->alpha / (double)l->rank;
    a->n_lora++;
    PF_TRY(adapter_tensor(a, m->dtype, 2, (int64_t[]){l->rank, l->in}, module, ".lora_A.weight", &l->a));
    PF_TRY(adapter_tensor(a, m->dtype, 2, (int64_t[]){l->out, l->rank}, module, ".lora_B.weight", &l->b));
    adapter_first_values(c, l, seed, (uint64_t)a->n_lora - 1);
    return c->dora ? adapter_dora(a, l) : PF_OK;
}

static pf_status adapter_add_kept(pf_model *m, pfi_adapter *a, const pfi_adapter_config *c, int slot) {
    const pf_tensor *base = m->parameter[slot];
    if (m->config.tied && *m->slots.slot[slot].field == m->embedding)
        return pfi_fail(m->ctx, PF_UNSUPPORTED,
                        "%s: modules_to_save names \"%s\", which is embedding and output head in one "
                        "(tie_word_embeddings): it cannot be trained as a module of its own; train the whole model",
                        c->what, base->name);
    if (m->slots.slot[slot].flags & PFI_TURNED)
        return pfi_fail(m->ctx, PF_UNSUPPORTED,
                        "%s: modules_to_save names \"%s\", which files of this family hold turned; a low-rank adapter "
                        "can be trained on it",
                        c->what, base->name);
    char name[PF_MAX_NAME];
    pfi_kept *k = &a->kept[a->n_kept++];
    k->slot = slot;
    pfi_adapter_path(m, slot, name);
    PF_TRY(adapter_tensor(a, m->dtype, base->nd, base->dim, name, "", &k->own));
    const int64_t n = (int64_t)pfi_numel(base);
    if (m->dtype == PF_F32)
        pfk_widen_f32(base->dtype, pfi_data(base), pfi_data(k->own), n);
    else
        pfk_widen_f64(base->dtype, pfi_data(base), pfi_data(k->own), n);
    return PF_OK;
}

/* ---- making ---- */

/* a head that is the embedding is no module of its own */
static pf_status adapter_check_tied(const pf_model *m, const pfi_adapter_config *c) {
    static const char *const heads[] = {"lm_head", "embed_out"};
    for (int i = 0; m->config.tied && i < PFI_COUNT(heads); i++) {
        char weight[32];
        bool hit = false;
        snprintf(weight, sizeof weight, "%s.weight", heads[i]);
        if (json_is_array(json_object_get(c->json, "target_modules")))
            PF_TRY(pfi_adapter_targets(m->ctx, c, heads[i], &hit));
        if (hit || pfi_adapter_saves(c, weight))
            return pfi_fail(
                m->ctx, PF_UNSUPPORTED,
                "%s: \"%s\" is this model's embedding (tie_word_embeddings): it takes no adapter and cannot be "
                "trained as a module of its own; train the whole model",
                c->what, heads[i]);
    }
    return PF_OK;
}

static pf_status adapter_fill(pf_model *m, pfi_adapter *a, const pfi_adapter_config *c, uint64_t seed) {
    const size_t n = (size_t)m->slots.n;
    a->lora = pfi_calloc(a->ctx, n, sizeof *a->lora);
    a->kept = pfi_calloc(a->ctx, n, sizeof *a->kept);
    a->param = pfi_calloc(a->ctx, 3 * n, sizeof *a->param);
    if (!a->lora || !a->kept || !a->param) return PF_NOMEM;
    PF_TRY(adapter_check_tied(m, c));
    for (int i = 0; i < m->slots.n; i++) {
        char module[PF_MAX_NAME];
        bool hit = false;
        pfi_linear *on = pfi_adapter_linear(m, i, module);
        if (on) PF_TRY(pfi_adapter_targets(m->ctx, c, module, &hit));
        if (hit) PF_TRY(adapter_add_lora(m, a, c, i, module, seed));
        pfi_adapter_path(m, i, module);
        if (pfi_adapter_saves(c, module)) PF_TRY(adapter_add_kept(m, a, c, i));
    }
    if (a->n_param) return PF_OK;
    return pfi_fail(m->ctx, PF_NAME, "%s: the adapter fits no module of this model", c->what);
}

static pf_status adapter_describe(pfi_adapter *a, const pfi_adapter_config *c) {
    pfi_buf text = {0};
    pf_status s = pfi_adapter_json(a->ctx, c->json, true, &text);
    if (s == PF_OK && !(a->config = pfi_strndup(a->ctx, text.data, text.len))) s = PF_NOMEM;
    pfi_buf_free(a->ctx, &text);
    return s;
}

pf_status pfi_adapter_build(pf_model *m, const pfi_adapter_config *c, uint64_t seed, pfi_adapter **out) {
    *out = NULL;
    if (m->adapter)
        return pfi_fail(m->ctx, PF_STATE, "%s: the model has an adapter already; merge it into the base first",
                        c->what);
    pfi_adapter *a = pfi_calloc(m->ctx, 1, sizeof *a);
    if (!a) return PF_NOMEM;
    a->ctx = m->ctx;
    a->seed = seed;
    a->dropout = c->dropout;
    pf_status s = adapter_fill(m, a, c, seed);
    if (s == PF_OK) s = adapter_describe(a, c);
    if (s == PF_OK)
        *out = a;
    else
        pfi_adapter_drop(a);
    return s;
}

void pfi_adapter_drop(pfi_adapter *a) {
    if (!a) return;
    pf_ctx *ctx = a->ctx;
    for (int i = 0; i < a->n_param; i++) pf_tensor_free(a->param[i]);
    for (int i = 0; i < a->n_lora; i++) {
        pfi_free(ctx, a->lora[i].squares);
        pfi_free(ctx, a->lora[i].gain);
    }
    pfi_free(ctx, a->lora);
    pfi_free(ctx, a->kept);
    pfi_free(ctx, a->param);
    pfi_free(ctx, a->config);
    pfi_free(ctx, a);
}

void pfi_adapter_attach(pf_model *m, pfi_adapter *a) {
    m->adapter = a;
    for (int i = 0; i < m->n_parameters; i++) {
        m->parameter[i]->needs_grad = false;
        pf_tensor_zero_grad(m->parameter[i]);
    }
    for (int i = 0; i < a->n_lora; i++) a->lora[i].on->lora = &a->lora[i];
    for (int i = 0; i < a->n_kept; i++) *m->slots.slot[a->kept[i].slot].field = a->kept[i].own;
}

void pfi_adapter_free(pf_model *m) {
    pfi_adapter *a = m->adapter;
    if (!a) return;
    for (int i = 0; i < a->n_lora; i++) a->lora[i].on->lora = NULL;
    for (int i = 0; i < a->n_kept; i++) *m->slots.slot[a->kept[i].slot].field = m->parameter[a->kept[i].slot];
    m->adapter = NULL;
    pfi_adapter_drop(a);
}

pf_tensor *pfi_adapter_find(const pfi_adapter *a, const char *name) {
    for (int i = 0; i < a->n_param; i++)
        if (strcmp(a->param[i]->name, name) == 0) return a->param[i];
    return NULL;
}

pf_status pfi_adapter_copy(const pf_model *from, pf_model *to) {
    const pfi_adapter *a = from->adapter;
    pfi_adapter *b = NULL;
    pfi_adapter_config c;
    PF_TRY(pfi_adapter_config_read(to, a->config, strlen(a->config), "the adapter", &c));
    pf_status s = pfi_adapter_build(to, &c, a->seed, &b);
    pfi_adapter_config_free(&c);
    PF_TRY(s);
    for (int i = 0; i < b->n_param; i++) {
        memcpy(pfi_data(b->param[i]), pfi_data(a->param[i]), pfi_numel(b->param[i]) * pfi_dtype_size(to->dtype));
        b->param[i]->needs_grad = false;
    }
    b->fresh = a->fresh;
    pfi_adapter_attach(to, b);
    return PF_OK;
}

static pf_status adapter_creates(pf_model *m, pfi_adapter_config *c) {
    PF_TRY(pfi_adapter_check_targets(m, c));
    if (c->init && strcmp(c->init, "gaussian") != 0)
        return pfi_fail(m->ctx, PF_UNSUPPORTED,
                        "%s: a new adapter begins with init_lora_weights true, false or \"gaussian\", not \"%s\"",
                        c->what, c->init);
    json_t *turned = json_boolean(strcmp(m->family->model_type, "gpt2") == 0); /* its file holds W as [in, out] */
    return json_object_set_new(c->json, "fan_in_fan_out", turned) == 0
               ? PF_OK
               : pfi_fail(m->ctx, PF_NOMEM, "not enough memory");
}

pf_status pf_model_adapt(pf_model *m, const char *config_json, uint64_t seed) {
    pfi_adapter_config c;
    pfi_adapter *a = NULL;
    PF_TRY(pfi_adapter_config_read(m, config_json, strlen(config_json), "the adapter", &c));
    pf_status s = adapter_creates(m, &c);
    if (s == PF_OK) s = pfi_adapter_build(m, &c, seed, &a);
    pfi_adapter_config_free(&c);
    PF_TRY(s);
    a->fresh = true;
    pfi_adapter_attach(m, a);
    return PF_OK;
}
