#include "op/zip.h"

PFI_MAP(log1p, pfr_log1p(x), dy / (1 + x))

static const pfi_case log1p_cases[] = {{.dim = {PFI_S2(3, 4)}, .lo = -0.5, .hi = 2},
                                       {.dim = {PFI_S0}, .lo = -0.5, .hi = 2},
                                       {.dim = {PFI_S2(200, 200)}, .lo = -0.5, .hi = 2}};

PFI_OP(log1p, PFI_PARAMS(log1p_params), PFI_CASES(log1p_cases), PFI_STAGES(log1p),
       PFI_DOC("log(1 + x), accurate for small x. x any shape."));
