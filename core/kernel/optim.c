/* Optimiser updates and the gradient norm, element by element. */
#include "kernel/fast.h"

#include <stdlib.h>

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

static optim_adamw optim_adamw_of(double grad_scale, double lr, double beta1, double beta2, double eps,
                                  double weight_decay, int64_t step) {
    return (optim_adamw){.keep = (pf_real)(1 - lr * weight_decay),
                         .scale = (pf_real)grad_scale,
                         .eps = (pf_real)eps,
                         .b1 = (pf_real)beta1,
                         .c1 = (pf_real)(1 - beta1),
                         .b2 = (pf_real)beta2,
                         .c2 = (pf_real)(1 - beta2),
                         .rate = (pf_real)(lr / (1 - pow(beta1, (double)step))),
                         .root = (pf_real)sqrt(1 - pow(beta2, (double)step))};
}

void PFK(adamw)(int threads, pf_real *w, pf_real *m, pf_real *v, const pf_real *g, int64_t n, double grad_scale,
                double lr, double beta1, double beta2, double eps, double weight_decay, int64_t step) {
    const optim_adamw o = optim_adamw_of(grad_scale, lr, beta1, beta2, eps, weight_decay, step);
#pragma omp parallel for num_threads(threads) schedule(static) if (n > PFK_WORTH_THREADS)
    for (int64_t at = 0; at < n; at += PFK_BLOCK)
        optim_adamw_block(&o, w + at, m + at, v + at, g + at, n - at < PFK_BLOCK ? n - at : PFK_BLOCK);
}

/* ---- moments of 8 bits ---- */

/* What the codes stand for, in ascending order: of every power of ten from 10^-6 to 1, twice as many values as of the
 * one before, evenly spread; 0; and 1. middle: between a value and the next. */
typedef struct optim_map {
    pf_real value[PFK_CODES], middle[PFK_CODES - 1];
} optim_map;

static int optim_order(const void *a, const void *b) {
    const pf_real x = *(const pf_real *)a, y = *(const pf_real *)b;
    return x < y ? -1 : x > y;
}

static void optim_map_make(optim_map *map, bool is_signed) {
    int n = 0;
    map->value[n++] = 0;
    map->value[n++] = 1;
    for (int i = 0; i < 7; i++) {
        const int items = is_signed ? 1 << i : 2 << i;
        for (int k = 0; k < items; k++) {
            const double x = pow(10, i - 6) * (0.1 + 0.9 * (k + 0.5) / items);
            map->value[n++] = (pf_real)x;
            if (is_signed) map->value[n++] = (pf_real)-x;
        }
    }
    qsort(map->value, PFK_CODES, sizeof *map->value, optim_order);
    for (int k = 0; k + 1 < PFK_CODES; k++) map->middle[k] = (map->value[k] + map->value[k + 1]) / 2;
}

static void optim_widen(const optim_map *map, pf_real *x, const uint8_t *code, float scale, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = map->value[code[i]] * (pf_real)scale;
}

/* x / scale to the nearest values; scale: the largest of |x|. least: a code that what is not 0 gets at least */
static void optim_narrow(const optim_map *map, uint8_t *code, float *scale, const pf_real *x, int64_t n, int least) {
    pf_real most = 0;
    for (int64_t i = 0; i < n; i++) most = x[i] > most ? x[i] : -x[i] > most ? -x[i] : most;
    *scale = (float)most;
    const pf_real inverse = *scale > 0 ? 1 / (pf_real)*scale : 0;
    for (int64_t i = 0; i < n; i++) {
        const pf_real y = x[i] * inverse;
        int c = 0;
        for (int step = PFK_CODES / 2; step; step /= 2) c += y > map->middle[c + step - 1] ? step : 0;
        code[i] = (uint8_t)(x[i] != 0 && c < least ? least : c);
    }
}

/* Of the second moment the root is coded: the codes reach as far down as those of the first then. One that became 0
 * beside a first that did not would make a step of any size: it stays above. */
void PFK(adamw8)(int threads, pf_real *w, uint8_t *m, float *m_scale, uint8_t *v, float *v_scale, const pf_real *g,
                 int64_t n, double grad_scale, double lr, double beta1, double beta2, double eps, double weight_decay,
                 int64_t step) {
    const optim_adamw o = optim_adamw_of(grad_scale, lr, beta1, beta2, eps, weight_decay, step);
    optim_map first, second;
    optim_map_make(&first, true);
    optim_map_make(&second, false);
#pragma omp parallel for num_threads(threads) schedule(static) if (n > PFK_WORTH_THREADS)
    for (int64_t b = 0; b < (n + PFK_CODES - 1) / PFK_CODES; b++) {
        const int64_t at = b * PFK_CODES, k = n - at < PFK_CODES ? n - at : PFK_CODES;
        pf_real x[PFK_CODES], y[PFK_CODES];
        optim_widen(&first, x, m + at, m_scale[b], k);
        optim_widen(&second, y, v + at, v_scale[b], k);
        for (int64_t i = 0; i < k; i++) y[i] *= y[i];
        optim_adamw_block(&o, w + at, x, y, g + at, k);
        for (int64_t i = 0; i < k; i++) y[i] = pfr_sqrt(y[i]);
        optim_narrow(&first, m + at, &m_scale[b], x, k, 0);
        optim_narrow(&second, v + at, &v_scale[b], y, k, 1);
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
