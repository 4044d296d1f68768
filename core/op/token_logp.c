#include "op/token_logp.h"

/* Log-probabilities of chosen tokens without ever holding tokens x vocabulary: the head runs on chunks of the nodes
 * that are scored, each node once however many entries it has; backward computes the logits again. */
static pf_status token_logp_shape(pfi_call *c) {
    PF_TRY(logp_shape(c));
    c->nd = 1;
    c->dim[0] = c->in[2]->dim[0];
    return PF_OK;
}

static pf_status token_logp_forward(pfi_call *c) {
    logp_sort(c);
    logp_rows l = logp_rows_of(c);
    int64_t V = c->in[1]->dim[0], chunk = logp_chunk(c);
    const int32_t *target = c->x[3];
    pf_real *logits = logp_space(c), *gathered = logits + chunk * V, *y = c->y, *lse = c->saved[1];
    for (int64_t r = 0; r < l.rows; r += chunk) {
        int64_t n = PFI_MIN(chunk, l.rows - r);
        logp_logits(c, &l, r, n, logits, gathered);
        for (int64_t i = 0; i < n; i++)
            for (int64_t k = l.row_first[r + i]; k < l.row_first[r + i + 1]; k++)
                y[l.order[k]] = logits[i * V + target[l.order[k]]];
        PFK(softmax_rows)(c->ctx->threads, logits, lse + r, n, V, false);
        for (int64_t i = 0; i < n; i++)
            for (int64_t k = l.row_first[r + i]; k < l.row_first[r + i + 1]; k++) y[l.order[k]] -= lse[r + i];
    }
    return PF_OK;
}

/* logits[n,V] of rows r.. become d loss / d logits: for a row with entries e, sum_e dy_e (onehot(target_e) - p) */
static void token_logp_row_gradient(const pfi_call *c, const logp_rows *l, int64_t r, int64_t n, pf_real *logits,
                                    const pf_real *lse) {
    int64_t V = c->in[1]->dim[0];
    const int32_t *target = c->x[3];
    const pf_real *dy = c->dy;
    PFK(exp_rows)(c->ctx->threads, logits, lse, n, V);
    for (int64_t i = 0; i < n; i++) {
        double total = 0;
        for (int64_t k = l->row_first[r + i]; k < l->row_first[r + i + 1]; k++) total += (double)dy[l->order[k]];
        pf_real *row = logits + i * V, scale = (pf_real)-total;
        for (int64_t j = 0; j < V; j++) row[j] *= scale;
        for (int64_t k = l->row_first[r + i]; k < l->row_first[r + i + 1]; k++)
            row[target[l->order[k]]] += dy[l->order[k]];
    }
}

static pf_status token_logp_backward(pfi_call *c) {
    logp_rows l = logp_rows_of(c);
    int64_t V = c->in[1]->dim[0], C = c->in[0]->dim[1], chunk = logp_chunk(c);
    pf_real *logits = logp_space(c), *gathered = logits + chunk * V, *dgathered = gathered + chunk * C;
    pf_real *slope = dgathered + chunk * C;
    const pf_real cap = (pf_real)c->num[0];
    pf_real *dh = c->dx[0], *dw = c->dx[1];
    const pf_real *lse = c->saved[1];
    for (int64_t r = 0; r < l.rows; r += chunk) {
        int64_t n = PFI_MIN(chunk, l.rows - r);
        logp_logits(c, &l, r, n, logits, gathered);
        if (cap > 0) PFI_EACH(c, n * V, slope[i] = 1 - logits[i] / cap * (logits[i] / cap));
        token_logp_row_gradient(c, &l, r, n, logits, lse + r);
        if (cap > 0) PFI_EACH(c, n * V, logits[i] *= slope[i]);
        if (dw) PFK(gemm)(c->ctx->threads, true, false, V, C, n, logits, V, gathered, C, 1, dw, C);
        if (!dh) continue;
        PFK(linear_back)(c->ctx->threads, dgathered, logits, c->in[1]->dtype, c->x[1], n, V, C, 0, c->scratch);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < C; j++) dh[l.row_node[r + i] * C + j] += dgathered[i * C + j];
    }
    return PF_OK;
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
       PFI_DOC("Log-probability of token target[e] under softmax(h[node[e]] w^T), nats; with softcap c > 0 the "
               "logits z become c tanh(z / c) first. h[T,C], w[V,C], node[E], target[E]; result [E]."));
