/* Products in vectors: one source for several sets of instructions, chosen at run time. */
#include "kernel/vector.h"

#include <string.h>

#include "base/half.h"
#include "kernel/kernel.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* most accumulators of a tile; bytes ahead that are asked for (measured: twice the speed where weights come from
 * memory, and what the processor foresees by itself is not enough) */
enum { VECTOR_TILE = 24, VECTOR_AHEAD = 8192 };

/* hold a vector that is used several times in a register: GCC would load it for each use */
#if defined(__x86_64__)
#define VECTOR_KEEP(v) __asm__("" : "+v"(v))
#elif defined(__aarch64__)
#define VECTOR_KEEP(v) __asm__("" : "+w"(v))
#else
#define VECTOR_KEEP(v)
#endif

#define VECTOR_INLINE static inline __attribute__((always_inline))

VECTOR_INLINE const void *vector_at(const void *w, int64_t at, pf_dtype type) {
    return (const char *)w + at * (type == PF_F32 ? 4 : 2);
}

/* values ahead that are asked for: whole rows of ld */
VECTOR_INLINE int64_t vector_ahead(int64_t ld, pf_dtype type) {
    return (VECTOR_AHEAD / (type == PF_F32 ? 4 : 2) / ld + 1) * ld;
}

VECTOR_INLINE float vector_one(const void *w, int64_t at, pf_dtype type) {
    if (type == PF_F32) return ((const float *)w)[at];
    const uint16_t h = ((const uint16_t *)w)[at];
    return type == PF_F16 ? pfi_f16_to_f32(h) : pfi_bf16_to_f32(h);
}

/* ---- sets of vector instructions ---- */

#define V(name)         vector_##name##_plain
#define VECTOR_LANES    4
#define VECTOR_WIDEN(h) __builtin_convertvector(h, V(word))
#define VECTOR_HALF(h)                                                                                                 \
    ((V(vec)){pfi_f16_to_f32(h[0]), pfi_f16_to_f32(h[1]), pfi_f16_to_f32(h[2]), pfi_f16_to_f32(h[3])})
#ifdef __aarch64__
#define VECTOR_MANY 1
#else
#define VECTOR_MANY 0
#endif
#include "kernel/vector_set.h"

#if defined(__x86_64__) && !defined(__clang__)
#define VECTOR_X86 1

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#define V(name)         vector_##name##_avx2
#define VECTOR_LANES    8
#define VECTOR_WIDEN(h) _mm256_cvtepu16_epi32((__m128i)h) /* __builtin_convertvector makes halves of it */
#define VECTOR_HALF(h)  _mm256_cvtph_ps((__m128i)h)
#define VECTOR_MANY     0
#include "kernel/vector_set.h"
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#define V(name)         vector_##name##_avx512
#define VECTOR_LANES    16
#define VECTOR_WIDEN(h) _mm512_cvtepu16_epi32((__m256i)h)
#define VECTOR_HALF(h)  _mm512_cvtph_ps((__m256i)h)
#define VECTOR_MANY     1
#include "kernel/vector_set.h"
#pragma GCC pop_options

/* ---- bfloat16 times bfloat16, added up in floats: twice the products an instruction ---- */

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")

enum { VECTOR_PAIRS = 32 }; /* bfloat16 in a vector */

static void vector_narrow(uint16_t *y, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i += 16) {
        const __mmask16 some = (__mmask16)(n - i < 16 ? (1u << (n - i)) - 1 : 0xffff);
        const __m256bh h = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(some, x + i));
        _mm256_mask_storeu_epi16(y + i, some, (__m256i)h);
    }
}

VECTOR_INLINE __m512bh vector_pairs(const uint16_t *p, __mmask32 some) {
    return (__m512bh)_mm512_maskz_loadu_epi16(some, p);
}

VECTOR_INLINE void vector_tile_bf16(float *y, int64_t ldy, const uint16_t *x, int64_t ldx, int64_t in,
                                    const uint16_t *w, int64_t ldw, const int R, const int O) {
    vector_vec_avx512 sum[VECTOR_TILE];
    __m512bh wide[VECTOR_TILE];
    const int64_t ahead = vector_ahead(ldw, PF_BF16);
#pragma GCC unroll 32
    for (int i = 0; i < R * O; i++) sum[i] = (vector_vec_avx512){0};
    for (int64_t k = 0; k < in; k += VECTOR_PAIRS) {
        const __mmask32 some = in - k < VECTOR_PAIRS ? (1u << (in - k)) - 1 : 0xffffffffu;
#pragma GCC unroll 32
        for (int o = 0; o < O; o++) {
            __builtin_prefetch(w + ahead + o * ldw + k);
            wide[o] = vector_pairs(w + o * ldw + k, some);
        }
#pragma GCC unroll 32
        for (int r = 0; r < R; r++) {
            __m512bh row = vector_pairs(x + r * ldx + k, some);
            VECTOR_KEEP(row);
#pragma GCC unroll 32
            for (int o = 0; o < O; o++) sum[r * O + o] = _mm512_dpbf16_ps(sum[r * O + o], row, wide[o]);
        }
    }
    vector_store_sums_avx512(y, ldy, sum, R, O);
}

VECTOR_INLINE void vector_strip_bf16(float *y, int64_t ldy, const uint16_t *x, int64_t ldx, int64_t in,
                                     const uint16_t *w, int64_t ldw, int64_t n, const int R, const int O) {
    int64_t o = 0;
    for (; o + O <= n; o += O) vector_tile_bf16(y + o, ldy, x, ldx, in, w + o * ldw, ldw, R, O);
    for (; o < n; o++) vector_tile_bf16(y + o, ldy, x, ldx, in, w + o * ldw, ldw, R, 1);
}

static void vector_product_bf16(float *y, int64_t ldy, const uint16_t *x, int64_t ldx, int64_t in, const uint16_t *w,
                                int64_t ldw, int64_t rows, int64_t n) {
    int64_t r = 0;
#define VECTOR_STRIPS(R, O)                                                                                            \
    for (; r + R <= rows; r += R) vector_strip_bf16(y + r * ldy, ldy, x + r * ldx, ldx, in, w, ldw, n, R, O)
    VECTOR_STRIPS(8, 3);
    VECTOR_STRIPS(4, 6);
    VECTOR_STRIPS(2, 8);
    VECTOR_STRIPS(1, 8);
#undef VECTOR_STRIPS
}
#pragma GCC pop_options
#else
#define VECTOR_X86 0
#endif

static const pfk_vector vector_sets[] = {
    {vector_product_plain, vector_mixture_plain, NULL, NULL},
#if VECTOR_X86
    {vector_product_avx2, vector_mixture_avx2, NULL, NULL},
    {vector_product_avx512, vector_mixture_avx512, NULL, NULL},
    {vector_product_avx512, vector_mixture_avx512, vector_narrow, vector_product_bf16},
#endif
};

int pfk_vector_sets(void) {
#if VECTOR_X86
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return __builtin_cpu_supports("avx512bf16") ? 4 : 3;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) return 2;
#endif
    return 1;
}

const pfk_vector *pfk_vector_set(int set) { return &vector_sets[(set > 0 ? set : pfk_vector_sets()) - 1]; }
