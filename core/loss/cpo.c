#include "loss/loss.h"

enum { CPO_CHOSEN, CPO_REJECTED, CPO_NLL };
enum { CPO_BETA, CPO_VARIANT, CPO_EPS, CPO_ALPHA };
enum { CPO_SIGMOID, CPO_HINGE, CPO_IPO };

/* value and derivative of the link at margin x = policy_chosen - policy_rejected */
static double cpo_link(const pfi_call *c, double x, double *slope) {
    double beta = c->num[CPO_BETA], eps = c->num[CPO_EPS], u = beta * x, e = x - 1 / (2 * beta);
    switch ((int)c->num[CPO_VARIANT]) {
    case CPO_HINGE: *slope = u < 1 ? -beta : 0; return fmax(0, 1 - u);
    case CPO_IPO: *slope = 2 * e; return e * e;
    default:
        *slope = beta * (eps * loss_sigmoid(u) - (1 - eps) * loss_sigmoid(-u));
        return (1 - eps) * loss_softplus(-u) + eps * loss_softplus(u);
    }
}

static double cpo_item(const pfi_call *c, int64_t i, double *d) {
    double slope, alpha = c->num[CPO_ALPHA];
    double value = cpo_link(c, loss_at(c, CPO_CHOSEN, i) - loss_at(c, CPO_REJECTED, i), &slope);
    d[CPO_CHOSEN] = slope;
    d[CPO_REJECTED] = -slope;
    d[CPO_NLL] = alpha;
    return value + alpha * loss_at(c, CPO_NLL, i);
}

static pf_status cpo_shape(pfi_call *c) {
    double eps = c->num[CPO_EPS], alpha = c->num[CPO_ALPHA];
    PF_TRY(loss_items_shape(c, 1u << CPO_NLL));
    PF_TRY(loss_need_positive(c, "beta", c->num[CPO_BETA]));
    if (!(eps >= 0 && eps < 0.5))
        return pfi_call_fail(c, PF_RANGE, "label_smoothing is %g, expected at least 0 and below 0.5", eps);
    if (eps != 0 && c->num[CPO_VARIANT] != CPO_SIGMOID)
        return pfi_call_fail(c, PF_RANGE, "label_smoothing is %g, but only variant \"sigmoid\" takes it", eps);
    if (!(alpha >= 0 && isfinite(alpha)))
        return pfi_call_fail(c, PF_RANGE, "cpo_alpha is %g, expected a finite number of at least 0", alpha);
    if (alpha != 0 && !c->in[CPO_NLL])
        return pfi_call_fail(c, PF_TYPE, "nll of the chosen completions is missing; give it, or cpo_alpha = 0");
    return PF_OK;
}

static pf_status cpo_forward(pfi_call *c) {
    loss_items_forward(c, cpo_item);
    return PF_OK;
}

static pf_status cpo_backward(pfi_call *c) {
    loss_items_backward(c, cpo_item);
    return PF_OK;
}

static double cpo_reward(const pfi_call *c, int side, int64_t i) { return c->num[CPO_BETA] * loss_at(c, side, i); }

static pf_status cpo_metrics(pfi_call *c) {
    double nll = 0;
    for (int64_t i = 0; i < c->dim[0]; i++) nll += loss_at(c, CPO_NLL, i) / (double)c->dim[0];
    loss_pair_metrics(c, cpo_reward);
    if (c->in[CPO_NLL]) pfi_metric(c, "nll_loss", nll);
    return PF_OK;
}

static const pf_param cpo_params[] = {
    {.name = "policy_chosen", .kind = PF_KIND_TENSOR},
    {.name = "policy_rejected", .kind = PF_KIND_TENSOR},
    {.name = "nll", .kind = PF_KIND_TENSOR, .optional = true},
    {.name = "beta", .kind = PF_KIND_NUMBER, .optional = true, .value = 0.1},
    {.name = "variant", .kind = PF_KIND_CHOICE, .optional = true, .choices = "sigmoid hinge ipo"},
    {.name = "label_smoothing", .kind = PF_KIND_NUMBER, .optional = true, .value = 0},
    {.name = "cpo_alpha", .kind = PF_KIND_NUMBER, .optional = true, .value = 1},
};

static const pfi_case cpo_cases[] = {
    {.dim = {PFI_S1(3), PFI_S1(3), PFI_S1(3)}},
    {.dim = {PFI_S1(3), PFI_S1(3), PFI_S0}, .args = "label_smoothing=0.1 cpo_alpha=0.5"},
    {.dim = {PFI_S1(3), PFI_S1(3)}, .args = "variant=hinge cpo_alpha=0"}, /* |u| <= 0.2: away from the kink */
    {.dim = {PFI_S1(3), PFI_S1(3)}, .args = "variant=ipo cpo_alpha=0"},
    {.dim = {PFI_S1(3), PFI_S1(3)}, .want = PF_TYPE},
    {.dim = {PFI_S1(3), PFI_S1(3)}, .args = "cpo_alpha=-1", .want = PF_RANGE},
    {.dim = {PFI_S1(3), PFI_S1(3)}, .args = "cpo_alpha=0 beta=0", .want = PF_RANGE},
    {.dim = {PFI_S1(3), PFI_S1(3)}, .args = "cpo_alpha=0 label_smoothing=0.5", .want = PF_RANGE},
    {.dim = {PFI_S1(3), PFI_S1(3)}, .args = "cpo_alpha=0 variant=ipo label_smoothing=0.1", .want = PF_RANGE},
    {.dim = {PFI_S1(3), PFI_S1(2)}, .args = "cpo_alpha=0", .want = PF_SHAPE},
};

PFI_LOSS_OP(
    cpo, PFI_PARAMS(cpo_params), PFI_CASES(cpo_cases), .shape = cpo_shape, .forward = cpo_forward,
    .backward = cpo_backward, .metrics = cpo_metrics,
    PFI_LOSS_DOC(
        "-log s(beta (policy_chosen - policy_rejected)) + cpo_alpha nll",
        "Xu et al. 2024, arXiv 2401.08417, eq. 3-5; TRL CPOTrainer",
        "Contrastive preference optimisation, without a reference. policy_chosen[N], policy_rejected[N]: "
        "log-probabilities in nats, summed over the completion (variant ipo: means per token). variant hinge: "
        "max(0, 1 - beta x), ipo: (x - 1/(2 beta))^2 with x the difference. nll[N], or one value for the batch: "
        "negative log-likelihood per token of the chosen completion; of a third, gold answer it is TPO. "
        "label_smoothing: of variant sigmoid. Result [N]."));
