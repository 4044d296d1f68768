/* Products of a few rows for one set of vector instructions. Included once a set, so without a guard: ROWS(name) is the
 * name in that set, ROWS_LANES its floats in a vector, ROWS_MANY whether it has 32 vector registers. Internal. */

typedef float ROWS(vec) __attribute__((vector_size(4 * ROWS_LANES)));
typedef uint16_t ROWS(half) __attribute__((vector_size(2 * ROWS_LANES)));
typedef uint32_t ROWS(word) __attribute__((vector_size(4 * ROWS_LANES)));

static inline __attribute__((always_inline)) ROWS(vec) ROWS(load)(const float *p) {
    ROWS(vec) v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* a vector of w, which is bfloat16 (bf16) or float */
static inline __attribute__((always_inline)) ROWS(vec) ROWS(load_w)(const void *w, int64_t at, bool bf16) {
    if (!bf16) return ROWS(load)((const float *)w + at);
    ROWS(half) h;
    memcpy(&h, (const uint16_t *)w + at, sizeof h);
    const ROWS(word) u = __builtin_convertvector(h, ROWS(word)) << 16;
    ROWS(vec) v;
    memcpy(&v, &u, sizeof v);
    return v;
}

/* the sum of the lanes, halves upon halves */
static inline __attribute__((always_inline)) float ROWS(fold)(ROWS(vec) v) {
#if ROWS_LANES == 16
    const rows_eight e = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                         __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif ROWS_LANES == 8
    const rows_eight e = v;
#endif
#if ROWS_LANES > 4
    const rows_four f = __builtin_shufflevector(e, e, 0, 1, 2, 3) + __builtin_shufflevector(e, e, 4, 5, 6, 7);
#else
    const rows_four f = v;
#endif
    return (f[0] + f[2]) + (f[1] + f[3]);
}

/* y[R,O] (rows out apart) = x[R,in] w[O,in]^T. R and O are constants of the caller, R * O at most ROWS_TILE. A value is
 * the sum of lanes that each add every ROWS_LANES-th product, and of the rest one by one. */
static inline __attribute__((always_inline)) void ROWS(tile)(float *y, int64_t out, const float *x, int64_t in,
                                                             const void *w, bool bf16, const int R, const int O) {
    ROWS(vec) sum[ROWS_TILE], wide[ROWS_TILE];
    int64_t k = 0;
#pragma GCC unroll 32
    for (int i = 0; i < R * O; i++) sum[i] = (ROWS(vec)){0};
    for (; k + ROWS_LANES <= in; k += ROWS_LANES) {
#pragma GCC unroll 32
        for (int o = 0; o < O; o++) {
            __builtin_prefetch((const char *)w + ((o + 2 * O) * in + k) * (bf16 ? 2 : 4));
            wide[o] = ROWS(load_w)(w, o * in + k, bf16);
        }
#pragma GCC unroll 32
        for (int r = 0; r < R; r++) {
            const ROWS(vec) row = ROWS(load)(x + r * in + k);
#pragma GCC unroll 32
            for (int o = 0; o < O; o++) sum[r * O + o] += row * wide[o];
        }
    }
#pragma GCC unroll 32
    for (int i = 0; i < R * O; i++) {
        float all = ROWS(fold)(sum[i]);
        for (int64_t j = k; j < in; j++) all += x[i / O * in + j] * rows_one(w, i % O * in + j, bf16);
        y[i / O * out + i % O] = all;
    }
}

/* R rows against n of w's, O at a time */
static inline __attribute__((always_inline)) void ROWS(strip)(float *y, int64_t out, const float *x, int64_t in,
                                                              const void *w, bool bf16, int64_t n, const int R,
                                                              const int O) {
    int64_t o = 0;
    for (; o + O <= n; o += O) ROWS(tile)(y + o, out, x, in, rows_at(w, o * in, bf16), bf16, R, O);
    for (; o < n; o++) ROWS(tile)(y + o, out, x, in, rows_at(w, o * in, bf16), bf16, R, 1);
}

static inline __attribute__((always_inline)) void ROWS(all)(float *y, int64_t out, const float *x, int64_t in,
                                                            const void *w, bool bf16, int64_t rows, int64_t n) {
    int64_t r = 0;
#if ROWS_MANY
    for (; r + 8 <= rows; r += 8) ROWS(strip)(y + r * out, out, x + r * in, in, w, bf16, n, 8, 3);
    for (; r + 4 <= rows; r += 4) ROWS(strip)(y + r * out, out, x + r * in, in, w, bf16, n, 4, 6);
#else
    for (; r + 4 <= rows; r += 4) ROWS(strip)(y + r * out, out, x + r * in, in, w, bf16, n, 4, 2);
#endif
    for (; r + 2 <= rows; r += 2) ROWS(strip)(y + r * out, out, x + r * in, in, w, bf16, n, 2, 4);
    for (; r < rows; r++) ROWS(strip)(y + r * out, out, x + r * in, in, w, bf16, n, 1, 8);
}

/* y[rows,n] (rows out apart) = x[rows,in] w[n,in]^T */
static void ROWS(panel)(float *y, int64_t out, const float *x, int64_t in, const void *w, bool bf16, int64_t rows,
                        int64_t n) {
    if (bf16)
        ROWS(all)(y, out, x, in, w, true, rows, n);
    else
        ROWS(all)(y, out, x, in, w, false, rows, n);
}

#undef ROWS
#undef ROWS_LANES
#undef ROWS_MANY
