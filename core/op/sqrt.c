#include "op/zip.h"

PFI_MAP(sqrt, pfr_sqrt(x), dy / (2 * y))

static const pfi_case sqrt_cases[] = {{.dim = {PFI_S2(3, 4)}, .lo = 0.5, .hi = 2},
                                      {.dim = {PFI_S0}, .lo = 0.5, .hi = 2},
                                      {.dim = {PFI_S2(200, 200)}, .lo = 0.5, .hi = 2}};

PFI_OP(sqrt, PFI_PARAMS(sqrt_params), PFI_CASES(sqrt_cases), PFI_STAGES(sqrt),
       PFI_DOC("Square root, element by element. x any shape."));
