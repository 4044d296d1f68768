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

typedef float vector_four __attribute__((vector_size(16)));
typedef float vector_eight __attribute__((vector_size(32)));

VECTOR_INLINE const void *vector_at(const void *w, int64_t at, bool bf16) {
    return (const char *)w + at * (bf16 ? 2 : 4);
}

VECTOR_INLINE float vector_one(const void *w, int64_t at, bool bf16) {
    return bf16 ? pfi_bf16_to_f32(((const uint16_t *)w)[at]) : ((const float *)w)[at];
}

/* ---- sets of vector instructions ---- */

#define V(name)         vector_##name##_plain
#define VECTOR_LANES    4
#define VECTOR_WIDEN(h) __builtin_convertvector(h, V(word))
#ifdef __aarch64__
#define VECTOR_MANY 1
#else
#define VECTOR_MANY 0
#endif
#include "kernel/vector_set.h"

#if defined(__x86_64__) && !defined(__clang__)
#define VECTOR_X86 1

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define V(name)         vector_##name##_avx2
#define VECTOR_LANES    8
#define VECTOR_WIDEN(h) _mm256_cvtepu16_epi32((__m128i)h) /* __builtin_convertvector makes halves of it */
#define VECTOR_MANY     0
#include "kernel/vector_set.h"
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#define V(name)         vector_##name##_avx512
#define VECTOR_LANES    16
#define VECTOR_WIDEN(h) _mm512_cvtepu16_epi32((__m256i)h)
#define VECTOR_MANY     1
#include "kernel/vector_set.h"
#pragma GCC pop_options
#else
#define VECTOR_X86 0
#endif

static const pfk_vector vector_sets[] = {
    {vector_product_plain, vector_mixture_plain},
#if VECTOR_X86
    {vector_product_avx2, vector_mixture_avx2},
    {vector_product_avx512, vector_mixture_avx512},
#endif
};

int pfk_vector_sets(void) {
#if VECTOR_X86
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return 3;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 2;
#endif
    return 1;
}

const pfk_vector *pfk_vector_set(int set) { return &vector_sets[(set > 0 ? set : pfk_vector_sets()) - 1]; }
