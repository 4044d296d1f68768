#include "kernel/real.h"
#include "op/op.h"

/* The one copy of strided data. Gradients are contiguous, so they are added as they stand. */
static pf_status contiguous_shape(pfi_call *c) { return pfi_shape_like(c, 0); }

static pf_status contiguous_forward(pfi_call *c) {
    int64_t dim[PF_MAX_DIMS], from[PF_MAX_DIMS], to[PF_MAX_DIMS];
    for (int d = PF_MAX_DIMS - 1, i = c->nd - 1; d >= 0; d--, i--) {
        dim[d] = i >= 0 ? c->dim[i] : 1;
        from[d] = i >= 0 ? c->in[0]->stride[i] : 0;
    }
    pfi_strides(PF_MAX_DIMS, dim, to);
    PFK(copy_strided)(c->ctx->threads, c->y, to, c->x[0], from, dim);
    return PF_OK;
}

static pf_status contiguous_backward(pfi_call *c) {
    if (!c->dx[0]) return PF_OK;
    PFK(accumulate)(c->ctx->threads, c->dx[0], c->dy, (int64_t)pfi_numel(c->in[0]));
    return PF_OK;
}

static const pf_param contiguous_params[] = {{.name = "x", .kind = PF_KIND_TENSOR}};
static const pfi_case contiguous_cases[] = {{.dim = {PFI_S2(3, 4)}}, {.dim = {PFI_S0}}, {.dim = {PFI_S2(200, 200)}}};

PFI_OP(contiguous, PFI_PARAMS(contiguous_params), PFI_CASES(contiguous_cases), .flags = PFI_STRIDED,
       .shape = contiguous_shape, .forward = contiguous_forward, .backward = contiguous_backward, .passes = 1,
       .unread = 1u << 0 | 1u << PFI_RESULT, PFI_DOC("x copied to row order. x any shape; result the same shape."));
