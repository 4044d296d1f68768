/* Kernels: raw pointers in and out, no tensors. Each exists in float (_f32) and double (_f64). Outputs first, inputs
 * const, sizes last. Kernels never allocate: scratch is an argument. Internal. */
#ifndef PFI_KERNEL_H
#define PFI_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pofit.h" /* pf_dtype alone */

#ifdef _OPENMP
#include <omp.h>
static inline int pfk_thread(void) { return omp_get_thread_num(); }
#else
static inline int pfk_thread(void) { return 0; }
#endif

/* ---- stored types (quant.c) ---- */

enum { PFK_BLOCK_MAX = 256 };          /* values in the largest block */
int64_t pfk_block(pf_dtype type);      /* values that are stored together */
size_t pfk_block_bytes(pf_dtype type); /* and their bytes */
bool pfk_narrows(pf_dtype type);       /* can values be stored as it: F32, BF16, F16 and Q8_0 */
/* dst = src[n] stored as type, n a multiple of the block. BF16 and F16 round to nearest even; Q8_0 as ggml's
 * quantize_row_q8_0_ref, and its values must be finite. */
void pfk_narrow(pf_dtype type, void *dst, const float *src, int64_t n);

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

/* ---- sampling (decode.c) ----
 *
 * A row's bits do not depend on the other rows or the number of threads. set: of vector instructions, from 1 to
 * vector_sets, which is what this machine executes; 0 for the last, which is the fastest. */
int pfk_vector_sets(void);
enum { PFK_PAGE = 32 }; /* places of a head that lie side by side */
/* Can products with weights of a type be computed in another: in BF16 where w is BF16 and the processor multiplies such
 * numbers. Then x is rounded by narrow_rows: y[rows,in] = x as BF16. */
bool pfk_rows_narrow(int set, pf_dtype compute, pf_dtype type);
void pfk_narrow_rows(int set, int threads, uint16_t *y, const float *x, int64_t rows, int64_t in);
/* y[rows,out] = x[rows,in] w[out,in]^T for w stored as type, with the bits of the widened weight; of narrow, if it is
 * not NULL, in the place of x. then: the weight that is read after w, which is fetched meanwhile, or NULL. scratch: as
 * many bytes as linear_rows_scratch says. */
void pfk_linear_rows(int set, int threads, float *y, const float *x, const uint16_t *narrow, pf_dtype type,
                     const void *w, const void *then, int64_t rows, int64_t out, int64_t in, void *scratch);
size_t pfk_linear_rows_scratch(int threads, pf_dtype type, int64_t in);
/* Keys and values x_k, x_v [rows,G,D] of rows to their places in a pool, which is as attention_rows reads it. Of a: T
 * (rows), G, D, threads. */
void pfk_store_rows(pf_dtype kv, void *k, void *v, const float *x_k, const float *x_v, const int32_t *place,
                    const pfk_attention_f32 *a);
/* Attention of single rows over listed places of a key/value pool: row r sees the places list[r][0..len[r]), at least
 * one, the last window of them if window > 0. q, o [rows,H,D]; k, v [pages,G,PFK_PAGE,D] of type kv, F32 or F16, with
 * place p in page p / PFK_PAGE; scratch [threads, H / G, longest list]. Of a: T (rows), H, G, D, longest, scale, cap,
 * window, threads. */
void pfk_attention_rows(int set, float *o, const float *q, pf_dtype kv, const void *k, const void *v,
                        const int32_t *const *list, const int64_t *len, const pfk_attention_f32 *a, float *scratch);

#endif
