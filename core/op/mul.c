#include "op/zip.h"

static pf_status mul_forward(pfi_call *c) {
    pfi_zip z = zip_of(c);
    const pf_real *a = c->x[0], *b = c->x[1];
    pf_real *y = c->y;
    PFI_ZIP(c, z, y[i] = a[ia] * b[ib]);
    return PF_OK;
}

static pf_status mul_backward(pfi_call *c) {
    pfi_zip z = zip_of(c);
    const pf_real *a = c->x[0], *b = c->x[1], *dy = c->dy;
    pf_real *da = c->dx[0], *db = c->dx[1];
    if (da) PFI_ZIP_BACK_A(c, z, da, dy[i] * b[ib]);
    if (db) PFI_ZIP_BACK_B(c, z, db, dy[i] * a[ia]);
    return PF_OK;
}

static const pf_param mul_params[] = PFI_ZIP_PARAMS;
static const pfi_case mul_cases[] = {PFI_ZIP_CASES(-1, 1)};

PFI_OP(mul, PFI_PARAMS(mul_params), PFI_CASES(mul_cases), .shape = pfi_shape_broadcast, .forward = mul_forward,
       .backward = mul_backward, .flags = PFI_CHEAP, .unread = 1u << PFI_RESULT,
       PFI_DOC("x * y, element by element. Sizes equal or 1 (broadcast)."));
