/* Products of small matrices in the widest vectors that the machine has. Float alone. Internal to kernels. */
#ifndef PFI_VECTOR_H
#define PFI_VECTOR_H

#include <stdbool.h>
#include <stdint.h>

/* Matrices are row-major, their rows ld apart. add: y is added to, not written.
 * product: y[rows,n] = x[rows,in] w[n,in]^T, w float or bfloat16.
 * mixture: y[rows,D] = p v with p[r,k] at p[r apart + k next] and v[n,D].
 * A value's bits do not depend on rows, n or D. */
typedef struct pfk_vector {
    void (*product)(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t in, const void *w, int64_t ldw,
                    bool bf16, bool add, int64_t rows, int64_t n);
    void (*mixture)(float *y, int64_t ldy, const float *p, int64_t apart, int64_t next, const float *v, int64_t ldv,
                    int64_t D, int64_t n, bool add, int64_t rows);
} pfk_vector;

/* set: of vector instructions, from 1 to pfk_vector_sets(), 0 for the last */
const pfk_vector *pfk_vector_set(int set);

#endif
