#include "kernel/real.h"
#include "op/op.h"

static pf_status transpose_shape(pfi_call *c) {
    const pf_tensor *x = c->in[0];
    int p = 0, q = 0;
    PF_TRY(pfi_dim_arg(c, 0, x->nd, &p));
    PF_TRY(pfi_dim_arg(c, 1, x->nd, &q));
    PF_TRY(pfi_shape_like(c, 0));
    memcpy(c->stride, x->stride, sizeof c->stride);
    c->dim[p] = x->dim[q];
    c->dim[q] = x->dim[p];
    c->stride[p] = x->stride[q];
    c->stride[q] = x->stride[p];
    c->offset = 0;
    return PF_OK;
}

static const pf_param transpose_params[] = {{.name = "x", .kind = PF_KIND_TENSOR},
                                            {.name = "dim1", .kind = PF_KIND_DIM, .optional = true, .value = -2},
                                            {.name = "dim2", .kind = PF_KIND_DIM, .optional = true, .value = -1}};
static const pfi_case transpose_cases[] = {
    {.dim = {PFI_S2(3, 4)}},
    {.dim = {PFI_S3(2, 3, 4)}, .args = "dim1=0 dim2=2"},
    {.dim = {PFI_S4(2, 3, 1, 2)}, .args = "dim1=1 dim2=-1"},
    {.dim = {PFI_S2(3, 4)}, .args = "dim1=1 dim2=1"},
    {.dim = {PFI_S2(200, 210)}},
    {.dim = {PFI_S2(3, 4)}, .args = "dim1=0 dim2=2", .want = PF_RANGE},
    {.dim = {PFI_S1(3)}, .want = PF_RANGE},
};

PFI_OP(transpose, PFI_PARAMS(transpose_params), PFI_CASES(transpose_cases), .flags = PFI_VIEW | PFI_STRIDED,
       .shape = transpose_shape,
       PFI_DOC("x with dimensions dim1 and dim2 (the last two if left out) exchanged. Shares storage with x."));
