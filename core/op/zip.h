/* Loops over two inputs with broadcasting, and over one input. Internal to op files. */
#ifndef PFI_ZIP_H
#define PFI_ZIP_H

#include "kernel/real.h"
#include "op/op.h"

/* Result shape padded in front to PF_MAX_DIMS, and how far one step along each dimension moves in each input. */
typedef struct pfi_zip {
    int64_t dim[PF_MAX_DIMS], sa[PF_MAX_DIMS], sb[PF_MAX_DIMS];
    int64_t n;
    bool flat; /* no broadcasting: all three advance together */
} pfi_zip;

static inline void zip_strides(const pfi_call *c, int input, int64_t *stride) {
    const pf_tensor *t = c->in[input];
    int64_t s = 1;
    for (int d = PF_MAX_DIMS - 1, i = t->nd - 1; d >= 0; d--, i--) {
        int64_t size = i >= 0 ? t->dim[i] : 1;
        stride[d] = size == 1 ? 0 : s;
        s *= size;
    }
}

static inline pfi_zip zip_of(const pfi_call *c) {
    pfi_zip z = {.n = 1, .flat = pfi_numel(c->in[0]) == pfi_numel(c->in[1])};
    for (int d = PF_MAX_DIMS - 1, i = c->nd - 1; d >= 0; d--, i--) {
        z.dim[d] = i >= 0 ? c->dim[i] : 1;
        z.n *= z.dim[d];
    }
    z.flat = z.flat && (int64_t)pfi_numel(c->in[0]) == z.n;
    zip_strides(c, 0, z.sa);
    zip_strides(c, 1, z.sb);
    return z;
}

/* Run BODY for every element i of the result, with places ia and ib in the inputs. Elements run in order on one
 * thread, so that BODY may add into a broadcast gradient; PFI_ZIP_FLAT is the threaded loop for z.flat. */
#define PFI_ZIP(z, BODY)                                                                                               \
    for (int64_t i0 = 0, i = 0; i0 < (z).dim[0]; i0++)                                                                 \
        for (int64_t i1 = 0; i1 < (z).dim[1]; i1++)                                                                    \
            for (int64_t i2 = 0; i2 < (z).dim[2]; i2++) {                                                              \
                int64_t ia = i0 * (z).sa[0] + i1 * (z).sa[1] + i2 * (z).sa[2];                                         \
                int64_t ib = i0 * (z).sb[0] + i1 * (z).sb[1] + i2 * (z).sb[2];                                         \
                for (int64_t i3 = 0; i3 < (z).dim[3]; i3++, i++, ia += (z).sa[3], ib += (z).sb[3]) { BODY; }           \
            }

#define PFI_PRAGMA(x) _Pragma(#x)

/* Run BODY for i in 0..n-1, on all threads; BODY must touch only element i. */
#define PFI_EACH(c, n, BODY)                                                                                           \
    do {                                                                                                               \
        const int64_t each_n = (int64_t)(n);                                                                           \
        const int each_threads = (c)->ctx->threads;                                                                    \
        PFI_PRAGMA(omp parallel for num_threads(each_threads) schedule(static) if (each_n > PFK_WORTH_THREADS))        \
        for (int64_t i = 0; i < each_n; i++) { BODY; }                                                                 \
    } while (0)

/* Both of the above: threads where nothing is broadcast. ia == ib == i there. */
#define PFI_ZIP_ANY(c, z, BODY)                                                                                        \
    do {                                                                                                               \
        if ((z).flat)                                                                                                  \
            PFI_EACH(c, (z).n, const int64_t ia = i; const int64_t ib = i; BODY);                                      \
        else                                                                                                           \
            PFI_ZIP(z, BODY)                                                                                           \
    } while (0)

#endif
