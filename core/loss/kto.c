#include "loss/loss.h"

enum { KTO_POLICY, KTO_REF, KTO_LABEL, KTO_KL };
enum { KTO_BETA, KTO_DESIRABLE, KTO_UNDESIRABLE };

static double kto_kl(const pfi_call *c) { return fmax(0, loss_at(c, KTO_KL, 0)); }

static double kto_item(const pfi_call *c, int64_t i, double *d) {
    double beta = c->num[KTO_BETA], l = loss_at(c, KTO_POLICY, i) - loss_at(c, KTO_REF, i);
    bool good = loss_at(c, KTO_LABEL, i) == 1;
    double w = c->num[good ? KTO_DESIRABLE : KTO_UNDESIRABLE], sign = good ? 1 : -1;
    double u = sign * beta * (l - kto_kl(c));
    d[KTO_POLICY] = -w * sign * beta * loss_bell(u);
    return w * loss_sigmoid(-u);
}

static pf_status kto_shape(pfi_call *c) {
    PF_TRY(loss_items_shape(c, 1u << KTO_KL));
    if (c->in[KTO_KL] && pfi_numel(c->in[KTO_KL]) != 1)
        return pfi_call_fail(c, PF_SHAPE, "kl must be one value, got shape %s", PFI_SHAPE_TEXT(c->in[KTO_KL]));
    for (int i = KTO_DESIRABLE; i <= KTO_UNDESIRABLE; i++)
        if (!(c->num[i] >= 0 && isfinite(c->num[i])))
            return pfi_call_fail(c, PF_RANGE, "a weight is %g, expected a finite number of at least 0", c->num[i]);
    return loss_need_positive(c, "beta", c->num[KTO_BETA]);
}

static pf_status kto_forward(pfi_call *c) {
    PF_TRY(loss_need_values(c, KTO_LABEL, loss_is_label, "1 (desirable) or 0"));
    loss_items_forward(c, kto_item);
    return PF_OK;
}

static pf_status kto_backward(pfi_call *c) {
    loss_items_backward(c, kto_item);
    return PF_OK;
}

static pf_status kto_metrics(pfi_call *c) {
    loss_row_metrics(c, c->num[KTO_BETA]);
    pfi_metric(c, "kl", kto_kl(c));
    return PF_OK;
}

static const pf_param kto_params[] = {
    {.name = "policy", .kind = PF_KIND_TENSOR},
    {.name = "ref", .kind = PF_KIND_CONSTANT},
    {.name = "label", .kind = PF_KIND_CONSTANT},
    {.name = "kl", .kind = PF_KIND_CONSTANT, .optional = true},
    {.name = "beta", .kind = PF_KIND_NUMBER, .optional = true, .value = 0.1},
    {.name = "weight_desirable", .kind = PF_KIND_NUMBER, .optional = true, .value = 1},
    {.name = "weight_undesirable", .kind = PF_KIND_NUMBER, .optional = true, .value = 1},
};

static const double kto_labels[] = {1, 0, 1, 0}, kto_bad_labels[] = {1, 0, -1, 0}, kto_some_kl[] = {0.7};
#define KTO_ROWS PFI_S1(4), PFI_S1(4), PFI_S1(4)
static const pfi_case kto_cases[] = {
    {.dim = {KTO_ROWS}, .reals = {[KTO_LABEL] = kto_labels}},
    {.dim = {KTO_ROWS, PFI_S0}, .reals = {[KTO_LABEL] = kto_labels, [KTO_KL] = kto_some_kl}, .lo = -3, .hi = 3},
    {.dim = {KTO_ROWS, PFI_S1(1)},
     .reals = {[KTO_LABEL] = kto_labels},
     .args = "beta=0.5 weight_desirable=2 weight_undesirable=0.5"},
    {.dim = {KTO_ROWS}, .reals = {[KTO_LABEL] = kto_bad_labels}, .want = PF_RANGE},
    {.dim = {KTO_ROWS}, .reals = {[KTO_LABEL] = kto_labels}, .args = "beta=-1", .want = PF_RANGE},
    {.dim = {KTO_ROWS}, .reals = {[KTO_LABEL] = kto_labels}, .args = "weight_desirable=-1", .want = PF_RANGE},
    {.dim = {KTO_ROWS, PFI_S1(4)}, .reals = {[KTO_LABEL] = kto_labels}, .want = PF_SHAPE},
    {.dim = {PFI_S1(4), PFI_S1(3), PFI_S1(4)}, .reals = {[KTO_LABEL] = kto_labels}, .want = PF_SHAPE},
};

PFI_LOSS_OP(
    kto, PFI_PARAMS(kto_params), PFI_CASES(kto_cases), .shape = kto_shape, .forward = kto_forward,
    .backward = kto_backward, .metrics = kto_metrics,
    PFI_LOSS_DOC(
        "desirable: w_D (1 - s(beta (l - z))); undesirable: w_U (1 - s(beta (z - l))); l = policy - ref, z = max(0,"
        " kl)",
        "Ethayarajh et al. 2024, arXiv 2402.01306, eq. 7; TRL KTOTrainer",
        "Kahneman-Tversky optimisation of single rows. policy[N], ref[N]: log-probabilities in nats, summed over "
        "the completion. label[N]: 1 desirable, 0 not. kl: one value, the mean of policy - ref over completions "
        "that belong to other prompts; clamped at 0 here, constant; left out it is 0, which is TRL's "
        "apo_zero_unpaired. Result [N]."));
