#include "loss/loss.h"

static pf_status mml_shape(pfi_call *c) {
    PF_TRY(loss_list_shape(c, 0, 1));
    return loss_need_positive(c, "beta", c->num[0]);
}

/* log sum_i e^(beta l_i) */
static double mml_lse(const pfi_call *c) {
    double lse = -HUGE_VAL;
    for (int64_t i = 0; i < loss_count(c, 0); i++) lse = loss_log_add(lse, c->num[0] * loss_at(c, 0, i));
    return lse;
}

static pf_status mml_forward(pfi_call *c) {
    *(pf_real *)c->y = (pf_real)(-mml_lse(c) / c->num[0]);
    return PF_OK;
}

static pf_status mml_backward(pfi_call *c) {
    double dy = (double)*(const pf_real *)c->dy, lse = mml_lse(c);
    pf_real *dx = c->dx[0];
    for (int64_t i = 0; i < loss_count(c, 0); i++) dx[i] -= (pf_real)(dy * exp(c->num[0] * loss_at(c, 0, i) - lse));
    return PF_OK;
}

static const pf_param mml_params[] = {{.name = "logp", .kind = PF_KIND_TENSOR},
                                      {.name = "beta", .kind = PF_KIND_NUMBER, .optional = true, .value = 1}};
static const pfi_case mml_cases[] = {
    {.dim = {PFI_S1(4)}},
    {.dim = {PFI_S1(3)}, .args = "beta=0.25"},
    {.dim = {PFI_S1(3)}, .args = "beta=0", .want = PF_RANGE},
    {.dim = {PFI_S1(0)}, .want = PF_SHAPE},
    {.dim = {PFI_S2(2, 2)}, .want = PF_SHAPE},
};

PFI_LOSS_OP(
    mml, PFI_PARAMS(mml_params), PFI_CASES(mml_cases), .shape = mml_shape, .forward = mml_forward,
    .backward = mml_backward,
    PFI_LOSS_DOC(
        "-(1/beta) log sum_i e^(beta logp_i)", "Ni et al. 2023, arXiv 2205.14318, section 3.3",
        "Maximum marginal likelihood of K right solutions of one question. logp[K]: log-probabilities in nats, "
        "summed over the solution. beta 1 is MML; a smaller one spreads the weight over the solutions. Result: one "
        "value."));
