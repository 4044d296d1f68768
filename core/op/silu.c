#include "kernel/row.h"
#include "op/zip.h"

static pf_real silu_slope(pf_real x) {
    pf_real s = pfr_sigmoid(x);
    return s * (1 + x * (1 - s));
}

PFI_MAP(silu, (x * pfr_sigmoid(x)), (dy * silu_slope(x)))

static const pfi_case silu_cases[] = {{.dim = {PFI_S2(3, 4)}, .lo = -4, .hi = 4},
                                      {.dim = {PFI_S0}, .lo = -4, .hi = 4},
                                      {.dim = {PFI_S2(200, 200)}, .lo = -4, .hi = 4}};

PFI_OP(silu, PFI_PARAMS(silu_params), PFI_CASES(silu_cases), PFI_STAGES(silu),
       PFI_DOC("x / (1 + e^-x), element by element. x any shape."));
