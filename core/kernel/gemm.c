/* Matrix products on fixed tiles, shared out between our threads; BLAS sees one tile and one thread at a time. */
#include <cblas.h>
#include <string.h>

#include "kernel/stored.h"

#ifdef PFI_DOUBLE
#define gemm_blas cblas_dgemm
#else
#define gemm_blas cblas_sgemm
#endif

/* Tiles of at most GEMM_ROWS x GEMM_COLS, twice as high beside GEMM_HEAVY values of B or more: BLAS packs both sides
 * of every tile again, so large ones cost less. Their number is a multiple of GEMM_PARTS, or of twice that from
 * GEMM_LARGE values of C on, so that threads finish together; it must not depend on the threads. */
enum { GEMM_ROWS = 256, GEMM_COLS = 768, GEMM_HEAVY = 3 << 16, GEMM_PARTS = 4, GEMM_LARGE = 3 << 18, GEMM_LEAST = 32 };

/* Tiles of deep products are narrower: at most GEMM_DEEP values of w, but at least GEMM_THIN columns. Weights in
 * storage types are widened a panel of about GEMM_PANEL values or one tile at a time, by all threads together. */
enum { GEMM_DEEP = 1 << 20, GEMM_THIN = 128, GEMM_PANEL = 3 << 18, GEMM_WIDEN = 16, GEMM_COPY = 1 << 14 };

typedef struct gemm_cut {
    int64_t m, n; /* rows and columns of a tile */
} gemm_cut;

static int64_t gemm_max(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t gemm_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static bool gemm_wide(int64_t M, int64_t N, int64_t K) { return M * N * K > 64 * PFK_WORTH_THREADS; }

/* the least number of parts, at least parts, whose product with other is a multiple of all; parts itself if that would
 * cut size too finely */
static int64_t gemm_even(int64_t size, int64_t parts, int64_t other, int64_t all) {
    int64_t k = parts;
    while (k * other % all) k++;
    return size / k < GEMM_LEAST ? parts : k;
}

static int64_t gemm_most_cols(int64_t K) {
    return gemm_max(pfk_least(GEMM_DEEP / gemm_max(K, 1) / 16 * 16, GEMM_COLS), GEMM_THIN);
}

static gemm_cut gemm_cut_of(int64_t M, int64_t N, int64_t K) {
    const int64_t most = gemm_most_cols(K), most_rows = N * K < GEMM_HEAVY ? GEMM_ROWS : 2 * GEMM_ROWS;
    int64_t rows = (M + most_rows - 1) / most_rows, cols = (N + most - 1) / most;
    if (gemm_wide(M, N, K)) {
        const int64_t all = M * N < GEMM_LARGE ? GEMM_PARTS : 2 * GEMM_PARTS;
        const int64_t r = gemm_even(M, rows, cols, all), c = gemm_even(N, cols, rows, all);
        const bool packs_less = cols * M + r * N < c * M + rows * N; /* values of A and of B, for each of K */
        if (r > rows && (c == cols || r * cols < rows * c || (r * cols == rows * c && packs_less)))
            rows = r;
        else
            cols = c;
    }
    return (gemm_cut){gemm_up((M + rows - 1) / gemm_max(rows, 1), 16), gemm_up((N + cols - 1) / gemm_max(cols, 1), 16)};
}

typedef struct gemm_tiles {
    bool ta, tb;
    int64_t M, N, K;
    const pf_real *A, *B;
    pf_real *C;
    int64_t lda, ldb, ldc;
    pf_real beta;
    gemm_cut cut;
    int64_t high; /* tiles above one another */
} gemm_tiles;

static void gemm_tile(const gemm_tiles *g, int64_t t) {
    const int64_t i = t % g->high * g->cut.m, j = t / g->high * g->cut.n;
    gemm_blas(CblasRowMajor, g->ta ? CblasTrans : CblasNoTrans, g->tb ? CblasTrans : CblasNoTrans,
              (int)pfk_least(g->M - i, g->cut.m), (int)pfk_least(g->N - j, g->cut.n), (int)g->K, 1,
              g->A + (g->ta ? i : i * g->lda), (int)g->lda, g->B + (g->tb ? j * g->ldb : j), (int)g->ldb, g->beta,
              g->C + i * g->ldc + j, (int)g->ldc);
}

void PFK(gemm)(int threads, bool ta, bool tb, int64_t M, int64_t N, int64_t K, const pf_real *A, int64_t lda,
               const pf_real *B, int64_t ldb, pf_real beta, pf_real *C, int64_t ldc) {
    if (M == 0 || N == 0) return;
    if (K == 0) { /* BLAS refuses rows of no elements */
        for (int64_t i = 0; beta == 0 && i < M; i++) memset(C + i * ldc, 0, (size_t)N * sizeof *C);
        return;
    }
    const gemm_cut cut = gemm_cut_of(M, N, K);
    const gemm_tiles g = {ta, tb, M, N, K, A, B, C, lda, ldb, ldc, beta, cut, (M + cut.m - 1) / cut.m};
    const int64_t tiles = g.high * ((N + cut.n - 1) / cut.n);
    if (threads == 1 || !gemm_wide(M, N, K)) { /* a parallel region costs a system call even for one thread */
        for (int64_t t = 0; t < tiles; t++) gemm_tile(&g, t);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int64_t t = 0; t < tiles; t++) gemm_tile(&g, t);
}

/* ---- products with a stored weight ---- */

size_t PFK(linear_scratch)(pf_dtype type, int64_t out, int64_t in) {
    const int64_t room = pfk_least(gemm_max(GEMM_PANEL, gemm_most_cols(in) * in), out * in);
    return type == PFI_DTYPE ? 0 : (size_t)gemm_up(room, 16) * sizeof(pf_real);
}

/* rows from..from+n of w[.,in] to panel; for the threads of a parallel region, which meet at the end */
static void gemm_widen(pf_real *panel, pf_dtype type, const void *w, int64_t from, int64_t n, int64_t in) {
#pragma omp for schedule(static)
    for (int64_t r = 0; r < n; r += GEMM_WIDEN)
        PFK(widen)(type, linear_at(type, w, in, from + r), panel + r * in, pfk_least(n - r, GEMM_WIDEN) * in);
}

void PFK(linear)(int threads, pf_real *y, const pf_real *x, pf_dtype type, const void *w, int64_t rows, int64_t out,
                 int64_t in, pf_real beta, void *scratch) {
    if (type == PFI_DTYPE || in == 0 || rows == 0 || out == 0) {
        PFK(gemm)(threads, false, true, rows, out, in, x, in, w, in, beta, y, out);
        return;
    }
    const gemm_cut cut = gemm_cut_of(rows, out, in);
    const int64_t high = (rows + cut.m - 1) / cut.m, width = gemm_max(GEMM_PANEL / in / cut.n, 1) * cut.n;
    const bool wide = gemm_wide(rows + 16, out, in);
    pf_real *panel = scratch;
#pragma omp parallel num_threads(threads) if (wide)
    for (int64_t p = 0; p < out; p += width) {
        const int64_t s = pfk_least(width, out - p);
        gemm_widen(panel, type, w, p, s, in);
#pragma omp for schedule(dynamic, 1)
        for (int64_t t = 0; t < high * ((s + cut.n - 1) / cut.n); t++) {
            const int64_t i = t % high * cut.m, j = t / high * cut.n;
            gemm_blas(CblasRowMajor, CblasNoTrans, CblasTrans, (int)pfk_least(rows - i, cut.m),
                      (int)pfk_least(s - j, cut.n), (int)in, 1, x + i * in, (int)in, panel + j * in, (int)in, beta,
                      y + i * out + p + j, (int)out);
        }
    }
}

void PFK(linear_back)(int threads, pf_real *dx, const pf_real *dy, pf_dtype type, const void *w, int64_t rows,
                      int64_t out, int64_t in, pf_real beta, void *scratch) {
    if (type == PFI_DTYPE || in == 0 || rows == 0 || out == 0) {
        PFK(gemm)(threads, false, false, rows, in, out, dy, out, w, in, beta, dx, in);
        return;
    }
    const gemm_cut cut = gemm_cut_of(rows, in, out);
    const int64_t high = (rows + cut.m - 1) / cut.m, tiles = high * ((in + cut.n - 1) / cut.n);
    const int64_t deep = gemm_max(GEMM_PANEL / in, GEMM_THIN);
    const bool wide = gemm_wide(rows + 16, out, in);
    pf_real *panel = scratch;
#pragma omp parallel num_threads(threads) if (wide)
    for (int64_t k = 0; k < out; k += deep) {
        const int64_t s = pfk_least(deep, out - k);
        gemm_widen(panel, type, w, k, s, in);
#pragma omp for schedule(dynamic, 1)
        for (int64_t t = 0; t < tiles; t++) {
            const int64_t i = t % high * cut.m, j = t / high * cut.n;
            gemm_blas(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)pfk_least(rows - i, cut.m),
                      (int)pfk_least(in - j, cut.n), (int)s, 1, dy + i * out + k, (int)out, panel + j, (int)in,
                      k ? 1 : beta, dx + i * in + j, (int)in);
        }
    }
}

void PFK(accumulate)(int threads, pf_real *y, const pf_real *x, int64_t n) {
#pragma omp parallel for num_threads(threads) schedule(static) if (n > PFK_WORTH_THREADS)
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

void PFK(copy)(int threads, pf_real *y, const pf_real *x, int64_t n) {
#pragma omp parallel for num_threads(threads) schedule(static) if (n > PFK_WORTH_THREADS)
    for (int64_t i = 0; i < n; i += GEMM_COPY) memcpy(y + i, x + i, (size_t)pfk_least(n - i, GEMM_COPY) * sizeof *y);
}
