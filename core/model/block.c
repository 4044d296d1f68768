/* The layers as operations: recorded when a gradient is wanted, plain computation otherwise. */
#include "model/block.h"

#include <math.h>

#include "op/op.h"

/* Results that one layer needs for a while. History keeps what backward wants; the layer lets go of the rest. */
typedef struct layer_scope {
    pfi_run *run;
    const pf_model *m;
    int64_t layer;
    pf_tensor *held[64];
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
    const pfi_config *c = &m->config;
    if (c->centred) return pfi_apply(m->ctx, "layer_norm", (pf_tensor *[]){x, n->w, n->b}, &c->norm_eps, NULL, 0);
    return pfi_apply(m->ctx, "rms_norm", (pf_tensor *[]){x, n->w}, (double[]){c->norm_eps, c->norm_offset}, NULL, 0);
}

/* x itself where there is no norm */
static pf_tensor *layer_norm(layer_scope *s, pf_tensor *x, const pfi_norm *n) {
    return n->w ? scope_hold(s, run_norm(s->m, x, n)) : x;
}

static pf_tensor *layer_add(layer_scope *s, pf_tensor *x, pf_tensor *y) {
    return scope_op(s, "add", (pf_tensor *[]){x, y}, NULL, NULL, 0);
}

/* [T, n * D] to [T, n, D] */
static pf_tensor *layer_heads(layer_scope *s, pf_tensor *x, int64_t n, int64_t D) {
    return scope_op(s, "reshape", &x, NULL, (int64_t[]){-1, n, D}, 3);
}

/* n places of dimension dim from place at on, as a tensor of its own */
static pf_tensor *layer_part(layer_scope *s, pf_tensor *x, int dim, int64_t at, int64_t n) {
    pf_tensor *part = scope_op(s, "narrow", &x, (double[]){dim, (double)at, (double)n}, NULL, 0);
    return scope_op(s, "contiguous", &part, NULL, NULL, 0);
}

/* the same for all layers of a kind: the first that turns makes them. Owned by the run. */
static pf_tensor *run_angles(pfi_run *r, int which) {
    const pfi_rope *rope = &r->m->config.rope[which];
    pf_tensor *in[] = {r->m->freq[which][r->is_long && rope->original], r->position};
    if (!r->angles[which]) r->angles[which] = pfi_apply(r->m->ctx, "rope_angles", in, &rope->factor, NULL, 0);
    return r->angles[which];
}

static pf_tensor *layer_rope(layer_scope *s, pf_tensor *x) {
    const pfi_config *c = &s->m->config;
    const int flags = c->layer[s->layer], which = flags & PFI_LAYER_LOCAL ? 1 : 0;
    if (flags & PFI_LAYER_STILL || !c->rope[which].channels) return x;
    return scope_op(s, "rope_turn", (pf_tensor *[]){x, run_angles(s->run, which)}, NULL, NULL, 0);
}

/* q[T, H, D], k[T, G, D] and v[T, G, D] of h */
static void layer_qkv(layer_scope *s, const pfi_layer *l, pf_tensor *h, pf_tensor *out[3]) {
    const pfi_config *c = &s->m->config;
    const int64_t H = c->heads, G = c->kv_heads, D = c->head_dim, n[] = {H, G, G}, at[] = {0, H, H + G};
    const pfi_linear *part[] = {&l->q, &l->k, &l->v};
    if (!c->fused) {
        for (int i = 0; i < 3; i++) out[i] = layer_heads(s, layer_linear(s, h, part[i]), n[i], D);
        return;
    }
    pf_tensor *all = layer_linear(s, h, &l->qkv);
    all = c->per_head ? layer_heads(s, all, H, 3 * D) : layer_heads(s, all, H + 2 * G, D);
    for (int i = 0; i < 3; i++)
        out[i] = c->per_head ? layer_part(s, all, 2, i * D, D) : layer_part(s, all, 1, at[i], n[i]);
}

static pf_tensor *layer_attention(layer_scope *s, const pfi_layer *l, pf_tensor *h) {
    const pfi_config *c = &s->m->config;
    pf_tensor *p[3] = {NULL};
    layer_qkv(s, l, h, p);
    pf_tensor *q = layer_rope(s, layer_norm(s, p[0], &l->q_norm)), *k = layer_rope(s, layer_norm(s, p[1], &l->k_norm));
    pf_tensor *o = scope_hold(s, q && k && p[2] ? s->run->attention(s->run, s->layer, q, k, p[2]) : NULL);
    pf_tensor *flat = scope_op(s, "reshape", &o, NULL, (int64_t[]){-1, c->heads * c->head_dim}, 2);
    return layer_linear(s, flat, &l->o);
}

static pf_tensor *layer_act(layer_scope *s, pf_tensor *x) {
    const pfi_act act = s->m->config.act;
    const double form = act == PFI_GELU_EXACT; /* of gelu's forms: 0 is tanh, 1 exact */
    return scope_op(s, act == PFI_SILU ? "silu" : "gelu", &x, &form, NULL, 0);
}

static pf_tensor *layer_ffn(layer_scope *s, const pfi_layer *l, pf_tensor *h) {
    const pfi_config *c = &s->m->config;
    if (!c->gated) return layer_linear(s, layer_act(s, layer_linear(s, h, &l->up)), &l->down);
    pf_tensor *both = c->fused ? layer_linear(s, h, &l->gate_up) : NULL;
    pf_tensor *gate = c->fused ? layer_part(s, both, 1, 0, c->ffn) : layer_linear(s, h, &l->gate);
    pf_tensor *up = c->fused ? layer_part(s, both, 1, c->ffn, c->ffn) : layer_linear(s, h, &l->up);
    pf_tensor *y = c->act == PFI_SILU ? scope_op(s, "swiglu", (pf_tensor *[]){gate, up}, NULL, NULL, 0)
                                      : scope_op(s, "mul", (pf_tensor *[]){layer_act(s, gate), up}, NULL, NULL, 0);
    return layer_linear(s, y, &l->down);
}

/* One block. Owned by caller. */
static pf_tensor *layer_block(pfi_run *r, int64_t layer, pf_tensor *x) {
    layer_scope s = {.run = r, .m = r->m, .layer = layer};
    const pfi_layer *l = &r->m->layer[layer];
    r->m->ctx->layer = (int)layer;
    pf_tensor *attention = layer_attention(&s, l, layer_norm(&s, x, &l->norm_attention));
    pf_tensor *y = layer_add(&s, x, layer_norm(&s, attention, &l->norm_attention_out));
    pf_tensor *ffn = layer_ffn(&s, l, layer_norm(&s, r->m->config.parallel ? x : y, &l->norm_ffn));
    y = layer_add(&s, y, layer_norm(&s, ffn, &l->norm_ffn_out));
    if (y) pf_tensor_retain(y);
    scope_end(&s);
    r->m->ctx->layer = -1;
    return y;
}

/* ---- computing a layer again ---- */

typedef struct layer_again {
    pfi_again again;
    pfi_run *run;
    int64_t layer;
} layer_again;

static pf_status layer_again_run(pfi_again *a, pf_tensor *x, pf_tensor *dy) {
    layer_again *l = (layer_again *)a;
    l->run->begin(l->run);
    pf_tensor *y = layer_block(l->run, l->layer, x);
    if (y) return pfi_backward_from(y, dy);
    pf_tensor_free(dy);
    return l->run->m->ctx->code;
}

static void layer_again_drop(pfi_again *a) {
    pfi_run *r = ((layer_again *)a)->run;
    pfi_free(r->m->ctx, a);
    r->drop(r);
}

/* y = the layer of x: its history goes, if there is one */
static pf_status layer_forget(pfi_run *r, int64_t layer, pf_tensor *x, pf_tensor *y) {
    if (!y->node) return PF_OK;
    layer_again *l = pfi_calloc(r->m->ctx, 1, sizeof *l);
    if (!l) return PF_NOMEM;
    *l = (layer_again){{layer_again_run, layer_again_drop}, r, layer};
    r->hold(r);
    return pfi_again_set(y, x, &l->again);
}

/* ---- the whole ---- */

/* what goes into the first layer. Owned by caller. */
static pf_tensor *run_embedding(pfi_run *r, pf_tensor *token) {
    pf_model *m = r->m;
    layer_scope s = {.run = r, .m = m};
    pf_tensor *x = scope_op(&s, "embedding", (pf_tensor *[]){m->embedding, token}, NULL, NULL, 0);
    if (m->scale) x = scope_op(&s, "mul", (pf_tensor *[]){x, m->scale}, NULL, NULL, 0);
    if (m->position)
        x = layer_add(&s, x, scope_op(&s, "embedding", (pf_tensor *[]){m->position, r->position}, NULL, NULL, 0));
    if (x) pf_tensor_retain(x);
    scope_end(&s);
    return x;
}

pf_tensor *pfi_run_hidden(pfi_run *r, pf_tensor *token) {
    pf_model *m = r->m;
    pf_tensor *x = run_embedding(r, token);
    for (int64_t i = 0; x && i < m->config.layers; i++) {
        pf_tensor *y = layer_block(r, i, x);
        if (y && i < r->recompute && layer_forget(r, i, x, y) != PF_OK) {
            pf_tensor_free(y);
            y = NULL;
        }
        pf_tensor_free(x);
        x = y;
    }
    pf_tensor *h = run_norm(m, x, &m->norm);
    pf_tensor_free(x);
    return h;
}

void pfi_run_close(pfi_run *r) {
    pf_tensor_free(r->position);
    for (int i = 0; i < PFI_COUNT(r->angles); i++) pf_tensor_free(r->angles[i]);
}

double pfi_attention_scale(const pfi_config *c) {
    return c->attention_scale > 0 ? c->attention_scale : 1 / sqrt((double)c->head_dim);
}

int64_t pfi_attention_window(const pfi_config *c, int64_t layer) {
    return c->layer[layer] & PFI_LAYER_WINDOW ? c->window : 0;
}
