#include "kernel/row.h"
#include "op/zip.h"

PFI_MAP(softplus, pfr_softplus(x), (dy * pfr_sigmoid(x)))

static const pfi_case softplus_cases[] = {{.dim = {PFI_S2(3, 4)}, .lo = -4, .hi = 4},
                                          {.dim = {PFI_S0}, .lo = -4, .hi = 4},
                                          {.dim = {PFI_S1(7)}, .lo = 20, .hi = 80},
                                          {.dim = {PFI_S2(200, 200)}, .lo = -4, .hi = 4}};

PFI_OP(softplus, PFI_PARAMS(softplus_params), PFI_CASES(softplus_cases), PFI_STAGES(softplus),
       PFI_DOC("log(1 + e^x); finite wherever x is. x any shape."));
