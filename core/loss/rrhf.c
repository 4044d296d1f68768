#include "loss/loss.h"

enum { RRHF_SCORES, RRHF_REWARDS };

static pf_status rrhf_shape(pfi_call *c) {
    PF_TRY(loss_list_shape(c, RRHF_SCORES, 1));
    return pfi_need_shape(c, RRHF_REWARDS, 1, c->in[RRHF_SCORES]->dim);
}

/* how far the worse candidate i stands above the better one j; 0 if it does not, or is not the worse */
static double rrhf_excess(const pfi_call *c, int64_t i, int64_t j) {
    if (!(loss_at(c, RRHF_REWARDS, j) > loss_at(c, RRHF_REWARDS, i))) return 0;
    double gap = loss_at(c, RRHF_SCORES, i) - loss_at(c, RRHF_SCORES, j);
    return gap > 0 || isnan(gap) ? gap : 0;
}

static pf_status rrhf_forward(pfi_call *c) {
    double sum = 0;
    for (int64_t i = 0; i < loss_count(c, RRHF_SCORES); i++)
        for (int64_t j = 0; j < loss_count(c, RRHF_SCORES); j++) sum += rrhf_excess(c, i, j);
    *(pf_real *)c->y = (pf_real)sum;
    return PF_OK;
}

static pf_status rrhf_backward(pfi_call *c) {
    pf_real dy = *(const pf_real *)c->dy, *dx = c->dx[RRHF_SCORES];
    for (int64_t i = 0; i < loss_count(c, RRHF_SCORES); i++)
        for (int64_t j = 0; j < loss_count(c, RRHF_SCORES); j++) {
            if (rrhf_excess(c, i, j) == 0) continue;
            dx[i] += dy;
            dx[j] -= dy;
        }
    return PF_OK;
}

static const pf_param rrhf_params[] = {{.name = "scores", .kind = PF_KIND_TENSOR},
                                       {.name = "rewards", .kind = PF_KIND_CONSTANT}};
static const double rrhf_scores[] = {-0.4, -0.9, -0.7, -0.2}, rrhf_rewards[] = {2, 1, 0, 1};
static const pfi_case rrhf_cases[] = {
    {.dim = {PFI_S1(4), PFI_S1(4)}, .reals = {rrhf_scores, rrhf_rewards}}, /* gaps away from the kink at 0 */
    {.dim = {PFI_S1(4), PFI_S1(3)}, .want = PF_SHAPE},
    {.dim = {PFI_S1(0), PFI_S1(0)}, .want = PF_SHAPE},
};

PFI_LOSS_OP(
    rrhf, PFI_PARAMS(rrhf_params), PFI_CASES(rrhf_cases), .shape = rrhf_shape, .forward = rrhf_forward,
    .backward = rrhf_backward,
    PFI_LOSS_DOC(
        "sum over rewards_j > rewards_i of max(0, scores_i - scores_j)",
        "Yuan et al. 2023, arXiv 2304.05302, eq. 2-3, and its code",
        "Rank responses to align: the ranking term, of K candidates of one question. scores[K]: mean "
        "log-probabilities per token in nats. rewards[K]: constant; equal rewards make no pair. The paper adds the "
        "nll of the best candidate. Result: one value."));
