/* One pass through the model for rows that each see their own list of places in a pool of keys and values. Rows never
 * meet, so a row's bits do not depend on the others. */
#include <math.h>

#include "kernel/kernel.h"
#include "model/pass.h"
#include "op/op.h"

pf_status pfi_pass_open(pfi_pass *p, pf_model *m) {
    *p = (pfi_pass){.m = m, .ctx = m->ctx};
    p->k = pfi_calloc(p->ctx, (size_t)m->config.layers, sizeof *p->k);
    p->v = pfi_calloc(p->ctx, (size_t)m->config.layers, sizeof *p->v);
    return p->k && p->v ? PF_OK : PF_NOMEM;
}

pf_status pfi_pass_grow(pfi_pass *p, int64_t need) {
    const pfi_config *c = &p->m->config;
    if (need <= p->cap) return PF_OK;
    int64_t cap = PFI_MAX(need, p->cap + p->cap / 2);
    size_t row = (size_t)(c->kv_heads * c->head_dim) * sizeof(float);
    for (int64_t i = 0; i < 2 * c->layers; i++) {
        float **at = i < c->layers ? &p->k[i] : &p->v[i - c->layers];
        float *new = pfi_alloc_data(p->ctx, (size_t)cap * row);
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
    PF_TRY(pfi_pass_grow(p, p->used + PFI_PAGE));
    *page = (int32_t)p->used;
    p->used += PFI_PAGE;
    return PF_OK;
}

void pfi_pass_close(pfi_pass *p) {
    for (int64_t i = 0; p->m && i < p->m->config.layers; i++) {
        if (p->k) pfi_free(p->ctx, p->k[i]);
        if (p->v) pfi_free(p->ctx, p->v[i]);
    }
    if (!p->m) return;
    pfi_free(p->ctx, p->k);
    pfi_free(p->ctx, p->v);
    pfi_ints_free(p->ctx, &p->free_pages);
    *p = (pfi_pass){0};
}

static pf_tensor *pass_op(pfi_pass *p, const char *op, pf_tensor *a, pf_tensor *b, pf_tensor *c, double x) {
    return pfi_apply(p->ctx, op, (pf_tensor *[]){a, b, c}, (double[]){x}, NULL, 0);
}

pf_tensor *pfi_pass_linear(pfi_pass *p, pf_tensor *x, pf_tensor *w) {
    if (!x) return NULL;
    pf_tensor *y = pfi_tensor_make(p->ctx, PF_F32, 2, (int64_t[]){x->dim[0], w->dim[0]});
    if (y) pfk_linear_rows_f32(p->ctx->threads, pfi_f32(y), pfi_f32(x), pfi_f32(w), x->dim[0], w->dim[0], w->dim[1]);
    return y;
}

static pf_tensor *pass_rope(pfi_pass *p, pf_tensor *x, int64_t heads, pf_tensor *position) {
    pf_tensor *split = pfi_apply(p->ctx, "reshape", &x, NULL, (int64_t[]){-1, heads, p->m->config.head_dim}, 3);
    pf_tensor *y = pass_op(p, "rope", split, position, NULL, p->m->config.rope_theta);
    pf_tensor_free(split);
    return y;
}

static void pass_store(const pfi_pass *p, float *pool, const pf_tensor *x, const pfi_rows *r) {
    size_t row = (size_t)(p->m->config.kv_heads * p->m->config.head_dim);
    for (int64_t i = 0; i < r->n; i++)
        memcpy(pool + (size_t)r->place[i] * row, pfi_f32(x) + (size_t)i * row, row * sizeof *pool);
}

static pf_tensor *pass_attention(pfi_pass *p, int64_t layer, pf_tensor *h, const pfi_rows *r, pf_tensor *position) {
    const pfi_config *c = &p->m->config;
    const pfi_layer *l = &p->m->layer[layer];
    pf_tensor *t[6] = {pfi_pass_linear(p, h, l->q), pfi_pass_linear(p, h, l->k), pfi_pass_linear(p, h, l->v)};
    t[3] = t[0] ? pass_rope(p, t[0], c->heads, position) : NULL;
    t[4] = t[1] ? pass_rope(p, t[1], c->kv_heads, position) : NULL;
    pf_tensor *y = NULL;
    int64_t longest = 1;
    for (int64_t i = 0; i < r->n; i++) longest = PFI_MAX(longest, r->len[i]);
    size_t scratch = (size_t)(p->ctx->threads * (c->heads / c->kv_heads) * longest) * sizeof(float);
    float *s = pfi_alloc_data(p->ctx, scratch);
    if (s && t[2] && t[3] && t[4]) t[5] = pf_tensor_new(p->ctx, PF_F32, 2, t[0]->dim);
    if (t[5]) {
        pass_store(p, p->k[layer], t[4], r);
        pass_store(p, p->v[layer], t[2], r);
        pfk_attention_rows_f32(p->ctx->threads, pfi_f32(t[5]), pfi_f32(t[3]), p->k[layer], p->v[layer], r->list, r->len,
                               1 / sqrtf((float)c->head_dim), r->n, c->heads, c->kv_heads, c->head_dim, s, longest);
        y = pfi_pass_linear(p, t[5], l->o);
    }
    pfi_free(p->ctx, s);
    for (int i = 0; i < 6; i++) pf_tensor_free(t[i]);
    return y;
}

static pf_tensor *pass_block(pfi_pass *p, int64_t layer, pf_tensor *x, const pfi_rows *r, pf_tensor *position) {
    const pfi_layer *l = &p->m->layer[layer];
    double eps = p->m->config.norm_eps;
    pf_tensor *h = pass_op(p, "rms_norm", x, l->norm_attention, NULL, eps);
    pf_tensor *a = pass_attention(p, layer, h, r, position);
    pf_tensor *mid = pass_op(p, "add", x, a, NULL, 0);
    pf_tensor *n = pass_op(p, "rms_norm", mid, l->norm_ffn, NULL, eps);
    pf_tensor *gate = pfi_pass_linear(p, n, l->gate), *up = pfi_pass_linear(p, n, l->up);
    pf_tensor *f = pass_op(p, "swiglu", gate, up, NULL, 0), *down = pfi_pass_linear(p, f, l->down);
    pf_tensor *y = pass_op(p, "add", mid, down, NULL, 0);
    pf_tensor *all[] = {h, a, mid, n, gate, up, f, down};
    for (int i = 0; i < PFI_COUNT(all); i++) pf_tensor_free(all[i]);
    return y;
}

pf_tensor *pfi_pass_hidden(pfi_pass *p, const pfi_rows *r) {
    int64_t padded = (r->n + PFK_ROWS - 1) / PFK_ROWS * PFK_ROWS;
    pf_tensor *token = pf_tensor_new(p->ctx, PF_I32, 1, &padded);
    pf_tensor *position = pf_tensor_new(p->ctx, PF_I32, 1, &padded);
    pf_tensor *x = NULL;
    if (token && position) {
        memcpy(pfi_i32(token), r->token, (size_t)r->n * sizeof(int32_t));
        memcpy(pfi_i32(position), r->position, (size_t)r->n * sizeof(int32_t));
        x = pass_op(p, "embedding", p->m->embedding, token, NULL, 0);
    }
    for (int64_t i = 0; x && i < p->m->config.layers; i++) {
        pf_tensor *y = pass_block(p, i, x, r, position);
        pf_tensor_free(x);
        x = y;
    }
    pf_tensor *h = pass_op(p, "rms_norm", x, p->m->norm, NULL, p->m->config.norm_eps);
    pf_tensor_free(x);
    pf_tensor_free(token);
    pf_tensor_free(position);
    return h;
}
