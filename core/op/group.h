/* What sum_by and mean_by share: values [T] with the group [T] each belongs to. Internal to op files. */
#ifndef PFI_GROUP_H
#define PFI_GROUP_H

#include "op/zip.h"

/* scratch: one double a group */
static inline pf_status group_shape(pfi_call *c) {
    PF_TRY(pfi_need_ndim(c, 0, 1));
    PF_TRY(pfi_need_shape(c, 1, 1, c->in[0]->dim));
    if (!(c->num[0] >= 0 && c->num[0] <= INT32_MAX))
        return pfi_call_fail(c, PF_RANGE, "n must be a number of groups, got %g", c->num[0]);
    int64_t n = (int64_t)c->num[0];
    const int32_t *group = pfi_i32(c->in[1]);
    for (int64_t t = 0; t < c->in[0]->dim[0]; t++)
        if (group[t] < -1 || group[t] >= n)
            return pfi_call_fail(c, PF_RANGE, "value %lld of group is %lld, but there are %lld groups (counted from 1)",
                                 (long long)t + 1, (long long)group[t] + 1, (long long)n);
    c->nd = 1;
    c->dim[0] = n;
    c->scratch_bytes = (size_t)n * sizeof(double);
    return PF_OK;
}

/* sum[n] of the values in each group, in order */
static inline void group_sums(const pfi_call *c, double *sum) {
    const pf_real *x = c->x[0];
    const int32_t *group = c->x[1];
    for (int64_t g = 0; g < c->dim[0]; g++) sum[g] = 0;
    for (int64_t t = 0; t < c->in[0]->dim[0]; t++)
        if (group[t] >= 0) sum[group[t]] += (double)x[t];
}

#define PFI_GROUP_PARAMS                                                                                               \
    {                                                                                                                  \
        {.name = "x", .kind = PF_KIND_TENSOR}, {.name = "group", .kind = PF_KIND_INDEX},                               \
            {.name = "n", .kind = PF_KIND_INTEGER},                                                                    \
    }

#define PFI_GROUP_CASES                                                                                                \
    {.dim = {PFI_S1(6), PFI_S1(6)}, .ints = {NULL, (const int32_t[]){1, 0, 1, 2, 1, 0}}, .args = "n=3"},               \
        {.dim = {PFI_S1(4), PFI_S1(4)}, .ints = {NULL, (const int32_t[]){1, -1, 0, 1}}, .args = "n=2"},                \
        {.dim = {PFI_S1(2), PFI_S1(2)}, .ints = {NULL, (const int32_t[]){0, 2}}, .args = "n=2", .want = PF_RANGE},     \
        {.dim = {PFI_S1(2), PFI_S1(2)}, .ints = {NULL, (const int32_t[]){0, -2}}, .args = "n=2", .want = PF_RANGE},    \
        {.dim = {PFI_S1(2), PFI_S1(2)}, .ints = {NULL, (const int32_t[]){0, 0}}, .args = "n=-1", .want = PF_RANGE}, {  \
        .dim = {PFI_S1(2), PFI_S1(1)}, .ints = {NULL, (const int32_t[]){0}}, .args = "n=1", .want = PF_SHAPE           \
    }

#endif
