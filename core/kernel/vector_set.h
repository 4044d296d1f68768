/* Products for one set of vector instructions. Included once a set, so without a guard: V(name) is the name in that
 * set, VECTOR_LANES its floats in a vector, VECTOR_MANY whether it has 32 vector registers, VECTOR_WIDEN(h) the 16-bit
 * lanes of h as 32-bit ones, VECTOR_HALF(h) the same of float16 as floats. Internal. */

typedef float V(vec) __attribute__((vector_size(4 * VECTOR_LANES)));
typedef uint16_t V(half) __attribute__((vector_size(2 * VECTOR_LANES)));
typedef uint32_t V(word) __attribute__((vector_size(4 * VECTOR_LANES)));

/* ---- vectors ---- */

VECTOR_INLINE V(vec) V(load)(const float *p) {
    V(vec) v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* of F32, F16 or BF16 */
VECTOR_INLINE V(vec) V(load_w)(const void *w, int64_t at, pf_dtype type) {
    if (type == PF_F32) return V(load)((const float *)w + at);
    V(half) h;
    memcpy(&h, (const uint16_t *)w + at, sizeof h);
    if (type == PF_F16) return VECTOR_HALF(h);
    const V(word) u = (V(word))VECTOR_WIDEN(h) << 16;
    V(vec) v;
    memcpy(&v, &u, sizeof v);
    return v;
}

/* the first n, then zeros. A function of its own: this is for the ends of rows, and long. */
static VECTOR_APART V(vec) V(load_some)(const void *w, int64_t at, int64_t n, pf_dtype type) {
    float few[VECTOR_LANES] = {0};
    for (int64_t i = 0; i < n; i++) few[i] = vector_one(w, at + i, type);
    return V(load)(few);
}

/* ---- sums of lanes ---- */

/* Lanes in blocks of h: the places in a and b together of those that stay, every other block of a and the others of b,
 * and of those that are added to them, from the other half of a pair of blocks. */
#define VECTOR_STAYS(h, l)    ((l) / (h) % 2 ? VECTOR_LANES + (l) : (l))
#define VECTOR_COMES(h, l)    ((l) / (h) % 2 ? VECTOR_LANES + (l) - (h) : (l) + (h))
#define VECTOR_FOUR(at, h, l) at(h, l), at(h, l + 1), at(h, l + 2), at(h, l + 3)
#if VECTOR_LANES == 16
#define VECTOR_ALL(at, h) VECTOR_FOUR(at, h, 0), VECTOR_FOUR(at, h, 4), VECTOR_FOUR(at, h, 8), VECTOR_FOUR(at, h, 12)
#elif VECTOR_LANES == 8
#define VECTOR_ALL(at, h) VECTOR_FOUR(at, h, 0), VECTOR_FOUR(at, h, 4)
#else
#define VECTOR_ALL(at, h) VECTOR_FOUR(at, h, 0)
#endif

/* pairs of blocks of h lanes become one block, a's the first of two, b's the second: one way over lanes and one mask */
#define VECTOR_JOIN(h)                                                                                                 \
    VECTOR_INLINE V(vec) V(join##h)(V(vec) a, V(vec) b) {                                                              \
        return __builtin_shufflevector(a, b, VECTOR_ALL(VECTOR_STAYS, h)) +                                            \
               __builtin_shufflevector(a, b, VECTOR_ALL(VECTOR_COMES, h));                                             \
    }
VECTOR_JOIN(1)
VECTOR_JOIN(2)
#if VECTOR_LANES > 4
VECTOR_JOIN(4)
#endif
#if VECTOR_LANES > 8
VECTOR_JOIN(8)
#endif

/* where fold leaves sum i: the bits of its lane come in the order of the levels */
VECTOR_INLINE int V(place)(int i) {
    int lane = 0;
    for (int bit = 1; bit < VECTOR_LANES; bit *= 2) lane = 2 * lane + (i & bit ? 1 : 0);
    return i / VECTOR_LANES * VECTOR_LANES + lane;
}

/* out[place(i)] = the sum of the lanes of s[i], halves upon halves; writes whole vectors. n is a constant of the caller
 */
VECTOR_INLINE void V(fold)(float *out, V(vec) * s, const int n) {
    int left = n;
#define VECTOR_LEVEL(h)                                                                                                \
    _Pragma("GCC unroll 32") for (int i = 0; i < (left + 1) / 2; i++) s[i] =                                           \
        V(join##h)(s[2 * i], s[2 * i + 1 < left ? 2 * i + 1 : 2 * i]);                                                 \
    left = (left + 1) / 2
#if VECTOR_LANES > 8
    VECTOR_LEVEL(8);
#endif
#if VECTOR_LANES > 4
    VECTOR_LEVEL(4);
#endif
    VECTOR_LEVEL(2);
    VECTOR_LEVEL(1);
#undef VECTOR_LEVEL
    memcpy(out, s, (size_t)left * sizeof *s);
}

#undef VECTOR_JOIN
#undef VECTOR_ALL
#undef VECTOR_FOUR
#undef VECTOR_COMES
#undef VECTOR_STAYS

/* ---- products ---- */

/* in vectors of floats, w widened as it is read */
#define VECTOR_X    float
#define VECTOR_STEP VECTOR_LANES
typedef V(vec) V(part);

VECTOR_INLINE V(part) V(load_x)(const float *x) { return V(load)(x); }
VECTOR_INLINE V(vec) V(times)(V(vec) sum, V(part) x, V(part) w) { return sum + x * w; }

#include "kernel/vector_product.h"

static void V(product)(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t in, const void *w, int64_t ldw,
                       pf_dtype type, int64_t rows, int64_t n, const void *next) {
    if (type == PF_BF16)
        V(strips)(y, ldy, x, ldx, in, w, ldw, PF_BF16, rows, n, next);
    else if (type == PF_F16)
        V(strips)(y, ldy, x, ldx, in, w, ldw, PF_F16, rows, n, next);
    else
        V(strips)(y, ldy, x, ldx, in, w, ldw, PF_F32, rows, n, next);
}

/* ---- mixture: y[rows,D] = p[rows,n] v[n,D], or added to it ---- */

/* R rows and C vectors of v, constants of the caller; products are added in their order */
VECTOR_INLINE void V(blend)(float *y, int64_t ldy, const float *p, int64_t ldp, const void *v, int64_t ldv,
                            pf_dtype type, int64_t n, bool add, const void *ask, const int R, const int C) {
    V(vec) sum[VECTOR_TILE], wide[VECTOR_TILE];
#pragma GCC unroll 32
    for (int i = 0; i < R * C; i++) sum[i] = add ? V(load)(y + i / C * ldy + i % C * VECTOR_LANES) : (V(vec)){0};
    for (int64_t k = 0; k < n; k++) {
#pragma GCC unroll 32
        for (int i = 0; i < C; i++) __builtin_prefetch(vector_at(ask, (k * C + i) * VECTOR_LANES, type));
#pragma GCC unroll 32
        for (int i = 0; i < C; i++) wide[i] = V(load_w)(v, k * ldv + i * VECTOR_LANES, type);
#pragma GCC unroll 32
        for (int i = 0; i < R * C; i++) sum[i] += p[i / C * ldp + k] * wide[i % C];
    }
#pragma GCC unroll 32
    for (int i = 0; i < R * C; i++) memcpy(y + i / C * ldy + i % C * VECTOR_LANES, &sum[i], sizeof sum[i]);
}

/* R rows of all D, C vectors at a time */
VECTOR_INLINE void V(blends)(float *y, int64_t ldy, const float *p, int64_t ldp, const void *v, int64_t ldv,
                             pf_dtype type, int64_t D, int64_t n, bool add, const void *next, const int R,
                             const int C) {
    int64_t d = 0;
#define VECTOR_COLS(C)                                                                                                 \
    for (; d + C * VECTOR_LANES <= D; d += C * VECTOR_LANES)                                                           \
    V(blend)(y + d, ldy, p, ldp, vector_at(v, d, type), ldv, type, n, add, vector_at(next, n * d, type), R, C)
    VECTOR_COLS(C);
    VECTOR_COLS(1);
#undef VECTOR_COLS
    for (int r = 0; d < D && r < R; r++) {
        V(vec) sum = add ? V(load_some)(y, r * ldy + d, D - d, PF_F32) : (V(vec)){0};
        for (int64_t k = 0; k < n; k++) sum += p[r * ldp + k] * V(load_some)(v, k * ldv + d, D - d, type);
        memcpy(y + r * ldy + d, &sum, (size_t)(D - d) * sizeof *y);
    }
}

VECTOR_INLINE void V(blend_rows)(float *y, int64_t ldy, const float *p, int64_t ldp, const void *v, int64_t ldv,
                                 pf_dtype type, int64_t D, int64_t n, bool add, int64_t rows, const void *next) {
    int64_t r = 0;
#define VECTOR_BLENDS(R, C)                                                                                            \
    for (; r + R <= rows; r += R)                                                                                      \
    V(blends)(y + r * ldy, ldy, p + r * ldp, ldp, v, ldv, type, D, n, add, next && r == 0 ? next : v, R, C)
#if VECTOR_MANY
    VECTOR_BLENDS(8, 3);
#endif
    VECTOR_BLENDS(4, 3);
    VECTOR_BLENDS(3, 4);
    VECTOR_BLENDS(2, 4);
    VECTOR_BLENDS(1, 4);
#undef VECTOR_BLENDS
}

static void V(mixture)(float *y, int64_t ldy, const float *p, int64_t ldp, const void *v, int64_t ldv, pf_dtype type,
                       int64_t D, int64_t n, bool add, int64_t rows, const void *next) {
    if (type == PF_F16)
        V(blend_rows)(y, ldy, p, ldp, v, ldv, PF_F16, D, n, add, rows, next);
    else
        V(blend_rows)(y, ldy, p, ldp, v, ldv, PF_F32, D, n, add, rows, next);
}

#undef V
#undef VECTOR_LANES
#undef VECTOR_MANY
#undef VECTOR_WIDEN
#undef VECTOR_HALF
