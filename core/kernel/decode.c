/* Attention of sampling: every row is computed the same way whatever stands beside it. */
#ifdef _OPENMP
#include <omp.h>
#endif

#include "kernel/fast.h"

static int decode_thread(void) {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

static PFK_CLONES pf_real decode_dot(const pf_real *a, const pf_real *b, int64_t n) {
    pf_real sum[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) sum[j] += a[i + j] * b[i + j];
    for (; i < n; i++) sum[0] += a[i] * b[i];
    for (int j = 8; j > 0; j /= 2)
        for (int k = 0; k < j; k++) sum[k] += sum[k + j];
    return sum[0];
}

static PFK_CLONES void decode_add(pf_real *y, const pf_real *x, pf_real scale, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += scale * x[i];
}

/* scores to probabilities in place */
static PFK_CLONES void decode_softmax(pf_real *s, int64_t n) {
    pf_real top = s[0];
    for (int64_t i = 1; i < n; i++) top = s[i] > top ? s[i] : top;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) s[i] = pfk_exp(s[i] - top);
    for (int64_t i = 0; i < n; i++) sum += (double)s[i];
    pf_real scale = (pf_real)(1 / sum);
    for (int64_t i = 0; i < n; i++) s[i] *= scale;
}

static void decode_row(pf_real *o, const pf_real *q, const pf_real *k, const pf_real *v, const int32_t *list,
                       int64_t len, const PFK(attention) * a, int64_t g, pf_real *s) {
    const int64_t group = a->H / a->G, G = a->G, D = a->D;
    for (int64_t i = 0; i < len; i++)
        for (int64_t h = 0; h < group; h++)
            s[h * len + i] = a->scale * decode_dot(q + h * D, k + (list[i] * G + g) * D, D);
    if (a->cap > 0)
        for (int64_t i = 0; i < group * len; i++) s[i] = a->cap * pfr_tanh(s[i] / a->cap);
    for (int64_t h = 0; h < group; h++) decode_softmax(s + h * len, len);
    memset(o, 0, (size_t)(group * D) * sizeof *o);
    for (int64_t i = 0; i < len; i++)
        for (int64_t h = 0; h < group; h++) decode_add(o + h * D, v + (list[i] * G + g) * D, s[h * len + i], D);
}

void PFK(attention_rows)(pf_real *o, const pf_real *q, const pf_real *k, const pf_real *v, const int32_t *const *list,
                         const int64_t *len, const PFK(attention) * a, pf_real *scratch) {
    const int64_t group = a->H / a->G, work = a->T * a->H * a->longest * a->D;
    const int threads = a->threads;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 4) if (work > PFK_WORTH_THREADS)
    for (int64_t t = 0; t < a->T * a->G; t++) {
        int64_t thread = decode_thread();
        int64_t r = t / a->G, g = t % a->G, at = (r * a->H + g * group) * a->D;
        int64_t skip = a->window > 0 && len[r] > a->window ? len[r] - a->window : 0;
        decode_row(o + at, q + at, k, v, list[r] + skip, len[r] - skip, a, g, scratch + thread * group * a->longest);
    }
}
