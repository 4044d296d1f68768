#include "op/extreme.h"

static pf_status min_forward(pfi_call *c) { return extreme_forward(c, -1); }

static pf_status min_backward(pfi_call *c) { return extreme_backward(c, -1); }

static const pf_param min_params[] = PFI_REDUCE_PARAMS;
static const pfi_case min_cases[] = {PFI_EXTREME_CASES};

PFI_OP(
    min, PFI_PARAMS(min_params), PFI_CASES(min_cases), .shape = reduce_shape_some, .forward = min_forward,
    .backward = min_backward,
    PFI_DOC("The smallest value of x over dimension dim, or of everything; keep leaves the dimension with size 1. The "
            "gradient goes to the first of equal ones. NaN wins. Of nothing it is an error."));
