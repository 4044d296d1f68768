#include "op/token_logp.h"

/* Per entry: entropy, hit, mean logit, log of the sum of squared probabilities. With z the logits and
 * L = logsumexp(z): entropy = L - sum p z; log sum p^2 = log sum (e^(z-L))^2. */
static pf_status token_stats_shape(pfi_call *c) {
    PF_TRY(logp_shape(c));
    c->nd = 2;
    c->dim[0] = c->in[2]->dim[0];
    c->dim[1] = 4;
    return PF_OK;
}

static void token_stats_row(pf_real *logits, int64_t V, pf_real stats[4], int64_t *best) {
    double mean = 0, top = (double)logits[0];
    *best = 0;
    for (int64_t j = 0; j < V; j++) {
        mean += (double)logits[j];
        if ((double)logits[j] > top) {
            top = (double)logits[j];
            *best = j;
        }
    }
    double sum = 0, weighted = 0, squares = 0;
    for (int64_t j = 0; j < V; j++) {
        double z = (double)logits[j] - top, e = exp(z);
        sum += e;
        weighted += e * z;
        squares += e * e;
    }
    stats[0] = (pf_real)(log(sum) - weighted / sum);
    stats[2] = (pf_real)(mean / (double)V);
    stats[3] = (pf_real)(log(squares) - 2 * log(sum));
}

static pf_status token_stats_forward(pfi_call *c) {
    logp_sort(c);
    logp_rows l = logp_rows_of(c);
    int64_t V = c->in[1]->dim[0], chunk = logp_chunk(c);
    const int32_t *target = c->x[3];
    pf_real *logits = logp_space(c), *gathered = logits + chunk * V, *y = c->y;
    for (int64_t r = 0; r < l.rows; r += chunk) {
        int64_t n = PFI_MIN(chunk, l.rows - r);
        logp_logits(c, &l, r, n, logits, gathered);
        for (int64_t i = 0; i < n; i++) {
            pf_real stats[4] = {0};
            int64_t best;
            token_stats_row(logits + i * V, V, stats, &best);
            for (int64_t k = l.row_first[r + i]; k < l.row_first[r + i + 1]; k++) {
                stats[1] = target[l.order[k]] == best;
                memcpy(y + 4 * l.order[k], stats, sizeof stats);
            }
        }
    }
    return PF_OK;
}

static const pf_param token_stats_params[] = PFI_LOGP_PARAMS;
static const int32_t token_stats_node[] = {2, 0, 2}, token_stats_target[] = {4, 0, 1};
static const pfi_case token_stats_cases[] = {
    {.dim = {PFI_S2(4, 3), PFI_S2(5, 3), PFI_S1(3), PFI_S1(3)},
     .ints = {NULL, NULL, token_stats_node, token_stats_target}},
    {.dim = {PFI_S2(4, 3), PFI_S2(5, 2), PFI_S1(3), PFI_S1(3)},
     .ints = {NULL, NULL, token_stats_node, token_stats_target},
     .want = PF_SHAPE},
};

PFI_OP(token_stats, PFI_PARAMS(token_stats_params), PFI_CASES(token_stats_cases), .flags = PFI_NO_GRAD,
       .stored = 1u << 1, .shape = token_stats_shape, .forward = token_stats_forward,
       PFI_DOC("For each entry of token_logp: entropy in nats, 1 if the target is the likeliest token, mean logit, log "
               "of the sum of squared probabilities; softcap as there. h[T,C], w[V,C], node[E], target[E]; result "
               "[E,4], constant."));
