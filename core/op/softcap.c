#include "op/zip.h"

static pf_status softcap_shape(pfi_call *c) {
    if (!(c->num[0] > 0)) return pfi_call_fail(c, PF_RANGE, "cap must be above 0, got %g", c->num[0]);
    return pfi_shape_like(c, 0);
}

static pf_status softcap_forward(pfi_call *c) {
    const pf_real cap = (pf_real)c->num[0], *x = c->x[0];
    pf_real *y = c->y;
    PFI_EACH_OF(c, pfi_numel(c->in[0]), 8, y[i] = cap * pfr_tanh(x[i] / cap));
    return PF_OK;
}

static pf_status softcap_backward(pfi_call *c) {
    const pf_real cap = (pf_real)c->num[0], *y = c->y, *dy = c->dy;
    pf_real *dx = c->dx[0];
    PFI_EACH(c, pfi_numel(c->in[0]), dx[i] += dy[i] * (1 - y[i] / cap * (y[i] / cap)));
    return PF_OK;
}

static const pf_param softcap_params[] = {{.name = "x", .kind = PF_KIND_TENSOR},
                                          {.name = "cap", .kind = PF_KIND_NUMBER}};
static const pfi_case softcap_cases[] = {
    {.dim = {PFI_S2(3, 4)}, .lo = -3, .hi = 3, .args = "cap=2"},
    {.dim = {PFI_S2(200, 200)}, .lo = -9, .hi = 9, .args = "cap=5"},
    {.dim = {PFI_S1(3)}, .args = "cap=0", .want = PF_RANGE},
};

PFI_OP(softcap, PFI_PARAMS(softcap_params), PFI_CASES(softcap_cases), PFI_STAGES(softcap),
       PFI_DOC("cap tanh(x / cap): x, held softly within -cap to cap. x any shape."));
