#include "op/zip.h"

/* d/dx x^y, with the limit 0 of a constant power */
static pf_real pow_slope(pf_real x, pf_real y) { return y == 0 ? 0 : y * pfr_pow(x, y - 1); }

/* d/dy x^y = x^y log x, with the limit 0 at x = 0 for y >= 0 */
static pf_real pow_growth(pf_real x, pf_real y) { return x == 0 && y >= 0 ? 0 : pfr_pow(x, y) * pfr_log(x); }

static pf_status pow_forward(pfi_call *c) {
    pfi_zip z = zip_of(c);
    const pf_real *a = c->x[0], *b = c->x[1];
    pf_real *y = c->y;
    PFI_ZIP(c, z, y[i] = pfr_pow(a[ia], b[ib]));
    return PF_OK;
}

static pf_status pow_backward(pfi_call *c) {
    pfi_zip z = zip_of(c);
    const pf_real *a = c->x[0], *b = c->x[1], *dy = c->dy;
    pf_real *da = c->dx[0], *db = c->dx[1];
    if (da) PFI_ZIP_BACK_A(c, z, da, dy[i] * pow_slope(a[ia], b[ib]));
    if (db) PFI_ZIP_BACK_B(c, z, db, dy[i] * pow_growth(a[ia], b[ib]));
    return PF_OK;
}

static const pf_param pow_params[] = PFI_ZIP_PARAMS;
static const pfi_case pow_cases[] = {
    PFI_ZIP_CASES(0.5, 2),
    {.dim = {PFI_S1(3), PFI_S1(3)}, .reals = {(const double[]){0.5, 1.5, 2}, (const double[]){0.75, -1, 3}}},
};

PFI_OP(pow, PFI_PARAMS(pow_params), PFI_CASES(pow_cases), .shape = pfi_shape_broadcast, .forward = pow_forward,
       .backward = pow_backward,
       PFI_DOC("x ^ y, element by element. Sizes equal or 1 (broadcast). The gradient of y exists where x > 0, and is "
               "0 at x = 0."));
