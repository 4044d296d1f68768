#include "kernel/real.h"
#include "op/op.h"

enum { LD_LOGP, LD_SEQUENCE, LD_PARTNER };

static pf_status ld_sum_check(pfi_call *c, int input, int64_t groups) {
    const int32_t *at = pfi_i32(c->in[input]);
    for (int64_t i = 0; i < c->in[input]->dim[0]; i++)
        if (at[i] < 0 || at[i] >= groups)
            return pfi_call_fail(c, PF_RANGE, "value %lld of %s is %lld, but there are %lld sequences (counted from 1)",
                                 (long long)i + 1, pfi_in_name(c, input), (long long)at[i] + 1, (long long)groups);
    return PF_OK;
}

static pf_status ld_sum_shape(pfi_call *c) {
    PF_TRY(pfi_need_ndim(c, LD_LOGP, 1));
    PF_TRY(pfi_need_shape(c, LD_SEQUENCE, 1, c->in[LD_LOGP]->dim));
    PF_TRY(pfi_need_ndim(c, LD_PARTNER, 1));
    PF_TRY(pfi_shape_like(c, LD_PARTNER));
    PF_TRY(ld_sum_check(c, LD_SEQUENCE, c->dim[0]));
    PF_TRY(ld_sum_check(c, LD_PARTNER, c->dim[0]));
    if (!(c->num[0] >= 0 && c->num[0] <= 1))
        return pfi_call_fail(c, PF_RANGE, "alpha is %g, expected 0 to 1", c->num[0]);
    c->saved_bytes[0] = (size_t)c->in[LD_LOGP]->dim[0] * sizeof(double); /* the tokens' weights */
    c->scratch_bytes = 3 * (size_t)c->dim[0] * sizeof(double);
    return PF_OK;
}

static pf_status ld_sum_forward(pfi_call *c) {
    int64_t T = c->in[LD_LOGP]->dim[0], B = c->dim[0];
    const int32_t *sequence = c->x[LD_SEQUENCE], *partner = c->x[LD_PARTNER];
    const pf_real *logp = c->x[LD_LOGP];
    double *length = c->scratch, *seen = length + B, *sum = seen + B, *w = c->saved[0];
    pf_real *y = c->y;
    for (int64_t b = 0; b < B; b++) length[b] = seen[b] = sum[b] = 0;
    for (int64_t t = 0; t < T; t++) length[sequence[t]]++;
    for (int64_t t = 0; t < T; t++) {
        int32_t b = sequence[t];
        w[t] = seen[b]++ < length[partner[b]] ? 1 : c->num[0];
        sum[b] += w[t] * (double)logp[t];
    }
    for (int64_t b = 0; b < B; b++) y[b] = (pf_real)sum[b];
    return PF_OK;
}

static pf_status ld_sum_backward(pfi_call *c) {
    const int32_t *sequence = c->x[LD_SEQUENCE];
    const double *w = c->saved[0];
    const pf_real *dy = c->dy;
    pf_real *dx = c->dx[LD_LOGP];
    for (int64_t t = 0; t < c->in[LD_LOGP]->dim[0]; t++) dx[t] += (pf_real)(w[t] * (double)dy[sequence[t]]);
    return PF_OK;
}

static const pf_param ld_sum_params[] = {{.name = "logp", .kind = PF_KIND_TENSOR},
                                         {.name = "sequence", .kind = PF_KIND_INDEX},
                                         {.name = "partner", .kind = PF_KIND_INDEX},
                                         {.name = "alpha", .kind = PF_KIND_NUMBER}};
static const int32_t ld_sum_sequences[] = {0, 0, 0, 0, 1, 1, 2}, ld_sum_partners[] = {1, 0, 2},
                     ld_sum_bad_partners[] = {1, 0, 3};
#define LD_SUM_CASE(partners, text, status)                                                                            \
    {                                                                                                                  \
        .dim = {PFI_S1(7), PFI_S1(7), PFI_S1(3)}, .ints = {NULL, ld_sum_sequences, partners}, .args = (text),          \
        .want = (status)                                                                                               \
    }
static const pfi_case ld_sum_cases[] = {
    LD_SUM_CASE(ld_sum_partners, "alpha=0.5", PF_OK),
    LD_SUM_CASE(ld_sum_partners, "alpha=0", PF_OK),
    LD_SUM_CASE(ld_sum_partners, "alpha=1.5", PF_RANGE),
    LD_SUM_CASE(ld_sum_bad_partners, "alpha=1", PF_RANGE),
    {.dim = {PFI_S1(6), PFI_S1(7), PFI_S1(3)},
     .ints = {NULL, ld_sum_sequences, ld_sum_partners},
     .args = "alpha=1",
     .want = PF_SHAPE},
};

PFI_OP(
    ld_sum, PFI_PARAMS(ld_sum_params), PFI_CASES(ld_sum_cases), .shape = ld_sum_shape, .forward = ld_sum_forward,
    .backward = ld_sum_backward,
    PFI_DOC("Length-desensitised sums of LD-DPO (Liu et al. 2024, arXiv 2409.06411, eq. 9). logp[T]: tokens in order, "
            "nats; sequence[T]: the sequence of each; partner[B]: the other sequence of each one's pair (itself: none)."
            " Tokens within the partner's length count 1, those beyond it alpha, 0 to 1. Result [B]. For dpo take it of"
            " policy and reference alike."));
