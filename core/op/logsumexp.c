#include "op/extreme.h"

/* log of the sum of e^x over one slice: shifted by the largest, summed in double */
static pf_real logsumexp_slice(const pf_real *x, pfi_reduce r) {
    if (r.n == 0) return (pf_real)-INFINITY;
    const pf_real top = x[extreme_place(x, r, 1) * r.inner];
    if (!isfinite(top)) return top;
    double sum = 0;
    for (int64_t k = 0; k < r.n; k++) sum += (double)pfr_exp(x[k * r.inner] - top);
    return (pf_real)((double)top + log(sum));
}

static pf_status logsumexp_forward(pfi_call *c) {
    pfi_reduce r = reduce_of(c);
    const pf_real *x = c->x[0];
    pf_real *y = c->y;
    PFI_EACH_OF(c, r.outer * r.inner, r.n, y[i] = logsumexp_slice(x + reduce_start(r, i), r));
    return PF_OK;
}

static pf_status logsumexp_backward(pfi_call *c) {
    pfi_reduce r = reduce_of(c);
    const pf_real *x = c->x[0], *y = c->y, *dy = c->dy;
    pf_real *dx = c->dx[0];
    PFI_EACH_OF(c, r.outer * r.inner, r.n, {
        const int64_t start = reduce_start(r, i);
        const pf_real total = y[i] == (pf_real)-INFINITY ? 0 : y[i];
        for (int64_t k = 0; k < r.n; k++) dx[start + k * r.inner] += dy[i] * pfr_exp(x[start + k * r.inner] - total);
    });
    return PF_OK;
}

static const pf_param logsumexp_params[] = PFI_REDUCE_PARAMS;
static const pfi_case logsumexp_cases[] = {
    {.dim = {PFI_S1(5)}, .lo = 100, .hi = 102}, {.dim = {PFI_S1(5)}, .lo = -112, .hi = -110}, PFI_REDUCE_CASES};

PFI_OP(logsumexp, PFI_PARAMS(logsumexp_params), PFI_CASES(logsumexp_cases), .shape = reduce_shape,
       .forward = logsumexp_forward, .backward = logsumexp_backward,
       PFI_DOC("log(sum(e^x)) over dimension dim, or over everything; keep leaves the dimension with size 1. Does not "
               "overflow. Of nothing it is -infinity."));
