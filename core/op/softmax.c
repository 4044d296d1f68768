#include "op/extreme.h"

static pf_status softmax_shape(pfi_call *c) { return reduce_along(c); }

static pf_status softmax_forward(pfi_call *c) {
    pfi_reduce r = reduce_of(c);
    const pf_real *x = c->x[0];
    pf_real *y = c->y;
    if (r.inner == 1) {
        memcpy(y, x, (size_t)(r.outer * r.n) * sizeof *y);
        PFK(softmax_rows)(c->ctx->threads, y, r.outer, r.n);
        return PF_OK;
    }
    PFI_EACH_OF(c, r.n ? r.outer * r.inner : 0, r.n, {
        const int64_t start = reduce_start(r, i);
        const pf_real top = x[start + extreme_place(x + start, r, 1) * r.inner];
        double sum = 0;
        for (int64_t k = start; k < start + r.n * r.inner; k += r.inner) sum += (double)(y[k] = pfr_exp(x[k] - top));
        for (int64_t k = start; k < start + r.n * r.inner; k += r.inner) y[k] = (pf_real)((double)y[k] / sum);
    });
    return PF_OK;
}

/* dx = y (dy - sum(y dy)) */
static pf_status softmax_backward(pfi_call *c) {
    pfi_reduce r = reduce_of(c);
    const pf_real *y = c->y, *dy = c->dy;
    pf_real *dx = c->dx[0];
    PFI_EACH_OF(c, r.outer * r.inner, r.n, {
        const int64_t start = reduce_start(r, i);
        double sum = 0;
        for (int64_t k = start; k < start + r.n * r.inner; k += r.inner) sum += (double)y[k] * (double)dy[k];
        const pf_real mean = (pf_real)sum;
        for (int64_t k = start; k < start + r.n * r.inner; k += r.inner) dx[k] += y[k] * (dy[k] - mean);
    });
    return PF_OK;
}

static const pf_param softmax_params[] = PFI_ALONG_PARAMS;
static const pfi_case softmax_cases[] = {PFI_ALONG_CASES(-2, 2),
                                         {.dim = {PFI_S2(2, 3)}, .lo = 100, .hi = 102},
                                         {.dim = {PFI_S2(1, 3)}, .lo = -112, .hi = -110}};

PFI_OP(softmax, PFI_PARAMS(softmax_params), PFI_CASES(softmax_cases), PFI_STAGES(softmax),
       PFI_DOC("e^x / sum(e^x) along dimension dim (the last if left out); result like x. Does not overflow."));
