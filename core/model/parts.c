/* Log-probabilities of a batch that is too large for the memory: part by part. Nothing of a part is kept for backward,
 * which computes it again, so what the log-probabilities are used for need not know. */
#include "model/parts.h"
#include "model/adapter.h"
#include "op/op.h"

typedef struct parts_again {
    pfi_again again;
    pf_model *m;
    pfi_part *part;
    uint64_t *stream; /* of dropout, of each part */
    int64_t n;
} parts_again;

static void parts_drop(pfi_again *a) {
    parts_again *p = (parts_again *)a;
    pf_model *m = p->m;
    pfi_forest_parts_free(m->ctx, p->part, p->n);
    pfi_free(m->ctx, p->stream);
    pfi_free(m->ctx, p);
    pf_model_free(m);
}

/* the gradient of a part's entries */
static pf_tensor *parts_gather(const pfi_part *part, const pf_tensor *dy) {
    pf_tensor *g = pfi_tensor_make(dy->ctx, dy->dtype, 1, &part->batch->entries);
    for (int64_t e = 0; g && e < part->batch->entries; e++) pfi_set(g, (size_t)e, pfi_get(dy, (size_t)part->from[e]));
    return g;
}

static pf_status parts_backward(parts_again *p, int64_t i, const pf_tensor *dy) {
    if (p->m->adapter) p->m->adapter->stream = p->stream[i];
    pf_tensor *y = pfi_whole_logp(p->m, p->part[i].batch, NULL);
    if (!y) return p->m->ctx->code;
    pf_tensor *g = parts_gather(&p->part[i], dy);
    if (g) return pfi_backward_from(y, g);
    pf_tensor_free(y);
    return PF_NOMEM;
}

static pf_status parts_run(pfi_again *a, pf_tensor *x, pf_tensor *dy) {
    (void)x; /* there is none */
    parts_again *p = (parts_again *)a;
    pf_status s = PF_OK;
    for (int64_t i = 0; i < p->n && s == PF_OK; i++) s = parts_backward(p, i, dy);
    pf_tensor_free(dy);
    return s;
}

/* rows of a part to their places in the whole, [entries] or [entries, cols] */
static void parts_scatter(const pfi_part *part, const pf_tensor *from, pf_tensor *to) {
    const int64_t cols = to->nd > 1 ? to->dim[1] : 1;
    for (int64_t e = 0; e < part->batch->entries; e++)
        for (int64_t k = 0; k < cols; k++)
            pfi_set(to, (size_t)(part->from[e] * cols + k), pfi_get(from, (size_t)(e * cols + k)));
}

/* history: some parameter wants a gradient of it */
static pf_status parts_one(parts_again *p, int64_t i, pf_tensor *y, pf_tensor *stats, bool *history) {
    pf_tensor *s = NULL, *logp = pfi_whole_logp(p->m, p->part[i].batch, stats ? &s : NULL);
    if (!logp) return p->m->ctx->code;
    parts_scatter(&p->part[i], logp, y);
    if (stats) parts_scatter(&p->part[i], s, stats);
    *history = *history || logp->needs_grad;
    p->stream[i] = p->m->adapter ? p->m->adapter->stream : 0;
    pf_tensor_free(logp);
    pf_tensor_free(s);
    return PF_OK;
}

static parts_again *parts_open(pf_model *m, const pf_batch *b) {
    parts_again *p = pfi_calloc(m->ctx, 1, sizeof *p);
    if (!p) return NULL;
    *p = (parts_again){.again = {parts_run, parts_drop}, .m = pf_model_retain(m)};
    if (pfi_forest_parts(b, m->part, &p->part, &p->n) == PF_OK &&
        (p->stream = pfi_calloc(m->ctx, (size_t)p->n, sizeof *p->stream)))
        return p;
    parts_drop(&p->again);
    return NULL;
}

pf_tensor *pfi_parts_logp(pf_model *m, const pf_batch *b, pf_tensor **stats) {
    parts_again *p = parts_open(m, b);
    if (!p) return NULL;
    bool history = false;
    pf_tensor *y = pf_tensor_new(m->ctx, m->dtype, 1, &b->entries);
    pf_tensor *all = y && stats ? pf_tensor_new(m->ctx, m->dtype, 2, (int64_t[]){b->entries, 4}) : NULL;
    pf_status s = y && (all || !stats) ? PF_OK : PF_NOMEM;
    for (int64_t i = 0; i < p->n && s == PF_OK; i++) s = parts_one(p, i, y, all, &history);
    if (s == PF_OK && history)
        s = pfi_again_set(y, NULL, &p->again);
    else
        parts_drop(&p->again);
    if (s != PF_OK) {
        pf_tensor_free(y);
        pf_tensor_free(all);
        return NULL;
    }
    if (stats) *stats = all;
    return y;
}
