#include "op/zip.h"

/* NaN wins, as in every comparison with it */
static bool maximum_first(pf_real a, pf_real b) { return a >= b || a != a; }

static pf_status maximum_forward(pfi_call *c) {
    pfi_zip z = zip_of(c);
    const pf_real *a = c->x[0], *b = c->x[1];
    pf_real *y = c->y;
    PFI_ZIP(c, z, y[i] = maximum_first(a[ia], b[ib]) ? a[ia] : b[ib]);
    return PF_OK;
}

static pf_status maximum_backward(pfi_call *c) {
    pfi_zip z = zip_of(c);
    const pf_real *a = c->x[0], *b = c->x[1], *dy = c->dy;
    pf_real *da = c->dx[0], *db = c->dx[1];
    if (da) PFI_ZIP_BACK_A(c, z, da, maximum_first(a[ia], b[ib]) ? dy[i] : 0);
    if (db) PFI_ZIP_BACK_B(c, z, db, maximum_first(a[ia], b[ib]) ? 0 : dy[i]);
    return PF_OK;
}

static const pf_param maximum_params[] = PFI_ZIP_PARAMS;
static const pfi_case maximum_cases[] = {PFI_ZIP_CASES(-1, 1)};

PFI_OP(maximum, PFI_PARAMS(maximum_params), PFI_CASES(maximum_cases), .shape = pfi_shape_broadcast,
       .forward = maximum_forward, .backward = maximum_backward,
       PFI_DOC("The larger of x and y, element by element; of two equal ones the gradient goes to x. NaN wins. Sizes "
               "equal or 1."));
