/* Root-mean-square normalisation of rows. */
#include "kernel/fast.h"
#include "kernel/row.h"

static PFK_CLONES pf_real norm_row(pf_real *y, const pf_real *x, const pf_real *w, pf_real offset, double eps,
                                   int64_t C) {
    const pf_real s = (pf_real)(1 / sqrt(row_dot(x, x, C) / (double)C + eps));
    for (int64_t j = 0; j < C; j++) y[j] = x[j] * s * (w[j] + offset);
    return s;
}

/* With g = (w + offset) dy: dx = s g - s^3 x mean(g x). */
static PFK_CLONES void norm_row_back(pf_real *dx, const pf_real *dy, const pf_real *x, const pf_real *w, pf_real offset,
                                     pf_real s, int64_t C) {
    const double cube = (double)s * (double)s * (double)s;
    const double along = row_dot3(dy, w, x, C) + (double)offset * row_dot(dy, x, C);
    const pf_real k = (pf_real)(cube * along / (double)C);
    for (int64_t j = 0; j < C; j++) dx[j] += s * dy[j] * (w[j] + offset) - k * x[j];
}

void PFK(rms_norm)(int threads, pf_real *y, pf_real *scale, const pf_real *x, const pf_real *w, double offset,
                   double eps, int64_t rows, int64_t C) {
    bool wide = rows * C > PFK_WORTH_THREADS;
#pragma omp parallel for num_threads(threads) schedule(static) if (wide)
    for (int64_t r = 0; r < rows; r++) scale[r] = norm_row(y + r * C, x + r * C, w, (pf_real)offset, eps, C);
}

void PFK(rms_norm_back)(int threads, pf_real *dx, const pf_real *dy, const pf_real *x, const pf_real *w, double offset,
                        const pf_real *scale, int64_t rows, int64_t C) {
    bool wide = rows * C > PFK_WORTH_THREADS;
#pragma omp parallel for num_threads(threads) schedule(static) if (wide)
    for (int64_t r = 0; r < rows; r++)
        norm_row_back(dx + r * C, dy + r * C, x + r * C, w, (pf_real)offset, scale[r], C);
}
