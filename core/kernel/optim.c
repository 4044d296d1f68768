/* Optimiser updates and the gradient norm, element by element. */
#include "kernel/fast.h"

/* what all elements share */
typedef struct optim_adamw {
    pf_real keep, scale, eps, b1, c1, b2, c2, rate, root;
} optim_adamw;

static PFK_CLONES void optim_adamw_block(const optim_adamw *o, pf_real *w, pf_real *m, pf_real *v, const pf_real *g,
                                         int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        pf_real d = g[i] * o->scale;
        m[i] = o->b1 * m[i] + o->c1 * d;
        v[i] = o->b2 * v[i] + o->c2 * d * d;
        w[i] = w[i] * o->keep - o->rate * m[i] / (pfr_sqrt(v[i]) / o->root + o->eps);
    }
}

void PFK(adamw)(int threads, pf_real *w, pf_real *m, pf_real *v, const pf_real *g, int64_t n, double grad_scale,
                double lr, double beta1, double beta2, double eps, double weight_decay, int64_t step) {
    const optim_adamw o = {.keep = (pf_real)(1 - lr * weight_decay),
                           .scale = (pf_real)grad_scale,
                           .eps = (pf_real)eps,
                           .b1 = (pf_real)beta1,
                           .c1 = (pf_real)(1 - beta1),
                           .b2 = (pf_real)beta2,
                           .c2 = (pf_real)(1 - beta2),
                           .rate = (pf_real)(lr / (1 - pow(beta1, (double)step))),
                           .root = (pf_real)sqrt(1 - pow(beta2, (double)step))};
#pragma omp parallel for num_threads(threads) schedule(static) if (n > PFK_WORTH_THREADS)
    for (int64_t at = 0; at < n; at += PFK_BLOCK)
        optim_adamw_block(&o, w + at, m + at, v + at, g + at, n - at < PFK_BLOCK ? n - at : PFK_BLOCK);
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
