/* 16-bit floats: bfloat16 and IEEE half, to and from float, round to nearest even. Internal. */
#ifndef PFI_HALF_H
#define PFI_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t pfi_f32_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}

static inline float pfi_f32_of_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}

static inline float pfi_bf16_to_f32(uint16_t h) { return pfi_f32_of_bits((uint32_t)h << 16); }

static inline uint16_t pfi_f32_to_bf16(float x) {
    uint32_t u = pfi_f32_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u); /* NaN stays NaN */
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

/* without branches, so that loops over it become vector code: exponent and fraction in place, scaled by the difference
 * of the biases, which also makes subnormal numbers normal */
static inline float pfi_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = (uint32_t)(h & 0x7fffu) << 13;
    uint32_t finite = pfi_f32_bits(pfi_f32_of_bits(rest) * 0x1p112f);
    return pfi_f32_of_bits(sign | finite | ((0u - (rest >= 0x0f800000u)) & 0x7f800000u)); /* infinite and NaN stay so */
}

static inline uint16_t pfi_f32_to_f16(float x) { /* without branches, for vectors */
    const uint32_t u = pfi_f32_bits(x), a = u & 0x7fffffffu, sign = u >> 16 & 0x8000u;
    const uint32_t subnormal = pfi_f32_bits(pfi_f32_of_bits(a) + 0.5f) - 0x3f000000u; /* a multiple of 2^-24 */
    const uint32_t normal = (a - 0x38000000u + 0xfffu + (a >> 13 & 1u)) >> 13;
    uint32_t h = a < 0x38800000u ? subnormal : normal;
    h = a >= 0x477ff000u ? 0x7c00u : h; /* 65520 and above round to infinity */
    h = a > 0x7f800000u ? 0x7e00u : h;
    return (uint16_t)(sign | h);
}

#endif
