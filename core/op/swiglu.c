#include "op/zip.h"

static pf_status swiglu_shape(pfi_call *c) {
    PF_TRY(pfi_need_shape(c, 1, c->in[0]->nd, c->in[0]->dim));
    return pfi_shape_like(c, 0);
}

static pf_status swiglu_forward(pfi_call *c) {
    PFK(swiglu)(c->ctx->threads, c->y, c->x[0], c->x[1], (int64_t)pfi_numel(c->in[0]));
    return PF_OK;
}

static pf_status swiglu_backward(pfi_call *c) {
    PFK(swiglu_back)
    (c->ctx->threads, c->dx[0], c->fresh[0], c->dx[1], c->fresh[1], c->dy, c->x[0], c->x[1],
     (int64_t)pfi_numel(c->in[0]));
    return PF_OK;
}

static const pf_param swiglu_params[] = {{.name = "gate", .kind = PF_KIND_TENSOR},
                                         {.name = "up", .kind = PF_KIND_TENSOR}};
static const pfi_case swiglu_cases[] = {
    {.dim = {PFI_S2(3, 5), PFI_S2(3, 5)}, .lo = -3, .hi = 3},
    {.dim = {PFI_S1(6), PFI_S1(6)}, .lo = -30, .hi = 30},
    {.dim = {PFI_S2(200, 201), PFI_S2(200, 201)}, .lo = -20, .hi = 20},
    {.dim = {PFI_S2(3, 5), PFI_S1(5)}, .want = PF_SHAPE},
};

PFI_OP(swiglu, PFI_PARAMS(swiglu_params), PFI_CASES(swiglu_cases), PFI_STAGES(swiglu), .flags = PFI_CHEAP, .writes = 3,
       .unread = 1u << PFI_RESULT,
       PFI_DOC("silu(gate) * up = gate / (1 + e^-gate) * up. Both of one shape, the result too."));
