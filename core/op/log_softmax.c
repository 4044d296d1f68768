#include "op/extreme.h"

static pf_status log_softmax_shape(pfi_call *c) { return reduce_along(c); }

static pf_status log_softmax_forward(pfi_call *c) {
    pfi_reduce r = reduce_of(c);
    const pf_real *x = c->x[0];
    pf_real *y = c->y;
    PFI_EACH_OF(c, r.n ? r.outer * r.inner : 0, 8 * r.n, {
        const int64_t start = reduce_start(r, i);
        const pf_real top = x[start + extreme_place(x + start, r, 1) * r.inner];
        double sum = 0;
        for (int64_t k = start; k < start + r.n * r.inner; k += r.inner) sum += (double)pfr_exp(x[k] - top);
        const double total = log(sum);
        for (int64_t k = start; k < start + r.n * r.inner; k += r.inner)
            y[k] = (pf_real)((double)x[k] - (double)top - total);
    });
    return PF_OK;
}

/* dx = dy - e^y sum(dy) */
static pf_status log_softmax_backward(pfi_call *c) {
    pfi_reduce r = reduce_of(c);
    const pf_real *y = c->y, *dy = c->dy;
    pf_real *dx = c->dx[0];
    PFI_EACH_OF(c, r.outer * r.inner, 8 * r.n, {
        const int64_t start = reduce_start(r, i);
        const pf_real sum = (pf_real)reduce_sum(dy + start, r);
        for (int64_t k = start; k < start + r.n * r.inner; k += r.inner) dx[k] += dy[k] - pfr_exp(y[k]) * sum;
    });
    return PF_OK;
}

static const pf_param log_softmax_params[] = PFI_ALONG_PARAMS;
static const pfi_case log_softmax_cases[] = {PFI_ALONG_CASES(-2, 2),
                                             {.dim = {PFI_S2(2, 3)}, .lo = 100, .hi = 102},
                                             {.dim = {PFI_S2(1, 3)}, .lo = -40, .hi = 40}};

PFI_OP(
    log_softmax, PFI_PARAMS(log_softmax_params), PFI_CASES(log_softmax_cases), PFI_STAGES(log_softmax),
    PFI_DOC("x - log(sum(e^x)) along dimension dim (the last if left out), nats; result like x. Does not overflow."));
