/* Where stored weights are read. Internal to kernels. */
#ifndef PFI_STORED_H
#define PFI_STORED_H

#include "kernel/real.h"

/* row `row` of w[.,in], in a multiple of the block */
static inline const char *linear_at(pf_dtype type, const void *w, int64_t in, int64_t row) {
    return (const char *)w + (size_t)(row * in / pfk_block(type)) * pfk_block_bytes(type);
}

#endif
