#include "loss/loss.h"

enum { NLL_LOGP, NLL_WEIGHT };

static double nll_item(const pfi_call *c, int64_t i, double *d) {
    double w = loss_value(c, NLL_WEIGHT, i, 1);
    d[NLL_LOGP] = -w;
    return -w * loss_at(c, NLL_LOGP, i);
}

static pf_status nll_shape(pfi_call *c) { return loss_items_shape(c, 0); }

static pf_status nll_forward(pfi_call *c) {
    loss_items_forward(c, nll_item);
    return PF_OK;
}

static pf_status nll_backward(pfi_call *c) {
    loss_items_backward(c, nll_item);
    return PF_OK;
}

static pf_status nll_metrics(pfi_call *c) {
    double sum = 0;
    for (int64_t i = 0; i < c->dim[0]; i++) sum -= loss_at(c, NLL_LOGP, i);
    pfi_metric(c, "nll_loss", sum / (double)c->dim[0]);
    return PF_OK;
}

static const pf_param nll_params[] = {{.name = "logp", .kind = PF_KIND_TENSOR},
                                      {.name = "weight", .kind = PF_KIND_CONSTANT, .optional = true}};
static const pfi_case nll_cases[] = {
    {.dim = {PFI_S1(3)}},
    {.dim = {PFI_S1(3), PFI_S1(3)}},
    {.dim = {PFI_S1(3), PFI_S1(2)}, .want = PF_SHAPE},
    {.dim = {PFI_S2(2, 2)}, .want = PF_SHAPE},
};

PFI_LOSS_OP(
    nll, PFI_PARAMS(nll_params), PFI_CASES(nll_cases), .shape = nll_shape, .forward = nll_forward,
    .backward = nll_backward, .metrics = nll_metrics,
    PFI_LOSS_DOC(
        "-weight logp", "maximum likelihood",
        "Negative log-likelihood. logp[N]: log-probabilities in nats; of tokens for the mean over all tokens of the"
        " batch, or means per sequence for the mean over sequences. weight[N]: constant factors, may be negative; "
        "the mean is over N whatever their sum. Result [N]."));
