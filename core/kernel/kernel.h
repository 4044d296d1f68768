/* Kernels: raw pointers in and out, no tensors. Each exists in float (_f32) and double (_f64). Outputs first, inputs
 * const, sizes last. Kernels never allocate: scratch is an argument. Internal. */
#ifndef PFI_KERNEL_H
#define PFI_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PFK_ROWS = 16 }; /* linear_rows takes rows in blocks of these */

void pfk_warm_up(void); /* makes BLAS take its own buffers now */

#define pf_real   float
#define PFK(name) pfk_##name##_f32
#include "kernel/decl.h"
#undef pf_real
#undef PFK

#define pf_real   double
#define PFK(name) pfk_##name##_f64
#include "kernel/decl.h"
#undef pf_real
#undef PFK

#endif
