/* Sums down the columns, and rows gathered and scattered: the gradients of biases, gains and tables. */
#include "kernel/real.h"

#include <string.h>

enum { COLUMN_BLOCK = 64 };

void PFK(add_columns)(int threads, pf_real *y, const pf_real *x, int64_t rows, int64_t n) {
    int64_t blocks = (n + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
    bool wide = rows * n > PFK_WORTH_THREADS;
#pragma omp parallel for num_threads(threads) schedule(static) if (wide)
    for (int64_t b = 0; b < blocks; b++) {
        double sum[COLUMN_BLOCK] = {0};
        int64_t first = b * COLUMN_BLOCK, width = n - first < COLUMN_BLOCK ? n - first : COLUMN_BLOCK;
        for (int64_t r = 0; r < rows; r++) {
            const pf_real *at = x + r * n + first;
            for (int64_t j = 0; j < width; j++) sum[j] += (double)at[j];
        }
        for (int64_t j = 0; j < width; j++) y[first + j] += (pf_real)sum[j];
    }
}

void PFK(add_columns_of_product)(int threads, pf_real *y, const pf_real *x, const pf_real *z, const pf_real *mean,
                                 const pf_real *scale, int64_t rows, int64_t n) {
    int64_t blocks = (n + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
    bool wide = rows * n > PFK_WORTH_THREADS;
#pragma omp parallel for num_threads(threads) schedule(static) if (wide)
    for (int64_t b = 0; b < blocks; b++) {
        double sum[COLUMN_BLOCK] = {0};
        int64_t first = b * COLUMN_BLOCK, width = n - first < COLUMN_BLOCK ? n - first : COLUMN_BLOCK;
        for (int64_t r = 0; r < rows; r++) {
            const pf_real *at = x + r * n + first, *by = z + r * n + first;
            double s = (double)scale[r], m = mean ? (double)mean[r] : 0;
            for (int64_t j = 0; j < width; j++) sum[j] += s * ((double)at[j] - m) * (double)by[j];
        }
        for (int64_t j = 0; j < width; j++) y[first + j] += (pf_real)sum[j];
    }
}

void PFK(gather_rows)(int threads, pf_real *y, pf_dtype type, const void *w, const int32_t *id, int64_t T, int64_t C) {
    const size_t row = (size_t)(C / pfk_block(type)) * pfk_block_bytes(type);
    bool wide = T * C > PFK_WORTH_THREADS;
#pragma omp parallel for num_threads(threads) schedule(static) if (wide)
    for (int64_t t = 0; t < T; t++) PFK(widen)(type, (const char *)w + (size_t)id[t] * row, y + t * C, C);
}

size_t PFK(scatter_rows_scratch)(int64_t T, int64_t V) { return (size_t)(T + V + 1) * sizeof(int32_t); }

/* Positions sorted by id (counting sort keeps their order), so that every row of dw is one sum on one thread. */
void PFK(scatter_rows)(int threads, pf_real *dw, const pf_real *dy, const int32_t *id, int64_t T, int64_t V, int64_t C,
                       void *scratch) {
    int32_t *end = scratch, *order = end + V + 1;
    memset(end, 0, (size_t)(V + 1) * sizeof *end);
    for (int64_t t = 0; t < T; t++) end[id[t] + 1]++;
    for (int64_t v = 0; v < V; v++) end[v + 1] += end[v];
    for (int64_t t = 0; t < T; t++) order[end[id[t]]++] = (int32_t)t;
    bool wide = T * C > PFK_WORTH_THREADS;
#pragma omp parallel for num_threads(threads) schedule(static, 64) if (wide)
    for (int64_t v = 0; v < V; v++) {
        int32_t from = v ? end[v - 1] : 0, to = end[v];
        for (int64_t first = 0; from < to && first < C; first += COLUMN_BLOCK) {
            double sum[COLUMN_BLOCK] = {0};
            int64_t width = C - first < COLUMN_BLOCK ? C - first : COLUMN_BLOCK;
            for (int32_t k = from; k < to; k++) {
                const pf_real *at = dy + order[k] * C + first;
                for (int64_t j = 0; j < width; j++) sum[j] += (double)at[j];
            }
            for (int64_t j = 0; j < width; j++) dw[v * C + first + j] += (pf_real)sum[j];
        }
    }
}
