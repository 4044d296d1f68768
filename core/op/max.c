#include "op/extreme.h"

static pf_status max_forward(pfi_call *c) { return extreme_forward(c, 1); }

static pf_status max_backward(pfi_call *c) { return extreme_backward(c, 1); }

static const pf_param max_params[] = PFI_REDUCE_PARAMS;
static const pfi_case max_cases[] = {PFI_EXTREME_CASES};

PFI_OP(
    max, PFI_PARAMS(max_params), PFI_CASES(max_cases), .shape = reduce_shape_some, .forward = max_forward,
    .backward = max_backward,
    PFI_DOC("The largest value of x over dimension dim, or of everything; keep leaves the dimension with size 1. The "
            "gradient goes to the first of equal ones. NaN wins. Of nothing it is an error."));
