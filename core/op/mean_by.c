#include "op/group.h"

/* saved[0]: how many values each group has */
static pf_status mean_by_shape(pfi_call *c) {
    PF_TRY(group_shape(c));
    c->saved_bytes[0] = c->scratch_bytes;
    return PF_OK;
}

static pf_status mean_by_forward(pfi_call *c) {
    const int32_t *group = c->x[1];
    double *sum = c->scratch, *count = c->saved[0];
    pf_real *y = c->y;
    group_sums(c, sum);
    for (int64_t g = 0; g < c->dim[0]; g++) count[g] = 0;
    for (int64_t t = 0; t < c->in[0]->dim[0]; t++)
        if (group[t] >= 0) count[group[t]]++;
    for (int64_t g = 0; g < c->dim[0]; g++) {
        if (count[g] == 0)
            return pfi_call_fail(c, PF_RANGE, "group %lld of %lld (counted from 1) is empty: it has no mean",
                                 (long long)g + 1, (long long)c->dim[0]);
        y[g] = (pf_real)(sum[g] / count[g]);
    }
    return PF_OK;
}

static pf_status mean_by_backward(pfi_call *c) {
    const int32_t *group = c->x[1];
    const double *count = c->saved[0];
    const pf_real *dy = c->dy;
    pf_real *dx = c->dx[0];
    for (int64_t t = 0; t < c->in[0]->dim[0]; t++)
        if (group[t] >= 0) dx[t] += (pf_real)((double)dy[group[t]] / count[group[t]]);
    return PF_OK;
}

static const pf_param mean_by_params[] = PFI_GROUP_PARAMS;
static const pfi_case mean_by_cases[] = {
    PFI_GROUP_CASES,
    {.dim = {PFI_S1(2), PFI_S1(2)}, .ints = {NULL, (const int32_t[]){0, 2}}, .args = "n=3", .want = PF_RANGE},
};

PFI_OP(mean_by, PFI_PARAMS(mean_by_params), PFI_CASES(mean_by_cases), PFI_STAGES(mean_by),
       PFI_DOC("Means of x[T] by group[T], for n groups; result [n]. An empty group is an error that names it. A value "
               "whose group is the place before the first (0 in Lua, -1 in C) belongs to none. Summed in double."));
