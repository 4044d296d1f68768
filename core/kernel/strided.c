/* Values seen through strides: copied out of a view, and gradients added into the place that a view shows. */
#include "kernel/real.h"

enum { STRIDED_DIMS = 4 };

/* places of row number `row` (all dimensions but the last) in both */
static void strided_start(const int64_t *dim, const int64_t *p, const int64_t *q, int64_t row, int64_t *at_p,
                          int64_t *at_q) {
    *at_p = *at_q = 0;
    for (int d = STRIDED_DIMS - 2; d >= 0; d--) {
        int64_t k = row % dim[d];
        *at_p += k * p[d];
        *at_q += k * q[d];
        row /= dim[d];
    }
}

static int64_t strided_rows(const int64_t *dim) {
    int64_t rows = dim[STRIDED_DIMS - 1] ? 1 : 0;
    for (int d = 0; d < STRIDED_DIMS - 1; d++) rows *= dim[d];
    return rows;
}

void PFK(copy_strided)(int threads, pf_real *y, const int64_t *to, const pf_real *x, const int64_t *from,
                       const int64_t *dim) {
    const int64_t rows = strided_rows(dim), n = dim[STRIDED_DIMS - 1];
    const int64_t dy = to[STRIDED_DIMS - 1], dx = from[STRIDED_DIMS - 1];
    bool wide = rows * n > PFK_WORTH_THREADS;
#pragma omp parallel for num_threads(threads) schedule(static) if (wide)
    for (int64_t row = 0; row < rows; row++) {
        int64_t p, q;
        strided_start(dim, to, from, row, &p, &q);
        for (int64_t i = 0; i < n; i++) y[p + i * dy] = x[q + i * dx];
    }
}

void PFK(add_strided)(int threads, pf_real *y, const int64_t *to, const pf_real *x, const int64_t *from,
                      const int64_t *dim) {
    const int64_t rows = strided_rows(dim), n = dim[STRIDED_DIMS - 1];
    const int64_t dy = to[STRIDED_DIMS - 1], dx = from[STRIDED_DIMS - 1];
    bool wide = rows * n > PFK_WORTH_THREADS;
#pragma omp parallel for num_threads(threads) schedule(static) if (wide)
    for (int64_t row = 0; row < rows; row++) {
        int64_t p, q;
        strided_start(dim, to, from, row, &p, &q);
        for (int64_t i = 0; i < n; i++) y[p + i * dy] += x[q + i * dx];
    }
}

void PFK(sum_strided)(int threads, pf_real *y, const int64_t *to, const pf_real *x, const int64_t *from,
                      const int64_t *dim, const int64_t *many, const int64_t *repeat) {
    const int64_t rows = strided_rows(dim), n = dim[STRIDED_DIMS - 1], R = strided_rows(repeat);
    const int64_t dy = to[STRIDED_DIMS - 1], dx = from[STRIDED_DIMS - 1], width = repeat[STRIDED_DIMS - 1];
    bool wide = rows * n * R * width > PFK_WORTH_THREADS;
#pragma omp parallel for num_threads(threads) schedule(static) if (wide)
    for (int64_t e = 0; e < rows * n; e++) {
        int64_t p, q, from_row, unused;
        double sum = 0;
        strided_start(dim, to, from, e / n, &p, &q);
        for (int64_t r = 0; r < R; r++) {
            strided_start(repeat, many, many, r, &from_row, &unused);
            const pf_real *at = x + q + e % n * dx + from_row;
            for (int64_t k = 0; k < width; k++) sum += (double)at[k * many[STRIDED_DIMS - 1]];
        }
        y[p + e % n * dy] += (pf_real)sum;
    }
}
