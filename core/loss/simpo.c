#include "loss/loss.h"

enum { SIMPO_BETA, SIMPO_GAMMA, SIMPO_ALPHA };

/* AlphaPO's (1 - e^(-alpha s)) / alpha, and its derivative; alpha 0: s itself */
static double simpo_shaped(const pfi_call *c, double s, double *slope) {
    double alpha = c->num[SIMPO_ALPHA], x = -alpha * s;
    *slope = x < loss_exp_max ? exp(x) : 0;
    return alpha == 0 ? s : -expm1(fmin(x, loss_exp_max)) / alpha;
}

static double simpo_item(const pfi_call *c, int64_t i, double *d) {
    double beta = c->num[SIMPO_BETA], slope[2];
    double good = simpo_shaped(c, loss_at(c, 0, i), &slope[0]), bad = simpo_shaped(c, loss_at(c, 1, i), &slope[1]);
    double u = beta * (good - bad) - c->num[SIMPO_GAMMA];
    d[0] = -beta * loss_sigmoid(-u) * slope[0];
    d[1] = beta * loss_sigmoid(-u) * slope[1];
    return loss_softplus(-u);
}

static pf_status simpo_shape(pfi_call *c) {
    PF_TRY(loss_items_shape(c, 0));
    for (int i = SIMPO_GAMMA; i <= SIMPO_ALPHA; i++)
        if (!isfinite(c->num[i]))
            return pfi_call_fail(c, PF_RANGE, "%s is infinite", i == SIMPO_GAMMA ? "gamma" : "alpha");
    return loss_need_positive(c, "beta", c->num[SIMPO_BETA]);
}

static pf_status simpo_forward(pfi_call *c) {
    loss_items_forward(c, simpo_item);
    return PF_OK;
}

static pf_status simpo_backward(pfi_call *c) {
    loss_items_backward(c, simpo_item);
    return PF_OK;
}

static double simpo_reward(const pfi_call *c, int side, int64_t i) {
    double slope;
    return c->num[SIMPO_BETA] * simpo_shaped(c, loss_at(c, side, i), &slope);
}

static pf_status simpo_metrics(pfi_call *c) {
    loss_pair_metrics(c, simpo_reward);
    return PF_OK;
}

static const pf_param simpo_params[] = {
    {.name = "policy_chosen", .kind = PF_KIND_TENSOR},
    {.name = "policy_rejected", .kind = PF_KIND_TENSOR},
    {.name = "beta", .kind = PF_KIND_NUMBER, .optional = true, .value = 2},
    {.name = "gamma", .kind = PF_KIND_NUMBER, .optional = true, .value = 0.5},
    {.name = "alpha", .kind = PF_KIND_NUMBER, .optional = true, .value = 0},
};

static const pfi_case simpo_cases[] = {
    {.dim = {PFI_S1(3), PFI_S1(3)}},
    {.dim = {PFI_S1(3), PFI_S1(3)}, .args = "beta=1.5 gamma=1"},
    {.dim = {PFI_S1(3), PFI_S1(3)}, .args = "alpha=0.25"},
    {.dim = {PFI_S1(3), PFI_S1(3)}, .args = "alpha=-0.5"},
    {.dim = {PFI_S1(3), PFI_S1(3)}, .args = "beta=0", .want = PF_RANGE},
    {.dim = {PFI_S1(3), PFI_S1(2)}, .want = PF_SHAPE},
};

PFI_LOSS_OP(
    simpo, PFI_PARAMS(simpo_params), PFI_CASES(simpo_cases), .shape = simpo_shape, .forward = simpo_forward,
    .backward = simpo_backward, .metrics = simpo_metrics,
    PFI_LOSS_DOC(
        "-log s(beta (f(policy_chosen) - f(policy_rejected)) - gamma), f(s) = s or (1 - e^(-alpha s)) / alpha",
        "Meng et al. 2024, arXiv 2405.14734, eq. 6; alpha: Gupta et al. 2025 (AlphaPO), arXiv 2501.03884; TRL "
        "CPOTrainer loss_type simpo",
        "Simple preference optimisation, without a reference. policy_chosen[N], policy_rejected[N]: mean "
        "log-probabilities per token in nats. gamma shifts the logit: the reward gap asked for is gamma / beta in "
        "nats per token. alpha: AlphaPO's shape, 0 is SimPO. Result [N]."));
