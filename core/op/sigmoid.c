#include "kernel/row.h"
#include "op/zip.h"

PFI_MAP(sigmoid, pfr_sigmoid(x), (dy * y * (1 - y)))

static const pfi_case sigmoid_cases[] = {{.dim = {PFI_S2(3, 4)}, .lo = -4, .hi = 4},
                                         {.dim = {PFI_S0}, .lo = -4, .hi = 4},
                                         {.dim = {PFI_S2(200, 200)}, .lo = -4, .hi = 4}};

PFI_OP(sigmoid, PFI_PARAMS(sigmoid_params), PFI_CASES(sigmoid_cases), PFI_STAGES(sigmoid),
       PFI_DOC("1 / (1 + e^-x), element by element. x any shape."));
