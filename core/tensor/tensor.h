/* tensor: shapes, storage, views; the tape. Internal. */
#ifndef PFI_TENSOR_H
#define PFI_TENSOR_H

#include "base/base.h"

typedef struct pfi_call pfi_call; /* op/op.h: one applied operation, kept as the history of its result */

/* A block of values that views share. release: for memory that is not ours (a mapped file). */
typedef struct pfi_storage {
    pf_ctx *ctx;
    long refs;
    void *data;
    size_t bytes;
    void (*release)(void *ud);
    void *ud;
    long version; /* how often it was written over */
} pfi_storage;

struct pf_tensor {
    pf_ctx *ctx;
    long refs, histories, readers; /* histories: those of refs that are histories; readers: that read its values */
    pf_dtype dtype;
    int nd;
    int64_t dim[PF_MAX_DIMS], stride[PF_MAX_DIMS]; /* strides in elements */
    int64_t offset;                                /* first element in the storage */
    pfi_storage *st; /* NULL once its step has ended, nobody will read it, or backward makes it again (pfi_call_read) */
    bool needs_grad;
    pf_tensor *grad; /* contiguous, same shape and type */
    pfi_call *node;  /* what made it; NULL for a leaf */
    pfi_step *step;
    pf_tensor *prev, *next; /* neighbours in the step's list */
    bool mark;              /* visited by backward */
    char name[PF_MAX_NAME];
};

size_t pfi_dtype_size(pf_dtype d); /* bytes of one value; 0 for the types that are stored in blocks */
/* values that are stored together: 1, or 32 or 256 along the last dimension */
int64_t pfi_dtype_block(pf_dtype d);
bool pfi_dtype_stored(pf_dtype d);            /* a type that frozen weights are kept in, and nothing is computed in */
size_t pfi_dtype_bytes(pf_dtype d, size_t n); /* bytes of n values, a multiple of the block */
const char *pfi_dtype_name(pf_dtype d);       /* "float32" ... */

/* uninitialised contiguous tensor on the open step, if any */
pf_tensor *pfi_tensor_make(pf_ctx *ctx, pf_dtype dtype, int nd, const int64_t *dim);
/* tensor over memory that stays someone else's; release(ud) runs when the last view is gone. Not on a step. */
pf_tensor *pfi_tensor_wrap(pf_ctx *ctx, pf_dtype dtype, int nd, const int64_t *dim, void *data,
                           void (*release)(void *ud), void *ud);
/* view of t's storage with the given geometry, no history */
pf_tensor *pfi_tensor_alias(pf_tensor *t, int nd, const int64_t *dim, const int64_t *stride, int64_t offset);

static inline size_t pfi_numel(const pf_tensor *t) {
    size_t n = 1;
    for (int i = 0; i < t->nd; i++) n *= (size_t)t->dim[i];
    return n;
}
static inline void *pfi_data(const pf_tensor *t) {
    return (char *)t->st->data + pfi_dtype_bytes(t->dtype, (size_t)t->offset);
}
static inline int32_t *pfi_i32(const pf_tensor *t) { return pfi_data(t); }
static inline float *pfi_f32(const pf_tensor *t) { return pfi_data(t); }

bool pfi_contiguous(const pf_tensor *t);
void pfi_strides(int nd, const int64_t *dim, int64_t *stride); /* of a contiguous tensor */
bool pfi_same_shape(const pf_tensor *a, const pf_tensor *b);
/* "[2, 3]" into buf */
const char *pfi_shape_text(char *buf, size_t n, int nd, const int64_t *dim);
#define PFI_SHAPE_TEXT(t) pfi_shape_text((char[96]){0}, 96, (t)->nd, (t)->dim)
/* err STATE if the tensor's step has ended */
pf_status pfi_alive(const pf_tensor *t);
/* the gradient tensor, made (zero) if it is not there yet; NULL: NOMEM */
pf_tensor *pfi_grad_of(pf_tensor *t);
pf_tensor *pfi_grad_fresh(pf_tensor *t); /* made, not cleared, for a tensor that has none */
/* let go of the values of a result, unless its own history reads them */
void pfi_tensor_empty(pf_tensor *t);
/* a place for the values that a result let go of, not cleared. err NOMEM */
pf_status pfi_tensor_refill(pf_tensor *t);
/* value i in row order, from any type, as double; and back */
double pfi_get(const pf_tensor *t, size_t i);
void pfi_set(pf_tensor *t, size_t i, double v);

/* the step's list (tape.c), and what its end does to a tensor: whoever still holds it holds an empty shell */
void pfi_tensor_kill(pf_tensor *t);
void pfi_step_link(pf_tensor *t);
void pfi_step_unlink(pf_tensor *t);

#endif
