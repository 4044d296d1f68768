#include "op/zip.h"

enum { GELU_TANH, GELU_EXACT };

#define GELU_A 0.79788456080286535588 /* sqrt(2 / pi) */
#define GELU_B 0.044715

static pf_real gelu_value(pf_real x, bool exact) {
    double v = (double)x;
    if (exact) return (pf_real)(0.5 * v * erfc(-v * M_SQRT1_2));
    return (pf_real)(0.5 * v * (1 + tanh(GELU_A * (v + GELU_B * v * v * v))));
}

static pf_real gelu_slope(pf_real x, bool exact) {
    double v = (double)x;
    if (exact) return (pf_real)(0.5 * erfc(-v * M_SQRT1_2) + 0.5 * GELU_A * v * exp(-0.5 * v * v));
    double t = tanh(GELU_A * (v + GELU_B * v * v * v));
    return (pf_real)(0.5 * (1 + t) + 0.5 * v * (1 - t * t) * GELU_A * (1 + 3 * GELU_B * v * v));
}

static pf_status gelu_shape(pfi_call *c) { return pfi_shape_like(c, 0); }

static pf_status gelu_forward(pfi_call *c) {
    const bool exact = c->num[0] == GELU_EXACT;
    const pf_real *x = c->x[0];
    pf_real *y = c->y;
    PFI_EACH_OF(c, pfi_numel(c->in[0]), 8, y[i] = gelu_value(x[i], exact));
    return PF_OK;
}

static pf_status gelu_backward(pfi_call *c) {
    const bool exact = c->num[0] == GELU_EXACT;
    const pf_real *x = c->x[0], *dy = c->dy;
    pf_real *dx = c->dx[0];
    PFI_EACH_OF(c, pfi_numel(c->in[0]), 8, dx[i] += dy[i] * gelu_slope(x[i], exact));
    return PF_OK;
}

static const pf_param gelu_params[] = {
    {.name = "x", .kind = PF_KIND_TENSOR},
    {.name = "form", .kind = PF_KIND_CHOICE, .optional = true, .value = GELU_TANH, .choices = "tanh exact"}};
static const pfi_case gelu_cases[] = {
    {.dim = {PFI_S2(3, 4)}, .lo = -3, .hi = 3},
    {.dim = {PFI_S2(3, 4)}, .lo = -3, .hi = 3, .args = "form=exact"},
    {.dim = {PFI_S2(100, 100)}, .lo = -6, .hi = 6},
    {.dim = {PFI_S1(2)}, .args = "form=fast", .want = PF_NAME},
};

PFI_OP(gelu, PFI_PARAMS(gelu_params), PFI_CASES(gelu_cases), PFI_STAGES(gelu), .unread = 1u << PFI_RESULT,
       PFI_DOC("Gaussian error linear unit: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), or with form = exact "
               "x/2 (1 + erf(x / sqrt 2)). x any shape."));
