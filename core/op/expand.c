#include "kernel/real.h"
#include "op/op.h"

/* A step of 0 along a repeated dimension: nothing is copied, and backward adds up what meets in one place. */
static pf_status expand_shape(pfi_call *c) {
    const pf_tensor *x = c->in[0];
    int front = c->n_shape_arg - x->nd;
    bool fits = front >= 0;
    c->nd = c->n_shape_arg;
    c->offset = 0;
    for (int i = 0; fits && i < c->nd; i++) {
        int64_t have = i < front ? 1 : x->dim[i - front], want = c->shape_arg[i];
        c->dim[i] = want == -1 && i >= front ? have : want;
        c->stride[i] = i >= front && have == c->dim[i] ? x->stride[i - front] : 0;
        fits = c->dim[i] >= 0 && (have == 1 || have == c->dim[i]);
    }
    if (fits) return PF_OK;
    return pfi_call_fail(c, PF_SHAPE, "x has shape %s, which does not repeat to %s; sizes must be equal, 1 in x, or -1",
                         PFI_SHAPE_TEXT(x), pfi_shape_text((char[96]){0}, 96, c->n_shape_arg, c->shape_arg));
}

static const pf_param expand_params[] = {{.name = "x", .kind = PF_KIND_TENSOR},
                                         {.name = "shape", .kind = PF_KIND_SHAPE}};
static const pfi_case expand_cases[] = {
    {.dim = {PFI_S2(3, 1)}, .args = "shape=3x4"},
    {.dim = {PFI_S3(2, 1, 3)}, .args = "shape=2x2x-1x-1"},
    {.dim = {PFI_S3(2, 1, 3)}, .args = "shape=4x-1x5x-1"},
    {.dim = {PFI_S0}, .args = "shape=2x2"},
    {.dim = {PFI_S1(2)}, .args = "shape=3x2"},
    {.dim = {PFI_S2(1, 200)}, .args = "shape=200x200"},
    {.dim = {PFI_S1(3)}, .args = "shape=2x4", .want = PF_SHAPE},
    {.dim = {PFI_S2(3, 1)}, .args = "shape=3", .want = PF_SHAPE},
    {.dim = {PFI_S1(3)}, .args = "shape=-1x3", .want = PF_SHAPE},
};

PFI_OP(expand, PFI_PARAMS(expand_params), PFI_CASES(expand_cases), .flags = PFI_VIEW | PFI_STRIDED,
       .shape = expand_shape,
       PFI_DOC("x repeated along its dimensions of size 1, and along new ones in front, to a shape; -1 keeps a size. "
               "Shares storage with x."));
