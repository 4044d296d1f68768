/* Products in vectors: one source for several sets of instructions, chosen at run time. */
#include "kernel/vector.h"

#include <string.h>

#include "base/half.h"
#include "kernel/kernel.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* most accumulators of a tile, and its most rows of x */
enum { VECTOR_TILE = 24, VECTOR_ROWS = 8 };

/* hold a vector that is used several times in a register: GCC would load it for each use */
#if defined(__x86_64__)
#define VECTOR_KEEP(v) __asm__("" : "+v"(v))
#elif defined(__aarch64__)
#define VECTOR_KEEP(v) __asm__("" : "+w"(v))
#else
#define VECTOR_KEEP(v)
#endif

#define VECTOR_INLINE static inline __attribute__((always_inline))
/* What is rare stays a function, and one: inlined or cloned it drives the sums of a tile out of their registers. */
#ifdef __clang__
#define VECTOR_APART __attribute__((noinline))
#else
#define VECTOR_APART __attribute__((noinline, noclone))
#endif

VECTOR_INLINE const void *vector_at(const void *w, int64_t at, pf_dtype type) {
    return (const char *)w + at * (type == PF_F32 ? 4 : 2);
}

/* y[step] = what x[in] has beyond whole steps, and zeros */
static VECTOR_APART void vector_end(void *y, const void *x, int64_t in, int64_t step, pf_dtype type) {
    const size_t size = type == PF_F32 ? 4 : 2;
    memset(y, 0, (size_t)step * size);
    memcpy(y, vector_at(x, in / step * step, type), (size_t)(in % step) * size);
}

/* What is read next, and asked for meanwhile: asked for at once it would wait for itself, and the processor alone does
 * not foresee it. Few strips of rows leave it to the first, many ask for a row of it now and then. */
typedef struct vector_ask {
    const void *next;  /* may be NULL */
    int64_t row, step; /* the next row to ask for, and from one to the next */
} vector_ask;

/* where to ask from while rows o..o+O of w are multiplied: what has been read, if there is nothing to ask for */
VECTOR_INLINE const void *vector_asked(vector_ask *a, const void *w, int64_t ldw, int64_t in, int64_t o, int O,
                                       pf_dtype type) {
    if (!a->next || a->row >= o + O) return vector_at(w, o * ldw, type);
    const void *from = vector_at(a->next, a->row * in, type);
    a->row += a->step;
    return from;
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

#define V(name)      vector_##name##_bf16
#define VECTOR_LANES 16
#define VECTOR_MANY  1
#define VECTOR_X     uint16_t
#define VECTOR_STEP  VECTOR_PAIRS
typedef vector_vec_avx512 vector_vec_bf16;
typedef __m512bh vector_part_bf16;

VECTOR_INLINE int vector_place_bf16(int i) { return vector_place_avx512(i); }
VECTOR_INLINE void vector_fold_bf16(float *out, vector_vec_avx512 *s, const int n) { vector_fold_avx512(out, s, n); }
VECTOR_INLINE __m512bh vector_load_x_bf16(const uint16_t *x) { return (__m512bh)_mm512_loadu_si512(x); }
VECTOR_INLINE __m512bh vector_load_w_bf16(const void *w, int64_t at, pf_dtype type) {
    (void)type;
    return vector_load_x_bf16((const uint16_t *)w + at);
}
VECTOR_INLINE vector_vec_avx512 vector_times_bf16(vector_vec_avx512 sum, __m512bh x, __m512bh w) {
    return _mm512_dpbf16_ps(sum, x, w);
}

#include "kernel/vector_product.h"

static void vector_product_bf16(float *y, int64_t ldy, const uint16_t *x, int64_t ldx, int64_t in, const uint16_t *w,
                                int64_t ldw, int64_t rows, int64_t n, const void *next) {
    vector_strips_bf16(y, ldy, x, ldx, in, w, ldw, PF_BF16, rows, n, next);
}
#undef V
#undef VECTOR_LANES
#undef VECTOR_MANY
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
