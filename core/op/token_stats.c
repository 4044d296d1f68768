#include "op/token_logp.h"

/* Per entry: entropy, hit, mean logit, log of the sum of squared probabilities. With z the logits and
 * L = logsumexp(z): entropy = L - sum p z; log sum p^2 = log sum (e^(z-L))^2. */

/* a row's sums over the strips so far, relative to the largest logit `top`: e^z, e^z z, e^2z; and of z itself */
typedef struct stats_row {
    double top, sum, weighted, squares, total;
    int64_t best;
} stats_row;

static pf_status token_stats_shape(pfi_call *c) {
    PF_TRY(logp_shape(c));
    c->nd = 2;
    c->dim[0] = c->in[2]->dim[0];
    c->dim[1] = 4;
    c->scratch_bytes = logp_scratch(c) + (size_t)logp_chunk(c) * sizeof(stats_row);
    return PF_OK;
}

static void token_stats_more(stats_row *s, const pf_real *z, int64_t n, int64_t first) {
    double top = s->best < 0 ? (double)z[0] : s->top;
    for (int64_t j = 0; j < n; j++) {
        s->total += (double)z[j];
        if (s->best >= 0 && !((double)z[j] > top)) continue;
        top = (double)z[j];
        s->best = first + j;
    }
    const double shift = s->sum > 0 ? s->top - top : 0, keep = exp(shift);
    s->weighted = keep * (s->weighted + shift * s->sum);
    s->sum *= keep;
    s->squares *= keep * keep;
    s->top = top;
    for (int64_t j = 0; j < n; j++) {
        double d = (double)z[j] - top, e = exp(d);
        s->sum += e;
        s->weighted += e * d;
        s->squares += e * e;
    }
}

static void token_stats_write(const pfi_call *c, const logp_rows *l, int64_t row, const stats_row *s) {
    const int32_t *target = c->x[3];
    const double V = (double)c->in[1]->dim[0];
    pf_real stats[4] = {(pf_real)(log(s->sum) - s->weighted / s->sum), 0, (pf_real)(s->total / V),
                        (pf_real)(log(s->squares) - 2 * log(s->sum))};
    for (int64_t k = l->row_first[row]; k < l->row_first[row + 1]; k++) {
        stats[1] = target[l->order[k]] == s->best;
        memcpy((pf_real *)c->y + 4 * l->order[k], stats, sizeof stats);
    }
}

static pf_status token_stats_forward(pfi_call *c) {
    logp_sort(c);
    const logp_rows l = logp_rows_of(c);
    const int64_t V = c->in[1]->dim[0];
    logp_strip p = logp_strip_of(c);
    stats_row *row = (stats_row *)((char *)c->scratch + logp_scratch(c));
    for (int64_t r = 0; r < l.rows; r += p.n) {
        logp_gather(c, &l, &p, r);
        for (int64_t i = 0; i < p.n; i++) row[i] = (stats_row){.best = -1};
        for (int64_t j = 0; j < V; j += p.s) {
            logp_logits(c, &p, j);
            PFI_EACH_OF(c, p.n, 8 * p.s, token_stats_more(&row[i], p.logits + i * p.s, p.s, j));
        }
        for (int64_t i = 0; i < p.n; i++) token_stats_write(c, &l, r + i, &row[i]);
    }
    return PF_OK;
}

static double token_stats_flops(pfi_call *c, bool backward) {
    (void)backward;
    return 2 * (double)logp_rows_of(c).rows * (double)pfi_numel(c->in[1]);
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
       .stored = 1u << 1, .flops = token_stats_flops, .shape = token_stats_shape, .forward = token_stats_forward,
       PFI_DOC("For each entry of token_logp: entropy in nats, 1 if the target is the likeliest token, mean logit, log "
               "of the sum of squared probabilities; softcap as there. h[T,C], w[V,C], node[E], target[E]; result "
               "[E,4], constant."));
