/* OpenBLAS allocates its packing buffers at the first call, outside our allocator. Take them when a context opens.
 * This file is compiled twice like its neighbours; the float half defines the function. */
#include "kernel/real.h"

#include <cblas.h>

#ifndef PFI_DOUBLE
/* Our own loops share out the work; BLAS must not start threads of its own. */
extern void openblas_set_num_threads(int n) __attribute__((weak));

void pfk_warm_up(void) {
    if (openblas_set_num_threads) openblas_set_num_threads(1);
    float a[64] = {1}, c[64];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 8, 8, 8, 1, a, 8, a, 8, 0, c, 8);
}
#endif
