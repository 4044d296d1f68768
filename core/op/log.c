#include "op/zip.h"

PFI_MAP(log, pfr_log(x), dy / x)

static const pfi_case log_cases[] = {{.dim = {PFI_S2(3, 4)}, .lo = 0.5, .hi = 2},
                                     {.dim = {PFI_S0}, .lo = 0.5, .hi = 2},
                                     {.dim = {PFI_S2(200, 200)}, .lo = 0.5, .hi = 2}};

PFI_OP(log, PFI_PARAMS(log_params), PFI_CASES(log_cases), PFI_STAGES(log),
       PFI_DOC("Natural logarithm, element by element. x any shape."));
