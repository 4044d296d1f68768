/* The forward pass on a forest, as operations: recorded when a gradient is wanted, plain computation otherwise. */
#include "model/model.h"
#include "op/op.h"

#include <math.h>

/* Results that one layer needs for a while. History keeps what backward wants; the layer lets go of the rest. */
typedef struct layer_scope {
    pf_ctx *ctx;
    pf_tensor *held[32];
    int n;
} layer_scope;

static pf_tensor *scope_run(layer_scope *s, const char *op, pf_tensor *const *in, const double *num,
                            const int64_t *shape, int n_shape) {
    pf_tensor *t = pfi_apply(s->ctx, op, in, num, shape, n_shape);
    s->held[s->n++] = t;
    return t;
}

static void scope_end(layer_scope *s) {
    for (int i = 0; i < s->n; i++) pf_tensor_free(s->held[i]);
    s->n = 0;
}

static pf_tensor *layer_linear(layer_scope *s, pf_tensor *x, pf_tensor *w) {
    return scope_run(s, "linear", (pf_tensor *[]){x, w, NULL}, NULL, NULL, 0);
}

static pf_tensor *layer_norm(layer_scope *s, const pf_model *m, pf_tensor *x, pf_tensor *w) {
    return scope_run(s, "rms_norm", (pf_tensor *[]){x, w}, (double[]){m->config.norm_eps}, NULL, 0);
}

static pf_tensor *layer_add(layer_scope *s, pf_tensor *x, pf_tensor *y) {
    return scope_run(s, "add", (pf_tensor *[]){x, y}, NULL, NULL, 0);
}

/* [T, n * D] to [T, n, D] */
static pf_tensor *layer_heads(layer_scope *s, const pf_model *m, pf_tensor *x, int64_t n) {
    return scope_run(s, "reshape", &x, NULL, (int64_t[]){-1, n, m->config.head_dim}, 3);
}

static pf_tensor *layer_rope(layer_scope *s, const pf_model *m, pf_tensor *x, pf_tensor *position) {
    return scope_run(s, "rope", (pf_tensor *[]){x, position, NULL}, (double[]){m->config.rope_theta}, NULL, 0);
}

static pf_tensor *layer_attention(layer_scope *s, const pf_model *m, const pfi_layer *l, pf_tensor *h,
                                  pf_tensor *const forest[3]) {
    const pfi_config *c = &m->config;
    pf_tensor *q = layer_rope(s, m, layer_heads(s, m, layer_linear(s, h, l->q), c->heads), forest[0]);
    pf_tensor *k = layer_rope(s, m, layer_heads(s, m, layer_linear(s, h, l->k), c->kv_heads), forest[0]);
    pf_tensor *v = layer_heads(s, m, layer_linear(s, h, l->v), c->kv_heads);
    double numbers[] = {(double)NAN, 0}; /* the usual scale, no window */
    pf_tensor *o = scope_run(s, "attention", (pf_tensor *[]){q, k, v, forest[1], forest[2]}, numbers, NULL, 0);
    pf_tensor *flat = scope_run(s, "reshape", &o, NULL, (int64_t[]){-1, c->heads * c->head_dim}, 2);
    return layer_linear(s, flat, l->o);
}

/* One block; forest: position, start, parent. Owned by caller. */
static pf_tensor *layer_block(const pf_model *m, const pfi_layer *l, pf_tensor *x, pf_tensor *const forest[3]) {
    layer_scope s = {.ctx = m->ctx};
    pf_tensor *h = layer_norm(&s, m, x, l->norm_attention);
    x = layer_add(&s, x, layer_attention(&s, m, l, h, forest));
    h = layer_norm(&s, m, x, l->norm_ffn);
    pf_tensor *gate = layer_linear(&s, h, l->gate), *up = layer_linear(&s, h, l->up);
    h = scope_run(&s, "swiglu", (pf_tensor *[]){gate, up}, NULL, NULL, 0);
    x = pf_tensor_retain(layer_add(&s, x, layer_linear(&s, h, l->down)));
    scope_end(&s);
    return x;
}

pf_tensor *pfi_model_hidden(pf_model *m, pf_tensor *token, pf_tensor *position, pf_tensor *start, pf_tensor *parent) {
    pf_tensor *x = pfi_apply(m->ctx, "embedding", (pf_tensor *[]){m->embedding, token}, NULL, NULL, 0);
    for (int64_t i = 0; x && i < m->config.layers; i++) {
        pf_tensor *y = layer_block(m, &m->layer[i], x, (pf_tensor *[]){position, start, parent});
        pf_tensor_free(x);
        x = y;
    }
    pf_tensor *h = pfi_apply(m->ctx, "rms_norm", (pf_tensor *[]){x, m->norm}, (double[]){m->config.norm_eps}, NULL, 0);
    pf_tensor_free(x);
    return h;
}

pf_status pfi_model_check_length(const pf_model *m, int64_t tokens, const char *what) {
    if (tokens <= m->config.context) return PF_OK;
    return pfi_fail(m->ctx, PF_RANGE, "%s has %lld tokens, the model's context is %lld (max_position_embeddings)", what,
                    (long long)tokens, (long long)m->config.context);
}

pf_tensor *pf_model_logp(pf_model *m, const pf_batch *b, pf_tensor **stats) {
    if (stats) *stats = NULL;
    if (pfi_model_check_length(m, b->longest, "a sequence of the batch") != PF_OK) return NULL;
    pf_tensor *h = pfi_model_hidden(m, b->token, b->position, b->start, b->parent);
    pf_tensor *in[] = {h, m->head, b->node, b->target};
    pf_tensor *logp = pfi_apply(m->ctx, "token_logp", in, NULL, NULL, 0);
    if (logp && stats && !(*stats = pfi_apply(m->ctx, "token_stats", in, NULL, NULL, 0))) {
        pf_tensor_free(logp);
        logp = NULL;
    }
    pf_tensor_free(h);
    return logp;
}

pf_tensor *pf_model_logits(pf_model *m, const int32_t *ids, size_t n) {
    if (n == 0) {
        pfi_fail(m->ctx, PF_RANGE, "logits need at least one token");
        return NULL;
    }
    if (pfi_model_check_length(m, (int64_t)n, "the sequence") != PF_OK) return NULL;
    const int64_t T = (int64_t)n, one = 1, two = 2;
    pf_ctx *ctx = m->ctx;
    pf_tensor *in[4] = {pf_tensor_new(ctx, PF_I32, 1, &T), pf_tensor_new(ctx, PF_I32, 1, &T),
                        pf_tensor_new(ctx, PF_I32, 1, &two), pf_tensor_new(ctx, PF_I32, 1, &one)};
    pf_tensor *h = NULL, *logits = NULL;
    if (in[0] && in[1] && in[2] && in[3]) {
        memcpy(pfi_i32(in[0]), ids, n * sizeof *ids);
        for (int32_t t = 0; t < T; t++) pfi_i32(in[1])[t] = t;
        pfi_i32(in[2])[1] = (int32_t)T;
        pfi_i32(in[3])[0] = -1;
        h = pfi_model_hidden(m, in[0], in[1], in[2], in[3]);
        logits = pfi_apply(ctx, "linear", (pf_tensor *[]){h, m->head, NULL}, NULL, NULL, 0);
    }
    pf_tensor_free(h);
    for (int i = 0; i < 4; i++) pf_tensor_free(in[i]);
    return logits;
}
