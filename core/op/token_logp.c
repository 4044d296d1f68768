#include "op/logp_parts.h"

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
static double token_logp_flops(pfi_call *c, bool backward) {
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
       .forward = token_logp_forward, .backward = token_logp_backward, .stored = 1u << 1, .writes = 2,
       .flops = token_logp_flops,
       PFI_DOC("Log-probability of token target[e] under softmax(h[node[e]] w^T), nats; with softcap c > 0 the "
               "logits z become c tanh(z / c) first. h[T,C], w[V,C], node[E], target[E]; result [E]."));
