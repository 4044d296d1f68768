/* Softmax over rows of logits. */
#include "kernel/fast.h"

PFK_CLONES pf_real PFK(max)(const pf_real *x, int64_t n) {
    pf_real m[16];
    for (int j = 0; j < 16; j++) m[j] = -PFR_MAX;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) m[j] = x[i + j] > m[j] ? x[i + j] : m[j];
    for (; i < n; i++) m[0] = x[i] > m[0] ? x[i] : m[0];
    for (int j = 1; j < 16; j++) m[0] = m[j] > m[0] ? m[j] : m[0];
    return m[0];
}

PFK_CLONES double PFK(sum)(const pf_real *x, int64_t n) {
    double sum[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) sum[j] += (double)x[i + j];
    for (; i < n; i++) sum[0] += (double)x[i];
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

/* Sixteen partial sums in blocks that go to double: small terms survive a large vocabulary. */
PFK_CLONES double PFK(exp_sum)(pf_real *y, const pf_real *x, pf_real shift, pf_real scale, int64_t n) {
    double total = 0;
    for (int64_t b = 0; b < n; b += 1024) {
        int64_t end = n - b < 1024 ? n : b + 1024, i = b;
        pf_real sum[16] = {0};
        for (; i + 16 <= end; i += 16)
            for (int j = 0; j < 16; j++) {
                pf_real e = pfk_exp((x[i + j] - shift) * scale);
                y[i + j] = e;
                sum[j] += e;
            }
        for (; i < end; i++) {
            y[i] = pfk_exp((x[i] - shift) * scale);
            sum[0] += y[i];
        }
        for (int j = 0; j < 16; j++) total += (double)sum[j];
    }
    return total;
}

void PFK(softmax_rows)(int threads, pf_real *x, int64_t rows, int64_t n) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * n > PFK_WORTH_THREADS / 4)
    for (int64_t r = 0; r < rows; r++) {
        pf_real *row = x + r * n, m = PFK(max)(row, n);
        pf_real scale = (pf_real)(1 / PFK(exp_sum)(row, row, m, 1, n));
        for (int64_t i = 0; i < n; i++) row[i] *= scale;
    }
}

void PFK(softmax_more)(int threads, pf_real *x, pf_real *max, double *sum, pf_real *keep, int64_t rows, int64_t n) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * n > PFK_WORTH_THREADS / 4)
    for (int64_t r = 0; r < rows; r++) {
        pf_real *row = x + r * n, m = PFK(max)(row, n);
        m = max[r] > m ? max[r] : m;
        double left = max[r] < m ? exp((double)max[r] - (double)m) : 1;
        sum[r] = sum[r] * left + PFK(exp_sum)(row, row, m, 1, n);
        keep[r] = (pf_real)left;
        max[r] = m;
    }
}

static PFK_CLONES void softmax_exp(pf_real *x, pf_real shift, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = pfk_exp(x[i] - shift);
}

void PFK(exp_rows)(int threads, pf_real *x, const pf_real *shift, int64_t rows, int64_t n) {
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * n > PFK_WORTH_THREADS / 4)
    for (int64_t r = 0; r < rows; r++) softmax_exp(x + r * n, shift[r], n);
}
