#include "kernel/row.h"
#include "op/zip.h"

/* saved[0]: mean of each row; saved[1]: 1 / standard deviation */
static pf_status layer_norm_shape(pfi_call *c) {
    const pf_tensor *x = c->in[0];
    if (x->nd < 1) return pfi_call_fail(c, PF_SHAPE, "x must have at least one dimension");
    const int64_t C = x->dim[x->nd - 1], rows = C ? (int64_t)pfi_numel(x) / C : 0;
    PF_TRY(pfi_need_shape(c, 1, 1, &C));
    if (c->in[2]) PF_TRY(pfi_need_shape(c, 2, 1, &C));
    if (!(c->num[0] >= 0)) return pfi_call_fail(c, PF_RANGE, "eps must not be below 0, got %g", c->num[0]);
    c->saved_bytes[0] = c->saved_bytes[1] = (size_t)rows * sizeof(pf_real);
    return pfi_shape_like(c, 0);
}

static int64_t layer_norm_rows(const pfi_call *c) {
    const int64_t C = c->in[1]->dim[0];
    return C ? (int64_t)pfi_numel(c->in[0]) / C : 0;
}

static pf_status layer_norm_forward(pfi_call *c) {
    const int64_t C = c->in[1]->dim[0];
    const pf_real *x = c->x[0], *w = c->x[1], *b = c->x[2];
    pf_real *y = c->y, *mean = c->saved[0], *scale = c->saved[1];
    const double eps = c->num[0];
    PFI_EACH_OF(c, layer_norm_rows(c), C, {
        const pf_real *at = x + i * C;
        const pf_real m = (pf_real)(row_sum(at, C) / (double)C);
        double square = 0;
        for (int64_t j = 0; j < C; j++) square += (double)(at[j] - m) * (double)(at[j] - m);
        const pf_real s = (pf_real)(1 / sqrt(square / (double)C + eps));
        for (int64_t j = 0; j < C; j++) y[i * C + j] = (at[j] - m) * s * w[j] + (b ? b[j] : 0);
        mean[i] = m;
        scale[i] = s;
    });
    return PF_OK;
}

/* With n = (x - mean) s and g = w dy: dx = s (g - mean(g) - n mean(g n)). */
static pf_status layer_norm_backward(pfi_call *c) {
    const int64_t C = c->in[1]->dim[0], rows = layer_norm_rows(c);
    const pf_real *x = c->x[0], *w = c->x[1], *dy = c->dy, *mean = c->saved[0], *scale = c->saved[1];
    const int threads = c->ctx->threads;
    pf_real *dx = c->dx[0];
    if (dx)
        PFI_EACH_OF(c, rows, C, {
            const pf_real *at = x + i * C;
            const pf_real *g = dy + i * C;
            const pf_real m = mean[i];
            const pf_real s = scale[i];
            const double plain = row_dot(g, w, C);
            const double along = (row_dot3(g, w, at, C) - (double)m * plain) * (double)s;
            const pf_real p = (pf_real)(plain / (double)C);
            const pf_real q = (pf_real)(along / (double)C);
            for (int64_t j = 0; j < C; j++) dx[i * C + j] += s * (g[j] * w[j] - p - (at[j] - m) * s * q);
        });
    if (c->dx[1]) PFK(add_columns_of_product)(threads, c->dx[1], x, dy, mean, scale, rows, C);
    if (c->dx[2]) PFK(add_columns)(threads, c->dx[2], dy, rows, C);
    return PF_OK;
}

static const pf_param layer_norm_params[] = {{.name = "x", .kind = PF_KIND_TENSOR},
                                             {.name = "w", .kind = PF_KIND_TENSOR},
                                             {.name = "b", .kind = PF_KIND_TENSOR, .optional = true},
                                             {.name = "eps", .kind = PF_KIND_NUMBER, .optional = true, .value = 1e-5}};
static const pfi_case layer_norm_cases[] = {
    {.dim = {PFI_S2(3, 11), PFI_S1(11), PFI_S1(11)}},
    {.dim = {PFI_S3(2, 2, 4), PFI_S1(4)}, .args = "eps=0.5"},
    {.dim = {PFI_S2(2, 5), PFI_S1(5), PFI_S1(5)}, .lo = 5, .hi = 6},
    {.dim = {PFI_S2(300, 150), PFI_S1(150), PFI_S1(150)}},
    {.dim = {PFI_S2(3, 4), PFI_S1(3)}, .want = PF_SHAPE},
    {.dim = {PFI_S2(3, 4), PFI_S1(4), PFI_S1(1)}, .want = PF_SHAPE},
    {.dim = {PFI_S2(3, 4), PFI_S1(4)}, .args = "eps=-1", .want = PF_RANGE},
};

PFI_OP(layer_norm, PFI_PARAMS(layer_norm_params), PFI_CASES(layer_norm_cases), PFI_STAGES(layer_norm),
       .flags = PFI_CHEAP, .unread = 1u << PFI_RESULT,
       PFI_DOC("(x - mean) / sqrt(variance + eps) * w + b over the last dimension. x[..., C], w[C], b[C] or nothing; "
               "result like x. The variance divides by C."));
