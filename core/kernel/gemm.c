/* Matrix products on fixed tiles, shared out between our threads; BLAS sees one tile and one thread at a time. */
#include <cblas.h>
#include <string.h>

#include "kernel/stored.h"

#ifdef PFI_DOUBLE
#define gemm_blas cblas_dgemm
#else
#define gemm_blas cblas_sgemm
#endif

void PFK(gemm)(int threads, bool ta, bool tb, int64_t M, int64_t N, int64_t K, const pf_real *A, int64_t lda,
               const pf_real *B, int64_t ldb, pf_real beta, pf_real *C, int64_t ldc) {
    int64_t rows = (M + GEMM_ROWS - 1) / GEMM_ROWS, cols = (N + GEMM_COLS - 1) / GEMM_COLS;
    bool wide = M * N * K > 64 * PFK_WORTH_THREADS;
    if (K == 0) { /* BLAS refuses rows of no elements */
        for (int64_t i = 0; beta == 0 && i < M; i++) memset(C + i * ldc, 0, (size_t)N * sizeof *C);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static) if (wide)
    for (int64_t t = 0; t < rows * cols; t++) {
        int64_t i = t / cols * GEMM_ROWS, j = t % cols * GEMM_COLS;
        int64_t m = M - i < GEMM_ROWS ? M - i : GEMM_ROWS, n = N - j < GEMM_COLS ? N - j : GEMM_COLS;
        gemm_blas(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)K,
                  1, A + (ta ? i : i * lda), (int)lda, B + (tb ? j * ldb : j), (int)ldb, beta, C + i * ldc + j,
                  (int)ldc);
    }
}

/* ---- products with a stored weight ---- */

size_t PFK(linear_scratch)(int threads, pf_dtype type, int64_t out, int64_t in) {
    return type == PFI_DTYPE ? 0 : (size_t)threads * (size_t)linear_room(out, in) * sizeof(pf_real);
}

void PFK(linear)(int threads, pf_real *y, const pf_real *x, pf_dtype type, const void *w, int64_t rows, int64_t out,
                 int64_t in, pf_real beta, void *scratch) {
    if (type == PFI_DTYPE || in == 0) {
        PFK(gemm)(threads, false, true, rows, out, in, x, in, w, in, beta, y, out);
        return;
    }
    int64_t high = (int64_t)GEMM_ROWS * GEMM_GROUP, groups = (rows + high - 1) / high, room = linear_room(out, in);
    int64_t cols = (out + GEMM_COLS - 1) / GEMM_COLS;
    bool wide = out * in * (rows + 16) > 64 * PFK_WORTH_THREADS;
#pragma omp parallel for num_threads(threads) schedule(static) if (wide)
    for (int64_t t = 0; t < groups * cols; t++) {
        int64_t from = t / cols * high, to = linear_min(from + high, rows), j = t % cols * GEMM_COLS;
        int64_t n = linear_min(out - j, GEMM_COLS);
        pf_real *tile = linear_space(scratch, room);
        PFK(widen)(type, linear_at(type, w, in, j, 0), tile, n * in);
        for (int64_t i = from; i < to; i += GEMM_ROWS)
            gemm_blas(CblasRowMajor, CblasNoTrans, CblasTrans, (int)linear_min(to - i, GEMM_ROWS), (int)n, (int)in, 1,
                      x + i * in, (int)in, tile, (int)in, beta, y + i * out + j, (int)out);
    }
}

/* dx[from..to) += dy w for n columns from j on of the rows k..k+deep of w; beta 0 for the first */
static void linear_back_tile(pf_real *dx, const pf_real *dy, pf_dtype type, const void *w, int64_t from, int64_t to,
                             int64_t j, int64_t n, int64_t k, int64_t out, int64_t in, pf_real beta, pf_real *tile) {
    int64_t block = pfk_block(type), first = j - j % block, deep = linear_min(out - k, LINEAR_DEEP);
    int64_t span = (j + n - first + block - 1) / block * block;
    for (int64_t r = 0; r < deep; r++) PFK(widen)(type, linear_at(type, w, in, k + r, first), tile + r * span, span);
    for (int64_t i = from; i < to; i += GEMM_ROWS)
        gemm_blas(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)linear_min(to - i, GEMM_ROWS), (int)n, (int)deep, 1,
                  dy + i * out + k, (int)out, tile + j - first, (int)span, beta, dx + i * in + j, (int)in);
}

void PFK(linear_back)(int threads, pf_real *dx, const pf_real *dy, pf_dtype type, const void *w, int64_t rows,
                      int64_t out, int64_t in, pf_real beta, void *scratch) {
    if (type == PFI_DTYPE || out == 0) {
        PFK(gemm)(threads, false, false, rows, in, out, dy, out, w, in, beta, dx, in);
        return;
    }
    int64_t high = (int64_t)GEMM_ROWS * GEMM_GROUP, groups = (rows + high - 1) / high, room = linear_room(out, in);
    int64_t cols = (in + GEMM_COLS - 1) / GEMM_COLS;
    bool wide = out * in * (rows + 16) > 64 * PFK_WORTH_THREADS;
#pragma omp parallel for num_threads(threads) schedule(static) if (wide)
    for (int64_t t = 0; t < groups * cols; t++) {
        int64_t from = t / cols * high, to = linear_min(from + high, rows), j = t % cols * GEMM_COLS;
        for (int64_t k = 0; k < out; k += LINEAR_DEEP)
            linear_back_tile(dx, dy, type, w, from, to, j, linear_min(in - j, GEMM_COLS), k, out, in, k ? 1 : beta,
                             linear_space(scratch, room));
    }
}

void PFK(accumulate)(int threads, pf_real *y, const pf_real *x, int64_t n) {
#pragma omp parallel for num_threads(threads) schedule(static) if (n > PFK_WORTH_THREADS)
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}
