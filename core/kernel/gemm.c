/* Matrix products on fixed tiles, shared out between our threads; BLAS sees one tile and one thread at a time. */
#include "kernel/real.h"

#include <cblas.h>
#include <string.h>

#ifdef PFI_DOUBLE
#define gemm_blas cblas_dgemm
#else
#define gemm_blas cblas_sgemm
#endif

/* A tile must not depend on the number of threads. Rows are cut finer than columns: a training batch has many rows,
 * and BLAS packs the [N,K] side again for every tile. */
enum { GEMM_ROWS = 128, GEMM_COLS = 384 };

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

void PFK(accumulate)(int threads, pf_real *y, const pf_real *x, int64_t n) {
#pragma omp parallel for num_threads(threads) schedule(static) if (n > PFK_WORTH_THREADS)
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}
