#include "op/zip.h"

PFI_MAP(neg, -x, -dy)

static const pfi_case neg_cases[] = {{.dim = {PFI_S2(3, 4)}}, {.dim = {PFI_S0}}, {.dim = {PFI_S2(200, 200)}}};

PFI_OP(neg, PFI_PARAMS(neg_params), PFI_CASES(neg_cases), PFI_STAGES(neg),
       PFI_DOC("-x, element by element. x any shape."));
