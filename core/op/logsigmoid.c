#include "kernel/row.h"
#include "op/zip.h"

PFI_MAP(logsigmoid, -pfr_softplus(-x), (dy * pfr_sigmoid(-x)))

static const pfi_case logsigmoid_cases[] = {{.dim = {PFI_S2(3, 4)}, .lo = -4, .hi = 4},
                                            {.dim = {PFI_S0}, .lo = -4, .hi = 4},
                                            {.dim = {PFI_S1(7)}, .lo = -80, .hi = -20},
                                            {.dim = {PFI_S2(200, 200)}, .lo = -4, .hi = 4}};

PFI_OP(logsigmoid, PFI_PARAMS(logsigmoid_params), PFI_CASES(logsigmoid_cases), PFI_STAGES(logsigmoid),
       PFI_DOC("log(1 / (1 + e^-x)), nats; finite wherever x is. x any shape."));
