/* Products with a stored weight widen it a tile at a time, into room that each thread has of its own. Internal to
 * kernels. */
#ifndef PFI_STORED_H
#define PFI_STORED_H

#ifdef _OPENMP
#include <omp.h>
#endif

#include "kernel/real.h"

/* A tile must not depend on the number of threads. Rows are cut finer than columns: a training batch has many rows,
 * and BLAS packs the [N,K] side again for every tile. */
enum { GEMM_ROWS = 128, GEMM_COLS = 384 };

/* GEMM_GROUP tiles of rows share what is widened for them: LINEAR_DEEP rows of w at most in linear_back, and of those
 * as many columns as the blocks that a tile of GEMM_COLS touches. */
enum { GEMM_GROUP = 4, LINEAR_DEEP = 1024, LINEAR_SPAN = GEMM_COLS + PFK_BLOCK_MAX / 2 };

static inline int64_t linear_min(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t linear_max(int64_t a, int64_t b) { return a > b ? a : b; }

/* values that one thread widens at a time */
static inline int64_t linear_room(int64_t out, int64_t in) {
    int64_t forward = linear_min(out, GEMM_COLS) * in,
            back = linear_min(out, LINEAR_DEEP) * linear_min(in, LINEAR_SPAN);
    return (linear_max(forward, back) + 15) / 16 * 16;
}

static inline pf_real *linear_space(void *scratch, int64_t room) {
#ifdef _OPENMP
    return (pf_real *)scratch + omp_get_thread_num() * room;
#else
    return (pf_real *)scratch + 0 * room;
#endif
}

/* where row `row` of w[.,in] has column `col`, the first of a block */
static inline const char *linear_at(pf_dtype type, const void *w, int64_t in, int64_t row, int64_t col) {
    return (const char *)w + (size_t)((row * in + col) / pfk_block(type)) * pfk_block_bytes(type);
}

#endif
