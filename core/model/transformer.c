/* The forward pass on a forest: every distinct (prefix, token) once, forward and backward. */
#include <math.h>

#include "model/adapter.h"
#include "model/block.h"
#include "op/op.h"

typedef struct forest_run {
    pfi_run run;
    pf_tensor *start, *parent;
} forest_run;

static pf_tensor *forest_linear(pfi_run *r, pf_tensor *x, const pfi_linear *l) {
    if (l->lora) return pfi_adapter_forward(r->m, x, l);
    return pfi_apply(r->m->ctx, "linear", (pf_tensor *[]){x, l->w, l->b}, NULL, NULL, 0);
}

static pf_tensor *forest_attention(pfi_run *r, int64_t layer, pf_tensor *q, pf_tensor *k, pf_tensor *v) {
    (void)layer;
    const forest_run *f = (const forest_run *)r;
    double numbers[] = {(double)NAN, 0}; /* the usual scale, no window */
    return pfi_apply(r->m->ctx, "attention", (pf_tensor *[]){q, k, v, f->start, f->parent}, numbers, NULL, 0);
}

/* hidden states [nodes, C] after the last norm, for nodes of a forest (token, position [nodes]; start, parent). */
static pf_tensor *forest_hidden(pf_model *m, pf_tensor *token, pf_tensor *position, pf_tensor *start,
                                pf_tensor *parent) {
    forest_run f = {{m, position, forest_linear, forest_attention}, start, parent};
    pfi_adapter_begin(m);
    return pfi_run_hidden(&f.run, token);
}

pf_status pfi_model_check_length(const pf_model *m, int64_t tokens, const char *what) {
    if (tokens <= m->config.context) return PF_OK;
    return pfi_fail(m->ctx, PF_RANGE, "%s has %lld tokens, the model's context is %lld (max_position_embeddings)", what,
                    (long long)tokens, (long long)m->config.context);
}

pf_tensor *pf_model_logp(pf_model *m, const pf_batch *b, pf_tensor **stats) {
    if (stats) *stats = NULL;
    if (pfi_model_check_length(m, b->longest, "a sequence of the batch") != PF_OK) return NULL;
    pf_tensor *h = forest_hidden(m, b->token, b->position, b->start, b->parent);
    pf_tensor *in[] = {h, m->head.w, b->node, b->target};
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
        h = forest_hidden(m, in[0], in[1], in[2], in[3]);
        logits = pfi_apply(ctx, "linear", (pf_tensor *[]){h, m->head.w, m->head.b}, NULL, NULL, 0);
    }
    pf_tensor_free(h);
    for (int i = 0; i < 4; i++) pf_tensor_free(in[i]);
    return logits;
}
