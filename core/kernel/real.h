/* What a file that is compiled twice needs: pf_real is float or double, PFK(name) the kernel of that type. Internal. */
#ifndef PFI_REAL_H
#define PFI_REAL_H

#include <math.h>

#include "kernel/kernel.h"

#ifdef PFI_DOUBLE
typedef double pf_real;
#define PFI_DTYPE        PF_F64
#define PFI_SYMBOL(a, b) a##b##_f64
#define PFK(name)        pfk_##name##_f64
#define pfr_exp          exp
#define pfr_expm1        expm1
#define pfr_log          log
#define pfr_log1p        log1p
#define pfr_sqrt         sqrt
#define pfr_tanh         tanh
#define pfr_pow          pow
#define pfr_abs          fabs
#define pfr_sin          sin
#define pfr_cos          cos
#define PFR_MAX          ((pf_real)1.7976931348623157e308)
#else
typedef float pf_real;
#define PFI_DTYPE        PF_F32
#define PFI_SYMBOL(a, b) a##b##_f32
#define PFK(name)        pfk_##name##_f32
#define pfr_exp          expf
#define pfr_expm1        expm1f
#define pfr_log          logf
#define pfr_log1p        log1pf
#define pfr_sqrt         sqrtf
#define pfr_tanh         tanhf
#define pfr_pow          powf
#define pfr_abs          fabsf
#define pfr_sin          sinf
#define pfr_cos          cosf
#define PFR_MAX          ((pf_real)3.402823466e38)
#endif

/* enough work that waking the other threads pays */
#define PFK_WORTH_THREADS (1 << 15)

static inline int64_t pfk_least(int64_t a, int64_t b) { return a < b ? a : b; }

#endif
