/* The gated unit of Llama's feed-forward layer. Elements are cut in tiles that do not depend on the threads. */
#include "kernel/fast.h"

enum { GATE_TILE = 2048 };

/* 1 / (1 + e^-x) from e^-|x|, which cannot overflow */
static inline pf_real gate_sigmoid(pf_real x) {
    pf_real e = pfk_exp(x < 0 ? x : -x), s = 1 / (1 + e);
    return x < 0 ? e * s : s;
}

static PFK_CLONES void gate_tile(pf_real *y, const pf_real *gate, const pf_real *up, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = gate[i] * gate_sigmoid(gate[i]) * up[i];
}

/* what is added to the gradients of gate and up */
static PFK_CLONES void gate_tile_back(pf_real *dgate, pf_real *dup, const pf_real *dy, const pf_real *gate,
                                      const pf_real *up, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const pf_real s = gate_sigmoid(gate[i]), d = dy[i] * s;
        dgate[i] = d * up[i] * (1 + gate[i] * (1 - s));
        dup[i] = d * gate[i];
    }
}

static void gate_put(pf_real *dx, bool fresh, const pf_real *d, int64_t n) {
    if (!dx) return;
    if (fresh)
        memcpy(dx, d, (size_t)n * sizeof *d);
    else
        for (int64_t i = 0; i < n; i++) dx[i] += d[i];
}

void PFK(swiglu)(int threads, pf_real *y, const pf_real *gate, const pf_real *up, int64_t n) {
    bool wide = 4 * n > PFK_WORTH_THREADS;
#pragma omp parallel for num_threads(threads) schedule(static) if (wide)
    for (int64_t at = 0; at < n; at += GATE_TILE)
        gate_tile(y + at, gate + at, up + at, n - at < GATE_TILE ? n - at : GATE_TILE);
}

void PFK(swiglu_back)(int threads, pf_real *dgate, bool fresh_gate, pf_real *dup, bool fresh_up, const pf_real *dy,
                      const pf_real *gate, const pf_real *up, int64_t n) {
    bool wide = 4 * n > PFK_WORTH_THREADS;
#pragma omp parallel for num_threads(threads) schedule(static) if (wide)
    for (int64_t at = 0; at < n; at += GATE_TILE) {
        pf_real a[GATE_TILE], b[GATE_TILE];
        int64_t width = n - at < GATE_TILE ? n - at : GATE_TILE;
        gate_tile_back(a, b, dy + at, gate + at, up + at, width);
        gate_put(dgate ? dgate + at : NULL, fresh_gate, a, width);
        gate_put(dup ? dup + at : NULL, fresh_up, b, width);
    }
}
