#include "op/reduce.h"

static pf_status cumsum_shape(pfi_call *c) { return reduce_along(c); }

static pf_status cumsum_forward(pfi_call *c) {
    pfi_reduce r = reduce_of(c);
    const pf_real *x = c->x[0];
    pf_real *y = c->y;
    PFI_EACH_OF(c, r.outer * r.inner, r.n, {
        const int64_t start = reduce_start(r, i);
        double sum = 0;
        for (int64_t k = start; k < start + r.n * r.inner; k += r.inner) y[k] = (pf_real)(sum += (double)x[k]);
    });
    return PF_OK;
}

/* a value goes into every later sum: sums from the end */
static pf_status cumsum_backward(pfi_call *c) {
    pfi_reduce r = reduce_of(c);
    const pf_real *dy = c->dy;
    pf_real *dx = c->dx[0];
    PFI_EACH_OF(c, r.outer * r.inner, r.n, {
        const int64_t start = reduce_start(r, i);
        double sum = 0;
        for (int64_t k = r.n - 1; k >= 0; k--)
            dx[start + k * r.inner] += (pf_real)(sum += (double)dy[start + k * r.inner]);
    });
    return PF_OK;
}

static const pf_param cumsum_params[] = PFI_ALONG_PARAMS;
static const pfi_case cumsum_cases[] = {PFI_ALONG_CASES(-1, 1)};

PFI_OP(
    cumsum, PFI_PARAMS(cumsum_params), PFI_CASES(cumsum_cases), PFI_STAGES(cumsum),
    PFI_DOC("Running sums along dimension dim (the last if left out), each with its own value; result like x. Summed "
            "in double."));
