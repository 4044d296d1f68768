/* Rotary position embedding: angles, and turning by them. Internal to op files. */
#ifndef PFI_TURN_H
#define PFI_TURN_H

#include "op/zip.h"

/* angles: cosines [T, half] and sines [T, half], times factor; every head of a token turns by the same. given: inverse
 * frequencies [half]; NULL: those of base. */
static inline void turn_angles(pfi_call *c, pf_real *angles, const int32_t *position, int64_t T, int64_t half,
                               const pf_real *given, double base, double factor) {
    pf_real *cosine = angles, *sine = cosine + T * half;
    PFI_EACH_OF(c, T * half, 16, {
        const int64_t j = i % half;
        const double turn = given ? (double)given[j] : pow(base, -(double)j / (double)half);
        const double angle = turn * position[i / half];
        cosine[i] = (pf_real)(cos(angle) * factor);
        sine[i] = (pf_real)(sin(angle) * factor);
    });
}

/* out[T, H, D] (+)= x turned forwards or, sign -1, backwards by the angles: pairs are (j, j + half) */
static inline void turn_pairs(pfi_call *c, pf_real *out, const pf_real *x, const pf_real *angles, int64_t half,
                              pf_real sign, bool add) {
    const int64_t T = c->dim[0], H = c->dim[1], D = c->dim[2];
    const pf_real *cosine = angles, *sine = cosine + T * half;
    PFI_EACH_OF(c, T * H, D, {
        const pf_real *co = cosine + i / H * half;
        const pf_real *si = sine + i / H * half;
        const pf_real *a = x + i * D;
        const pf_real *b = a + half;
        pf_real *p = out + i * D;
        pf_real *q = p + half;
        for (int64_t j = 2 * half; j < D; j++) out[i * D + j] = add ? out[i * D + j] + x[i * D + j] : x[i * D + j];
        if (add)
            for (int64_t j = 0; j < half; j++) {
                p[j] += a[j] * co[j] - sign * b[j] * si[j];
                q[j] += b[j] * co[j] + sign * a[j] * si[j];
            }
        else
            for (int64_t j = 0; j < half; j++) {
                p[j] = a[j] * co[j] - sign * b[j] * si[j];
                q[j] = b[j] * co[j] + sign * a[j] * si[j];
            }
    });
}

#endif
