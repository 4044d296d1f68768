#include "kernel/real.h"
#include "op/op.h"

static pf_status narrow_shape(pfi_call *c) {
    const pf_tensor *x = c->in[0];
    int dim = 0;
    PF_TRY(pfi_dim_arg(c, 0, x->nd, &dim));
    double start = c->num[1] < 0 ? c->num[1] + (double)x->dim[dim] : c->num[1], length = c->num[2];
    if (!(start >= 0 && length >= 0 && start + length <= (double)x->dim[dim]))
        return pfi_call_fail(c, PF_RANGE, "%.0f values from place %.0f (counted from 1) of a dimension of size %lld",
                             length, start + 1, (long long)x->dim[dim]);
    PF_TRY(pfi_shape_like(c, 0));
    memcpy(c->stride, x->stride, sizeof c->stride);
    c->dim[dim] = (int64_t)length;
    c->offset = (int64_t)start * x->stride[dim];
    return PF_OK;
}

static const pf_param narrow_params[] = {{.name = "x", .kind = PF_KIND_TENSOR},
                                         {.name = "dim", .kind = PF_KIND_DIM},
                                         {.name = "start", .kind = PF_KIND_POS},
                                         {.name = "length", .kind = PF_KIND_INTEGER}};
static const pfi_case narrow_cases[] = {
    {.dim = {PFI_S2(4, 3)}, .args = "dim=0 start=1 length=2"},
    {.dim = {PFI_S3(2, 3, 4)}, .args = "dim=-1 start=-2 length=2"},
    {.dim = {PFI_S3(2, 3, 2)}, .args = "dim=1 start=0 length=3"},
    {.dim = {PFI_S2(200, 200)}, .args = "dim=1 start=3 length=190"},
    {.dim = {PFI_S2(4, 3)}, .args = "dim=0 start=3 length=2", .want = PF_RANGE},
    {.dim = {PFI_S2(4, 3)}, .args = "dim=0 start=-5 length=1", .want = PF_RANGE},
    {.dim = {PFI_S2(4, 3)}, .args = "dim=0 start=0 length=-1", .want = PF_RANGE},
    {.dim = {PFI_S2(4, 3)}, .args = "dim=2 start=0 length=1", .want = PF_RANGE},
};

PFI_OP(narrow, PFI_PARAMS(narrow_params), PFI_CASES(narrow_cases), .flags = PFI_VIEW | PFI_STRIDED,
       .shape = narrow_shape,
       PFI_DOC("length values of dimension dim from position start on; a negative start counts from the end. Shares "
               "storage with x."));
