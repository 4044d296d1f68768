#include "op/zip.h"

PFI_MAP(exp, pfr_exp(x), (dy * y))

static const pfi_case exp_cases[] = {
    {.dim = {PFI_S2(3, 4)}, .lo = -2, .hi = 2}, {.dim = {PFI_S0}}, {.dim = {PFI_S2(200, 200)}}};

PFI_OP(exp, PFI_PARAMS(exp_params), PFI_CASES(exp_cases), PFI_STAGES(exp),
       PFI_DOC("e^x, element by element. x any shape."));
