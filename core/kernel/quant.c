/* Stored types of weights: two bytes a value, or ggml's blocks with a scale of their own (ggml-common.h,
 * ggml-quants.c). One function a type widens one block; the arithmetic is ggml's reference, in float and in its order.
 * This file is compiled without fused multiply-add, so that the bits are the reference's. */
#include "kernel/fast.h"

#include "base/half.h" /* after fast.h, whose settings functions must share to be made part of loops */

static inline float quant_half(const unsigned char *p) { return pfi_f16_to_f32((uint16_t)(p[0] | p[1] << 8)); }

/* ---- 32 values ---- */

/* d, 32 signed bytes */
static PFK_CLONES void quant_q8_0(const unsigned char *b, float *y) {
    float d = quant_half(b);
    for (int i = 0; i < 32; i++) y[i] = (float)(int8_t)b[2 + i] * d;
}

/* d, 16 bytes of low halves (values 0..15) and high halves (16..31) */
static PFK_CLONES void quant_q4_0(const unsigned char *b, float *y) {
    float d = quant_half(b);
    for (int i = 0; i < 16; i++) {
        y[i] = (float)((b[2 + i] & 15) - 8) * d;
        y[i + 16] = (float)((b[2 + i] >> 4) - 8) * d;
    }
}

/* d, smallest value m, 16 bytes */
static PFK_CLONES void quant_q4_1(const unsigned char *b, float *y) {
    float d = quant_half(b), m = quant_half(b + 2);
    for (int i = 0; i < 16; i++) {
        y[i] = (float)(b[4 + i] & 15) * d + m;
        y[i + 16] = (float)(b[4 + i] >> 4) * d + m;
    }
}

/* bit i of the 32 at p, as 16 */
static inline int quant_fifth(const unsigned char *p, int i) { return (p[i / 8] >> (i % 8) & 1) << 4; }

/* d, 32 fifth bits, 16 bytes */
static PFK_CLONES void quant_q5_0(const unsigned char *b, float *y) {
    float d = quant_half(b);
    for (int i = 0; i < 16; i++) {
        y[i] = (float)(((b[6 + i] & 15) | quant_fifth(b + 2, i)) - 16) * d;
        y[i + 16] = (float)(((b[6 + i] >> 4) | quant_fifth(b + 2, i + 16)) - 16) * d;
    }
}

/* d, m, 32 fifth bits, 16 bytes */
static PFK_CLONES void quant_q5_1(const unsigned char *b, float *y) {
    float d = quant_half(b), m = quant_half(b + 2);
    for (int i = 0; i < 16; i++) {
        y[i] = (float)((b[8 + i] & 15) | quant_fifth(b + 4, i)) * d + m;
        y[i + 16] = (float)((b[8 + i] >> 4) | quant_fifth(b + 4, i + 16)) * d + m;
    }
}

/* ---- 256 values ---- */

/* scale and smallest value of group j of eight, six bits each in 12 bytes */
static inline void quant_six(const unsigned char *q, int j, int *scale, int *min) {
    *scale = j < 4 ? q[j] & 63 : (q[j + 4] & 15) | (q[j - 4] >> 6) << 4;
    *min = j < 4 ? q[j + 4] & 63 : (q[j + 4] >> 4) | (q[j] >> 6) << 4;
}

/* d, dmin, 12 bytes of scales, [32 bytes of fifth bits,] 128 bytes: a 32-byte line holds groups 2j (low) and 2j + 1 */
static inline void quant_k(const unsigned char *b, const unsigned char *fifth, const unsigned char *line, float *y) {
    float d = quant_half(b), dmin = quant_half(b + 2);
    for (int j = 0; j < 8; j++) {
        int scale, min, shift = j % 2 * 4;
        quant_six(b + 4, j, &scale, &min);
        float ds = d * (float)scale, m = dmin * (float)min;
        const unsigned char *q = line + j / 2 * 32;
        for (int i = 0; i < 32; i++) {
            int v = q[i] >> shift & 15;
            if (fifth) v |= (fifth[i] >> j & 1) << 4;
            y[j * 32 + i] = ds * (float)v - m;
        }
    }
}

static PFK_CLONES void quant_q4_k(const unsigned char *b, float *y) { quant_k(b, NULL, b + 16, y); }

static PFK_CLONES void quant_q5_k(const unsigned char *b, float *y) { quant_k(b, b + 16, b + 48, y); }

/* 128 bytes of low halves, 64 of two high bits, 16 signed scales, d: two parts of 128 values in four rows of 32 */
static PFK_CLONES void quant_q6_k(const unsigned char *b, float *y) {
    float d = quant_half(b + 208);
    for (int row = 0; row < 8; row++) {
        const unsigned char *low = b + row / 4 * 64 + row % 2 * 32, *high = b + 128 + row / 4 * 32;
        int shift = row % 4 / 2 * 4, up = row % 4 * 2;
        for (int i = 0; i < 32; i++) {
            int v = (low[i] >> shift & 15) | (high[i] >> up & 3) << 4;
            y[row * 32 + i] = d * (float)(int8_t)b[192 + row * 2 + i / 16] * (float)(v - 32);
        }
    }
}

/* ---- all ---- */

typedef void (*quant_block)(const unsigned char *b, float *y);

static const struct {
    int64_t block;
    size_t bytes;
    quant_block widen;
} quant_types[PF_DTYPES] = {
    [PF_F32] = {1, 4, NULL},
    [PF_F64] = {1, 8, NULL},
    [PF_I32] = {1, 4, NULL},
    [PF_BF16] = {1, 2, NULL},
    [PF_F16] = {1, 2, NULL},
    [PF_Q8_0] = {32, 34, quant_q8_0},
    [PF_Q4_0] = {32, 18, quant_q4_0},
    [PF_Q4_1] = {32, 20, quant_q4_1},
    [PF_Q5_0] = {32, 22, quant_q5_0},
    [PF_Q5_1] = {32, 24, quant_q5_1},
    [PF_Q4_K] = {256, 144, quant_q4_k},
    [PF_Q5_K] = {256, 176, quant_q5_k},
    [PF_Q6_K] = {256, 210, quant_q6_k},
};

static PFK_CLONES void quant_bf16(const unsigned char *p, pf_real *dst, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, p + 2 * i, 2);
        dst[i] = (pf_real)pfi_bf16_to_f32(h);
    }
}

static PFK_CLONES void quant_f16(const unsigned char *p, pf_real *dst, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, p + 2 * i, 2);
        dst[i] = (pf_real)pfi_f16_to_f32(h);
    }
}

static void quant_plain(pf_dtype type, const unsigned char *p, pf_real *dst, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float f;
        double d;
        if (type == PF_F32) {
            memcpy(&f, p + 4 * i, 4);
            dst[i] = (pf_real)f;
        } else {
            memcpy(&d, p + 8 * i, 8);
            dst[i] = (pf_real)d;
        }
    }
}

void PFK(widen)(pf_dtype type, const void *src, pf_real *dst, int64_t n) {
    const unsigned char *p = src;
    quant_block widen = quant_types[type].widen;
    if (type == PFI_DTYPE) {
        memcpy(dst, p, (size_t)n * sizeof *dst);
    } else if (type == PF_BF16) {
        quant_bf16(p, dst, n);
    } else if (type == PF_F16) {
        quant_f16(p, dst, n);
    } else if (!widen) {
        quant_plain(type, p, dst, n);
    } else {
        int64_t block = quant_types[type].block;
        for (int64_t i = 0; i < n; i += block, p += quant_types[type].bytes) {
            float y[PFK_BLOCK_MAX];
            widen(p, y);
            for (int64_t k = 0; k < block; k++) dst[i + k] = (pf_real)y[k];
        }
    }
}

#ifndef PFI_DOUBLE
int64_t pfk_block(pf_dtype type) { return quant_types[type].block; }

size_t pfk_block_bytes(pf_dtype type) { return quant_types[type].bytes; }

bool pfk_narrows(pf_dtype type) { return type == PF_F32 || type == PF_BF16 || type == PF_F16 || type == PF_Q8_0; }

static void quant_narrow_q8_0(unsigned char *b, const float *x) {
    float most = 0;
    for (int k = 0; k < 32; k++) most = fmaxf(most, fabsf(x[k]));
    float d = most / 127, inverse = d > 0 && 1 / d < HUGE_VALF ? 1 / d : 0;
    uint16_t h = pfi_f32_to_f16(d);
    b[0] = (unsigned char)(h & 255);
    b[1] = (unsigned char)(h >> 8);
    for (int k = 0; k < 32; k++) b[2 + k] = (unsigned char)(int8_t)roundf(x[k] * inverse);
}

static PFK_CLONES void quant_narrow_bf16(unsigned char *p, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const uint16_t h = pfi_f32_to_bf16(x[i]);
        memcpy(p + 2 * i, &h, 2);
    }
}

static PFK_CLONES void quant_narrow_f16(unsigned char *p, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const uint16_t h = pfi_f32_to_f16(x[i]);
        memcpy(p + 2 * i, &h, 2);
    }
}

void pfk_narrow(pf_dtype type, void *dst, const float *src, int64_t n) {
    unsigned char *p = dst;
    for (int64_t i = 0; type == PF_Q8_0 && i < n; i += 32) quant_narrow_q8_0(p + i / 32 * 34, src + i);
    if (type == PF_BF16) quant_narrow_bf16(p, src, n);
    if (type == PF_F16) quant_narrow_f16(p, src, n);
    if (type == PF_F32) memcpy(dst, src, (size_t)n * sizeof *src);
}
#endif
