#include "kernel/real.h"
#include "op/op.h"

/* The one computing operation that reads strided data. Gradients are contiguous, so they are added as they stand. */
static pf_status contiguous_shape(pfi_call *c) { return pfi_shape_like(c, 0); }

static pf_status contiguous_forward(pfi_call *c) {
    const pf_tensor *x = c->in[0];
    const pf_real *from = x->st->data;
    pf_real *y = c->y;
    int64_t n = (int64_t)pfi_numel(x), inner = x->nd ? x->dim[x->nd - 1] : 1, step = x->nd ? x->stride[x->nd - 1] : 1;
    for (int64_t row = 0; row * inner < n; row++) {
        int64_t at = x->offset, rest = row;
        for (int d = x->nd - 2; d >= 0; d--) {
            at += rest % x->dim[d] * x->stride[d];
            rest /= x->dim[d];
        }
        for (int64_t i = 0; i < inner; i++) y[row * inner + i] = from[at + i * step];
    }
    return PF_OK;
}

static pf_status contiguous_backward(pfi_call *c) {
    if (c->dx[0]) PFK(accumulate)(c->ctx->threads, c->dx[0], c->dy, (int64_t)pfi_numel(c->in[0]));
    return PF_OK;
}

static const pf_param contiguous_params[] = {{.name = "x", .kind = PF_KIND_TENSOR}};
static const pfi_case contiguous_cases[] = {{.dim = {PFI_S2(3, 4)}}, {.dim = {PFI_S0}}};

PFI_OP(contiguous, PFI_PARAMS(contiguous_params), PFI_CASES(contiguous_cases), .flags = PFI_STRIDED,
       .shape = contiguous_shape, .forward = contiguous_forward, .backward = contiguous_backward,
       PFI_DOC("x copied to row order. x any shape; result the same shape."));
