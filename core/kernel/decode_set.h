/* Sampling's kernels for one set of vector instructions. Included once a set, so without a guard: DECODE(name) is the
 * name in that set, DECODE_LANES its floats in a vector, DECODE_MANY whether it has 32 vector registers. Internal. */

typedef float DECODE(vec) __attribute__((vector_size(4 * DECODE_LANES)));
typedef uint16_t DECODE(half) __attribute__((vector_size(2 * DECODE_LANES)));
typedef uint32_t DECODE(word) __attribute__((vector_size(4 * DECODE_LANES)));

/* ---- vectors ---- */

DECODE_INLINE DECODE(vec) DECODE(load)(const float *p) {
    DECODE(vec) v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* of bfloat16 (bf16) or float */
DECODE_INLINE DECODE(vec) DECODE(load_w)(const void *w, int64_t at, bool bf16) {
    if (!bf16) return DECODE(load)((const float *)w + at);
    DECODE(half) h;
    memcpy(&h, (const uint16_t *)w + at, sizeof h);
    const DECODE(word) u = __builtin_convertvector(h, DECODE(word)) << 16;
    DECODE(vec) v;
    memcpy(&v, &u, sizeof v);
    return v;
}

/* the sum of the lanes, halves upon halves */
DECODE_INLINE float DECODE(fold)(DECODE(vec) v) {
#if DECODE_LANES == 16
    const decode_eight e = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                           __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif DECODE_LANES == 8
    const decode_eight e = v;
#endif
#if DECODE_LANES > 4
    const decode_four f = __builtin_shufflevector(e, e, 0, 1, 2, 3) + __builtin_shufflevector(e, e, 4, 5, 6, 7);
#else
    const decode_four f = v;
#endif
    return (f[0] + f[2]) + (f[1] + f[3]);
}

/* ---- y[rows,n] (rows out apart) = x[rows,in] w[n,in]^T, w's rows stride apart ---- */

/* R rows and O of w's, constants of the caller. A value is the sum of lanes that each add every DECODE_LANES-th
 * product, and of the rest one by one. */
DECODE_INLINE void DECODE(tile)(float *y, int64_t out, const float *x, int64_t in, const void *w, int64_t stride,
                                bool bf16, const int R, const int O) {
    DECODE(vec) sum[DECODE_TILE], wide[DECODE_TILE];
    int64_t k = 0;
#pragma GCC unroll 32
    for (int i = 0; i < R * O; i++) sum[i] = (DECODE(vec)){0};
    for (; k + DECODE_LANES <= in; k += DECODE_LANES) {
#pragma GCC unroll 32
        for (int o = 0; o < O; o++) {
            __builtin_prefetch(decode_at(w, (o + 2 * O) * stride + k, bf16));
            wide[o] = DECODE(load_w)(w, o * stride + k, bf16);
        }
#pragma GCC unroll 32
        for (int r = 0; r < R; r++) {
            const DECODE(vec) row = DECODE(load)(x + r * in + k);
#pragma GCC unroll 32
            for (int o = 0; o < O; o++) sum[r * O + o] += row * wide[o];
        }
    }
#pragma GCC unroll 32
    for (int i = 0; i < R * O; i++) {
        float all = DECODE(fold)(sum[i]);
        for (int64_t j = k; j < in; j++) all += x[i / O * in + j] * decode_one(w, i % O * stride + j, bf16);
        y[i / O * out + i % O] = all;
    }
}

/* R rows against all n, O at a time */
DECODE_INLINE void DECODE(strip)(float *y, int64_t out, const float *x, int64_t in, const void *w, int64_t stride,
                                 bool bf16, int64_t n, const int R, const int O) {
    int64_t o = 0;
    for (; o + O <= n; o += O) DECODE(tile)(y + o, out, x, in, decode_at(w, o * stride, bf16), stride, bf16, R, O);
    for (; o < n; o++) DECODE(tile)(y + o, out, x, in, decode_at(w, o * stride, bf16), stride, bf16, R, 1);
}

DECODE_INLINE void DECODE(strips)(float *y, int64_t out, const float *x, int64_t in, const void *w, int64_t stride,
                                  bool bf16, int64_t rows, int64_t n) {
    int64_t r = 0;
#if DECODE_MANY
    for (; r + 8 <= rows; r += 8) DECODE(strip)(y + r * out, out, x + r * in, in, w, stride, bf16, n, 8, 3);
    for (; r + 4 <= rows; r += 4) DECODE(strip)(y + r * out, out, x + r * in, in, w, stride, bf16, n, 4, 6);
#else
    for (; r + 4 <= rows; r += 4) DECODE(strip)(y + r * out, out, x + r * in, in, w, stride, bf16, n, 4, 2);
#endif
    for (; r + 2 <= rows; r += 2) DECODE(strip)(y + r * out, out, x + r * in, in, w, stride, bf16, n, 2, 4);
    for (; r < rows; r++) DECODE(strip)(y + r * out, out, x + r * in, in, w, stride, bf16, n, 1, 8);
}

static void DECODE(product)(float *y, int64_t out, const float *x, int64_t in, const void *w, int64_t stride, bool bf16,
                            int64_t rows, int64_t n) {
    if (bf16)
        DECODE(strips)(y, out, x, in, w, stride, true, rows, n);
    else
        DECODE(strips)(y, out, x, in, w, stride, false, rows, n);
}

/* ---- y[rows,D] += p[rows,n] (rows apart) v[n,D], v's rows stride apart ---- */

/* R rows and V vectors of v, constants of the caller */
DECODE_INLINE void DECODE(blend)(float *y, int64_t D, const float *p, int64_t apart, const float *v, int64_t stride,
                                 int64_t n, const int R, const int V) {
    DECODE(vec) sum[DECODE_TILE], wide[DECODE_TILE];
#pragma GCC unroll 32
    for (int i = 0; i < R * V; i++) sum[i] = DECODE(load)(y + i / V * D + i % V * DECODE_LANES);
    for (int64_t k = 0; k < n; k++) {
#pragma GCC unroll 32
        for (int i = 0; i < V; i++) wide[i] = DECODE(load)(v + k * stride + i * DECODE_LANES);
#pragma GCC unroll 32
        for (int i = 0; i < R * V; i++) sum[i] += p[i / V * apart + k] * wide[i % V];
    }
#pragma GCC unroll 32
    for (int i = 0; i < R * V; i++) memcpy(y + i / V * D + i % V * DECODE_LANES, &sum[i], sizeof sum[i]);
}

DECODE_INLINE void DECODE(blends)(float *y, int64_t D, const float *p, int64_t apart, const float *v, int64_t stride,
                                  int64_t n, const int R) {
    enum { V = 4 };
    int64_t d = 0;
    for (; d + V * DECODE_LANES <= D; d += V * DECODE_LANES) DECODE(blend)(y + d, D, p, apart, v + d, stride, n, R, V);
    for (; d + DECODE_LANES <= D; d += DECODE_LANES) DECODE(blend)(y + d, D, p, apart, v + d, stride, n, R, 1);
    for (; d < D; d++)
        for (int r = 0; r < R; r++)
            for (int64_t k = 0; k < n; k++) y[r * D + d] += p[r * apart + k] * v[k * stride + d];
}

static void DECODE(mixture)(float *y, int64_t D, const float *p, int64_t apart, const float *v, int64_t stride,
                            int64_t rows, int64_t n) {
    int64_t r = 0;
#if DECODE_MANY
    for (; r + 4 <= rows; r += 4) DECODE(blends)(y + r * D, D, p + r * apart, apart, v, stride, n, 4);
    for (; r + 3 <= rows; r += 3) DECODE(blends)(y + r * D, D, p + r * apart, apart, v, stride, n, 3);
#endif
    for (; r + 2 <= rows; r += 2) DECODE(blends)(y + r * D, D, p + r * apart, apart, v, stride, n, 2);
    for (; r < rows; r++) DECODE(blends)(y + r * D, D, p + r * apart, apart, v, stride, n, 1);
}

#undef DECODE
#undef DECODE_LANES
#undef DECODE_MANY
