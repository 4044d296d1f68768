#include "op/reduce.h"

static pf_status sum_forward(pfi_call *c) {
    pfi_reduce r = reduce_of(c);
    const pf_real *x = c->x[0];
    pf_real *y = c->y;
    PFI_EACH(c, r.outer * r.inner, {
        const pf_real *at = x + i / r.inner * r.n * r.inner + i % r.inner;
        double sum = 0;
        for (int64_t k = 0; k < r.n; k++) sum += (double)at[k * r.inner];
        y[i] = (pf_real)sum;
    });
    return PF_OK;
}

static pf_status sum_backward(pfi_call *c) {
    pfi_reduce r = reduce_of(c);
    const pf_real *dy = c->dy;
    pf_real *dx = c->dx[0];
    PFI_EACH(c, r.outer * r.n * r.inner, dx[i] += dy[i / (r.n * r.inner) * r.inner + i % r.inner]);
    return PF_OK;
}

static const pf_param sum_params[] = PFI_REDUCE_PARAMS;
static const pfi_case sum_cases[] = {
    {.dim = {PFI_S3(2, 3, 4)}},
    {.dim = {PFI_S3(2, 3, 4)}, .args = "dim=1"},
    {.dim = {PFI_S3(2, 3, 4)}, .args = "dim=-1 keep=1"},
    {.dim = {PFI_S0}},
    {.dim = {PFI_S2(2, 3)}, .args = "dim=2", .want = PF_RANGE},
};

PFI_OP(sum, PFI_PARAMS(sum_params), PFI_CASES(sum_cases), .shape = reduce_shape, .forward = sum_forward,
       .backward = sum_backward,
       PFI_DOC("Sum of x over dimension dim, or over everything. keep leaves the dimension with size 1. Summed in "
               "double. An empty sum is 0."));
