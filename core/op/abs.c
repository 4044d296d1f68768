#include "op/zip.h"

PFI_MAP(abs, pfr_abs(x), x > 0 ? dy : x < 0 ? -dy : 0)

static const pfi_case abs_cases[] = {{.dim = {PFI_S2(3, 4)}, .lo = -1, .hi = 1},
                                     {.dim = {PFI_S0}, .lo = -1, .hi = 1},
                                     {.dim = {PFI_S2(200, 200)}, .lo = -1, .hi = 1}};

PFI_OP(abs, PFI_PARAMS(abs_params), PFI_CASES(abs_cases), PFI_STAGES(abs),
       PFI_DOC("|x|, element by element; the gradient at 0 is 0. x any shape."));
