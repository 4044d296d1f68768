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

static PFK_CLONES void gate_tile_dgate(pf_real *dgate, const pf_real *dy, const pf_real *gate, const pf_real *up,
                                       int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const pf_real s = gate_sigmoid(gate[i]);
        dgate[i] += dy[i] * up[i] * s * (1 + gate[i] * (1 - s));
    }
}

static PFK_CLONES void gate_tile_dup(pf_real *dup, const pf_real *dy, const pf_real *gate, int64_t n) {
    for (int64_t i = 0; i < n; i++) dup[i] += dy[i] * gate[i] * gate_sigmoid(gate[i]);
}

void PFK(swiglu)(int threads, pf_real *y, const pf_real *gate, const pf_real *up, int64_t n) {
    bool wide = 4 * n > PFK_WORTH_THREADS;
#pragma omp parallel for num_threads(threads) schedule(static) if (wide)
    for (int64_t at = 0; at < n; at += GATE_TILE)
        gate_tile(y + at, gate + at, up + at, n - at < GATE_TILE ? n - at : GATE_TILE);
}

void PFK(swiglu_back)(int threads, pf_real *dgate, pf_real *dup, const pf_real *dy, const pf_real *gate,
                      const pf_real *up, int64_t n) {
    bool wide = 4 * n > PFK_WORTH_THREADS;
#pragma omp parallel for num_threads(threads) schedule(static) if (wide)
    for (int64_t at = 0; at < n; at += GATE_TILE) {
        int64_t width = n - at < GATE_TILE ? n - at : GATE_TILE;
        if (dgate) gate_tile_dgate(dgate + at, dy + at, gate + at, up + at, width);
        if (dup) gate_tile_dup(dup + at, dy + at, gate + at, width);
    }
}
