#include "op/token_logp.h"

/* Log-probabilities of chosen tokens. Forward goes over strips of the vocabulary with a running softmax, each node once
 * however many entries it has. With p the probabilities of a node, d logp(t) / d h = w_t - sum_j p_j w_j (times the
 * slopes of the cap): the sum is made on the way, so that backward computes the logits again only for the gradient of
 * w. saved[1]: logsumexp of each row; saved[2]: that sum [rows, C], if h needs a gradient. */
static pf_status token_logp_shape(pfi_call *c) {
    PF_TRY(logp_shape(c));
    const int64_t E = c->in[2]->dim[0], C = c->in[0]->dim[1];
    c->nd = 1;
    c->dim[0] = E;
    c->saved_bytes[1] = (size_t)PFI_MAX(E, 1) * sizeof(pf_real);
    c->saved_bytes[2] = c->wants[0] ? (size_t)(E * C) * sizeof(pf_real) : 0;
    /* sum, largest and what a strip leaves of the sums so far, of each row; backward: one row of w */
    c->scratch_bytes = logp_scratch(c) + (size_t)logp_chunk(c) * (sizeof(double) + 2 * sizeof(pf_real));
    c->scratch_back_bytes = logp_scratch(c) + (size_t)C * sizeof(pf_real);
    return PF_OK;
}

/* the running softmax of a chunk */
typedef struct logp_running {
    double *sum;
    pf_real *max, *keep, *mean; /* mean: of the rows of w under p, not yet divided by sum; may be NULL */
} logp_running;

static logp_running token_logp_running(const pfi_call *c, const logp_strip *p) {
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
static void token_logp_pick(const pfi_call *c, const logp_rows *l, const logp_strip *p) {
    const int32_t *target = c->x[3];
    pf_real *y = c->y;
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t k = l->row_first[p->r + i]; k < l->row_first[p->r + i + 1]; k++) {
            const int64_t at = target[l->order[k]] - p->j;
            if (at >= 0 && at < p->s) y[l->order[k]] = p->logits[i * p->s + at];
        }
}

static void token_logp_add(const pfi_call *c, const logp_strip *p, const logp_running *w) {
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

static pf_status token_logp_forward(pfi_call *c) {
    logp_sort(c);
    const logp_rows l = logp_rows_of(c);
    const int64_t V = c->in[1]->dim[0], C = c->in[0]->dim[1];
    logp_strip p = logp_strip_of(c);
    pf_real *y = c->y, *lse = c->saved[1];
    for (int64_t r = 0; r < l.rows; r += p.n) {
        logp_gather(c, &l, &p, r);
        logp_running w = token_logp_running(c, &p);
        for (int64_t j = 0; j < V; j += p.s) {
            logp_logits(c, &p, j);
            token_logp_pick(c, &l, &p);
            token_logp_add(c, &p, &w);
        }
        for (int64_t i = 0; i < p.n; i++) {
            lse[r + i] = (pf_real)((double)w.max[i] + log(w.sum[i]));
            for (int64_t k = l.row_first[r + i]; k < l.row_first[r + i + 1]; k++) y[l.order[k]] -= lse[r + i];
        }
        if (w.mean) PFI_EACH(c, p.n * C, w.mean[i] *= (pf_real)(1 / w.sum[i / C]));
    }
    return PF_OK;
}

/* sum of dy over the entries of a row */
static double token_logp_total(const pfi_call *c, const logp_rows *l, int64_t row) {
    const pf_real *dy = c->dy;
    double total = 0;
    for (int64_t k = l->row_first[row]; k < l->row_first[row + 1]; k++) total += (double)dy[l->order[k]];
    return total;
}

static void token_logp_dh(const pfi_call *c, const logp_rows *l, int64_t row, pf_real *wide) {
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
static void token_logp_dlogits(const pfi_call *c, const logp_rows *l, const logp_strip *p) {
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

static pf_status token_logp_backward(pfi_call *c) {
    const logp_rows l = logp_rows_of(c);
    const int64_t V = c->in[1]->dim[0], C = c->in[0]->dim[1];
    const int threads = c->ctx->threads;
    logp_strip p = logp_strip_of(c);
    pf_real *dw = c->dx[1], *wide = (pf_real *)((char *)c->scratch + logp_scratch(c));
    if (c->dx[0])
        for (int64_t i = 0; i < l.rows; i++) token_logp_dh(c, &l, i, wide);
    if (dw && c->fresh[1] && l.rows == 0) memset(dw, 0, (size_t)(V * C) * sizeof *dw);
    for (int64_t r = 0; dw && r < l.rows; r += p.n) {
        const pf_real beta = r == 0 && c->fresh[1] ? 0 : 1;
        logp_gather(c, &l, &p, r);
        for (int64_t j = 0; j < V; j += p.s) {
            logp_logits(c, &p, j);
            token_logp_dlogits(c, &l, &p);
            PFK(gemm)(threads, true, false, p.s, C, p.n, p.logits, p.s, p.gathered, C, beta, dw + j * C, C);
        }
    }
    return PF_OK;
}

/* forward makes what the gradient of h needs */
static double token_logp_flops(const pfi_call *c, bool backward) {
    const double once = 2 * (double)logp_rows_of(c).rows * (double)pfi_numel(c->in[1]);
    return backward ? once * c->wants[1] : once * (1 + c->wants[0]);
}

static const pf_param token_logp_params[] = PFI_LOGP_PARAMS;
static const int32_t token_logp_node[] = {2, 0, 2, 3, 2}, token_logp_target[] = {4, 0, 1, 2, 4},
                     token_logp_far[] = {0, 5};
static const pfi_case token_logp_cases[] = {
    {.dim = {PFI_S2(4, 3), PFI_S2(5, 3), PFI_S1(5), PFI_S1(5)},
     .ints = {NULL, NULL, token_logp_node, token_logp_target}},
    {.dim = {PFI_S2(4, 3), PFI_S2(5, 3), PFI_S1(5), PFI_S1(5)},
     .ints = {NULL, NULL, token_logp_node, token_logp_target},
     .lo = -2,
     .hi = 2,
     .args = "softcap=1.5"},
    {.dim = {PFI_S2(4, 3), PFI_S2(5, 2), PFI_S1(5), PFI_S1(5)},
     .ints = {NULL, NULL, token_logp_node, token_logp_target},
     .want = PF_SHAPE},
    {.dim = {PFI_S2(4, 3), PFI_S2(5, 3), PFI_S1(2), PFI_S1(2)},
     .ints = {NULL, NULL, token_logp_node, token_logp_far},
     .want = PF_RANGE},
};

PFI_OP(token_logp, PFI_PARAMS(token_logp_params), PFI_CASES(token_logp_cases), .shape = token_logp_shape,
       .forward = token_logp_forward, .backward = token_logp_backward, .stored = 1u << 1,
       .writes = 2, .flops = token_logp_flops,
       PFI_DOC("Log-probability of token target[e] under softmax(h[node[e]] w^T), nats; with softcap c > 0 the "
               "logits z become c tanh(z / c) first. h[T,C], w[V,C], node[E], target[E]; result [E]."));
