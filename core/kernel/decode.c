/* Kernels of sampling, for few rows: each is computed the same way whatever stands beside it. Weights are read as they
 * are stored. */
#include <math.h>
#include <string.h>

#include "kernel/stored.h"
#include "kernel/vector.h"

enum { DECODE_PANEL = 24, DECODE_TASKS = 4 };

/* ---- products ---- */

static bool decode_reads(pf_dtype type) { return type == PF_F32 || type == PF_BF16; }

size_t pfk_linear_rows_scratch(int threads, pf_dtype type, int64_t in) {
    return decode_reads(type) ? 0 : (size_t)(threads * DECODE_PANEL * in) * sizeof(float);
}

void pfk_linear_rows(int set, int threads, float *y, const float *x, pf_dtype type, const void *w, int64_t rows,
                     int64_t out, int64_t in, float *scratch) {
    const int64_t panels = (out + DECODE_PANEL - 1) / DECODE_PANEL, each = (panels + DECODE_TASKS - 1) / DECODE_TASKS;
    const pfk_vector *use = pfk_vector_set(set);
#pragma omp parallel for num_threads(threads) schedule(dynamic, each) if (rows * out * in > 8 * PFK_WORTH_THREADS)
    for (int64_t p = 0; p < panels; p++) {
        const int64_t from = p * DECODE_PANEL, n = out - from < DECODE_PANEL ? out - from : DECODE_PANEL;
        const void *panel = linear_at(type, w, in, from);
        if (!decode_reads(type)) {
            float *wide = scratch + pfk_thread() * DECODE_PANEL * in;
            pfk_widen_f32(type, panel, wide, n * in);
            panel = wide;
        }
        use->product(y + from, out, x, in, in, panel, in, type == PF_BF16, false, rows, n);
    }
}

/* ---- attention ---- */

/* how many places from list[at] follow one another */
static int64_t decode_run(const int32_t *list, int64_t len, int64_t at) {
    int64_t n = 1;
    while (at + n < len && list[at + n] == list[at] + n) n++;
    return n;
}

/* scores of one row's heads to probabilities */
static void decode_softmax(float *s, int64_t len, float scale, float cap) {
    for (int64_t i = 0; cap > 0 && i < len; i++) s[i] = cap * tanhf(scale * s[i] / cap);
    const double sum = pfk_exp_sum_f32(s, s, pfk_max_f32(s, len), cap > 0 ? 1 : scale, len);
    const float share = (float)(1 / sum);
    for (int64_t i = 0; i < len; i++) s[i] *= share;
}

/* the heads of one row that share keys and values k, v [places,D] stride apart; s: scratch [heads, len] */
static void decode_row(const pfk_vector *use, float *o, const float *q, const float *k, const float *v,
                       const int32_t *list, int64_t len, const pfk_attention_f32 *a, float *s) {
    const int64_t heads = a->H / a->G, stride = a->G * a->D, D = a->D;
    for (int64_t i = 0, n; i < len; i += n) {
        n = decode_run(list, len, i);
        use->product(s + i, len, q, D, D, k + list[i] * stride, stride, false, false, heads, n);
    }
    for (int64_t h = 0; h < heads; h++) decode_softmax(s + h * len, len, a->scale, a->cap);
    for (int64_t i = 0, n; i < len; i += n) {
        n = decode_run(list, len, i);
        use->mixture(o, D, s + i, len, 1, v + list[i] * stride, stride, D, n, i > 0, heads);
    }
}

void pfk_attention_rows(int set, float *o, const float *q, const float *k, const float *v, const int32_t *const *list,
                        const int64_t *len, const pfk_attention_f32 *a, float *scratch) {
    const int64_t heads = a->H / a->G, work = a->T * a->H * a->longest * a->D;
    const pfk_vector *use = pfk_vector_set(set);
#pragma omp parallel for num_threads(a->threads) schedule(dynamic, 1) if (work > 8 * PFK_WORTH_THREADS)
    for (int64_t t = 0; t < a->T * a->G; t++) {
        const int64_t r = t / a->G, g = t % a->G, at = (r * a->H + g * heads) * a->D;
        const int64_t skip = a->window > 0 && len[r] > a->window ? len[r] - a->window : 0;
        decode_row(use, o + at, q + at, k + g * a->D, v + g * a->D, list[r] + skip, len[r] - skip, a,
                   scratch + pfk_thread() * heads * a->longest);
    }
}
