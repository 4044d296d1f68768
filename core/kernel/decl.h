/* Declarations of the kernels for one pf_real; included twice by kernel.h, so without a guard. */

/* C[M,N] = op(A) op(B) + beta C, row-major, beta 0 or 1; ta: A is stored [K,M]; tb: B is stored [N,K].
 * Fixed tiles of C, each one single-threaded BLAS call: the same bits for any number of threads. */
void PFK(gemm)(int threads, bool ta, bool tb, int64_t M, int64_t N, int64_t K, const pf_real *A, int64_t lda,
               const pf_real *B, int64_t ldb, pf_real beta, pf_real *C, int64_t ldc);

/* y[n] += x[n] */
void PFK(accumulate)(int threads, pf_real *y, const pf_real *x, int64_t n);
