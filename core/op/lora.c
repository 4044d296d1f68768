#include "kernel/real.h"
#include "op/op.h"

/* saved[0]: scale x a^T, [rows, r]; the scratch of backward is its gradient */
static int64_t lora_rows(const pfi_call *c) {
    int64_t in = c->in[2]->dim[1];
    return in ? (int64_t)pfi_numel(c->in[1]) / in : 0;
}

static pf_status lora_shape(pfi_call *c) {
    const pf_tensor *y = c->in[0], *x = c->in[1];
    PF_TRY(pfi_need_ndim(c, 2, 2));
    const int64_t r = c->in[2]->dim[0], in = c->in[2]->dim[1];
    if (x->nd < 1 || x->dim[x->nd - 1] != in)
        return pfi_call_fail(c, PF_SHAPE, "a has shape %s, so x must end in %lld channels, got shape %s",
                             PFI_SHAPE_TEXT(c->in[2]), (long long)in, PFI_SHAPE_TEXT(x));
    PF_TRY(pfi_need_ndim(c, 0, x->nd));
    const int64_t out = y->dim[y->nd - 1];
    PF_TRY(pfi_need_shape(c, 3, 2, (int64_t[]){out, r}));
    int64_t want[PF_MAX_DIMS];
    memcpy(want, x->dim, sizeof want);
    want[x->nd - 1] = out;
    PF_TRY(pfi_need_shape(c, 0, x->nd, want));
    c->saved_bytes[0] = c->scratch_back_bytes = (size_t)(lora_rows(c) * r) * sizeof(pf_real);
    return pfi_shape_like(c, 0);
}

static void lora_scale(pf_real *u, int64_t n, double scale) {
    for (int64_t i = 0; i < n; i++) u[i] *= (pf_real)scale;
}

static pf_status lora_forward(pfi_call *c) {
    const int64_t rows = lora_rows(c), r = c->in[2]->dim[0], in = c->in[2]->dim[1], out = c->in[3]->dim[0];
    const int threads = c->ctx->threads;
    pf_real *u = c->saved[0];
    PFK(gemm)(threads, false, true, rows, r, in, c->x[1], in, c->x[2], in, 0, u, r);
    lora_scale(u, rows * r, c->num[0]);
    PFK(copy)(threads, c->y, c->x[0], rows * out);
    PFK(gemm)(threads, false, true, rows, out, r, u, r, c->x[3], r, 1, c->y, out);
    return PF_OK;
}

static pf_status lora_backward(pfi_call *c) {
    const int64_t rows = lora_rows(c), r = c->in[2]->dim[0], in = c->in[2]->dim[1], out = c->in[3]->dim[0];
    const int threads = c->ctx->threads;
    pf_real *du = c->scratch;
    pf_real beta[4];
    for (int i = 0; i < 4; i++) beta[i] = c->fresh[i] ? 0 : 1;
    if (c->dx[0] && c->fresh[0]) PFK(copy)(threads, c->dx[0], c->dy, rows * out);
    if (c->dx[0] && !c->fresh[0]) PFK(accumulate)(threads, c->dx[0], c->dy, rows * out);
    if (c->dx[3]) PFK(gemm)(threads, true, false, out, r, rows, c->dy, out, c->saved[0], r, beta[3], c->dx[3], r);
    if (!c->dx[1] && !c->dx[2]) return PF_OK;
    PFK(gemm)(threads, false, false, rows, r, out, c->dy, out, c->x[3], r, 0, du, r);
    lora_scale(du, rows * r, c->num[0]);
    if (c->dx[1]) PFK(gemm)(threads, false, false, rows, in, r, du, r, c->x[2], in, beta[1], c->dx[1], in);
    if (c->dx[2]) PFK(gemm)(threads, true, false, r, in, rows, du, r, c->x[1], in, beta[2], c->dx[2], in);
    return PF_OK;
}

static double lora_flops(pfi_call *c, bool backward) {
    const double once = 2 * (double)lora_rows(c), a = once * (double)pfi_numel(c->in[2]),
                 b = once * (double)pfi_numel(c->in[3]);
    if (!backward) return a + b;
    return a * (c->wants[1] + c->wants[2]) + b * ((c->wants[1] || c->wants[2]) + c->wants[3]);
}

static const pf_param lora_params[] = {{.name = "y", .kind = PF_KIND_TENSOR},
                                       {.name = "x", .kind = PF_KIND_TENSOR},
                                       {.name = "a", .kind = PF_KIND_TENSOR},
                                       {.name = "b", .kind = PF_KIND_TENSOR},
                                       {.name = "scale", .kind = PF_KIND_NUMBER, .optional = true, .value = 1}};
static const pfi_case lora_cases[] = {
    {.dim = {PFI_S2(5, 4), PFI_S2(5, 3), PFI_S2(2, 3), PFI_S2(4, 2)}},
    {.dim = {PFI_S3(2, 3, 5), PFI_S3(2, 3, 4), PFI_S2(1, 4), PFI_S2(5, 1)}, .args = "scale=-2.5"},
    {.dim = {PFI_S1(2), PFI_S1(3), PFI_S2(3, 3), PFI_S2(2, 3)}, .args = "scale=0.5"},
    {.dim = {PFI_S2(200, 130), PFI_S2(200, 120), PFI_S2(8, 120), PFI_S2(130, 8)}, .args = "scale=2"},
    {.dim = {PFI_S2(5, 4), PFI_S2(5, 2), PFI_S2(2, 3), PFI_S2(4, 2)}, .want = PF_SHAPE},
    {.dim = {PFI_S2(5, 4), PFI_S2(5, 3), PFI_S2(2, 3), PFI_S2(4, 3)}, .want = PF_SHAPE},
    {.dim = {PFI_S2(6, 4), PFI_S2(5, 3), PFI_S2(2, 3), PFI_S2(4, 2)}, .want = PF_SHAPE},
};

PFI_OP(lora, PFI_PARAMS(lora_params), PFI_CASES(lora_cases), .shape = lora_shape, .forward = lora_forward,
       .backward = lora_backward, .writes = 15, .passes = 1, .unread = 1u << 0 | 1u << PFI_RESULT, .flops = lora_flops,
       PFI_DOC("y + scale x a^T b^T: what a low-rank adapter adds to a product (Hu et al. 2021). y[..., out], x[..., "
               "in], a[r, in], b[out, r]; result like y."));
