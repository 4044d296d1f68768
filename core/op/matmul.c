#include "op/zip.h"

/* One side: matrices [rows, cols] a batch apart, stored as they stand or transposed, rows ld apart. */
typedef struct matmul_side {
    int64_t rows, cols, ld, batch, step;
    bool transposed;
} matmul_side;

/* false: its strides are none that BLAS can read */
static bool matmul_describe(const pf_tensor *t, matmul_side *m) {
    const int nd = t->nd;
    const int64_t r = t->dim[nd - 2], k = t->dim[nd - 1], down = t->stride[nd - 2], right = t->stride[nd - 1];
    *m = (matmul_side){.rows = r, .cols = k, .batch = nd == 3 ? t->dim[0] : 1};
    m->step = m->batch > 1 ? t->stride[0] : 0;
    bool plain = (k == 1 || right == 1) && (r == 1 || down >= k);
    m->transposed = !plain;
    m->ld = plain ? (r == 1 ? k : down) : (k == 1 ? r : right);
    m->ld = PFI_MAX(m->ld, 1);
    return plain || ((r == 1 || down == 1) && (k == 1 || right >= r));
}

/* Transposed views are read as they are; only what BLAS cannot read is copied. */
static pf_status matmul_side_of(pfi_call *c, int input, matmul_side *m) {
    if (matmul_describe(c->in[input], m)) return PF_OK;
    pf_tensor *t = pfi_apply(c->ctx, "contiguous", &c->in[input], NULL, NULL, 0);
    if (!t) return pf_errcode(c->ctx);
    pf_tensor_free(c->in[input]);
    c->in[input] = t;
    matmul_describe(t, m);
    return PF_OK;
}

static pf_status matmul_shape(pfi_call *c) {
    matmul_side m[2];
    for (int k = 0; k < 2; k++) {
        if (c->in[k]->nd != 2 && c->in[k]->nd != 3)
            return pfi_call_fail(c, PF_SHAPE, "%s must have 2 or 3 dimensions, got shape %s", pfi_in_name(c, k),
                                 PFI_SHAPE_TEXT(c->in[k]));
        PF_TRY(matmul_side_of(c, k, &m[k]));
    }
    if (m[0].cols != m[1].rows || (m[0].batch != m[1].batch && m[0].batch != 1 && m[1].batch != 1))
        return pfi_call_fail(c, PF_SHAPE,
                             "x has shape %s, y has shape %s; [B, M, K] by [B, K, N] is needed, or [M, K] "
                             "or [K, N] for all of the other side",
                             PFI_SHAPE_TEXT(c->in[0]), PFI_SHAPE_TEXT(c->in[1]));
    c->nd = PFI_MAX(c->in[0]->nd, c->in[1]->nd);
    c->dim[0] = m[0].batch == 1 ? m[1].batch : m[0].batch;
    c->dim[c->nd - 2] = m[0].rows;
    c->dim[c->nd - 1] = m[1].cols;
    return PF_OK;
}

static pf_status matmul_forward(pfi_call *c) {
    matmul_side a, b;
    matmul_describe(c->in[0], &a);
    matmul_describe(c->in[1], &b);
    const int64_t batch = c->nd == 3 ? c->dim[0] : 1, M = a.rows, N = b.cols, K = a.cols;
    const pf_real *x = c->x[0], *w = c->x[1];
    pf_real *y = c->y;
    for (int64_t i = 0; i < batch; i++) PFK(gemm)
    (c->ctx->threads, a.transposed, b.transposed, M, N, K, x + i * a.step, a.ld, w + i * b.step, b.ld, 0, y + i * M * N,
     PFI_MAX(N, 1));
    return PF_OK;
}

/* dx = dy w^T, dw = x^T dy; a side that all batches share collects from each */
static pf_status matmul_backward(pfi_call *c) {
    matmul_side a, b;
    matmul_describe(c->in[0], &a);
    matmul_describe(c->in[1], &b);
    const int64_t batch = c->nd == 3 ? c->dim[0] : 1, M = a.rows, N = b.cols, K = a.cols;
    const pf_real *x = c->x[0], *w = c->x[1], *dy = c->dy;
    pf_real *dx = c->dx[0], *dw = c->dx[1];
    const int threads = c->ctx->threads;
    for (int64_t i = 0; i < batch; i++, dy += M * N) {
        if (dx) PFK(gemm)
        (threads, false, !b.transposed, M, K, N, dy, PFI_MAX(N, 1), w + i * b.step, b.ld, 1,
         dx + (a.batch > 1 ? i * M * K : 0), PFI_MAX(K, 1));
        if (dw) PFK(gemm)
        (threads, !a.transposed, false, K, N, M, x + i * a.step, a.ld, dy, PFI_MAX(N, 1), 1,
         dw + (b.batch > 1 ? i * K * N : 0), PFI_MAX(N, 1));
    }
    return PF_OK;
}

static double matmul_flops(pfi_call *c, bool backward) {
    const double batch = c->nd == 3 ? (double)c->dim[0] : 1;
    const double once =
        2 * batch * (double)c->dim[c->nd - 2] * (double)c->dim[c->nd - 1] * (double)c->in[0]->dim[c->in[0]->nd - 1];
    return backward ? once * (c->wants[0] + c->wants[1]) : once;
}

static const pf_param matmul_params[] = PFI_ZIP_PARAMS;
static const pfi_case matmul_cases[] = {
    {.dim = {PFI_S2(3, 4), PFI_S2(4, 2)}},
    {.dim = {PFI_S3(2, 3, 2), PFI_S3(2, 2, 4)}},
    {.dim = {PFI_S3(3, 2, 3), PFI_S2(3, 2)}},
    {.dim = {PFI_S2(2, 3), PFI_S3(3, 3, 2)}},
    {.dim = {PFI_S2(1, 3), PFI_S2(3, 1)}},
    {.dim = {PFI_S3(2, 200, 150), PFI_S3(2, 150, 400)}},
    {.dim = {PFI_S2(3, 4), PFI_S2(3, 4)}, .want = PF_SHAPE},
    {.dim = {PFI_S3(2, 3, 4), PFI_S3(3, 4, 2)}, .want = PF_SHAPE},
    {.dim = {PFI_S1(3), PFI_S2(3, 4)}, .want = PF_SHAPE},
};

PFI_OP(
    matmul, PFI_PARAMS(matmul_params), PFI_CASES(matmul_cases), .flags = PFI_STRIDED, PFI_STAGES(matmul),
    .flops = matmul_flops,
    PFI_DOC("Matrix product of x[M, K] and y[K, N], or of batches [B, M, K] and [B, K, N]; one side may be without B "
            "and then serves the whole batch."));
