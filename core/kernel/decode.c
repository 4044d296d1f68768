/* Kernels of sampling, for few rows: each is computed the same way whatever stands beside it. Weights are read as they
 * are stored. One source for several sets of vector instructions, chosen at run time. */
#ifdef _OPENMP
#include <omp.h>
#endif
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "kernel/stored.h"

enum { DECODE_PANEL = 24, DECODE_TILE = 24, DECODE_TASKS = 16 };

#define DECODE_INLINE static inline __attribute__((always_inline))

typedef float decode_four __attribute__((vector_size(16)));
typedef float decode_eight __attribute__((vector_size(32)));

DECODE_INLINE const void *decode_at(const void *w, int64_t at, bool bf16) {
    return (const char *)w + at * (bf16 ? 2 : 4);
}

DECODE_INLINE float decode_one(const void *w, int64_t at, bool bf16) {
    return bf16 ? pfi_bf16_to_f32(((const uint16_t *)w)[at]) : ((const float *)w)[at];
}

/* ---- sets of vector instructions ---- */

#define DECODE(name) decode_##name##_plain
#define DECODE_LANES 4
#ifdef __aarch64__
#define DECODE_MANY 1
#else
#define DECODE_MANY 0
#endif
#include "kernel/decode_set.h"

#if defined(__x86_64__) && !defined(__clang__)
#define DECODE_X86 1

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define DECODE(name) decode_##name##_avx2
#define DECODE_LANES 8
#define DECODE_MANY  0
#include "kernel/decode_set.h"
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#define DECODE(name) decode_##name##_avx512
#define DECODE_LANES 16
#define DECODE_MANY  1
#include "kernel/decode_set.h"
#pragma GCC pop_options
#else
#define DECODE_X86 0
#endif

typedef struct decode_set {
    void (*product)(float *y, int64_t out, const float *x, int64_t in, const void *w, int64_t stride, bool bf16,
                    int64_t rows, int64_t n);
    void (*mixture)(float *y, int64_t D, const float *p, int64_t apart, const float *v, int64_t stride, int64_t rows,
                    int64_t n);
} decode_set;

static const decode_set decode_sets[] = {
    {decode_product_plain, decode_mixture_plain},
#if DECODE_X86
    {decode_product_avx2, decode_mixture_avx2},
    {decode_product_avx512, decode_mixture_avx512},
#endif
};

int pfk_decode_sets(void) {
#if DECODE_X86
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return 3;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 2;
#endif
    return 1;
}

static const decode_set *decode_choice(int set) { return &decode_sets[(set > 0 ? set : pfk_decode_sets()) - 1]; }

static int decode_thread(void) {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

/* ---- products ---- */

static bool decode_reads(pf_dtype type) { return type == PF_F32 || type == PF_BF16; }

size_t pfk_linear_rows_scratch(int threads, pf_dtype type, int64_t in) {
    return decode_reads(type) ? 0 : (size_t)(threads * DECODE_PANEL * in) * sizeof(float);
}

void pfk_linear_rows(int set, int threads, float *y, const float *x, pf_dtype type, const void *w, int64_t rows,
                     int64_t out, int64_t in, float *scratch) {
    const int64_t panels = (out + DECODE_PANEL - 1) / DECODE_PANEL, each = (panels + DECODE_TASKS - 1) / DECODE_TASKS;
    const decode_set *use = decode_choice(set);
#pragma omp parallel for num_threads(threads) schedule(dynamic, each) if (rows * out * in > 8 * PFK_WORTH_THREADS)
    for (int64_t p = 0; p < panels; p++) {
        const int64_t from = p * DECODE_PANEL, n = out - from < DECODE_PANEL ? out - from : DECODE_PANEL;
        const void *panel = linear_at(type, w, in, from);
        if (!decode_reads(type)) {
            float *wide = scratch + decode_thread() * DECODE_PANEL * in;
            pfk_widen_f32(type, panel, wide, n * in);
            panel = wide;
        }
        use->product(y + from, out, x, in, panel, in, type == PF_BF16, rows, n);
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
static void decode_row(const decode_set *use, float *o, const float *q, const float *k, const float *v,
                       const int32_t *list, int64_t len, const pfk_attention_f32 *a, float *s) {
    const int64_t heads = a->H / a->G, stride = a->G * a->D, D = a->D;
    for (int64_t i = 0, n; i < len; i += n) {
        n = decode_run(list, len, i);
        use->product(s + i, len, q, D, k + list[i] * stride, stride, false, heads, n);
    }
    for (int64_t h = 0; h < heads; h++) decode_softmax(s + h * len, len, a->scale, a->cap);
    memset(o, 0, (size_t)(heads * D) * sizeof *o);
    for (int64_t i = 0, n; i < len; i += n) {
        n = decode_run(list, len, i);
        use->mixture(o, D, s + i, len, v + list[i] * stride, stride, heads, n);
    }
}

void pfk_attention_rows(int set, float *o, const float *q, const float *k, const float *v, const int32_t *const *list,
                        const int64_t *len, const pfk_attention_f32 *a, float *scratch) {
    const int64_t heads = a->H / a->G, work = a->T * a->H * a->longest * a->D;
    const decode_set *use = decode_choice(set);
#pragma omp parallel for num_threads(a->threads) schedule(dynamic, 1) if (work > 8 * PFK_WORTH_THREADS)
    for (int64_t t = 0; t < a->T * a->G; t++) {
        const int64_t r = t / a->G, g = t % a->G, at = (r * a->H + g * heads) * a->D;
        const int64_t skip = a->window > 0 && len[r] > a->window ? len[r] - a->window : 0;
        decode_row(use, o + at, q + at, k + g * a->D, v + g * a->D, list[r] + skip, len[r] - skip, a,
                   scratch + decode_thread() * heads * a->longest);
    }
}
