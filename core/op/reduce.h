/* Reductions over one dimension or over all: the input seen as [outer, n, inner]. Internal to op files. */
#ifndef PFI_REDUCE_H
#define PFI_REDUCE_H

#include "op/zip.h"

typedef struct pfi_reduce {
    int64_t outer, n, inner;
} pfi_reduce;

/* Shape stage of a reduction with parameters (x, dim = all, keep = false): num[0] dim, num[1] keep. */
static inline pf_status reduce_shape(pfi_call *c) {
    const pf_tensor *x = c->in[0];
    bool keep = c->num[1] != 0;
    int dim = -1;
    if (pfi_given(c->num[0])) PF_TRY(pfi_dim_arg(c, 0, x->nd, &dim));
    c->nd = 0;
    for (int i = 0; i < x->nd; i++) {
        bool gone = dim < 0 || i == dim;
        if (gone && !keep) continue;
        c->dim[c->nd++] = gone ? 1 : x->dim[i];
    }
    return PF_OK;
}

static inline pfi_reduce reduce_of(const pfi_call *c) {
    const pf_tensor *x = c->in[0];
    if (!pfi_given(c->num[0])) return (pfi_reduce){1, (int64_t)pfi_numel(x), 1};
    int dim = (int)(c->num[0] < 0 ? c->num[0] + x->nd : c->num[0]);
    pfi_reduce r = {1, x->dim[dim], 1};
    for (int i = 0; i < x->nd; i++) {
        if (i < dim) r.outer *= x->dim[i];
        if (i > dim) r.inner *= x->dim[i];
    }
    return r;
}

#define PFI_REDUCE_PARAMS                                                                                              \
    {                                                                                                                  \
        {.name = "x", .kind = PF_KIND_TENSOR}, {.name = "dim", .kind = PF_KIND_DIM, .optional = true, .value = NAN},   \
            {.name = "keep", .kind = PF_KIND_BOOLEAN, .optional = true, .value = 0},                                   \
    }

#endif
