#include "loss/loss.h"

enum { PRO_SCORES, PRO_REWARDS };

static pf_status pro_shape(pfi_call *c) {
    PF_TRY(loss_list_shape(c, PRO_SCORES, 1));
    PF_TRY(pfi_need_shape(c, PRO_REWARDS, 1, c->in[PRO_SCORES]->dim));
    c->saved_bytes[0] = (size_t)loss_count(c, PRO_SCORES) * sizeof(int64_t);
    return PF_OK;
}

/* saved[0]: the candidates' places, best reward first, equal ones in the order given */
static void pro_sort(pfi_call *c) {
    int64_t *order = c->saved[0];
    for (int64_t i = 0; i < loss_count(c, PRO_SCORES); i++) {
        int64_t at = i;
        for (; at > 0 && loss_at(c, PRO_REWARDS, order[at - 1]) < loss_at(c, PRO_REWARDS, i); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

/* How the j-th best enters the k-th term, j >= k: scores_j times the reward gap; the best one's own factor is its
 * largest gap. slope is that factor. */
static double pro_entry(const pfi_call *c, int64_t k, int64_t j, double *slope) {
    const int64_t *order = c->saved[0], n = loss_count(c, PRO_SCORES);
    *slope = loss_at(c, PRO_REWARDS, order[k]) - loss_at(c, PRO_REWARDS, order[j == k ? n - 1 : j]);
    return loss_at(c, PRO_SCORES, order[j]) * *slope;
}

/* log of the sum of the entries from k on */
static double pro_lse(const pfi_call *c, int64_t k) {
    double lse = -HUGE_VAL, slope;
    for (int64_t j = k; j < loss_count(c, PRO_SCORES); j++) lse = loss_log_add(lse, pro_entry(c, k, j, &slope));
    return lse;
}

static pf_status pro_forward(pfi_call *c) {
    double loss = 0, slope;
    pro_sort(c);
    for (int64_t k = 0; k + 1 < loss_count(c, PRO_SCORES); k++) loss += pro_lse(c, k) - pro_entry(c, k, k, &slope);
    *(pf_real *)c->y = (pf_real)loss;
    return PF_OK;
}

static pf_status pro_backward(pfi_call *c) {
    const int64_t *order = c->saved[0], n = loss_count(c, PRO_SCORES);
    double dy = (double)*(const pf_real *)c->dy;
    pf_real *dx = c->dx[PRO_SCORES];
    for (int64_t k = 0; k + 1 < n; k++) {
        double lse = pro_lse(c, k);
        for (int64_t j = k; j < n; j++) {
            double slope, p = exp(pro_entry(c, k, j, &slope) - lse);
            dx[order[j]] += (pf_real)(dy * slope * (j == k ? p - 1 : p));
        }
    }
    return PF_OK;
}

static const pf_param pro_params[] = {{.name = "scores", .kind = PF_KIND_TENSOR},
                                      {.name = "rewards", .kind = PF_KIND_CONSTANT}};
static const double pro_rewards[] = {0, 2, 1, 1};
static const pfi_case pro_cases[] = {
    {.dim = {PFI_S1(4), PFI_S1(4)}, .reals = {[PRO_REWARDS] = pro_rewards}},
    {.dim = {PFI_S1(4), PFI_S1(3)}, .want = PF_SHAPE},
    {.dim = {PFI_S1(0), PFI_S1(0)}, .want = PF_SHAPE},
};

PFI_LOSS_OP(
    pro, PFI_PARAMS(pro_params), PFI_CASES(pro_cases), .shape = pro_shape, .forward = pro_forward,
    .backward = pro_backward,
    PFI_LOSS_DOC(
        "sum_k log(e^(s_k t_k) + sum_{j>k} e^(s_j t_kj)) - s_k t_k, best first, t_kj = r_k - r_j, t_k = max_j t_kj",
        "Song et al. 2023, arXiv 2306.17492, eq. 7-8, and its code",
        "Preference ranking optimisation: the ranking term, of K candidates of one question in any order. "
        "scores[K]: mean log-probabilities per token in nats. rewards[K]: constant. The paper adds the nll of the "
        "best candidate. Result: one value."));
