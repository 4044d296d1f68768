#include "op/zip.h"

PFI_MAP(expm1, pfr_expm1(x), (dy * (y + 1)))

static const pfi_case expm1_cases[] = {{.dim = {PFI_S2(3, 4)}, .lo = -2, .hi = 2},
                                       {.dim = {PFI_S0}, .lo = -2, .hi = 2},
                                       {.dim = {PFI_S2(200, 200)}, .lo = -2, .hi = 2}};

PFI_OP(expm1, PFI_PARAMS(expm1_params), PFI_CASES(expm1_cases), PFI_STAGES(expm1),
       PFI_DOC("e^x - 1, accurate for small x. x any shape."));
