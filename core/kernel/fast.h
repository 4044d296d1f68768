/* Vectorisable elementary functions and run-time choice of vector instructions. Internal to kernels. */
#ifndef PFI_FAST_H
#define PFI_FAST_H

#include <string.h>

#include "kernel/real.h"

/* One source, several instruction sets, chosen when the program is loaded. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) &&                           \
    !defined(__SANITIZE_ADDRESS__)
#define PFK_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
/* Nobody reads the floating-point exception flags. While GCC keeps them exact, it leaves the comparisons of pfk_exp as
 * branches, and loops over it are scalar on processors without AVX-512. */
#pragma GCC optimize("no-trapping-math")
#else
#define PFK_CLONES
#endif

/* e^x without branches, so that loops over it become vector code. Float: x = n ln 2 + r, a polynomial of degree 6 on
 * |r| <= ln 2 / 2, error below 2 units in the last place; results below the smallest normal number are 0. */
static inline pf_real pfk_exp(pf_real x) {
#ifdef PFI_DOUBLE
    return exp(x);
#else
    float z = x < 88.72283f ? x : 88.72283f; /* a NaN becomes a number here, and comes back at the end */
    z = z > -87.33654f ? z : -87.33654f;
    float n = (z * 1.44269504f + 12582912.0f) - 12582912.0f; /* round to nearest */
    float r = (z - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t half = (int32_t)n / 2, rest = (int32_t)n - half; /* two factors: n may be 128 */
    uint32_t a = (uint32_t)(half + 127) << 23, b = (uint32_t)(rest + 127) << 23;
    float fa, fb;
    memcpy(&fa, &a, 4);
    memcpy(&fb, &b, 4);
    float y = p * fa * fb;
    return x < -87.33654f ? 0.0f : y != y || x != x ? x : y;
#endif
}

#endif
