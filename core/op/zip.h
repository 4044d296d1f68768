/* Loops over single elements, and over two inputs with broadcasting. Internal to op files. */
#ifndef PFI_ZIP_H
#define PFI_ZIP_H

#include "kernel/real.h"
#include "op/op.h"

#define PFI_PRAGMA(x) _Pragma(#x)

/* Run BODY for i in 0..n-1, on all threads; BODY must touch only element i. work: cost of one BODY in elements. */
#define PFI_EACH_OF(c, n, work, BODY)                                                                                  \
    do {                                                                                                               \
        const int64_t each_n = (int64_t)(n);                                                                           \
        const bool each_wide = each_n * (int64_t)(work) > PFK_WORTH_THREADS;                                           \
        const int each_threads = (c)->ctx->threads;                                                                    \
        PFI_PRAGMA(omp parallel for num_threads(each_threads) schedule(static) if (each_wide))                         \
        for (int64_t i = 0; i < each_n; i++) {                                                                         \
            BODY;                                                                                                      \
        }                                                                                                              \
    } while (0)

#define PFI_EACH(c, n, BODY) PFI_EACH_OF(c, n, 1, BODY)

/* ---- one input ---- */

#define PFI_STAGES(id) .shape = id##_shape, .forward = id##_forward, .backward = id##_backward

/* Parameters and stages of an operation on single elements: Y is the result from x, DX what is added to the gradient,
 * from x, y and dy. */
#define PFI_MAP(id, Y, DX)                                                                                             \
    static const pf_param id##_params[] = {{.name = "x", .kind = PF_KIND_TENSOR}};                                     \
    static pf_status id##_shape(pfi_call *c) { return pfi_shape_like(c, 0); }                                          \
    static pf_status id##_forward(pfi_call *c) {                                                                       \
        const pf_real *map_x = c->x[0];                                                                                \
        pf_real *map_y = c->y;                                                                                         \
        PFI_EACH(c, pfi_numel(c->in[0]), const pf_real x = map_x[i]; map_y[i] = (Y));                                  \
        return PF_OK;                                                                                                  \
    }                                                                                                                  \
    static pf_status id##_backward(pfi_call *c) {                                                                      \
        const pf_real *map_x = c->x[0], *map_y = c->y, *map_dy = c->dy;                                                \
        pf_real *map_dx = c->dx[0];                                                                                    \
        PFI_EACH(c, pfi_numel(c->in[0]), const pf_real x = map_x[i]; const pf_real y = map_y[i];                       \
                 const pf_real dy = map_dy[i]; (void)x; (void)y; map_dx[i] += (DX));                                   \
        return PF_OK;                                                                                                  \
    }

/* ---- two inputs ---- */

/* Shapes padded in front to PF_MAX_DIMS: of the result, and how far one step along each dimension moves in the result
 * (si) and in each input (sa, sb; 0 where it is broadcast). */
typedef struct pfi_zip {
    int64_t dim[PF_MAX_DIMS], si[PF_MAX_DIMS], sa[PF_MAX_DIMS], sb[PF_MAX_DIMS];
    int64_t n;
    bool flat; /* no broadcasting: all three advance together */
} pfi_zip;

static inline void zip_strides(const pf_tensor *t, int64_t *stride) {
    int64_t s = 1;
    for (int d = PF_MAX_DIMS - 1, i = t->nd - 1; d >= 0; d--, i--) {
        int64_t size = i >= 0 ? t->dim[i] : 1;
        stride[d] = size == 1 ? 0 : s;
        s *= size;
    }
}

static inline pfi_zip zip_inputs(const pfi_call *c, int a, int b) {
    pfi_zip z = {.n = 1};
    for (int d = PF_MAX_DIMS - 1, i = c->nd - 1; d >= 0; d--, i--) {
        z.dim[d] = i >= 0 ? c->dim[i] : 1;
        z.si[d] = z.n;
        z.n *= z.dim[d];
    }
    z.flat = (int64_t)pfi_numel(c->in[a]) == z.n && (int64_t)pfi_numel(c->in[b]) == z.n;
    zip_strides(c->in[a], z.sa);
    zip_strides(c->in[b], z.sb);
    return z;
}

static inline pfi_zip zip_of(const pfi_call *c) { return zip_inputs(c, 0, 1); }

/* where row (all dimensions but the last) begins under the given strides */
static inline int64_t zip_row(const pfi_zip *z, const int64_t *stride, int64_t row) {
    int64_t at = 0;
    for (int d = PF_MAX_DIMS - 2; d >= 0; d--) {
        at += row % z->dim[d] * stride[d];
        row /= z->dim[d];
    }
    return at;
}

/* Run BODY for every element i of the result, with places ia and ib in the inputs; BODY must touch only element i. */
#define PFI_ZIP(c, z, BODY)                                                                                            \
    do {                                                                                                               \
        const int64_t zip_width = (z).flat ? (z).n : (z).dim[PF_MAX_DIMS - 1];                                         \
        const int64_t zip_rows = zip_width ? (z).n / zip_width : 0;                                                    \
        const int64_t zip_da = (z).sa[PF_MAX_DIMS - 1], zip_db = (z).sb[PF_MAX_DIMS - 1];                              \
        const bool zip_wide = (z).n > PFK_WORTH_THREADS;                                                               \
        const int zip_threads = (c)->ctx->threads;                                                                     \
        if ((z).flat) {                                                                                                \
            PFI_EACH(c, (z).n, const int64_t ia = i; const int64_t ib = i; (void)ia; (void)ib; BODY);                  \
            break;                                                                                                     \
        }                                                                                                              \
        PFI_PRAGMA(omp parallel for num_threads(zip_threads) schedule(static) if (zip_wide))                           \
        for (int64_t row = 0; row < zip_rows; row++) {                                                                 \
            const int64_t zip_a = zip_row(&(z), (z).sa, row), zip_b = zip_row(&(z), (z).sb, row);                      \
            for (int64_t k = 0; k < zip_width; k++) {                                                                  \
                const int64_t i = row * zip_width + k, ia = zip_a + k * zip_da, ib = zip_b + k * zip_db;               \
                (void)ia, (void)ib;                                                                                    \
                BODY;                                                                                                  \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

/* The result elements that one element of an input was used for: the dimensions in which it is broadcast, packed
 * towards the end, with the steps in the result and in the other input. */
typedef struct pfi_fan {
    int64_t n; /* elements of the input */
    int64_t dim[PF_MAX_DIMS], si[PF_MAX_DIMS], so[PF_MAX_DIMS];
    int64_t keep[PF_MAX_DIMS], rows;
    int64_t blocks; /* runs of at most ZIP_BLOCK elements along the last dimension: their sums advance together */
} pfi_fan;

enum { ZIP_BLOCK = 64 };

static inline pfi_fan zip_fan(const pfi_zip *z, const int64_t *own, const int64_t *other) {
    pfi_fan f = {.n = 1, .rows = 1};
    int at = PF_MAX_DIMS;
    for (int d = PF_MAX_DIMS - 1; d >= 0; d--) {
        bool kept = own[d] != 0 || z->dim[d] == 1;
        f.keep[d] = kept ? z->dim[d] : 1;
        f.n *= f.keep[d];
        f.dim[d] = 1;
        if (kept) continue;
        f.dim[--at] = z->dim[d];
        f.si[at] = z->si[d];
        f.so[at] = other[d];
    }
    for (int d = 0; d < PF_MAX_DIMS - 1; d++) f.rows *= f.dim[d];
    const int64_t last = f.keep[PF_MAX_DIMS - 1];
    f.blocks = last ? f.n / last * ((last + ZIP_BLOCK - 1) / ZIP_BLOCK) : 0;
    return f;
}

/* first element and width of a block */
static inline int64_t zip_fan_block(const pfi_fan *f, int64_t block, int64_t *width) {
    const int64_t last = f->keep[PF_MAX_DIMS - 1], cuts = (last + ZIP_BLOCK - 1) / ZIP_BLOCK;
    const int64_t at = block % cuts * ZIP_BLOCK;
    *width = PFI_MIN(last - at, (int64_t)ZIP_BLOCK);
    return block / cuts * last + at;
}

/* place of the input's element e in the result or in the other input */
static inline int64_t zip_fan_start(const pfi_fan *f, const int64_t *stride, int64_t e) {
    int64_t at = 0;
    for (int d = PF_MAX_DIMS - 1; d >= 0; d--) {
        at += e % f->keep[d] * stride[d];
        e /= f->keep[d];
    }
    return at;
}

static inline int64_t zip_fan_row(const pfi_fan *f, const int64_t *stride, int64_t row) {
    int64_t at = 0;
    for (int d = PF_MAX_DIMS - 2; d >= 0; d--) {
        at += row % f->dim[d] * stride[d];
        row /= f->dim[d];
    }
    return at;
}

/* OWN and OTHER are ia and ib or the other way round. Sums in double, each on one thread. */
#define PFI_ZIP_BACK(c, z, dx, own, OWN, other, OTHER, TERM)                                                           \
    do {                                                                                                               \
        if ((z).flat) {                                                                                                \
            PFI_EACH(c, (z).n, const int64_t ia = i; const int64_t ib = i; (void)ia; (void)ib; (dx)[i] += (TERM));     \
            break;                                                                                                     \
        }                                                                                                              \
        const pfi_fan fan = zip_fan(&(z), own, other);                                                                 \
        const bool fan_wide = (z).n > PFK_WORTH_THREADS;                                                               \
        const int fan_threads = (c)->ctx->threads;                                                                     \
        const int64_t fan_step = (other)[PF_MAX_DIMS - 1];                                                             \
        PFI_PRAGMA(omp parallel for num_threads(fan_threads) schedule(static) if (fan_wide))                           \
        for (int64_t fan_block = 0; fan_block < fan.blocks; fan_block++) {                                             \
            double fan_sum[ZIP_BLOCK] = {0};                                                                           \
            int64_t fan_width, fan_e = zip_fan_block(&fan, fan_block, &fan_width);                                     \
            const int64_t fan_i = zip_fan_start(&fan, (z).si, fan_e), fan_o = zip_fan_start(&fan, other, fan_e);       \
            for (int64_t row = 0; row < fan.rows; row++) {                                                             \
                int64_t fan_p = fan_i + zip_fan_row(&fan, fan.si, row),                                                \
                        fan_q = fan_o + zip_fan_row(&fan, fan.so, row);                                                \
                for (int64_t r = 0; r < fan.dim[PF_MAX_DIMS - 1]; r++) {                                               \
                    for (int64_t k = 0; k < fan_width; k++) {                                                          \
                        const int64_t i = fan_p + k, OWN = fan_e + k, OTHER = fan_q + k * fan_step;                    \
                        (void)OWN, (void)OTHER;                                                                        \
                        fan_sum[k] += (double)(TERM);                                                                  \
                    }                                                                                                  \
                    fan_p += fan.si[PF_MAX_DIMS - 1];                                                                  \
                    fan_q += fan.so[PF_MAX_DIMS - 1];                                                                  \
                }                                                                                                      \
            }                                                                                                          \
            for (int64_t k = 0; k < fan_width; k++) (dx)[fan_e + k] += (pf_real)fan_sum[k];                            \
        }                                                                                                              \
    } while (0)

/* Add to da (db) the sum of TERM, made of i, ia and ib, over all result elements that each of its elements went into.
 */
#define PFI_ZIP_BACK_A(c, z, da, TERM) PFI_ZIP_BACK(c, z, da, (z).sa, ia, (z).sb, ib, TERM)
#define PFI_ZIP_BACK_B(c, z, db, TERM) PFI_ZIP_BACK(c, z, db, (z).sb, ib, (z).sa, ia, TERM)

#define PFI_ZIP_PARAMS                                                                                                 \
    { {.name = "x", .kind = PF_KIND_TENSOR}, {.name = "y", .kind = PF_KIND_TENSOR}, }

/* Cases that every operation on two broadcast inputs wants: equal, row, cross, scalar, one large for the threads. */
#define PFI_ZIP_CASES(low, high)                                                                                       \
    {.dim = {PFI_S2(3, 4), PFI_S2(3, 4)}, .lo = (low), .hi = (high)},                                                  \
        {.dim = {PFI_S2(3, 4), PFI_S1(4)}, .lo = (low), .hi = (high)},                                                 \
        {.dim = {PFI_S3(2, 1, 3), PFI_S3(1, 4, 1)}, .lo = (low), .hi = (high)},                                        \
        {.dim = {PFI_S0, PFI_S2(2, 2)}, .lo = (low), .hi = (high)},                                                    \
        {.dim = {PFI_S4(2, 3, 1, 2), PFI_S4(2, 1, 2, 2)}, .lo = (low), .hi = (high)},                                  \
        {.dim = {PFI_S2(200, 200), PFI_S1(200)}, .lo = (low), .hi = (high)},                                           \
        {.dim = {PFI_S2(200, 200), PFI_S2(200, 200)}, .lo = (low), .hi = (high)}, {                                    \
        .dim = {PFI_S2(3, 4), PFI_S2(4, 3)}, .lo = (low), .hi = (high), .want = PF_SHAPE                               \
    }

#endif
