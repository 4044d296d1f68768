/* Kernels of sampling, for few rows: each is computed the same way whatever stands beside it. Weights are read as they
 * are stored. */
#include <math.h>
#include <string.h>

#include "kernel/stored.h"
#include "kernel/vector.h"

enum { DECODE_PANEL = 24, DECODE_TASKS = 16 };

/* ---- products ---- */

static bool decode_reads(pf_dtype type) { return type == PF_F32 || type == PF_BF16 || type == PF_F16; }

static bool decode_narrows(const pfk_vector *use, pf_dtype compute, pf_dtype type) {
    return compute == PF_BF16 && type == PF_BF16 && use->product_bf16;
}

size_t pfk_linear_rows_scratch(int set, int threads, pf_dtype compute, pf_dtype type, int64_t rows, int64_t in) {
    if (decode_narrows(pfk_vector_set(set), compute, type)) return (size_t)(rows * in) * sizeof(uint16_t);
    return decode_reads(type) ? 0 : (size_t)(threads * DECODE_PANEL * in) * sizeof(float);
}

void pfk_linear_rows(int set, int threads, pf_dtype compute, float *y, const float *x, pf_dtype type, const void *w,
                     int64_t rows, int64_t out, int64_t in, void *scratch) {
    const int64_t panels = (out + DECODE_PANEL - 1) / DECODE_PANEL, each = (panels + DECODE_TASKS - 1) / DECODE_TASKS;
    const pfk_vector *use = pfk_vector_set(set);
    const bool narrow = decode_narrows(use, compute, type);
#pragma omp parallel num_threads(threads) if (rows * out * in > 8 * PFK_WORTH_THREADS)
    {
#pragma omp for
        for (int64_t r = 0; r < (narrow ? rows : 0); r++) use->narrow((uint16_t *)scratch + r * in, x + r * in, in);
#pragma omp for schedule(dynamic, each)
        for (int64_t p = 0; p < panels; p++) {
            const int64_t from = p * DECODE_PANEL, n = out - from < DECODE_PANEL ? out - from : DECODE_PANEL;
            const void *panel = linear_at(type, w, in, from);
            if (narrow) {
                use->product_bf16(y + from, out, scratch, in, in, panel, in, rows, n);
                continue;
            }
            if (!decode_reads(type)) {
                float *wide = (float *)scratch + pfk_thread() * DECODE_PANEL * in;
                pfk_widen_f32(type, panel, wide, n * in);
                panel = wide;
            }
            use->product(y + from, out, x, in, in, panel, in, decode_reads(type) ? type : PF_F32, rows, n);
        }
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

/* the heads of one row that share the keys and values of head g; s: scratch [heads, len] */
static void decode_row(const pfk_vector *use, float *o, const float *q, pf_dtype kv, const void *k, const void *v,
                       int64_t g, const int32_t *list, int64_t len, const pfk_attention_f32 *a, float *s) {
    const int64_t heads = a->H / a->G, stride = a->G * a->D, D = a->D;
    for (int64_t i = 0, n; i < len; i += n) {
        n = decode_run(list, len, i);
        use->product(s + i, len, q, D, D, linear_at(kv, k, D, list[i] * a->G + g), stride, kv, heads, n);
    }
    for (int64_t h = 0; h < heads; h++) decode_softmax(s + h * len, len, a->scale, a->cap);
    for (int64_t i = 0, n; i < len; i += n) {
        n = decode_run(list, len, i);
        use->mixture(o, D, s + i, len, 1, linear_at(kv, v, D, list[i] * a->G + g), stride, kv, D, n, i > 0, heads);
    }
}

void pfk_attention_rows(int set, float *o, const float *q, pf_dtype kv, const void *k, const void *v,
                        const int32_t *const *list, const int64_t *len, const pfk_attention_f32 *a, float *scratch) {
    const int64_t heads = a->H / a->G, work = a->T * a->H * a->longest * a->D;
    const pfk_vector *use = pfk_vector_set(set);
#pragma omp parallel for num_threads(a->threads) schedule(dynamic, 1) if (work > 8 * PFK_WORTH_THREADS)
    for (int64_t t = 0; t < a->T * a->G; t++) {
        const int64_t r = t / a->G, g = t % a->G, at = (r * a->H + g * heads) * a->D;
        const int64_t skip = a->window > 0 && len[r] > a->window ? len[r] - a->window : 0;
        decode_row(use, o + at, q + at, kv, k, v, g, list[r] + skip, len[r] - skip, a,
                   scratch + pfk_thread() * heads * a->longest);
    }
}
