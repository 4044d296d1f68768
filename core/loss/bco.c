#include "loss/loss.h"

enum { BCO_POLICY, BCO_REF, BCO_LABEL, BCO_WEIGHT };
enum { BCO_BETA, BCO_DELTA };

static double bco_item(const pfi_call *c, int64_t i, double *d) {
    double beta = c->num[BCO_BETA], sign = loss_at(c, BCO_LABEL, i) == 1 ? 1 : -1;
    double w = loss_value(c, BCO_WEIGHT, i, 1);
    double reward = beta * (loss_at(c, BCO_POLICY, i) - loss_at(c, BCO_REF, i)),
           u = sign * (reward - c->num[BCO_DELTA]);
    d[BCO_POLICY] = -w * sign * beta * loss_sigmoid(-u);
    return w * loss_softplus(-u);
}

static pf_status bco_shape(pfi_call *c) {
    PF_TRY(loss_items_shape(c, 0));
    if (!isfinite(c->num[BCO_DELTA])) return pfi_call_fail(c, PF_RANGE, "delta is infinite");
    return loss_need_positive(c, "beta", c->num[BCO_BETA]);
}

static pf_status bco_forward(pfi_call *c) {
    PF_TRY(loss_need_values(c, BCO_LABEL, loss_is_label, "1 (desirable) or 0"));
    loss_items_forward(c, bco_item);
    return PF_OK;
}

static pf_status bco_backward(pfi_call *c) {
    loss_items_backward(c, bco_item);
    return PF_OK;
}

static pf_status bco_metrics(pfi_call *c) {
    loss_row_metrics(c, c->num[BCO_BETA]);
    pfi_metric(c, "delta", c->num[BCO_DELTA]);
    return PF_OK;
}

static const pf_param bco_params[] = {
    {.name = "policy", .kind = PF_KIND_TENSOR},
    {.name = "ref", .kind = PF_KIND_CONSTANT},
    {.name = "label", .kind = PF_KIND_CONSTANT},
    {.name = "weight", .kind = PF_KIND_CONSTANT, .optional = true},
    {.name = "beta", .kind = PF_KIND_NUMBER, .optional = true, .value = 0.1},
    {.name = "delta", .kind = PF_KIND_NUMBER, .optional = true, .value = 0},
};

static const double bco_labels[] = {1, 0, 0}, bco_bad_labels[] = {1, 0.5, 0};
#define BCO_ROWS PFI_S1(3), PFI_S1(3), PFI_S1(3)
static const pfi_case bco_cases[] = {
    {.dim = {BCO_ROWS}, .reals = {[BCO_LABEL] = bco_labels}},
    {.dim = {BCO_ROWS, PFI_S1(3)}, .reals = {[BCO_LABEL] = bco_labels}, .args = "beta=0.5 delta=0.3"},
    {.dim = {BCO_ROWS}, .reals = {[BCO_LABEL] = bco_bad_labels}, .want = PF_RANGE},
    {.dim = {BCO_ROWS}, .reals = {[BCO_LABEL] = bco_labels}, .args = "beta=0", .want = PF_RANGE},
    {.dim = {PFI_S1(3), PFI_S1(3), PFI_S1(2)}, .reals = {[BCO_LABEL] = bco_labels}, .want = PF_SHAPE},
};

PFI_LOSS_OP(
    bco, PFI_PARAMS(bco_params), PFI_CASES(bco_cases), .shape = bco_shape, .forward = bco_forward,
    .backward = bco_backward, .metrics = bco_metrics,
    PFI_LOSS_DOC(
        "desirable: -log s(r - delta); undesirable: -log s(delta - r); r = beta (policy - ref)",
        "Jung et al. 2024, arXiv 2404.04656, eq. 9; TRL BCOTrainer",
        "Binary classifier optimisation of single rows. policy[N], ref[N]: log-probabilities in nats, summed over "
        "the completion. label[N]: 1 desirable, 0 not. delta: running mean of the rewards r, this batch included, "
        "kept by the caller; constant. weight[N]: constant factors (density ratio of the undesirable rows, TRL "
        "clips it to 0.5..10, 1 for the desirable). Result [N]."));
