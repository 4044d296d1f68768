/* The product of sampling, for few rows: weights are read as they are stored, and a row is computed the same way
 * whatever stands beside it. One source for several sets of vector instructions, chosen at run time. */
#ifdef _OPENMP
#include <omp.h>
#endif
#include <string.h>

#include "base/half.h"
#include "kernel/stored.h"

enum { ROWS_PANEL = 24, ROWS_TILE = 24, ROWS_TASKS = 16 };

typedef float rows_four __attribute__((vector_size(16)));
typedef float rows_eight __attribute__((vector_size(32)));

static inline const void *rows_at(const void *w, int64_t at, bool bf16) {
    return (const char *)w + at * (bf16 ? 2 : 4);
}

static inline float rows_one(const void *w, int64_t at, bool bf16) {
    return bf16 ? pfi_bf16_to_f32(((const uint16_t *)w)[at]) : ((const float *)w)[at];
}

#define ROWS(name) rows_##name##_plain
#define ROWS_LANES 4
#ifdef __aarch64__
#define ROWS_MANY 1
#else
#define ROWS_MANY 0
#endif
#include "kernel/rows_tile.h"

#if defined(__x86_64__) && !defined(__clang__)
#define ROWS_SETS 3

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define ROWS(name) rows_##name##_avx2
#define ROWS_LANES 8
#define ROWS_MANY  0
#include "kernel/rows_tile.h"
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#define ROWS(name) rows_##name##_avx512
#define ROWS_LANES 16
#define ROWS_MANY  1
#include "kernel/rows_tile.h"
#pragma GCC pop_options
#else
#define ROWS_SETS 1
#endif

typedef void (*rows_panel)(float *y, int64_t out, const float *x, int64_t in, const void *w, bool bf16, int64_t rows,
                           int64_t n);

static const rows_panel rows_sets[] = {
    rows_panel_plain,
#if ROWS_SETS > 1
    rows_panel_avx2,
    rows_panel_avx512,
#endif
};

int pfk_linear_rows_sets(void) {
#if ROWS_SETS > 1
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return 3;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 2;
#endif
    return 1;
}

static int rows_thread(void) {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

static bool rows_direct(pf_dtype type) { return type == PF_F32 || type == PF_BF16; }

size_t pfk_linear_rows_scratch(int threads, pf_dtype type, int64_t in) {
    return rows_direct(type) ? 0 : (size_t)(threads * ROWS_PANEL * in) * sizeof(float);
}

void pfk_linear_rows(int set, int threads, float *y, const float *x, pf_dtype type, const void *w, int64_t rows,
                     int64_t out, int64_t in, float *scratch) {
    const int64_t panels = (out + ROWS_PANEL - 1) / ROWS_PANEL, each = (panels + ROWS_TASKS - 1) / ROWS_TASKS;
    const rows_panel product = rows_sets[(set > 0 ? set : pfk_linear_rows_sets()) - 1];
#pragma omp parallel for num_threads(threads) schedule(dynamic, each) if (rows * out * in > 8 * PFK_WORTH_THREADS)
    for (int64_t p = 0; p < panels; p++) {
        const int64_t from = p * ROWS_PANEL, n = out - from < ROWS_PANEL ? out - from : ROWS_PANEL;
        const void *panel = linear_at(type, w, in, from);
        if (!rows_direct(type)) {
            float *wide = scratch + rows_thread() * ROWS_PANEL * in;
            pfk_widen_f32(type, panel, wide, n * in);
            panel = wide;
        }
        product(y + from, out, x, in, panel, type == PF_BF16, rows, n);
    }
}
