/* Optimiser updates and the gradient norm, element by element. */
#include "kernel/fast.h"

#include <stdlib.h>

/* sums and the like that advance together, so that they are vector code */
enum { OPTIM_LANES = 16 };

/* what all elements share */
typedef struct optim_adamw {
    pf_real keep, scale, eps, b1, c1, b2, c2, rate, root;
} optim_adamw;

static PFK_CLONES void optim_adamw_block(const optim_adamw *o, pf_real *w, pf_real *m, pf_real *v, const pf_real *g,
                                         int64_t n) {
    for (int64_t i = 0; o->keep != 1 && i < n; i++) w[i] *= o->keep;
    for (int64_t i = 0; i < n; i++) {
        pf_real d = g[i] * o->scale;
        m[i] = o->b1 * m[i] + o->c1 * d;
        v[i] = o->b2 * v[i] + o->c2 * d * d;
        w[i] -= o->rate * m[i] / (pfr_sqrt(v[i]) / o->root + o->eps);
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

/* Numbers fall into places by the size's exponent and seven bits of its fraction, what is below 2^-24 into the first,
 * what is above 1 into the last: none has more than one of the codes' middles. */
enum { OPTIM_PLACES = 24 * 128 + 1, OPTIM_FIRST = (127 - 24) * 128 };

/* What the codes stand for, in ascending order: of every power of ten from 10^-6 to 1, twice as many values as of the
 * one before, evenly spread; 0; and 1. middle: between a value and the next. least: the first code that a number of a
 * place may get, of the others and then of negative ones. */
typedef struct optim_map {
    pf_real value[PFK_CODES], middle[PFK_CODES];
    int32_t least[2 * OPTIM_PLACES];
} optim_map;

static int optim_place(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const int at = (int)((bits & 0x7fffffff) >> 16) - OPTIM_FIRST;
    return at < 0 ? 0 : at < OPTIM_PLACES ? at : OPTIM_PLACES - 1;
}

/* where a place begins */
static float optim_start(int place) {
    const uint32_t bits = (uint32_t)(place + OPTIM_FIRST) << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return place ? x : 0;
}

/* the code whose value is nearest to x */
static int optim_nearest(const optim_map *map, pf_real x) {
    int c = 0;
    for (int step = PFK_CODES / 2; step; step /= 2) c += x > map->middle[c + step - 1] ? step : 0;
    return c;
}

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
    map->middle[PFK_CODES - 1] = (pf_real)HUGE_VAL;
    for (int p = 0; p < OPTIM_PLACES; p++) {
        map->least[p] = optim_nearest(map, (pf_real)optim_start(p));
        map->least[OPTIM_PLACES + p] = optim_nearest(map, (pf_real)-optim_start(p + 1));
    }
}

static PFK_CLONES void optim_widen(const optim_map *restrict map, pf_real *restrict x, const uint8_t *restrict code,
                                   float scale, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = map->value[code[i]] * (pf_real)scale;
}

static PFK_CLONES pf_real optim_largest(const pf_real *x, int64_t n) {
    pf_real most[OPTIM_LANES] = {0};
    for (int64_t at = 0; at < n; at += OPTIM_LANES)
        for (int64_t k = 0; k < (n - at < OPTIM_LANES ? n - at : OPTIM_LANES); k++) {
            const pf_real size = x[at + k] < 0 ? -x[at + k] : x[at + k];
            most[k] = size > most[k] ? size : most[k];
        }
    for (int k = 1; k < OPTIM_LANES; k++) most[0] = most[k] > most[0] ? most[k] : most[0];
    return most[0];
}

/* x / scale to the nearest values; scale: the largest of |x|. least: a code that what is not 0 gets at least */
static PFK_CLONES void optim_narrow(const optim_map *restrict map, uint8_t *restrict code, float *scale,
                                    const pf_real *restrict x, int64_t n, int least) {
    const float most = (float)optim_largest(x, n);
    const pf_real inverse = most > 0 ? 1 / (pf_real)most : 0;
    *scale = most;
    for (int64_t i = 0; i < n; i++) {
        const float y = (float)(x[i] * inverse);
        int32_t c = map->least[optim_place(y) + (y < 0 ? OPTIM_PLACES : 0)];
        c += (pf_real)y > map->middle[c] ? 1 : 0;
        c = x[i] != 0 && c < least ? least : c;
        code[i] = (uint8_t)c;
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

static PFK_CLONES double optim_squares(const pf_real *x, int64_t n) {
    double sum[OPTIM_LANES] = {0};
    for (int64_t at = 0; at < n; at += OPTIM_LANES)
        for (int64_t k = 0; k < (n - at < OPTIM_LANES ? n - at : OPTIM_LANES); k++)
            sum[k] += (double)x[at + k] * (double)x[at + k];
    for (int k = 1; k < OPTIM_LANES; k++) sum[0] += sum[k];
    return sum[0];
}

double PFK(sum_squares)(int threads, const pf_real *x, int64_t n, double *block) {
    const int64_t blocks = (n + PFK_BLOCK - 1) / PFK_BLOCK;
#pragma omp parallel for num_threads(threads) schedule(static) if (n > PFK_WORTH_THREADS)
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t from = b * PFK_BLOCK, left = n - from;
        block[b] = optim_squares(x + from, left < PFK_BLOCK ? left : PFK_BLOCK);
    }
    double total = 0;
    for (int64_t b = 0; b < blocks; b++) total += block[b];
    return total;
}
