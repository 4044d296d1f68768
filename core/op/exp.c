#include "op/zip.h"

static pf_status exp_shape(pfi_call *c) { return pfi_shape_like(c, 0); }

static pf_status exp_forward(pfi_call *c) {
    const pf_real *x = c->x[0];
    pf_real *y = c->y;
    PFI_EACH(c, pfi_numel(c->in[0]), y[i] = pfr_exp(x[i]));
    return PF_OK;
}

static pf_status exp_backward(pfi_call *c) {
    const pf_real *y = c->y, *dy = c->dy;
    pf_real *dx = c->dx[0];
    PFI_EACH(c, pfi_numel(c->in[0]), dx[i] += dy[i] * y[i]);
    return PF_OK;
}

static const pf_param exp_params[] = {{.name = "x", .kind = PF_KIND_TENSOR}};
static const pfi_case exp_cases[] = {{.dim = {PFI_S2(3, 4)}, .lo = -2, .hi = 2}, {.dim = {PFI_S0}}};

PFI_OP(exp, PFI_PARAMS(exp_params), PFI_CASES(exp_cases), .shape = exp_shape, .forward = exp_forward,
       .backward = exp_backward, PFI_DOC("e^x, element by element. x any shape."));
