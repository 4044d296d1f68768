/* One pass through the model for rows that each see their own list of places in a pool of keys and values. Rows never
 * meet, so a row's bits do not depend on the others. */
#include "model/pass.h"
#include "model/adapter.h"
#include "model/block.h"
#include "op/op.h"

enum { PASS_LINEAR = 7 * 3 }; /* most products of a layer: seven and their adapters' */

pf_status pfi_pass_open(pfi_pass *p, pf_model *m) {
    *p = (pfi_pass){.m = m, .ctx = m->ctx, .compute = PF_F32, .kv = PF_F32};
    p->k = pfi_calloc(p->ctx, (size_t)m->config.layers, sizeof *p->k);
    p->v = pfi_calloc(p->ctx, (size_t)m->config.layers, sizeof *p->v);
    p->most = (m->config.layers + 1) * PASS_LINEAR;
    p->order = pfi_calloc(p->ctx, (size_t)p->most + 1, sizeof *p->order);
    return p->k && p->v && p->order ? pfi_adapter_prepare(m) : PF_NOMEM;
}

int64_t pfi_pass_pages(int64_t places) { return (places + PFK_PAGE - 1) / PFK_PAGE * PFK_PAGE; }

pf_status pfi_pass_grow(pfi_pass *p, int64_t need) {
    const pfi_config *c = &p->m->config;
    if (need <= p->cap) return PF_OK;
    int64_t cap = pfi_pass_pages(PFI_MAX(need, p->cap + p->cap / 2));
    size_t row = pfi_dtype_bytes(p->kv, (size_t)(c->kv_heads * c->head_dim));
    for (int64_t i = 0; i < 2 * c->layers; i++) {
        void **at = i < c->layers ? &p->k[i] : &p->v[i - c->layers];
        void *new = pfi_alloc_data(p->ctx, (size_t)cap * row);
        if (!new) return PF_NOMEM;
        if (p->used) memcpy(new, *at, (size_t)p->used * row);
        pfi_free(p->ctx, *at);
        *at = new;
    }
    p->cap = cap;
    return PF_OK;
}

pf_status pfi_pass_page(pfi_pass *p, int32_t *page) {
    if (p->free_pages.len) {
        *page = p->free_pages.data[--p->free_pages.len];
        return PF_OK;
    }
    PF_TRY(pfi_pass_grow(p, p->used + PFK_PAGE));
    *page = (int32_t)p->used;
    p->used += PFK_PAGE;
    return PF_OK;
}

static void pass_forget(pfi_pass *p) {
    pf_tensor_free(p->rounded);
    pfi_free(p->ctx, p->narrow);
    p->rounded = NULL;
    p->narrow = NULL;
}

void pfi_pass_close(pfi_pass *p) {
    for (int64_t i = 0; p->m && i < p->m->config.layers; i++) {
        if (p->k) pfi_free(p->ctx, p->k[i]);
        if (p->v) pfi_free(p->ctx, p->v[i]);
    }
    if (!p->m) return;
    pfi_free(p->ctx, p->k);
    pfi_free(p->ctx, p->v);
    pfi_free(p->ctx, p->order);
    pass_forget(p);
    pfi_ints_free(p->ctx, &p->free_pages);
    *p = (pfi_pass){0};
}

/* what was read after w in the last pass that came here */
static const void *pass_then(pfi_pass *p, const void *w) {
    if (p->at == p->most) return NULL;
    p->order[p->at++] = w;
    return p->order[p->at] ? p->order[p->at] : p->order[0];
}

/* p->narrow = x; it is kept for products that read x again */
static pf_status pass_narrow(pfi_pass *p, pf_tensor *x) {
    const int64_t rows = x->dim[0], in = x->dim[1];
    if (p->rounded == x) return PF_OK;
    pass_forget(p);
    p->narrow = pfi_alloc_data(p->ctx, (size_t)(rows * in) * sizeof *p->narrow);
    if (!p->narrow) return PF_NOMEM;
    p->rounded = pf_tensor_retain(x);
    pfk_narrow_rows(0, p->ctx->threads, p->narrow, pfi_f32(x), rows, in);
    return PF_OK;
}

pf_tensor *pfi_pass_linear(pfi_pass *p, pf_tensor *x, const pfi_linear *l) {
    if (!x) return NULL;
    const double start = pfi_observe_begin(p->ctx);
    const bool narrow = pfk_rows_narrow(0, p->compute, l->w->dtype);
    if (narrow && pass_narrow(p, x) != PF_OK) return NULL;
    int64_t rows = x->dim[0], out = l->w->dim[0], in = l->w->dim[1];
    size_t bytes = pfk_linear_rows_scratch(p->ctx->threads, l->w->dtype, in);
    void *scratch = bytes ? pfi_alloc_data(p->ctx, bytes) : NULL;
    if (bytes && !scratch) return NULL;
    pf_tensor *y = pfi_tensor_make(p->ctx, PF_F32, 2, (int64_t[]){rows, out});
    if (y)
        pfk_linear_rows(0, p->ctx->threads, pfi_f32(y), pfi_f32(x), narrow ? p->narrow : NULL, l->w->dtype,
                        pfi_data(l->w), pass_then(p, pfi_data(l->w)), rows, out, in, scratch);
    pfi_free(p->ctx, scratch);
    pfi_observe_end(p->ctx, start,
                    (pf_event){.name = "linear",
                               .layer = p->ctx->layer,
                               .flops = 2 * (double)(rows * out * in),
                               .bytes = (double)pfi_dtype_bytes(l->w->dtype, (size_t)(out * in)) +
                                        (double)(rows * (in + out)) * sizeof(float)});
    if (y && l->lora && pfi_pass_adapt(p, x, l->lora, y) != PF_OK) {
        pf_tensor_free(y);
        return NULL;
    }
    for (int64_t i = 0; y && l->b && i < rows * out; i++) pfi_f32(y)[i] += pfi_f32(l->b)[i % out];
    return y;
}

/* Rows over the pool. */
typedef struct pass_run {
    pfi_run run;
    pfi_pass *pass;
    const pfi_rows *rows;
    float *scores; /* scratch of attention */
    int64_t longest;
} pass_run;

static pf_tensor *pass_linear(pfi_run *r, pf_tensor *x, const pfi_linear *l) {
    return pfi_pass_linear(((pass_run *)r)->pass, x, l);
}

static pf_tensor *pass_attention(pfi_run *run, int64_t layer, pf_tensor *q, pf_tensor *k, pf_tensor *v) {
    const pass_run *a = (const pass_run *)run;
    const pfi_pass *p = a->pass;
    const pfi_config *c = &p->m->config;
    const pfi_rows *r = a->rows;
    const pfk_attention_f32 shape = {.T = r->n,
                                     .H = c->heads,
                                     .G = c->kv_heads,
                                     .D = c->head_dim,
                                     .longest = a->longest,
                                     .scale = (float)pfi_attention_scale(c),
                                     .cap = (float)c->attention_cap,
                                     .window = pfi_attention_window(c, layer),
                                     .threads = p->ctx->threads};
    const double start = pfi_observe_begin(p->ctx);
    pf_tensor *o = pf_tensor_new(p->ctx, PF_F32, 3, q->dim);
    if (!o) return NULL;
    pfk_store_rows(p->kv, p->k[layer], p->v[layer], pfi_f32(k), pfi_f32(v), r->place, &shape);
    pfk_attention_rows(0, pfi_f32(o), pfi_f32(q), p->kv, p->k[layer], p->v[layer], r->list, r->len, &shape, a->scores);
    double seen = 0;
    for (int64_t i = 0; i < r->n; i++)
        seen += (double)(shape.window > 0 ? PFI_MIN(r->len[i], shape.window) : r->len[i]);
    pfi_observe_end(p->ctx, start,
                    (pf_event){.name = "attention",
                               .layer = (int)layer,
                               .flops = 4 * seen * (double)(c->heads * c->head_dim),
                               .bytes = 2 *
                                        (seen * (double)(c->kv_heads * (int64_t)pfi_dtype_size(p->kv)) +
                                         (double)(r->n * c->heads) * sizeof(float)) *
                                        (double)c->head_dim});
    return o;
}

/* token or position as a tensor */
static pf_tensor *pass_ids(pfi_pass *p, const int32_t *ids, int64_t n) {
    pf_tensor *t = pf_tensor_new(p->ctx, PF_I32, 1, &n);
    if (t) memcpy(pfi_i32(t), ids, (size_t)n * sizeof *ids);
    return t;
}

pf_tensor *pfi_pass_hidden(pfi_pass *p, const pfi_rows *r) {
    const pfi_config *c = &p->m->config;
    pass_run a = {.run = {.m = p->m, .is_long = p->is_long, .linear = pass_linear, .attention = pass_attention},
                  .pass = p,
                  .rows = r,
                  .longest = 1};
    for (int64_t i = 0; i < r->n; i++) a.longest = PFI_MAX(a.longest, r->len[i]);
    a.scores = pfi_alloc_data(p->ctx, (size_t)(p->ctx->threads * (c->heads / c->kv_heads) * a.longest) * sizeof(float));
    pf_tensor *token = pass_ids(p, r->token, r->n);
    p->at = 0;
    a.run.position = pass_ids(p, r->position, r->n);
    pf_tensor *h = a.scores && token && a.run.position ? pfi_run_hidden(&a.run, token) : NULL;
    pfi_free(p->ctx, a.scores);
    pf_tensor_free(token);
    pfi_run_close(&a.run);
    return h;
}
