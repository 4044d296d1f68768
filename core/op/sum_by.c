#include "op/group.h"

static pf_status sum_by_forward(pfi_call *c) {
    const double *sum = c->scratch;
    pf_real *y = c->y;
    group_sums(c, c->scratch);
    for (int64_t g = 0; g < c->dim[0]; g++) y[g] = (pf_real)sum[g];
    return PF_OK;
}

static pf_status sum_by_backward(pfi_call *c) {
    const int32_t *group = c->x[1];
    const pf_real *dy = c->dy;
    pf_real *dx = c->dx[0];
    for (int64_t t = 0; t < c->in[0]->dim[0]; t++)
        if (group[t] >= 0) dx[t] += dy[group[t]];
    return PF_OK;
}

static const pf_param sum_by_params[] = PFI_GROUP_PARAMS;
static const pfi_case sum_by_cases[] = {
    {.dim = {PFI_S1(3), PFI_S1(3)}, .ints = {NULL, (const int32_t[]){3, 0, 3}}, .args = "n=5"},
    PFI_GROUP_CASES,
};

PFI_OP(sum_by, PFI_PARAMS(sum_by_params), PFI_CASES(sum_by_cases), .shape = group_shape, .forward = sum_by_forward,
       .backward = sum_by_backward,
       PFI_DOC("Sums of x[T] by group[T], for n groups; result [n]. An empty group sums to 0. A value whose group is "
               "the place before the first (0 in Lua, -1 in C) belongs to none. Summed in double."));
