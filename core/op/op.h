/* One differentiable operation or loss: its descriptor, and one application of it. Internal.
 *
 * A file in op/ or loss/ is compiled for float and for double and defines one descriptor with PFI_OP. The build finds
 * it; Lua, the gradient check, the documentation and the editor stubs read the descriptor. */
#ifndef PFI_OP_H
#define PFI_OP_H

#include "tensor/tensor.h"

enum { PFI_MAX_SAVED = 3, PFI_RESULT = PF_MAX_INPUTS };

typedef struct pfi_op pfi_op;
typedef struct pfi_again pfi_again;

/* One application. The shape stage reads in[] and num[], checks, and fills nd, dim, saved_bytes and scratch_bytes;
 * forward fills y and saved; backward ADDS into the dx[i] that are not NULL, or writes those that are fresh. All data
 * is contiguous. */
struct pfi_call {
    const pfi_op *op;
    pf_ctx *ctx;
    uint64_t seq;
    int layer;                    /* ctx->layer when it was applied */
    pf_tensor *in[PF_MAX_INPUTS]; /* tensors in the order of the parameters; NULL for an optional one left out */
    int n_in;
    long version[PF_MAX_INPUTS]; /* of the inputs' storage, as forward read it */
    bool wants[PF_MAX_INPUTS];   /* this input needs a gradient; known from the shape stage on */
    unsigned unread;             /* the operation's; the shape stage may add what these wishes leave unread */
    bool recorded;               /* it is a history, and in[k] counts it */
    bool cheap;                  /* as PFI_CHEAP says; its inputs are none that are made again themselves */
    double num[PF_MAX_PARAMS];   /* other parameters in their order; NaN for an optional one without default */
    int64_t shape_arg[PF_MAX_DIMS];
    int n_shape_arg; /* of the PF_KIND_SHAPE parameter */
    /* from the shape stage */
    int nd;
    int64_t dim[PF_MAX_DIMS];
    pf_dtype dtype; /* of the result; the operation's own unless changed */
    size_t saved_bytes[PFI_MAX_SAVED];
    size_t scratch_bytes; /* for forward; backward gets as much, or scratch_back_bytes if that is more */
    size_t scratch_back_bytes;
    int64_t stride[PF_MAX_DIMS], offset; /* views only: geometry over in[0], offset relative to in[0]'s first element */
    /* for forward and backward */
    void *y;
    const void *x[PF_MAX_INPUTS];
    const void *dy;
    void *dx[PF_MAX_INPUTS];
    bool fresh[PF_MAX_INPUTS]; /* dx[i] holds nothing yet; only where the operation says that it writes */
    void *saved[PFI_MAX_SAVED];
    void *scratch;
    pfi_again *again; /* not an operation: a history that was not kept, and in[0] what it began with, if anything */
};

/* What makes a history again when backward comes to it, instead of memory from forward to backward. */
struct pfi_again {
    /* Compute the result again, recorded, and pfi_backward_from it. x: what was in[0], as a leaf; dy: the gradient of
     * the result, taken over. */
    pf_status (*run)(pfi_again *a, pf_tensor *x, pf_tensor *dy);
    void (*drop)(pfi_again *a);
};

typedef pf_status (*pfi_stage)(pfi_call *c);

/* A worked call: it feeds the gradient check, the mutation check, the allocation-failure sweep and the error checks. */
typedef struct pfi_case {
    int64_t dim[PF_MAX_INPUTS][PF_MAX_DIMS + 1]; /* PFI_S0, PFI_S1(a), ...; nothing for an argument left out */
    const int32_t *ints[PF_MAX_INPUTS];          /* values of integer inputs, from 0 */
    const double *reals[PF_MAX_INPUTS];          /* values of real inputs; NULL: random in [lo, hi] */
    double lo, hi;                               /* both 0: [-1, 1] */
    const char *args;                            /* other parameters: "dim=1 keep=1 variant=ipo shape=2x3" */
    pf_status want;                              /* PF_OK, or the status this call must fail with */
} pfi_case;

/* clang-format off */
#define PFI_S0 {1}
#define PFI_S1(a) {2, a}
#define PFI_S2(a, b) {3, a, b}
#define PFI_S3(a, b, c) {4, a, b, c}
#define PFI_S4(a, b, c, d) {5, a, b, c, d}
/* clang-format on */

enum {
    PFI_VIEW = 1,    /* the result shares in[0]'s storage; no forward or backward of its own */
    PFI_LOSS = 2,    /* result [N], one value an item, or 0-d; "reduction" is handled outside */
    PFI_NO_GRAD = 4, /* not differentiable: the result never needs a gradient */
    PFI_STRIDED = 8, /* takes inputs with strides as they are; all others get them contiguous */
    PFI_CHEAP = 16   /* Forward takes next to no time, backward reads all inputs and not the result: a result that
                        histories alone hold goes, and forward makes it again for the backward of what read it. */
};

struct pfi_op {
    pf_op_info info;
    pf_dtype dtype;
    unsigned flags;
    unsigned stored; /* bit k: tensor k may be a frozen weight in a storage type (bfloat16, q4_k, ...): contiguous, and
                        its stage widens it */
    unsigned writes; /* bit k: backward writes the whole of dx[k] where it is fresh, so nobody needs to clear it */
    unsigned passes; /* bit k: the gradient of tensor k is that of the result, if it has its shape: it may be handed on
                        as it is, and dx[k] is NULL then */
    unsigned unread; /* bit k: backward does not read the values of tensor k, bit PFI_RESULT: those of the result. They
                        may be gone by then, and x[k] or y is NULL */
    pfi_stage shape, forward, backward;
    double (*flops)(pfi_call *c, bool backward); /* that are needed, as pf_event; NULL: none */
    pfi_stage metrics;                           /* losses: report with pfi_metric after forward */
    const pfi_case *cases;
    int n_cases;
};

#define PFI_OP(id, ...) const pfi_op PFI_SYMBOL(pfi_op_, id) = {.dtype = PFI_DTYPE, .info.name = #id, __VA_ARGS__}
#define PFI_PARAMS(a)   .info.params = (a), .info.n_params = PFI_COUNT(a)
#define PFI_CASES(a)    .cases = (a), .n_cases = PFI_COUNT(a)
#define PFI_DOC(text)   .info.doc = (text), .info.formula = "", .info.source = ""

/* The operation for a type; NULL if there is none of that name. */
const pfi_op *pfi_op_get(const char *name, pf_dtype dtype);
const pfi_op *pfi_op_nth(int i, pf_dtype dtype);

/* Apply with arguments already in place: tensors and numbers in the order of the parameters. For core/ itself.
 * shape: the PF_KIND_SHAPE argument or NULL. A NULL tensor at a required place gives NULL. */
pf_tensor *pfi_apply(pf_ctx *ctx, const char *name, pf_tensor *const *in, const double *num, const int64_t *shape,
                     int n_shape);
/* tell the observer of an application, y its result, that began at start */
void pfi_call_observed(pfi_call *c, const pf_tensor *y, bool backward, double start);
void pfi_call_free(pfi_call *c); /* drops the inputs and what was saved */
/* have the values of input i as forward read them, made again if it let go of them and its operation is cheap.
 * err NOMEM, STATE (written over since), else as pfi_alive */
pf_status pfi_call_read(const pfi_call *c, int i);

/* tape.c: let go of y's history; backward makes it again from x (NULL: from leaves alone). a is taken over, in any
 * case. The gradients have the same bits as if the history had been kept. err NOMEM */
pf_status pfi_again_set(pf_tensor *y, pf_tensor *x, pfi_again *a);
/* backward from y, whose gradient is dy; both are taken over. Without history nothing happens. err as pf_backward */
pf_status pfi_backward_from(pf_tensor *y, pf_tensor *dy);

/* Helpers for shape stages. */
int64_t pfi_matrix_rows(const pf_tensor *t);      /* seen as a matrix: the product of all dimensions but the last */
pf_status pfi_shape_like(pfi_call *c, int input); /* result has input's shape */
pf_status pfi_shape_broadcast(pfi_call *c);       /* result of in[0] and in[1] by the usual rule */
pf_status pfi_need_ndim(pfi_call *c, int input, int nd);
pf_status pfi_need_shape(pfi_call *c, int input, int nd, const int64_t *dim);
pf_status pfi_call_fail(pfi_call *c, pf_status s, const char *fmt, ...) PF_FORMAT_ATTR(3, 4); /* "NAME: ..." */
const char *pfi_in_name(const pfi_call *c, int input); /* the tensor parameter's name */
/* num[i], a PF_KIND_DIM, against nd dimensions: 0..nd-1 into *out. err RANGE */
pf_status pfi_dim_arg(pfi_call *c, int i, int nd, int *out);
static inline bool pfi_given(double x) { return x == x; }

/* report a metric of the loss that is being applied; name must be static */
void pfi_metric(pfi_call *c, const char *name, double value);

#endif
