#include "op/reduce.h"

static pf_status mean_forward(pfi_call *c) {
    pfi_reduce r = reduce_of(c);
    const pf_real *x = c->x[0];
    pf_real *y = c->y;
    PFI_EACH_OF(c, r.outer * r.inner, r.n, y[i] = (pf_real)(reduce_sum(x + reduce_start(r, i), r) / (double)r.n));
    return PF_OK;
}

static pf_status mean_backward(pfi_call *c) {
    pfi_reduce r = reduce_of(c);
    const pf_real *dy = c->dy, n = (pf_real)r.n;
    pf_real *dx = c->dx[0];
    PFI_EACH_OF(c, r.outer * r.n, r.inner, {
        const pf_real *from = dy + i / r.n * r.inner;
        for (int64_t k = 0; k < r.inner; k++) dx[i * r.inner + k] += from[k] / n;
    });
    return PF_OK;
}

static const pf_param mean_params[] = PFI_REDUCE_PARAMS;
static const pfi_case mean_cases[] = {PFI_REDUCE_CASES, {.dim = {PFI_S2(2, 0)}, .args = "dim=1", .want = PF_RANGE}};

PFI_OP(mean, PFI_PARAMS(mean_params), PFI_CASES(mean_cases), .shape = reduce_shape_some, .forward = mean_forward,
       .backward = mean_backward,
       PFI_DOC("Mean of x over dimension dim, or over everything. keep leaves the dimension with size 1. Summed in "
               "double. The mean of nothing is an error."));
