#include "op/zip.h"

PFI_MAP(relu, (x < 0 ? 0 : x), (x > 0 ? dy : 0))

static const pfi_case relu_cases[] = {{.dim = {PFI_S2(3, 4)}, .lo = -1, .hi = 1},
                                      {.dim = {PFI_S0}, .lo = -1, .hi = 1},
                                      {.dim = {PFI_S2(200, 200)}, .lo = -1, .hi = 1}};

PFI_OP(relu, PFI_PARAMS(relu_params), PFI_CASES(relu_cases), PFI_STAGES(relu),
       PFI_DOC("x where it is above 0, else 0; the gradient at 0 is 0. x any shape."));
