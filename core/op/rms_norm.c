#include "op/zip.h"

/* saved[0]: 1 / rms of each row */
static pf_status rms_norm_shape(pfi_call *c) {
    const pf_tensor *x = c->in[0];
    if (x->nd < 1) return pfi_call_fail(c, PF_SHAPE, "x must have at least one dimension");
    PF_TRY(pfi_need_shape(c, 1, 1, &x->dim[x->nd - 1]));
    if (!(c->num[0] >= 0)) return pfi_call_fail(c, PF_RANGE, "eps must not be below 0, got %g", c->num[0]);
    int64_t C = x->dim[x->nd - 1], rows = C ? (int64_t)pfi_numel(x) / C : 0;
    c->saved_bytes[0] = (size_t)rows * sizeof(pf_real);
    return pfi_shape_like(c, 0);
}

static pf_status rms_norm_forward(pfi_call *c) {
    const int64_t C = c->in[1]->dim[0], rows = C ? (int64_t)pfi_numel(c->in[0]) / C : 0;
    PFK(rms_norm)(c->ctx->threads, c->y, c->saved[0], c->x[0], c->x[1], c->num[1], c->num[0], rows, C);
    return PF_OK;
}

static pf_status rms_norm_backward(pfi_call *c) {
    const int64_t C = c->in[1]->dim[0], rows = C ? (int64_t)pfi_numel(c->in[0]) / C : 0;
    const int threads = c->ctx->threads;
    const pf_real *scale = c->saved[0];
    if (c->dx[0]) PFK(rms_norm_back)(threads, c->dx[0], c->dy, c->x[0], c->x[1], c->num[1], scale, rows, C);
    if (c->dx[1]) PFK(add_columns_of_product)(threads, c->dx[1], c->x[0], c->dy, NULL, scale, rows, C);
    return PF_OK;
}

static const pf_param rms_norm_params[] = {{.name = "x", .kind = PF_KIND_TENSOR},
                                           {.name = "w", .kind = PF_KIND_TENSOR},
                                           {.name = "eps", .kind = PF_KIND_NUMBER, .optional = true, .value = 1e-5},
                                           {.name = "offset", .kind = PF_KIND_NUMBER, .optional = true}};
static const pfi_case rms_norm_cases[] = {
    {.dim = {PFI_S2(3, 11), PFI_S1(11)}},
    {.dim = {PFI_S3(2, 2, 4), PFI_S1(4)}, .args = "eps=0.5"},
    {.dim = {PFI_S1(70), PFI_S1(70)}},
    {.dim = {PFI_S2(3, 11), PFI_S1(11)}, .args = "offset=1"},
    {.dim = {PFI_S2(300, 150), PFI_S1(150)}},
    {.dim = {PFI_S2(3, 4), PFI_S1(3)}, .want = PF_SHAPE},
    {.dim = {PFI_S2(3, 4), PFI_S1(4)}, .args = "eps=-1", .want = PF_RANGE},
    {.dim = {PFI_S0, PFI_S1(1)}, .want = PF_SHAPE},
};

PFI_OP(rms_norm, PFI_PARAMS(rms_norm_params), PFI_CASES(rms_norm_cases), PFI_STAGES(rms_norm), .flags = PFI_CHEAP,
       .unread = 1u << PFI_RESULT,
       PFI_DOC("x / sqrt(mean(x^2) + eps) * (w + offset), the mean over the last dimension, offset 0 if not given. "
               "x[..., C], w[C]; result like x."));
