/* Kernels of sampling: every row is computed the same way whatever stands beside it. */
#include <cblas.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "kernel/fast.h"
#include "kernel/stored.h"

#ifdef PFI_DOUBLE
#define decode_blas cblas_dgemm
#else
#define decode_blas cblas_sgemm
#endif

enum { DECODE_COLS = 256 };

static int64_t decode_min(int64_t a, int64_t b) { return a < b ? a : b; }

/* values that one thread widens at a time */
static int64_t decode_room(int64_t out, int64_t in) { return (decode_min(out, DECODE_COLS) * in + 15) / 16 * 16; }

size_t PFK(linear_rows_scratch)(int threads, pf_dtype type, int64_t out, int64_t in) {
    return type == PFI_DTYPE ? 0 : (size_t)(threads * decode_room(out, in)) * sizeof(pf_real);
}

static int decode_thread(void) {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

/* BLAS computes the product turned, [out,16], where rows are lanes of its vectors and see the same operations. The
 * other way round, its kernels for processors with AVX2 round a row by its place in the block. */
void PFK(linear_rows)(int threads, pf_real *y, const pf_real *x, pf_dtype type, const void *w, int64_t rows,
                      int64_t out, int64_t in, void *scratch) {
    int64_t blocks = rows / PFK_ROWS, cols = (out + DECODE_COLS - 1) / DECODE_COLS, room = decode_room(out, in);
    int64_t share = type == PFI_DTYPE || !blocks ? 1 : blocks; /* blocks that share what is widened for them */
#pragma omp parallel for num_threads(threads) schedule(static) if (rows * out * in > 8 * PFK_WORTH_THREADS)
    for (int64_t t = 0; t < blocks / share * cols; t++) {
        int64_t from = t / cols * share, j = t % cols * DECODE_COLS, n = decode_min(out - j, DECODE_COLS);
        const pf_real *tile = (const pf_real *)w + j * in;
        if (type != PFI_DTYPE) {
            pf_real *wide = (pf_real *)scratch + decode_thread() * room;
            PFK(widen)(type, linear_at(type, w, in, j), wide, n * in);
            tile = wide;
        }
        for (int64_t i = from * PFK_ROWS; i < (from + share) * PFK_ROWS; i += PFK_ROWS) {
            pf_real turned[DECODE_COLS * PFK_ROWS];
            decode_blas(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, PFK_ROWS, (int)in, 1, tile, (int)in,
                        x + i * in, (int)in, 0, turned, PFK_ROWS);
            for (int64_t r = 0; r < PFK_ROWS; r++)
                for (int64_t c = 0; c < n; c++) y[(i + r) * out + j + c] = turned[c * PFK_ROWS + r];
        }
    }
}

static PFK_CLONES pf_real decode_dot(const pf_real *a, const pf_real *b, int64_t n) {
    pf_real sum[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) sum[j] += a[i + j] * b[i + j];
    for (; i < n; i++) sum[0] += a[i] * b[i];
    for (int j = 8; j > 0; j /= 2)
        for (int k = 0; k < j; k++) sum[k] += sum[k + j];
    return sum[0];
}

static PFK_CLONES void decode_add(pf_real *y, const pf_real *x, pf_real scale, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += scale * x[i];
}

/* scores to probabilities in place */
static PFK_CLONES void decode_softmax(pf_real *s, int64_t n) {
    pf_real top = s[0];
    for (int64_t i = 1; i < n; i++) top = s[i] > top ? s[i] : top;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) s[i] = pfk_exp(s[i] - top);
    for (int64_t i = 0; i < n; i++) sum += (double)s[i];
    pf_real scale = (pf_real)(1 / sum);
    for (int64_t i = 0; i < n; i++) s[i] *= scale;
}

static void decode_row(pf_real *o, const pf_real *q, const pf_real *k, const pf_real *v, const int32_t *list,
                       int64_t len, const PFK(attention) * a, int64_t g, pf_real *s) {
    const int64_t group = a->H / a->G, G = a->G, D = a->D;
    for (int64_t i = 0; i < len; i++)
        for (int64_t h = 0; h < group; h++)
            s[h * len + i] = a->scale * decode_dot(q + h * D, k + (list[i] * G + g) * D, D);
    if (a->cap > 0)
        for (int64_t i = 0; i < group * len; i++) s[i] = a->cap * pfr_tanh(s[i] / a->cap);
    for (int64_t h = 0; h < group; h++) decode_softmax(s + h * len, len);
    memset(o, 0, (size_t)(group * D) * sizeof *o);
    for (int64_t i = 0; i < len; i++)
        for (int64_t h = 0; h < group; h++) decode_add(o + h * D, v + (list[i] * G + g) * D, s[h * len + i], D);
}

void PFK(attention_rows)(pf_real *o, const pf_real *q, const pf_real *k, const pf_real *v, const int32_t *const *list,
                         const int64_t *len, const PFK(attention) * a, pf_real *scratch) {
    const int64_t group = a->H / a->G, work = a->T * a->H * a->longest * a->D;
    const int threads = a->threads;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 4) if (work > PFK_WORTH_THREADS)
    for (int64_t t = 0; t < a->T * a->G; t++) {
        int64_t thread = decode_thread();
        int64_t r = t / a->G, g = t % a->G, at = (r * a->H + g * group) * a->D;
        int64_t skip = a->window > 0 && len[r] > a->window ? len[r] - a->window : 0;
        decode_row(o + at, q + at, k, v, list[r] + skip, len[r] - skip, a, g, scratch + thread * group * a->longest);
    }
}
