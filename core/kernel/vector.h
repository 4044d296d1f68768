/* Products of small matrices in the widest vectors that the machine has. Float alone. Internal to kernels. */
#ifndef PFI_VECTOR_H
#define PFI_VECTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "pofit.h" /* pf_dtype alone */

/* Matrices are row-major, their rows ld apart; type is F32, BF16 or F16.
 * product: y[rows,n] = x[rows,in] w[n,in]^T, w of the type.
 * mixture: y[rows,D] = p[rows,n] v[n,D], v F32 or F16; add: y is added to, not written.
 * narrow: y[n] = x[n] as bfloat16, and product_bf16: the product of two of these. Both NULL where the processor does
 * not multiply bfloat16.
 * next, which may be NULL, is what will be read after w or v: as many values from there on are fetched meanwhile.
 * A value's bits do not depend on rows, n or D. */
typedef struct pfk_vector {
    void (*product)(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t in, const void *w, int64_t ldw,
                    pf_dtype type, int64_t rows, int64_t n, const void *next);
    void (*mixture)(float *y, int64_t ldy, const float *p, int64_t ldp, const void *v, int64_t ldv, pf_dtype type,
                    int64_t D, int64_t n, bool add, int64_t rows, const void *next);
    void (*narrow)(uint16_t *y, const float *x, int64_t n);
    void (*product_bf16)(float *y, int64_t ldy, const uint16_t *x, int64_t ldx, int64_t in, const uint16_t *w,
                         int64_t ldw, int64_t rows, int64_t n, const void *next);
} pfk_vector;

enum { PFK_PANEL = 24 }; /* n of w that products are made for */

/* set: of vector instructions, from 1 to pfk_vector_sets(), 0 for the last */
const pfk_vector *pfk_vector_set(int set);

#endif
