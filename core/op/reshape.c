#include "kernel/real.h"
#include "op/op.h"

/* One size may be -1: what is left over. A view of contiguous data; the framework copies other inputs first. */
static pf_status reshape_shape(pfi_call *c) {
    const pf_tensor *x = c->in[0];
    int64_t n = (int64_t)pfi_numel(x), known = 1;
    int open = -1;
    c->nd = c->n_shape_arg;
    for (int i = 0; i < c->nd; i++) {
        c->dim[i] = c->shape_arg[i];
        if (c->dim[i] == -1 && open < 0)
            open = i;
        else if (c->dim[i] < 0)
            return pfi_call_fail(c, PF_SHAPE, "size %lld is below 0 (one size may be -1)", (long long)c->dim[i]);
        else if (__builtin_mul_overflow(known, c->dim[i], &known))
            return pfi_call_fail(c, PF_SHAPE, "the sizes are too large");
    }
    if (open >= 0) c->dim[open] = known > 0 ? n / known : 0;
    if (open >= 0 && known > 0) known *= c->dim[open];
    if (known != n)
        return pfi_call_fail(c, PF_SHAPE, "x has shape %s with %lld values, which do not fit shape %s",
                             PFI_SHAPE_TEXT(x), (long long)n, pfi_shape_text((char[96]){0}, 96, c->nd, c->dim));
    pfi_strides(c->nd, c->dim, c->stride);
    c->offset = 0;
    return PF_OK;
}

static const pf_param reshape_params[] = {{.name = "x", .kind = PF_KIND_TENSOR},
                                          {.name = "shape", .kind = PF_KIND_SHAPE}};
static const pfi_case reshape_cases[] = {
    {.dim = {PFI_S2(3, 4)}, .args = "shape=2x6"},
    {.dim = {PFI_S2(3, 4)}, .args = "shape=2x-1x3"},
    {.dim = {PFI_S2(3, 4)}, .args = "shape=5x2", .want = PF_SHAPE},
};

PFI_OP(reshape, PFI_PARAMS(reshape_params), PFI_CASES(reshape_cases), .flags = PFI_VIEW, .shape = reshape_shape,
       PFI_DOC("The same values in another shape; one size may be -1. Shares storage with x."));
