#include "op/zip.h"

PFI_MAP(tanh, pfr_tanh(x), (dy * (1 - y * y)))

static const pfi_case tanh_cases[] = {{.dim = {PFI_S2(3, 4)}, .lo = -2, .hi = 2},
                                      {.dim = {PFI_S0}, .lo = -2, .hi = 2},
                                      {.dim = {PFI_S2(200, 200)}, .lo = -2, .hi = 2}};

PFI_OP(tanh, PFI_PARAMS(tanh_params), PFI_CASES(tanh_cases), PFI_STAGES(tanh),
       PFI_DOC("Hyperbolic tangent, element by element. x any shape."));
