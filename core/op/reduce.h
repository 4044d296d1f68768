/* Reductions over one dimension or over all: the input seen as [outer, n, inner]. Internal to op files. */
#ifndef PFI_REDUCE_H
#define PFI_REDUCE_H

#include "kernel/row.h"
#include "op/zip.h"

typedef struct pfi_reduce {
    int64_t outer, n, inner;
} pfi_reduce;

/* x seen from dimension dim; dim < 0: all of it */
static inline pfi_reduce reduce_over(const pf_tensor *x, int dim) {
    if (dim < 0) return (pfi_reduce){1, (int64_t)pfi_numel(x), 1};
    pfi_reduce r = {1, x->dim[dim], 1};
    for (int i = 0; i < x->nd; i++) {
        if (i < dim) r.outer *= x->dim[i];
        if (i > dim) r.inner *= x->dim[i];
    }
    return r;
}

/* num[0], an optional dimension that was checked by the shape stage; absent: -1 */
static inline int reduce_dim(const pfi_call *c) {
    if (!pfi_given(c->num[0])) return -1;
    return (int)(c->num[0] < 0 ? c->num[0] + c->in[0]->nd : c->num[0]);
}

static inline pfi_reduce reduce_of(const pfi_call *c) { return reduce_over(c->in[0], reduce_dim(c)); }

/* where slice i of the outer * inner ones begins */
static inline int64_t reduce_start(pfi_reduce r, int64_t i) { return i / r.inner * r.n * r.inner + i % r.inner; }

static inline double reduce_sum(const pf_real *x, pfi_reduce r) {
    if (r.inner == 1) return row_sum(x, r.n);
    double sum = 0;
    for (int64_t k = 0; k < r.n; k++) sum += (double)x[k * r.inner];
    return sum;
}

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

/* The same for a reduction that has no value where there is nothing to reduce. */
static inline pf_status reduce_shape_some(pfi_call *c) {
    PF_TRY(reduce_shape(c));
    pfi_reduce r = reduce_of(c);
    if (r.n > 0 || r.outer * r.inner == 0) return PF_OK;
    return pfi_call_fail(c, PF_RANGE, "x has shape %s: there is nothing to take it of", PFI_SHAPE_TEXT(c->in[0]));
}

/* Shape stage of an operation along a dimension, parameters (x, dim = last), result like x. dim becomes num[0] >= 0. */
static inline pf_status reduce_along(pfi_call *c) {
    int dim = 0;
    if (!pfi_given(c->num[0])) c->num[0] = -1;
    if (c->in[0]->nd > 0 || c->num[0] != -1) PF_TRY(pfi_dim_arg(c, 0, c->in[0]->nd, &dim));
    c->num[0] = c->in[0]->nd ? dim : (double)NAN; /* a scalar is a row of one */
    return pfi_shape_like(c, 0);
}

#define PFI_REDUCE_PARAMS                                                                                              \
    {                                                                                                                  \
        {.name = "x", .kind = PF_KIND_TENSOR},                                                                         \
            {.name = "dim", .kind = PF_KIND_DIM, .optional = true, .value = (double)NAN},                              \
            {.name = "keep", .kind = PF_KIND_BOOLEAN, .optional = true, .value = 0},                                   \
    }

#define PFI_ALONG_PARAMS                                                                                               \
    {                                                                                                                  \
        {.name = "x", .kind = PF_KIND_TENSOR},                                                                         \
            {.name = "dim", .kind = PF_KIND_DIM, .optional = true, .value = (double)NAN},                              \
    }

/* Cases that every reduction wants. */
#define PFI_REDUCE_CASES                                                                                               \
    {.dim = {PFI_S3(2, 3, 4)}}, {.dim = {PFI_S3(2, 3, 4)}, .args = "dim=1"},                                           \
        {.dim = {PFI_S3(2, 3, 4)}, .args = "dim=-1 keep=1"}, {.dim = {PFI_S2(2, 19)}, .args = "dim=1"},                \
        {.dim = {PFI_S2(3, 2)}, .args = "keep=1"}, {.dim = {PFI_S0}}, {.dim = {PFI_S2(200, 200)}, .args = "dim=0"},    \
        {.dim = {PFI_S2(200, 200)}, .args = "dim=1"}, {                                                                \
        .dim = {PFI_S2(2, 3)}, .args = "dim=2", .want = PF_RANGE                                                       \
    }

/* ... and every operation along a dimension. */
#define PFI_ALONG_CASES(low, high)                                                                                     \
    {.dim = {PFI_S2(3, 5)}, .lo = (low), .hi = (high)},                                                                \
        {.dim = {PFI_S3(2, 3, 4)}, .args = "dim=1", .lo = (low), .hi = (high)},                                        \
        {.dim = {PFI_S3(4, 2, 2)}, .args = "dim=-3", .lo = (low), .hi = (high)},                                       \
        {.dim = {PFI_S2(2, 19)}, .lo = (low), .hi = (high)}, {.dim = {PFI_S2(200, 200)}, .lo = (low), .hi = (high)},   \
        {.dim = {PFI_S2(200, 200)}, .args = "dim=0", .lo = (low), .hi = (high)}, {                                     \
        .dim = {PFI_S2(2, 3)}, .args = "dim=2", .want = PF_RANGE                                                       \
    }

#endif
