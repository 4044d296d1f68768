/* The layers as operations: recorded when a gradient is wanted, plain computation otherwise. */
#include "model/block.h"
#include "op/op.h"

/* Results that one layer needs for a while. History keeps what backward wants; the layer lets go of the rest. */
typedef struct layer_scope {
    pfi_run *run;
    const pf_model *m;
    int64_t layer;
    pf_tensor *held[32];
    int n;
} layer_scope;

static pf_tensor *scope_hold(layer_scope *s, pf_tensor *t) { return s->held[s->n++] = t; }

static pf_tensor *scope_op(layer_scope *s, const char *op, pf_tensor *const *in, const double *num,
                           const int64_t *shape, int n_shape) {
    return scope_hold(s, pfi_apply(s->m->ctx, op, in, num, shape, n_shape));
}

static void scope_end(layer_scope *s) {
    for (int i = 0; i < s->n; i++) pf_tensor_free(s->held[i]);
    s->n = 0;
}

static pf_tensor *layer_linear(layer_scope *s, pf_tensor *x, const pfi_linear *l) {
    return scope_hold(s, s->run->linear(s->run, x, l));
}

static pf_tensor *run_norm(const pf_model *m, pf_tensor *x, const pfi_norm *n) {
    return pfi_apply(m->ctx, "rms_norm", (pf_tensor *[]){x, n->w}, (double[]){m->config.norm_eps}, NULL, 0);
}

static pf_tensor *layer_norm(layer_scope *s, pf_tensor *x, const pfi_norm *n) {
    return scope_hold(s, run_norm(s->m, x, n));
}

static pf_tensor *layer_add(layer_scope *s, pf_tensor *x, pf_tensor *y) {
    return scope_op(s, "add", (pf_tensor *[]){x, y}, NULL, NULL, 0);
}

/* [T, n * D] to [T, n, D] */
static pf_tensor *layer_heads(layer_scope *s, pf_tensor *x, int64_t n) {
    return scope_op(s, "reshape", &x, NULL, (int64_t[]){-1, n, s->m->config.head_dim}, 3);
}

static pf_tensor *layer_rope(layer_scope *s, pf_tensor *x) {
    return scope_op(s, "rope", (pf_tensor *[]){x, s->run->position, NULL}, (double[]){s->m->config.rope_theta}, NULL,
                    0);
}

static pf_tensor *layer_attention(layer_scope *s, const pfi_layer *l, pf_tensor *h) {
    const pfi_config *c = &s->m->config;
    pf_tensor *q = layer_rope(s, layer_heads(s, layer_linear(s, h, &l->q), c->heads));
    pf_tensor *k = layer_rope(s, layer_heads(s, layer_linear(s, h, &l->k), c->kv_heads));
    pf_tensor *v = layer_heads(s, layer_linear(s, h, &l->v), c->kv_heads);
    pf_tensor *o = scope_hold(s, q && k && v ? s->run->attention(s->run, s->layer, q, k, v) : NULL);
    pf_tensor *flat = scope_op(s, "reshape", &o, NULL, (int64_t[]){-1, c->heads * c->head_dim}, 2);
    return layer_linear(s, flat, &l->o);
}

static pf_tensor *layer_ffn(layer_scope *s, const pfi_layer *l, pf_tensor *h) {
    pf_tensor *gate = layer_linear(s, h, &l->gate), *up = layer_linear(s, h, &l->up);
    return layer_linear(s, scope_op(s, "swiglu", (pf_tensor *[]){gate, up}, NULL, NULL, 0), &l->down);
}

/* One block. Owned by caller. */
static pf_tensor *layer_block(pfi_run *r, int64_t layer, pf_tensor *x) {
    layer_scope s = {.run = r, .m = r->m, .layer = layer};
    const pfi_layer *l = &r->m->layer[layer];
    x = layer_add(&s, x, layer_attention(&s, l, layer_norm(&s, x, &l->norm_attention)));
    x = layer_add(&s, x, layer_ffn(&s, l, layer_norm(&s, x, &l->norm_ffn)));
    if (x) pf_tensor_retain(x);
    scope_end(&s);
    return x;
}

pf_tensor *pfi_run_hidden(pfi_run *r, pf_tensor *token) {
    pf_model *m = r->m;
    pf_tensor *x = pfi_apply(m->ctx, "embedding", (pf_tensor *[]){m->embedding, token}, NULL, NULL, 0);
    for (int64_t i = 0; x && i < m->config.layers; i++) {
        pf_tensor *y = layer_block(r, i, x);
        pf_tensor_free(x);
        x = y;
    }
    pf_tensor *h = run_norm(m, x, &m->norm);
    pf_tensor_free(x);
    return h;
}
