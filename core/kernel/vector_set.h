/* Products for one set of vector instructions. Included once a set, so without a guard: V(name) is the name in that
 * set, VECTOR_LANES its floats in a vector, VECTOR_MANY whether it has 32 vector registers, VECTOR_WIDEN(h) the 16-bit
 * lanes of h as 32-bit ones. Internal. */

typedef float V(vec) __attribute__((vector_size(4 * VECTOR_LANES)));
typedef uint16_t V(half) __attribute__((vector_size(2 * VECTOR_LANES)));
typedef uint32_t V(word) __attribute__((vector_size(4 * VECTOR_LANES)));

/* ---- vectors ---- */

VECTOR_INLINE V(vec) V(load)(const float *p) {
    V(vec) v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* of bfloat16 (bf16) or float */
VECTOR_INLINE V(vec) V(load_w)(const void *w, int64_t at, bool bf16) {
    if (!bf16) return V(load)((const float *)w + at);
    V(half) h;
    memcpy(&h, (const uint16_t *)w + at, sizeof h);
    const V(word) u = (V(word))VECTOR_WIDEN(h) << 16;
    V(vec) v;
    memcpy(&v, &u, sizeof v);
    return v;
}

/* the first n, then zeros */
VECTOR_INLINE V(vec) V(load_some)(const void *w, int64_t at, int64_t n, bool bf16) {
    float few[VECTOR_LANES] = {0};
    for (int64_t i = 0; i < n; i++) few[i] = vector_one(w, at + i, bf16);
    return V(load)(few);
}

/* the sum of the lanes, halves upon halves */
VECTOR_INLINE float V(fold)(V(vec) v) {
#if VECTOR_LANES == 16
    const vector_eight e = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                           __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif VECTOR_LANES == 8
    const vector_eight e = v;
#endif
#if VECTOR_LANES > 4
    const vector_four f = __builtin_shufflevector(e, e, 0, 1, 2, 3) + __builtin_shufflevector(e, e, 4, 5, 6, 7);
#else
    const vector_four f = v;
#endif
    return (f[0] + f[2]) + (f[1] + f[3]);
}

/* ---- product: y[rows,n] = x[rows,in] w[n,in]^T, or added to it ---- */

/* R rows and O of w's, constants of the caller. A value is the sum of lanes that each add every VECTOR_LANES-th
 * product, and of the rest one by one. */
VECTOR_INLINE void V(tile)(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t in, const void *w, int64_t ldw,
                           bool bf16, bool add, const int R, const int O) {
    V(vec) sum[VECTOR_TILE], wide[VECTOR_TILE];
    int64_t k = 0;
#pragma GCC unroll 32
    for (int i = 0; i < R * O; i++) sum[i] = (V(vec)){0};
    for (; k + VECTOR_LANES <= in; k += VECTOR_LANES) {
#pragma GCC unroll 32
        for (int o = 0; o < O; o++) {
            __builtin_prefetch((const char *)vector_at(w, o * ldw + k, bf16) + VECTOR_AHEAD);
            wide[o] = V(load_w)(w, o * ldw + k, bf16);
        }
#pragma GCC unroll 32
        for (int r = 0; r < R; r++) {
            V(vec) row = V(load)(x + r * ldx + k);
            VECTOR_KEEP(row);
#pragma GCC unroll 32
            for (int o = 0; o < O; o++) sum[r * O + o] += row * wide[o];
        }
    }
    if (k < in) {
#pragma GCC unroll 32
        for (int o = 0; o < O; o++) wide[o] = V(load_some)(w, o * ldw + k, in - k, bf16);
#pragma GCC unroll 32
        for (int r = 0; r < R; r++) {
            const V(vec) row = V(load_some)(x, r * ldx + k, in - k, false);
#pragma GCC unroll 32
            for (int o = 0; o < O; o++) sum[r * O + o] += row * wide[o];
        }
    }
#pragma GCC unroll 32
    for (int i = 0; i < R * O; i++) {
        const float all = V(fold)(sum[i]);
        float *at = y + i / O * ldy + i % O;
        *at = add ? *at + all : all;
    }
}

/* R rows against all n, O at a time */
VECTOR_INLINE void V(strip)(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t in, const void *w, int64_t ldw,
                            bool bf16, bool add, int64_t n, const int R, const int O) {
    int64_t o = 0;
    for (; o + O <= n; o += O) V(tile)(y + o, ldy, x, ldx, in, vector_at(w, o * ldw, bf16), ldw, bf16, add, R, O);
    for (; o < n; o++) V(tile)(y + o, ldy, x, ldx, in, vector_at(w, o * ldw, bf16), ldw, bf16, add, R, 1);
}

VECTOR_INLINE void V(strips)(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t in, const void *w, int64_t ldw,
                             bool bf16, bool add, int64_t rows, int64_t n) {
    int64_t r = 0;
#define VECTOR_STRIPS(R, O)                                                                                            \
    for (; r + R <= rows; r += R) V(strip)(y + r * ldy, ldy, x + r * ldx, ldx, in, w, ldw, bf16, add, n, R, O)
#if VECTOR_MANY
    VECTOR_STRIPS(8, 3);
    VECTOR_STRIPS(4, 6);
#else
    VECTOR_STRIPS(4, 2);
#endif
    VECTOR_STRIPS(2, 4);
    VECTOR_STRIPS(1, 8);
#undef VECTOR_STRIPS
}

static void V(product)(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t in, const void *w, int64_t ldw,
                       bool bf16, bool add, int64_t rows, int64_t n) {
    if (bf16)
        V(strips)(y, ldy, x, ldx, in, w, ldw, true, add, rows, n);
    else
        V(strips)(y, ldy, x, ldx, in, w, ldw, false, add, rows, n);
}

/* ---- mixture: y[rows,D] = p[rows,n] v[n,D], or added to it ---- */

/* R rows and C vectors of v, constants of the caller; products are added in their order */
VECTOR_INLINE void V(blend)(float *y, int64_t ldy, const float *p, int64_t apart, int64_t next, const float *v,
                            int64_t ldv, int64_t n, bool add, const int R, const int C) {
    V(vec) sum[VECTOR_TILE], wide[VECTOR_TILE];
#pragma GCC unroll 32
    for (int i = 0; i < R * C; i++) sum[i] = add ? V(load)(y + i / C * ldy + i % C * VECTOR_LANES) : (V(vec)){0};
    for (int64_t k = 0; k < n; k++) {
#pragma GCC unroll 32
        for (int i = 0; i < C; i++) wide[i] = V(load)(v + k * ldv + i * VECTOR_LANES);
#pragma GCC unroll 32
        for (int i = 0; i < R * C; i++) sum[i] += p[i / C * apart + k * next] * wide[i % C];
    }
#pragma GCC unroll 32
    for (int i = 0; i < R * C; i++) memcpy(y + i / C * ldy + i % C * VECTOR_LANES, &sum[i], sizeof sum[i]);
}

/* R rows of all D, C vectors at a time */
VECTOR_INLINE void V(blends)(float *y, int64_t ldy, const float *p, int64_t apart, int64_t next, const float *v,
                             int64_t ldv, int64_t D, int64_t n, bool add, const int R, const int C) {
    int64_t d = 0;
    for (; d + C * VECTOR_LANES <= D; d += C * VECTOR_LANES)
        V(blend)(y + d, ldy, p, apart, next, v + d, ldv, n, add, R, C);
    for (; d + VECTOR_LANES <= D; d += VECTOR_LANES) V(blend)(y + d, ldy, p, apart, next, v + d, ldv, n, add, R, 1);
    for (int r = 0; d < D && r < R; r++) {
        V(vec) sum = add ? V(load_some)(y, r * ldy + d, D - d, false) : (V(vec)){0};
        for (int64_t k = 0; k < n; k++) sum += p[r * apart + k * next] * V(load_some)(v, k * ldv + d, D - d, false);
        memcpy(y + r * ldy + d, &sum, (size_t)(D - d) * sizeof *y);
    }
}

static void V(mixture)(float *y, int64_t ldy, const float *p, int64_t apart, int64_t next, const float *v, int64_t ldv,
                       int64_t D, int64_t n, bool add, int64_t rows) {
    int64_t r = 0;
#define VECTOR_BLENDS(R, C)                                                                                            \
    for (; r + R <= rows; r += R) V(blends)(y + r * ldy, ldy, p + r * apart, apart, next, v, ldv, D, n, add, R, C)
#if VECTOR_MANY
    VECTOR_BLENDS(8, 3);
#endif
    VECTOR_BLENDS(4, 3);
    VECTOR_BLENDS(2, 4);
    VECTOR_BLENDS(1, 4);
#undef VECTOR_BLENDS
}

#undef V
#undef VECTOR_LANES
#undef VECTOR_MANY
#undef VECTOR_WIDEN
