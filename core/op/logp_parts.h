/* The parts of token_logp: what it does with a strip of logits, forward and backward. */
#ifndef PFI_LOGP_PARTS_H
#define PFI_LOGP_PARTS_H

#include "op/token_logp.h"

/* ---- forward ---- */

/* the running softmax of a chunk */
typedef struct logp_running {
    double *sum;
    pf_real *max, *keep, *mean; /* mean: of the rows of w under p, not yet divided by sum; may be NULL */
} logp_running;

static inline logp_running token_logp_running(const pfi_call *c, const logp_strip *p) {
    const int64_t chunk = logp_chunk(c);
    logp_running w = {.sum = (double *)((char *)c->scratch + logp_scratch(c))};
    w.max = (pf_real *)(w.sum + chunk);
    w.keep = w.max + chunk;
    w.mean = c->saved[2] ? (pf_real *)c->saved[2] + p->r * c->in[0]->dim[1] : NULL;
    for (int64_t i = 0; i < p->n; i++) {
        w.max[i] = -PFR_MAX;
        w.sum[i] = 0;
    }
    return w;
}

/* y of the entries whose target is in the strip become its logit */
static inline void token_logp_pick(const pfi_call *c, const logp_rows *l, const logp_strip *p) {
    const int32_t *target = c->x[3];
    pf_real *y = c->y;
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t k = l->row_first[p->r + i]; k < l->row_first[p->r + i + 1]; k++) {
            const int64_t at = target[l->order[k]] - p->j;
            if (at >= 0 && at < p->s) y[l->order[k]] = p->logits[i * p->s + at];
        }
}

static inline void token_logp_add(const pfi_call *c, const logp_strip *p, const logp_running *w) {
    const int64_t C = c->in[0]->dim[1], s = p->s;
    const int threads = c->ctx->threads;
    PFK(softmax_more)(threads, p->logits, w->max, w->sum, w->keep, p->n, s);
    if (!w->mean) return;
    pf_real *e = p->logits, *mean = w->mean;
    const pf_real *slope = p->slope, *keep = w->keep;
    if (slope) PFI_EACH(c, p->n * s, e[i] *= slope[i]);
    if (p->j) PFI_EACH(c, p->n * C, mean[i] *= keep[i / C]);
    PFK(linear_back)(threads, mean, e, c->in[1]->dtype, logp_head(c, p->j), p->n, s, C, p->j ? 1 : 0, c->scratch);
}

/* ---- backward ---- */

/* sum of dy over the entries of a row */
static inline double token_logp_total(const pfi_call *c, const logp_rows *l, int64_t row) {
    const pf_real *dy = c->dy;
    double total = 0;
    for (int64_t k = l->row_first[row]; k < l->row_first[row + 1]; k++) total += (double)dy[l->order[k]];
    return total;
}

static inline void token_logp_dh(const pfi_call *c, const logp_rows *l, int64_t row, pf_real *wide) {
    const int64_t C = c->in[0]->dim[1];
    const int32_t *target = c->x[3];
    const pf_real cap = (pf_real)c->num[0], total = (pf_real)token_logp_total(c, l, row);
    const pf_real *dy = c->dy, *y = c->y, *lse = c->saved[1], *mean = (const pf_real *)c->saved[2] + row * C;
    pf_real *dh = (pf_real *)c->dx[0] + l->row_node[row] * C;
    for (int64_t j = 0; j < C; j++) dh[j] -= total * mean[j];
    for (int64_t k = l->row_first[row]; k < l->row_first[row + 1]; k++) {
        const int64_t e = l->order[k];
        const pf_real t = cap > 0 ? (y[e] + lse[row]) / cap : 0, by = dy[e] * (1 - t * t);
        PFK(widen)(c->in[1]->dtype, logp_head(c, target[e]), wide, C);
        for (int64_t j = 0; j < C; j++) dh[j] += by * wide[j];
    }
}

/* the strip's logits become d loss / d logits: for a row with entries e, sum_e dy_e (onehot(target_e) - p) */
static inline void token_logp_dlogits(const pfi_call *c, const logp_rows *l, const logp_strip *p) {
    const int32_t *target = c->x[3];
    const pf_real *dy = c->dy, *lse = c->saved[1], *slope = p->slope;
    pf_real *d = p->logits;
    PFK(exp_rows)(c->ctx->threads, d, lse + p->r, p->n, p->s);
    PFI_EACH_OF(c, p->n, p->s, {
        const pf_real scale = (pf_real)-token_logp_total(c, l, p->r + i);
        for (int64_t j = i * p->s; j < (i + 1) * p->s; j++) d[j] *= scale;
        for (int64_t k = l->row_first[p->r + i]; k < l->row_first[p->r + i + 1]; k++) {
            const int64_t at = target[l->order[k]] - p->j;
            if (at >= 0 && at < p->s) d[i * p->s + at] += dy[l->order[k]];
        }
        for (int64_t j = i * p->s; slope && j < (i + 1) * p->s; j++) d[j] *= slope[j];
    });
}

#endif
