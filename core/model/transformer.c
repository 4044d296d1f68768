/* The forward pass on a forest: every distinct (prefix, token) once, forward and backward. */
#include "model/adapter.h"
#include "model/block.h"
#include "model/parts.h"
#include "op/op.h"

typedef struct forest_run {
    pfi_run run;
    long holds;
    pf_tensor *start, *parent;
    uint64_t stream; /* of dropout */
} forest_run;

static pf_tensor *forest_linear(pfi_run *r, pf_tensor *x, const pfi_linear *l) {
    if (l->lora) return pfi_adapter_forward(r->m, x, l);
    return pfi_apply(r->m->ctx, "linear", (pf_tensor *[]){x, l->w, l->b}, NULL, NULL, 0);
}

static pf_tensor *forest_attention(pfi_run *r, int64_t layer, pf_tensor *q, pf_tensor *k, pf_tensor *v) {
    const forest_run *f = (const forest_run *)r;
    const pfi_config *c = &r->m->config;
    double numbers[] = {pfi_attention_scale(c), (double)pfi_attention_window(c, layer), c->attention_cap};
    return pfi_apply(r->m->ctx, "attention", (pf_tensor *[]){q, k, v, f->start, f->parent}, numbers, NULL, 0);
}

static void forest_hold(pfi_run *r) { ((forest_run *)r)->holds++; }

static void forest_drop(pfi_run *r) {
    forest_run *f = (forest_run *)r;
    if (--f->holds > 0) return;
    pf_model *m = r->m;
    pfi_run_close(r);
    pf_tensor_free(f->start);
    pf_tensor_free(f->parent);
    pfi_free(m->ctx, f);
    pf_model_free(m);
}

static void forest_begin(pfi_run *r) {
    if (r->m->adapter) r->m->adapter->stream = ((forest_run *)r)->stream;
}

/* hidden states [nodes, C] after the last norm, for nodes of a forest (token, position [nodes]; start, parent). */
static pf_tensor *forest_hidden(pf_model *m, bool is_long, pf_tensor *token, pf_tensor *position, pf_tensor *start,
                                pf_tensor *parent) {
    forest_run *f = pfi_calloc(m->ctx, 1, sizeof *f);
    if (!f) return NULL;
    pfi_adapter_begin(m);
    *f = (forest_run){.run = {.m = pf_model_retain(m),
                              .position = pf_tensor_retain(position),
                              .is_long = is_long,
                              .linear = forest_linear,
                              .attention = forest_attention,
                              .recompute = m->recompute,
                              .hold = forest_hold,
                              .drop = forest_drop,
                              .begin = forest_begin},
                      .holds = 1,
                      .start = pf_tensor_retain(start),
                      .parent = pf_tensor_retain(parent),
                      .stream = m->adapter ? m->adapter->stream : 0};
    pf_tensor *h = pfi_run_hidden(&f->run, token);
    forest_drop(&f->run);
    return h;
}

pf_status pfi_model_check_length(const pf_model *m, int64_t tokens, const char *what) {
    if (tokens <= m->config.context) return PF_OK;
    return pfi_fail(m->ctx, PF_RANGE, "%s has %lld tokens, the model's context is %lld (max_position_embeddings)", what,
                    (long long)tokens, (long long)m->config.context);
}

pf_status pfi_model_is_long(const pf_model *m, int64_t shortest, int64_t longest, const char *what, bool *is_long) {
    int64_t original = 0; /* at most one of them has one: longrope is never local */
    for (int i = 0; i < 2; i++) original = PFI_MAX(original, m->config.rope[i].original);
    *is_long = original && shortest > original;
    if (!original || (shortest > original) == (longest > original)) return PF_OK;
    return pfi_fail(m->ctx, PF_RANGE,
                    "%s holds sequences of %lld to %lld tokens; with longrope those of more than %lld "
                    "(original_max_position_embeddings) turn by other frequencies, so all must be longer or none",
                    what, (long long)shortest, (long long)longest, (long long)original);
}

pf_tensor *pfi_whole_logp(pf_model *m, const pf_batch *b, pf_tensor **stats) {
    bool is_long;
    if (pfi_model_is_long(m, b->shortest + 1, b->longest + 1, "the batch", &is_long) != PF_OK) return NULL;
    pf_tensor *h = forest_hidden(m, is_long, b->token, b->position, b->start, b->parent);
    pf_tensor *in[] = {h, m->head.w, b->node, b->target};
    pf_tensor *logp = pfi_apply(m->ctx, "token_logp", in, &m->config.head_cap, NULL, 0);
    if (logp && stats && !(*stats = pfi_apply(m->ctx, "token_stats", in, &m->config.head_cap, NULL, 0))) {
        pf_tensor_free(logp);
        logp = NULL;
    }
    pf_tensor_free(h);
    return logp;
}

pf_tensor *pf_model_logp(pf_model *m, const pf_batch *b, pf_tensor **stats) {
    bool is_long;
    if (stats) *stats = NULL;
    if (pfi_model_check_length(m, b->longest, "a sequence of the batch") != PF_OK) return NULL;
    if (m->part == 0 || b->nodes <= m->part || b->sequences == 1) return pfi_whole_logp(m, b, stats);
    if (pfi_model_is_long(m, b->shortest + 1, b->longest + 1, "the batch", &is_long) != PF_OK) return NULL;
    return pfi_parts_logp(m, b, stats);
}

pf_tensor *pfi_model_cap(const pf_model *m, pf_tensor *logits) {
    if (!logits || !(m->config.head_cap > 0)) return logits;
    pf_tensor *y = pfi_apply(m->ctx, "softcap", &logits, &m->config.head_cap, NULL, 0);
    pf_tensor_free(logits);
    return y;
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
    bool is_long;
    if (pfi_model_is_long(m, T, T, "the sequence", &is_long) == PF_OK && in[0] && in[1] && in[2] && in[3]) {
        memcpy(pfi_i32(in[0]), ids, n * sizeof *ids);
        for (int32_t t = 0; t < T; t++) pfi_i32(in[1])[t] = t;
        pfi_i32(in[2])[1] = (int32_t)T;
        pfi_i32(in[3])[0] = -1;
        h = forest_hidden(m, is_long, in[0], in[1], in[2], in[3]);
        logits = pfi_model_cap(m, pfi_apply(ctx, "linear", (pf_tensor *[]){h, m->head.w, m->head.b}, NULL, NULL, 0));
    }
    pf_tensor_free(h);
    for (int i = 0; i < 4; i++) pf_tensor_free(in[i]);
    return logits;
}
