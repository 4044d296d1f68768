/* Inner loops over one row, written so that compilers vectorise them: sums in eight double lanes that are added as a
 * fixed tree. Internal to op, loss and kernel files. */
#ifndef PFI_ROW_H
#define PFI_ROW_H

#include "kernel/real.h"

enum { ROW_LANES = 8 };

static inline double row_fold(const double *lane) {
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

/* sum of x[n] */
static inline double row_sum(const pf_real *x, int64_t n) {
    double lane[ROW_LANES] = {0};
    int64_t i = 0;
    for (; i + ROW_LANES <= n; i += ROW_LANES)
        for (int k = 0; k < ROW_LANES; k++) lane[k] += (double)x[i + k];
    for (int k = 0; i < n; i++, k++) lane[k] += (double)x[i];
    return row_fold(lane);
}

/* sum of x[n] y[n] */
static inline double row_dot(const pf_real *x, const pf_real *y, int64_t n) {
    double lane[ROW_LANES] = {0};
    int64_t i = 0;
    for (; i + ROW_LANES <= n; i += ROW_LANES)
        for (int k = 0; k < ROW_LANES; k++) lane[k] += (double)x[i + k] * (double)y[i + k];
    for (int k = 0; i < n; i++, k++) lane[k] += (double)x[i] * (double)y[i];
    return row_fold(lane);
}

/* sum of x[n] y[n] z[n] */
static inline double row_dot3(const pf_real *x, const pf_real *y, const pf_real *z, int64_t n) {
    double lane[ROW_LANES] = {0};
    int64_t i = 0;
    for (; i + ROW_LANES <= n; i += ROW_LANES)
        for (int k = 0; k < ROW_LANES; k++) lane[k] += (double)x[i + k] * (double)y[i + k] * (double)z[i + k];
    for (int k = 0; i < n; i++, k++) lane[k] += (double)x[i] * (double)y[i] * (double)z[i];
    return row_fold(lane);
}

/* 1 / (1 + e^-x), finite and accurate at both ends */
static inline pf_real pfr_sigmoid(pf_real x) {
    pf_real e = pfr_exp(x < 0 ? x : -x);
    return x < 0 ? e / (1 + e) : 1 / (1 + e);
}

/* log(1 + e^x) */
static inline pf_real pfr_softplus(pf_real x) { return (x > 0 ? x : 0) + pfr_log1p(pfr_exp(x > 0 ? -x : x)); }

#endif
