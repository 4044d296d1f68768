#include "op/zip.h"

static pf_status mul_forward(pfi_call *c) {
    pfi_zip z = zip_of(c);
    const pf_real *a = c->x[0], *b = c->x[1];
    pf_real *y = c->y;
    PFI_ZIP_ANY(c, z, y[i] = a[ia] * b[ib]);
    return PF_OK;
}

static pf_status mul_backward(pfi_call *c) {
    pfi_zip z = zip_of(c);
    const pf_real *a = c->x[0], *b = c->x[1], *dy = c->dy;
    pf_real *da = c->dx[0], *db = c->dx[1];
    if (da) PFI_ZIP_ANY(c, z, (void)ib; da[ia] += dy[i] * b[ib]);
    if (db) PFI_ZIP_ANY(c, z, (void)ia; db[ib] += dy[i] * a[ia]);
    return PF_OK;
}

static const pf_param mul_params[] = {{.name = "x", .kind = PF_KIND_TENSOR}, {.name = "y", .kind = PF_KIND_TENSOR}};
static const pfi_case mul_cases[] = {
    {.dim = {PFI_S2(3, 4), PFI_S2(3, 4)}},
    {.dim = {PFI_S2(3, 4), PFI_S1(4)}},
    {.dim = {PFI_S3(2, 1, 3), PFI_S3(1, 4, 1)}},
    {.dim = {PFI_S0, PFI_S2(2, 2)}},
    {.dim = {PFI_S2(3, 4), PFI_S2(4, 3)}, .want = PF_SHAPE},
};

PFI_OP(mul, PFI_PARAMS(mul_params), PFI_CASES(mul_cases), .shape = pfi_shape_broadcast, .forward = mul_forward,
       .backward = mul_backward, PFI_DOC("x * y, element by element. Sizes equal or 1 (broadcast)."));
