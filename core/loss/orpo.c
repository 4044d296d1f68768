#include "loss/loss.h"

enum { ORPO_CHOSEN, ORPO_REJECTED, ORPO_NLL };

static const double orpo_max_logp = -1e-6; /* a completion that is certain has infinite odds */

/* log(p / (1 - p)) of p = e^s, s < 0, and its derivative */
static double orpo_log_odds(double s, double *slope) {
    double x = fmin(s, orpo_max_logp);
    *slope = s < orpo_max_logp ? -1 / expm1(s) : 1;
    return s - (x < -M_LN2 ? log1p(-exp(x)) : log(-expm1(x)));
}

static double orpo_nll(const pfi_call *c, int64_t i) { return loss_value(c, ORPO_NLL, i, -loss_at(c, ORPO_CHOSEN, i)); }

static double orpo_item(const pfi_call *c, int64_t i, double *d) {
    double beta = c->num[0], slope_c, slope_r;
    double u =
        orpo_log_odds(loss_at(c, ORPO_CHOSEN, i), &slope_c) - orpo_log_odds(loss_at(c, ORPO_REJECTED, i), &slope_r);
    d[ORPO_CHOSEN] = -beta * loss_sigmoid(-u) * slope_c - (c->in[ORPO_NLL] ? 0 : 1);
    d[ORPO_REJECTED] = beta * loss_sigmoid(-u) * slope_r;
    d[ORPO_NLL] = 1;
    return orpo_nll(c, i) + beta * loss_softplus(-u);
}

static pf_status orpo_shape(pfi_call *c) {
    PF_TRY(loss_items_shape(c, 1u << ORPO_NLL));
    return loss_need_positive(c, "beta", c->num[0]);
}

static bool orpo_is_logp(double x) { return !(x > 0); }

static pf_status orpo_forward(pfi_call *c) {
    PF_TRY(loss_need_values(c, ORPO_CHOSEN, orpo_is_logp, "a mean log-probability, at most 0"));
    PF_TRY(loss_need_values(c, ORPO_REJECTED, orpo_is_logp, "a mean log-probability, at most 0"));
    loss_items_forward(c, orpo_item);
    return PF_OK;
}

static pf_status orpo_backward(pfi_call *c) {
    loss_items_backward(c, orpo_item);
    return PF_OK;
}

static double orpo_reward(const pfi_call *c, int side, int64_t i) { return c->num[0] * loss_at(c, side, i); }

static pf_status orpo_metrics(pfi_call *c) {
    loss_pair_metrics(c, orpo_reward);
    double nll = 0, ratio = 0, odds = 0, n = (double)c->dim[0], slope;
    for (int64_t i = 0; i < c->dim[0]; i++) {
        double u =
            orpo_log_odds(loss_at(c, ORPO_CHOSEN, i), &slope) - orpo_log_odds(loss_at(c, ORPO_REJECTED, i), &slope);
        nll += orpo_nll(c, i) / n;
        ratio -= loss_softplus(-u) / n;
        odds += u / n;
    }
    pfi_metric(c, "nll_loss", nll);
    pfi_metric(c, "log_odds_ratio", ratio);
    pfi_metric(c, "log_odds_chosen", odds);
    return PF_OK;
}

static const pf_param orpo_params[] = {
    {.name = "policy_chosen", .kind = PF_KIND_TENSOR},
    {.name = "policy_rejected", .kind = PF_KIND_TENSOR},
    {.name = "nll", .kind = PF_KIND_TENSOR, .optional = true},
    {.name = "beta", .kind = PF_KIND_NUMBER, .optional = true, .value = 0.1},
};

static const pfi_case orpo_cases[] = {
    {.dim = {PFI_S1(3), PFI_S1(3)}, .lo = -3, .hi = -0.1},
    {.dim = {PFI_S1(3), PFI_S1(3), PFI_S1(3)}, .lo = -3, .hi = -0.1, .args = "beta=0.5"},
    {.dim = {PFI_S1(3), PFI_S1(3), PFI_S0}, .lo = -3, .hi = -0.1},
    {.dim = {PFI_S1(3), PFI_S1(3)}, .lo = 0.1, .hi = 1, .want = PF_RANGE},
    {.dim = {PFI_S1(3), PFI_S1(3)}, .lo = -3, .hi = -0.1, .args = "beta=0", .want = PF_RANGE},
    {.dim = {PFI_S1(3), PFI_S1(2)}, .lo = -3, .hi = -0.1, .want = PF_SHAPE},
    {.dim = {PFI_S1(3), PFI_S1(3), PFI_S1(2)}, .lo = -3, .hi = -0.1, .want = PF_SHAPE},
};

PFI_LOSS_OP(
    orpo, PFI_PARAMS(orpo_params), PFI_CASES(orpo_cases), .shape = orpo_shape, .forward = orpo_forward,
    .backward = orpo_backward, .metrics = orpo_metrics,
    PFI_LOSS_DOC(
        "nll - beta log s(logit(e^policy_chosen) - logit(e^policy_rejected))",
        "Hong et al. 2024, arXiv 2403.07691, eq. 4-7 (beta is the paper's lambda); TRL ORPOTrainer",
        "Odds ratio preference optimisation, without a reference. policy_chosen[N], policy_rejected[N]: mean "
        "log-probabilities per token in nats, at most 0; beyond -1e-6 the odds stop growing. nll[N], or one value "
        "for the batch: negative log-likelihood per token of the chosen row (TRL: prompt and completion); left out "
        "it is -policy_chosen. Result [N]."));
