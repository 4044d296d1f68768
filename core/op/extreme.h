/* What max, min and argmax share: the place of the first extreme of each slice. Internal to op files. */
#ifndef PFI_EXTREME_H
#define PFI_EXTREME_H

#include "op/reduce.h"

/* first place k of the largest (sign 1) or smallest (sign -1) of a slice; NaN wins */
static inline int64_t extreme_place(const pf_real *x, pfi_reduce r, pf_real sign) {
    int64_t best = 0;
    for (int64_t k = 1; k < r.n; k++) {
        pf_real now = sign * x[k * r.inner], top = sign * x[best * r.inner];
        if (top != top) break;
        if (now > top || now != now) best = k;
    }
    return best;
}

static inline pf_status extreme_forward(pfi_call *c, pf_real sign) {
    pfi_reduce r = reduce_of(c);
    const pf_real *x = c->x[0];
    pf_real *y = c->y;
    PFI_EACH_OF(c, r.outer * r.inner, r.n, {
        const pf_real *at = x + reduce_start(r, i);
        y[i] = at[extreme_place(at, r, sign) * r.inner];
    });
    return PF_OK;
}

static inline pf_status extreme_backward(pfi_call *c, pf_real sign) {
    pfi_reduce r = reduce_of(c);
    const pf_real *x = c->x[0], *dy = c->dy;
    pf_real *dx = c->dx[0];
    PFI_EACH_OF(c, r.outer * r.inner, r.n, {
        const int64_t start = reduce_start(r, i);
        dx[start + extreme_place(x + start, r, sign) * r.inner] += dy[i];
    });
    return PF_OK;
}

#define PFI_EXTREME_CASES                                                                                              \
    PFI_REDUCE_CASES, { .dim = {PFI_S2(2, 0)}, .args = "dim=1", .want = PF_RANGE }

#endif
