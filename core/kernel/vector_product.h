/* y[rows,n] = x[rows,in] w[n,in]^T in one kind of vectors. Included once a kind, so without a guard: V(name) is the
 * name in that kind, VECTOR_X a number of x, VECTOR_STEP how many V(part) holds, V(load_x) and V(load_w) read one,
 * V(times) adds the products of two to a vector of sums. Internal. */

/* which of n sums is the i-th after fold: place again, as it undoes itself, but where the last vector is not full */
VECTOR_INLINE int V(order)(int i, int n) { return i < n / VECTOR_LANES * VECTOR_LANES ? V(place)(i) : i; }

/* sum += the products of n numbers, whole vectors, of R rows and O of w's; meanwhile each vector asks for as much from
 * ask on as it reads of w in `each` rows. R and O are constants of the caller. */
VECTOR_INLINE void V(add_up)(V(vec) * sum, const VECTOR_X *x, int64_t ldx, int64_t n, const void *w, int64_t ldw,
                             pf_dtype type, const void *ask, int each, const int R, const int O) {
    V(part) wide[VECTOR_TILE];
    for (int64_t k = 0; k < n; k += VECTOR_STEP) {
        for (int i = 0; i < each; i++, ask = vector_at(ask, VECTOR_STEP, type)) __builtin_prefetch(ask);
#pragma GCC unroll 32
        for (int o = 0; o < O; o++) wide[o] = V(load_w)(w, o * ldw + k, type);
#pragma GCC unroll 32
        for (int r = 0; r < R; r++) {
            V(part) row = V(load_x)(x + r * ldx + k);
            VECTOR_KEEP(row);
#pragma GCC unroll 32
            for (int o = 0; o < O; o++) {
                const int i = V(order)(o * R + r, R * O);
                sum[i] = V(times)(sum[i], row, wide[o]);
            }
        }
    }
}

/* sum += the products of what the rows hold beyond whole vectors */
static VECTOR_APART void V(add_ends)(V(vec) * sum, const VECTOR_X *x, int64_t in, const void *w, int64_t ldw,
                                     pf_dtype type, int O) {
    VECTOR_X x_end[VECTOR_STEP];
    float w_end[VECTOR_STEP];
    vector_end(x_end, x, in, VECTOR_STEP, sizeof *x == 4 ? PF_F32 : PF_BF16);
    for (int o = 0; o < O; o++) {
        vector_end(w_end, vector_at(w, o * ldw, type), in, VECTOR_STEP, type);
        const int i = V(order)(o, O);
        sum[i] = V(times)(sum[i], V(load_x)(x_end), V(load_w)(w_end, 0, type));
    }
}

/* out[O,R] = the sums of R rows and O of w's; whole vectors are written. A value is the sum of lanes that each add
 * every VECTOR_STEP-th product, or pair of them. R, O and ends, whether rows may end within a vector, are constants of
 * the caller: of several rows none may. */
VECTOR_INLINE void V(tile)(float *out, const VECTOR_X *x, int64_t ldx, int64_t in, const void *w, int64_t ldw,
                           pf_dtype type, const void *ask, int each, const bool ends, const int R, const int O) {
    V(vec) sum[VECTOR_TILE];
#pragma GCC unroll 32
    for (int i = 0; i < R * O; i++) sum[i] = (V(vec)){0};
    V(add_up)(sum, x, ldx, in - in % VECTOR_STEP, w, ldw, type, ask, each, R, O);
    if (ends) V(add_ends)(sum, x, in, w, ldw, type, O);
    const int whole = R * O / VECTOR_LANES * VECTOR_LANES;
    float all[VECTOR_TILE + VECTOR_LANES];
    V(fold)(all, sum, R * O);
    memcpy(out, all, (size_t)whole * sizeof *out);
#pragma GCC unroll 32
    for (int i = whole; i < R * O; i++) out[i] = all[V(place)(i)];
}

/* y[R,cols] = out[cols,R] */
VECTOR_INLINE void V(turn)(float *y, int64_t ldy, const float *out, const int64_t cols, const int R) {
    for (int r = 0; r < R; r++)
        for (int64_t i = 0; i < cols; i++) y[r * ldy + i] = out[i * R + r];
}

/* R rows against all n, O at a time: strip number `strip` of `strips` */
VECTOR_INLINE void V(strip)(float *y, int64_t ldy, const VECTOR_X *x, int64_t ldx, int64_t in, const void *w,
                            int64_t ldw, pf_dtype type, int64_t n, const void *next, int64_t strip, int64_t strips,
                            const bool ends, const int R, const int O) {
    const bool few = strips < O;
    vector_ask ask = {few && strip ? NULL : next, few ? 0 : strip, few ? O : strips};
    for (int64_t from = 0; from < n; from += PFK_PANEL) {
        const int64_t cols = n - from < PFK_PANEL ? n - from : PFK_PANEL;
        float out[PFK_PANEL * VECTOR_ROWS + VECTOR_LANES];
        int64_t o = 0;
#define VECTOR_COLS(O)                                                                                                 \
    for (; o + O <= cols; o += O) V(tile)                                                                              \
    (out + o * R, x, ldx, in, vector_at(w, (from + o) * ldw, type), ldw, type,                                         \
     vector_asked(&ask, w, ldw, in, from + o, O, type), few ? O : 1, ends, R, O)
        VECTOR_COLS(O);
        VECTOR_COLS(1);
#undef VECTOR_COLS
        if (cols == PFK_PANEL) /* a constant: no odd ends */
            V(turn)(y + from, ldy, out, PFK_PANEL, R);
        else
            V(turn)(y + from, ldy, out, cols, R);
    }
}

VECTOR_INLINE void V(strips)(float *y, int64_t ldy, const VECTOR_X *x, int64_t ldx, int64_t in, const void *w,
                             int64_t ldw, pf_dtype type, int64_t rows, int64_t n, const void *next) {
    const int64_t high = VECTOR_MANY ? VECTOR_ROWS : VECTOR_ROWS / 2, strips = (rows + high - 1) / high;
    int64_t r = 0;
#define VECTOR_STRIPS(R, O, ends)                                                                                      \
    for (; r + R <= rows; r += R) V(strip)                                                                             \
    (y + r * ldy, ldy, x + r * ldx, ldx, in, w, ldw, type, n, next, r / high, strips, ends, R, O)
    if (in % VECTOR_STEP) VECTOR_STRIPS(1, 8, true);
#if VECTOR_MANY
    VECTOR_STRIPS(8, 3, false);
    VECTOR_STRIPS(4, 6, false);
    VECTOR_STRIPS(3, 8, false);
    VECTOR_STRIPS(2, 8, false);
#else
    VECTOR_STRIPS(4, 2, false);
    VECTOR_STRIPS(3, 4, false);
    VECTOR_STRIPS(2, 4, false);
#endif
    VECTOR_STRIPS(1, 8, false);
#undef VECTOR_STRIPS
}

#undef VECTOR_X
#undef VECTOR_STEP
