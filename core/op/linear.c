#include "kernel/real.h"
#include "op/op.h"

static pf_status linear_shape(pfi_call *c) {
    const pf_tensor *x = c->in[0], *w = c->in[1];
    PF_TRY(pfi_need_ndim(c, 1, 2));
    if (x->nd < 1 || x->dim[x->nd - 1] != w->dim[1])
        return pfi_call_fail(c, PF_SHAPE, "w has shape %s, so x must end in %lld channels, got shape %s",
                             PFI_SHAPE_TEXT(w), (long long)w->dim[1], PFI_SHAPE_TEXT(x));
    if (c->in[2]) PF_TRY(pfi_need_shape(c, 2, 1, w->dim));
    PF_TRY(pfi_shape_like(c, 0));
    c->dim[c->nd - 1] = w->dim[0];
    c->scratch_bytes = PFK(linear_scratch)(w->dtype, w->dim[0], w->dim[1]);
    if (!c->wants[1]) c->unread |= 1u << 0; /* x is for w's gradient */
    return PF_OK;
}

static pf_status linear_forward(pfi_call *c) {
    int64_t rows = pfi_matrix_rows(c->in[0]), out = c->in[1]->dim[0], in = c->in[1]->dim[1];
    const pf_real *b = c->x[2];
    pf_real *y = c->y;
    if (b)
        for (int64_t i = 0; i < rows; i++) memcpy(y + i * out, b, (size_t)out * sizeof *b);
    PFK(linear)(c->ctx->threads, y, c->x[0], c->in[1]->dtype, c->x[1], rows, out, in, b ? 1 : 0, c->scratch);
    return PF_OK;
}

static pf_status linear_backward(pfi_call *c) {
    int64_t rows = pfi_matrix_rows(c->in[0]), out = c->in[1]->dim[0], in = c->in[1]->dim[1];
    int threads = c->ctx->threads;
    const pf_real *dy = c->dy;
    if (c->dx[0]) PFK(linear_back)
    (threads, c->dx[0], dy, c->in[1]->dtype, c->x[1], rows, out, in, c->fresh[0] ? 0 : 1, c->scratch);
    if (c->dx[1])
        PFK(gemm)(threads, true, false, out, in, rows, dy, out, c->x[0], in, c->fresh[1] ? 0 : 1, c->dx[1], in);
    if (c->dx[2]) PFK(add_columns)(threads, c->dx[2], dy, rows, out);
    return PF_OK;
}

static double linear_flops(pfi_call *c, bool backward) {
    const double once = 2 * (double)pfi_matrix_rows(c->in[0]) * (double)pfi_numel(c->in[1]);
    return backward ? once * (c->wants[0] + c->wants[1]) : once;
}

static const pf_param linear_params[] = {{.name = "x", .kind = PF_KIND_TENSOR},
                                         {.name = "w", .kind = PF_KIND_TENSOR},
                                         {.name = "b", .kind = PF_KIND_TENSOR, .optional = true}};
static const pfi_case linear_cases[] = {
    {.dim = {PFI_S2(5, 3), PFI_S2(4, 3)}},
    {.dim = {PFI_S3(2, 3, 4), PFI_S2(5, 4), PFI_S1(5)}},
    {.dim = {PFI_S1(3), PFI_S2(2, 3)}},
    {.dim = {PFI_S2(300, 120), PFI_S2(130, 120), PFI_S1(130)}},
    {.dim = {PFI_S2(5, 3), PFI_S2(4, 2)}, .want = PF_SHAPE},
    {.dim = {PFI_S2(5, 3), PFI_S2(4, 3), PFI_S1(3)}, .want = PF_SHAPE},
};

PFI_OP(linear, PFI_PARAMS(linear_params), PFI_CASES(linear_cases), .shape = linear_shape, .forward = linear_forward,
       .backward = linear_backward, .stored = 1u << 1, .writes = 3, .unread = 1u << 2 | 1u << PFI_RESULT,
       .flops = linear_flops,
       PFI_DOC("x w^T + b. x[..., in], w[out, in], b[out] or nothing; result [..., out]. w may be a frozen weight in a "
               "storage type."));
