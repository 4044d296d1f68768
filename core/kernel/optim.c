/* Optimiser updates and the gradient norm, element by element. */
#include "kernel/real.h"

void PFK(adamw)(int threads, pf_real *w, pf_real *m, pf_real *v, const pf_real *g, int64_t n, double grad_scale,
                double lr, double beta1, double beta2, double eps, double weight_decay, int64_t step) {
    const pf_real keep = (pf_real)(1 - lr * weight_decay), s = (pf_real)grad_scale, e = (pf_real)eps;
    const pf_real b1 = (pf_real)beta1, c1 = (pf_real)(1 - beta1), b2 = (pf_real)beta2, c2 = (pf_real)(1 - beta2);
    const pf_real rate = (pf_real)(lr / (1 - pow(beta1, (double)step)));
    const pf_real root = (pf_real)sqrt(1 - pow(beta2, (double)step));
#pragma omp parallel for num_threads(threads) schedule(static) if (n > PFK_WORTH_THREADS)
    for (int64_t i = 0; i < n; i++) {
        pf_real d = g[i] * s;
        m[i] = b1 * m[i] + c1 * d;
        v[i] = b2 * v[i] + c2 * d * d;
        w[i] = w[i] * keep - rate * m[i] / (pfr_sqrt(v[i]) / root + e);
    }
}

void PFK(sgd)(int threads, pf_real *w, pf_real *m, const pf_real *g, int64_t n, double grad_scale, double lr,
              double momentum, double weight_decay) {
    const pf_real s = (pf_real)grad_scale, rate = (pf_real)lr, mu = (pf_real)momentum, wd = (pf_real)weight_decay;
#pragma omp parallel for num_threads(threads) schedule(static) if (n > PFK_WORTH_THREADS)
    for (int64_t i = 0; i < n; i++) {
        pf_real d = g[i] * s + wd * w[i];
        if (m) d = m[i] = mu * m[i] + d;
        w[i] -= rate * d;
    }
}

double PFK(sum_squares)(int threads, const pf_real *x, int64_t n, double *block) {
    const int64_t blocks = (n + PFK_BLOCK - 1) / PFK_BLOCK;
#pragma omp parallel for num_threads(threads) schedule(static) if (n > PFK_WORTH_THREADS)
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t from = b * PFK_BLOCK, to = from + PFK_BLOCK < n ? from + PFK_BLOCK : n;
        double sum = 0;
        for (int64_t i = from; i < to; i++) sum += (double)x[i] * (double)x[i];
        block[b] = sum;
    }
    double total = 0;
    for (int64_t b = 0; b < blocks; b++) total += block[b];
    return total;
}
