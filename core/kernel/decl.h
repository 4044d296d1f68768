/* Declarations of the kernels for one pf_real; included twice by kernel.h, so without a guard. */

/* C[M,N] = op(A) op(B) + beta C, row-major, beta 0 or 1; ta: A is stored [K,M]; tb: B is stored [N,K].
 * Fixed tiles of C, each one single-threaded BLAS call: the same bits for any number of threads. */
void PFK(gemm)(int threads, bool ta, bool tb, int64_t M, int64_t N, int64_t K, const pf_real *A, int64_t lda,
               const pf_real *B, int64_t ldb, pf_real beta, pf_real *C, int64_t ldc);

/* y[rows,out] = x[rows,in] w^T + beta y, and dx[rows,in] = dy[rows,out] w + beta dx, for w[out,in] stored as type: of
 * another type than pf_real it is widened a panel at a time. beta 0 or 1. As gemm otherwise; y's bits are those of gemm
 * on the widened weight. scratch: linear_scratch bytes, 0 for a type that needs none. */
void PFK(linear)(int threads, pf_real *y, const pf_real *x, pf_dtype type, const void *w, int64_t rows, int64_t out,
                 int64_t in, pf_real beta, void *scratch);
void PFK(linear_back)(int threads, pf_real *dx, const pf_real *dy, pf_dtype type, const void *w, int64_t rows,
                      int64_t out, int64_t in, pf_real beta, void *scratch);
size_t PFK(linear_scratch)(pf_dtype type, int64_t out, int64_t in);

/* y[n] = x[n], and y[n] += x[n] */
void PFK(copy)(int threads, pf_real *y, const pf_real *x, int64_t n);
void PFK(accumulate)(int threads, pf_real *y, const pf_real *x, int64_t n);

/* lora.c. y[rows,out] = y0 + u b^T with u[rows,r] = scale x a^T, for x[rows,in], a[r,in], b[out,r]; y0 is not y. */
typedef struct PFK(lora) {
    int64_t rows, r, in, out;
    const pf_real *x, *a, *b;
    pf_real scale;
    int threads;
} PFK(lora);
void PFK(lora_forward)(const PFK(lora) * l, pf_real *y, pf_real *u, const pf_real *y0);
/* the gradients of y0, x, a and b, added into those of dx that are not NULL or, where they are fresh, written.
 * scratch: lora_scratch bytes */
void PFK(lora_backward)(const PFK(lora) * l, pf_real *const dx[4], const bool fresh[4], const pf_real *dy,
                        const pf_real *u, void *scratch);
size_t PFK(lora_scratch)(const PFK(lora) * l);

/* optim.c. Updates of w[n] by the gradient grad_scale x g[n], element by element.
 * adamw: w <- w (1 - lr weight_decay), then Adam's step number step (from 1) with moments m[n], v[n]
 * (Loshchilov and Hutter 2019, algorithm 2; order of operations as torch.optim.AdamW).
 * sgd: m <- momentum m + (g + weight_decay w), w <- w - lr m; m NULL: without momentum. */
void PFK(adamw)(int threads, pf_real *w, pf_real *m, pf_real *v, const pf_real *g, int64_t n, double grad_scale,
                double lr, double beta1, double beta2, double eps, double weight_decay, int64_t step);
/* The same with moments of 8 bits, PFK_CODES to a scale: codes m[n], v[n], scales of ceil(n / PFK_CODES) blocks, all 0
 * at first (Dettmers et al. 2022, arXiv 2110.02861: block-wise dynamic quantisation). The update itself is in pf_real.
 */
void PFK(adamw8)(int threads, pf_real *w, uint8_t *m, float *m_scale, uint8_t *v, float *v_scale, const pf_real *g,
                 int64_t n, double grad_scale, double lr, double beta1, double beta2, double eps, double weight_decay,
                 int64_t step);
void PFK(sgd)(int threads, pf_real *w, pf_real *m, const pf_real *g, int64_t n, double grad_scale, double lr,
              double momentum, double weight_decay);
/* sum of x[n] squared, in double, by fixed blocks: the same bits for any number of threads.
 * block: scratch for ceil(n / PFK_BLOCK) values */
double PFK(sum_squares)(int threads, const pf_real *x, int64_t n, double *block);
#ifndef PFK_BLOCK
#define PFK_BLOCK 4096
#define PFK_CODES 256
#endif

/* Attention on a forest (see forest.h for start and parent). q, o [T,H,D]; k, v [T,G,D], H a multiple of G;
 * lse [H,T]: log of the softmax denominator, for backward. window > 0: a token sees that many tokens, itself included.
 * Tasks are (tree, key head): no two write to one place, and each runs in a fixed order. */
typedef struct PFK(attention) {
    int64_t T, H, G, D, branches, longest; /* longest: largest depth of a node, plus 1 */
    const int32_t *start, *parent;
    pf_real scale, cap; /* cap > 0: scores s become cap tanh(s / cap) */
    int64_t window;
    int threads;
} PFK(attention);
size_t PFK(attention_scratch)(const PFK(attention) * a); /* bytes, forward or backward */
void PFK(attention_forward)(pf_real *o, pf_real *lse, const pf_real *q, const pf_real *k, const pf_real *v,
                            const PFK(attention) * a, void *scratch);
double PFK(attention_pairs)(const PFK(attention) * a); /* of a token and one that it sees */
/* adds into those of dq, dk, dv that are not NULL */
void PFK(attention_backward)(pf_real *dq, pf_real *dk, pf_real *dv, const pf_real *go, const pf_real *o,
                             const pf_real *lse, const pf_real *q, const pf_real *k, const pf_real *v,
                             const PFK(attention) * a, void *scratch);

/* the largest of x[n] that is a number, -PFR_MAX if none is above; the sum of x[n], in double; and y[n] = exp(scale (x
 * - shift)), which may be x itself, with its sum */
pf_real PFK(max)(const pf_real *x, int64_t n);
double PFK(sum)(const pf_real *x, int64_t n);
double PFK(exp_sum)(pf_real *y, const pf_real *x, pf_real shift, pf_real scale, int64_t n);
/* x[rows,n] in place to its softmax along the rows */
void PFK(softmax_rows)(int threads, pf_real *x, int64_t rows, int64_t n);
/* A softmax whose rows come a strip x[rows,n] at a time. max[rows] and sum[rows]: largest value so far (-PFR_MAX before
 * the first strip) and sum of e^(x - max); x becomes e^(x - max); what was relative to the old max times keep[rows] is
 * relative to the new one. */
void PFK(softmax_more)(int threads, pf_real *x, pf_real *max, double *sum, pf_real *keep, int64_t rows, int64_t n);
/* x[rows,n] = exp(x - shift[row]) */
void PFK(exp_rows)(int threads, pf_real *x, const pf_real *shift, int64_t rows, int64_t n);

/* y[n] += the sums down the columns of x[rows, n], in double */
void PFK(add_columns)(int threads, pf_real *y, const pf_real *x, int64_t rows, int64_t n);

/* y[n] += the sums down the columns of scale[rows] (x[rows, n] - mean[rows]) z[rows, n], in double; mean may be NULL */
void PFK(add_columns_of_product)(int threads, pf_real *y, const pf_real *x, const pf_real *z, const pf_real *mean,
                                 const pf_real *scale, int64_t rows, int64_t n);

/* dst[n] = the stored values at src, n a multiple of the block; in float as ggml's reference computes them, then as
 * pf_real. type: any but PF_I32. src may be aligned to a byte only. */
void PFK(widen)(pf_dtype type, const void *src, pf_real *dst, int64_t n);

/* y[T,C] = the rows id[T] of w[.,C], which is stored as type */
void PFK(gather_rows)(int threads, pf_real *y, pf_dtype type, const void *w, const int32_t *id, int64_t T, int64_t C);

/* row id[t] of dw[V,C] += row t of dy[T,C], each row summed in double in the order of t; and the scratch it takes */
void PFK(scatter_rows)(int threads, pf_real *dw, const pf_real *dy, const int32_t *id, int64_t T, int64_t V, int64_t C,
                       void *scratch);
size_t PFK(scatter_rows_scratch)(int64_t T, int64_t V);

/* y[rows,C] = x scale (w + offset) with scale[row] = 1 / sqrt(mean(x^2) + eps), and its gradient: dx += ... */
void PFK(rms_norm)(int threads, pf_real *y, pf_real *scale, const pf_real *x, const pf_real *w, double offset,
                   double eps, int64_t rows, int64_t C);
void PFK(rms_norm_back)(int threads, pf_real *dx, const pf_real *dy, const pf_real *x, const pf_real *w, double offset,
                        const pf_real *scale, int64_t rows, int64_t C);

/* y[n] = gate sigmoid(gate) up, and its gradients, added or, where they are fresh, written; dgate or dup may be NULL */
void PFK(swiglu)(int threads, pf_real *y, const pf_real *gate, const pf_real *up, int64_t n);
void PFK(swiglu_back)(int threads, pf_real *dgate, bool fresh_gate, pf_real *dup, bool fresh_up, const pf_real *dy,
                      const pf_real *gate, const pf_real *up, int64_t n);

/* Over every place of dim[4]: y += x or y = x, each seen through strides; y's places must differ. */
void PFK(copy_strided)(int threads, pf_real *y, const int64_t *to, const pf_real *x, const int64_t *from,
                       const int64_t *dim);
void PFK(add_strided)(int threads, pf_real *y, const int64_t *to, const pf_real *x, const int64_t *from,
                      const int64_t *dim);
/* y += the sum over repeat[4] (strides many[4] in x), in double, at every place of dim[4] */
void PFK(sum_strided)(int threads, pf_real *y, const int64_t *to, const pf_real *x, const int64_t *from,
                      const int64_t *dim, const int64_t *many, const int64_t *repeat);
