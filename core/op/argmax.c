#include "op/extreme.h"

static pf_status argmax_shape(pfi_call *c) {
    c->dtype = PF_I32;
    return reduce_shape_some(c);
}

static pf_status argmax_forward(pfi_call *c) {
    pfi_reduce r = reduce_of(c);
    const pf_real *x = c->x[0];
    int32_t *y = c->y;
    PFI_EACH_OF(c, r.outer * r.inner, r.n, y[i] = (int32_t)extreme_place(x + reduce_start(r, i), r, 1));
    return PF_OK;
}

static const pf_param argmax_params[] = PFI_REDUCE_PARAMS;
static const pfi_case argmax_cases[] = {PFI_EXTREME_CASES};

PFI_OP(argmax, PFI_PARAMS(argmax_params), PFI_CASES(argmax_cases), .flags = PFI_NO_GRAD, .shape = argmax_shape,
       .forward = argmax_forward,
       PFI_DOC("Position of the largest value of x over dimension dim, or in all of x in row order; the first of equal "
               "ones. Integers: positions from 1 in Lua, from 0 in C. No gradient."));
