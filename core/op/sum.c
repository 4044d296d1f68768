#include "op/reduce.h"

static pf_status sum_forward(pfi_call *c) {
    pfi_reduce r = reduce_of(c);
    const pf_real *x = c->x[0];
    pf_real *y = c->y;
    PFI_EACH_OF(c, r.outer * r.inner, r.n, y[i] = (pf_real)reduce_sum(x + reduce_start(r, i), r));
    return PF_OK;
}

static pf_status sum_backward(pfi_call *c) {
    pfi_reduce r = reduce_of(c);
    const pf_real *dy = c->dy;
    pf_real *dx = c->dx[0];
    PFI_EACH_OF(c, r.outer * r.n, r.inner, {
        const pf_real *from = dy + i / r.n * r.inner;
        for (int64_t k = 0; k < r.inner; k++) dx[i * r.inner + k] += from[k];
    });
    return PF_OK;
}

static const pf_param sum_params[] = PFI_REDUCE_PARAMS;
static const pfi_case sum_cases[] = {PFI_REDUCE_CASES};

PFI_OP(sum, PFI_PARAMS(sum_params), PFI_CASES(sum_cases), .shape = reduce_shape, .forward = sum_forward,
       .backward = sum_backward,
       PFI_DOC("Sum of x over dimension dim, or over everything. keep leaves the dimension with size 1. Summed in "
               "double. An empty sum is 0."));
