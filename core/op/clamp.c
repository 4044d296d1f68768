#include "op/zip.h"

static pf_status clamp_shape(pfi_call *c) {
    double low = c->num[0], high = c->num[1];
    if (!pfi_given(low) && !pfi_given(high)) return pfi_call_fail(c, PF_RANGE, "min or max must be given");
    if (low > high) return pfi_call_fail(c, PF_RANGE, "min is %g, above max %g", low, high);
    return pfi_shape_like(c, 0);
}

/* A bound that was left out is NaN, and no comparison with NaN holds. */
static pf_status clamp_forward(pfi_call *c) {
    const pf_real low = (pf_real)c->num[0], high = (pf_real)c->num[1];
    const pf_real *x = c->x[0];
    pf_real *y = c->y;
    PFI_EACH(c, pfi_numel(c->in[0]), y[i] = x[i] < low ? low : x[i] > high ? high : x[i]);
    return PF_OK;
}

static pf_status clamp_backward(pfi_call *c) {
    const pf_real low = (pf_real)c->num[0], high = (pf_real)c->num[1];
    const pf_real *x = c->x[0], *dy = c->dy;
    pf_real *dx = c->dx[0];
    PFI_EACH(c, pfi_numel(c->in[0]), dx[i] += x[i] < low || x[i] > high ? 0 : dy[i]);
    return PF_OK;
}

static const pf_param clamp_params[] = {
    {.name = "x", .kind = PF_KIND_TENSOR},
    {.name = "min", .kind = PF_KIND_NUMBER, .optional = true, .value = (double)NAN},
    {.name = "max", .kind = PF_KIND_NUMBER, .optional = true, .value = (double)NAN}};
static const pfi_case clamp_cases[] = {
    {.dim = {PFI_S2(4, 5)}, .args = "min=-0.5 max=0.25"},
    {.dim = {PFI_S2(4, 5)}, .args = "min=0"},
    {.dim = {PFI_S2(4, 5)}, .args = "max=0"},
    {.dim = {PFI_S2(200, 200)}, .args = "min=-0.5 max=0.25"},
    {.dim = {PFI_S1(3)}, .args = "min=1 max=0", .want = PF_RANGE},
    {.dim = {PFI_S1(3)}, .want = PF_RANGE},
};

PFI_OP(clamp, PFI_PARAMS(clamp_params), PFI_CASES(clamp_cases), PFI_STAGES(clamp),
       PFI_DOC("x, but not below min and not above max; either may be left out. The gradient is 0 outside."));
