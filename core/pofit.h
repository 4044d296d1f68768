/* pofit: fits language models to preferences.
 *
 * One library: tensors with automatic differentiation, the losses of preference optimisation as closed forms,
 * Llama-shaped models on token forests, sampling, and training. No global state: every object belongs to a context.
 *
 * Shape letters: B sequences, T positions or scored tokens, V vocabulary, C channels, H heads, D channels per head,
 * L layers, N preference pairs, G samples per prompt. Shapes are written outermost first.
 * Units: log-probabilities in nats, lengths in tokens, sizes in bytes, times in seconds.
 *
 * Threads: one context per thread. Two contexts in two threads do not meet. pf_cancel alone may be called from
 * another thread or a signal handler.
 *
 * Errors: a function returns pf_status, or a pointer that is NULL on failure. pf_errmsg says what was wrong and what
 * was expected. Passing a NULL tensor to an operation gives NULL and keeps the first message, so a chain of
 * operations is checked once, at its end. The library never exits, aborts or prints.
 */
#ifndef POFIT_H
#define POFIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- version -------------------------------------------------------------------------------------------------- */

#define PF_VERSION_MAJOR 0
#define PF_VERSION_MINOR 1
#define PF_VERSION_PATCH 0
#define PF_VERSION (PF_VERSION_MAJOR * 10000 + PF_VERSION_MINOR * 100 + PF_VERSION_PATCH)

#if defined(__GNUC__)
#define PF_API __attribute__((visibility("default")))
#define PF_FORMAT_ATTR(f, a) __attribute__((format(printf, f, a)))
#else
#define PF_API
#define PF_FORMAT_ATTR(f, a)
#endif

PF_API const char *pf_version(void); /* "0.1.0", static */

/* ---- limits --------------------------------------------------------------------------------------------------- */

#define PF_MAX_DIMS 4    /* no operation needs more */
#define PF_MAX_INPUTS 10 /* tensors per operation; attention takes the most */
#define PF_MAX_PARAMS 12 /* numbers, choices and switches per operation */
#define PF_MAX_NAME 128  /* bytes of a tensor's name, final 0 included */

/* ---- status --------------------------------------------------------------------------------------------------- */

#define PF_STATUS_LIST(X)                                                                                              \
    X(PF_OK, "ok")                                                                                                     \
    X(PF_NOMEM, "not enough memory")                                                                                   \
    X(PF_SHAPE, "shapes do not fit")                                                                                   \
    X(PF_TYPE, "wrong type")                                                                                           \
    X(PF_RANGE, "value out of range")                                                                                  \
    X(PF_NAME, "unknown name")                                                                                         \
    X(PF_IO, "input or output failed")                                                                                 \
    X(PF_FORMAT, "malformed file or text")                                                                             \
    X(PF_NONFINITE, "value is not finite")                                                                             \
    X(PF_STATE, "not allowed in this state")                                                                           \
    X(PF_CANCELLED, "cancelled")                                                                                       \
    X(PF_UNSUPPORTED, "not supported")

typedef enum pf_status {
#define X(code, text) code,
    PF_STATUS_LIST(X)
#undef X
} pf_status;

/* ---- context -------------------------------------------------------------------------------------------------- */

typedef struct pf_ctx pf_ctx;
typedef struct pf_tensor pf_tensor;

/* realloc with the old size: now == 0 frees and returns NULL; p == NULL allocates. Must return memory aligned for
 * any C type, or NULL. Called from the context's own thread only. */
typedef void *(*pf_realloc_fn)(void *ud, void *p, size_t old, size_t now);

typedef struct pf_allocator {
    pf_realloc_fn realloc_fn;
    void *ud;
} pf_allocator;

/* open a context. a NULL: the C library's allocator. err NOMEM. *out owned by caller, NULL on failure. */
PF_API pf_status pf_open(pf_ctx **out, const pf_allocator *a);
/* drop the caller's hold. Objects that are still alive keep the context until the last one is freed. NULL is fine. */
PF_API void pf_close(pf_ctx *ctx);
/* message of the last failure on this context, borrowed until the next call; "" if there was none */
PF_API const char *pf_errmsg(const pf_ctx *ctx);
PF_API pf_status pf_errcode(const pf_ctx *ctx); /* status of the last failure, PF_OK if none */
PF_API const char *pf_strstatus(pf_status s);   /* static text of a status */
/* number of threads our loops use, 1..256; results do not depend on it. Default: OpenMP's. err RANGE */
PF_API pf_status pf_set_threads(pf_ctx *ctx, int threads);
/* bytes held now and at most so far */
PF_API void pf_memory(const pf_ctx *ctx, size_t *used, size_t *peak);
/* ask a running pf_train or pf_generate to stop at its next safe point; safe from a signal handler */
PF_API void pf_cancel(pf_ctx *ctx);

/* ---- tensors -------------------------------------------------------------------------------------------------- */

/* F32 is for use, F64 for checking; both have every operation. I32 holds positions and token ids. BF16 and F16 are
 * storage types of frozen weights. */
typedef enum pf_dtype { PF_F32, PF_F64, PF_I32, PF_BF16, PF_F16, PF_DTYPES } pf_dtype;

/* new tensor [dim...], zero filled. nd 0: a scalar. err NOMEM, SHAPE, RANGE. Owned by caller. */
PF_API pf_tensor *pf_tensor_new(pf_ctx *ctx, pf_dtype dtype, int nd, const int64_t *dim);
/* new tensor from n doubles in row order; n must be the number of elements. err NOMEM, SHAPE. Owned by caller. */
PF_API pf_tensor *pf_tensor_from(pf_ctx *ctx, pf_dtype dtype, int nd, const int64_t *dim, const double *values,
                                 size_t n);
PF_API pf_tensor *pf_tensor_retain(pf_tensor *t); /* one more owner; returns t */
PF_API void pf_tensor_free(pf_tensor *t);         /* one owner less; NULL is fine */
PF_API pf_dtype pf_tensor_dtype(const pf_tensor *t);
PF_API int pf_tensor_ndim(const pf_tensor *t);
PF_API int64_t pf_tensor_dim(const pf_tensor *t, int i); /* size of dimension i from 0; 1 beyond the last */
PF_API size_t pf_tensor_numel(const pf_tensor *t);
/* copy out to n doubles in row order. err SHAPE if n differs, STATE if the tensor's step has ended */
PF_API pf_status pf_tensor_read(const pf_tensor *t, double *out, size_t n);
/* copy in; not allowed for a tensor that an operation made with gradients on. err as read, STATE */
PF_API pf_status pf_tensor_write(pf_tensor *t, const double *values, size_t n);
/* the single value of a one-element tensor. err SHAPE; NaN on failure */
PF_API double pf_tensor_item(const pf_tensor *t);
/* the same values without history: no gradient flows through the result. Owned by caller. */
PF_API pf_tensor *pf_tensor_detach(pf_tensor *t);
/* make a leaf collect gradients. err STATE for the result of an operation, TYPE for integers */
PF_API pf_status pf_tensor_set_grad(pf_tensor *t, bool on);
PF_API bool pf_tensor_needs_grad(const pf_tensor *t);
PF_API pf_tensor *pf_tensor_grad(const pf_tensor *t); /* borrowed; NULL before the first backward */
PF_API void pf_tensor_zero_grad(pf_tensor *t);        /* forgets the collected gradient */
/* lift a tensor off the current step, so that it outlives pf_step_end; its history is cut. Returns t. */
PF_API pf_tensor *pf_tensor_keep(pf_tensor *t);

/* ---- operations ----------------------------------------------------------------------------------------------- */

typedef enum pf_kind {
    PF_KIND_TENSOR,   /* real tensor, differentiable */
    PF_KIND_CONSTANT, /* real tensor, never differentiated */
    PF_KIND_INDEX,    /* integer tensor of positions: from 0 in C, from 1 in Lua */
    PF_KIND_TOKEN,    /* integer tensor of ids, the same in C and Lua */
    PF_KIND_NUMBER,
    PF_KIND_INTEGER,
    PF_KIND_DIM, /* a dimension: from 0 in C, from 1 in Lua, negative from the end in both */
    PF_KIND_POS, /* a position: from 0 in C, from 1 in Lua */
    PF_KIND_BOOLEAN,
    PF_KIND_CHOICE, /* one of a list of words */
    PF_KIND_SHAPE   /* a list of sizes */
} pf_kind;

typedef struct pf_param {
    const char *name;
    pf_kind kind;
    bool optional;
    double value;        /* default of an optional number, integer, boolean (0 or 1) or choice (its place from 0) */
    const char *choices; /* the words of a choice, separated by spaces */
} pf_param;

typedef struct pf_op_info {
    const char *name;
    const char *doc;     /* what it computes, shapes, units */
    const char *formula; /* losses: the formula; "" otherwise */
    const char *source;  /* losses: paper and equation, or code; "" otherwise */
    bool is_loss;        /* losses take arguments by name; operations by place as well */
    int n_params;
    const pf_param *params;
} pf_op_info;

PF_API int pf_op_count(void);
PF_API const pf_op_info *pf_op_at(int i);              /* static; NULL out of range */
PF_API const pf_op_info *pf_op_find(const char *name); /* static; NULL if there is none */

typedef struct pf_arg {
    const char *name; /* NULL ends a list */
    enum { PF_ARG_TENSOR, PF_ARG_NUMBER, PF_ARG_TEXT, PF_ARG_SHAPE } tag;
    pf_tensor *tensor;
    double number;
    const char *text;
    const int64_t *dims;
    int n_dims;
} pf_arg;

#define PF_T(name, t) {(name), PF_ARG_TENSOR, (t), 0, NULL, NULL, 0}
#define PF_N(name, x) {(name), PF_ARG_NUMBER, NULL, (x), NULL, NULL, 0}
#define PF_S(name, s) {(name), PF_ARG_TEXT, NULL, 0, (s), NULL, 0}
#define PF_D(name, d, n) {(name), PF_ARG_SHAPE, NULL, 0, NULL, (d), (n)}
#define PF_END {NULL, PF_ARG_TENSOR, NULL, 0, NULL, NULL, 0}

/* apply an operation or loss by name to named arguments; args ends with PF_END. A tensor argument that is NULL gives
 * NULL. Losses also take "reduction" = "mean" (default, 0-d) or "none" ([N]). err NAME, TYPE, SHAPE, RANGE, NOMEM.
 * Result owned by caller. */
PF_API pf_tensor *pf_apply(pf_ctx *ctx, const char *op, const pf_arg *args);
/* pf_call(ctx, "mul", PF_T("x", a), PF_T("y", b)) in C */
#define pf_call(ctx, op, ...) pf_apply((ctx), (op), (const pf_arg[]){__VA_ARGS__, PF_END})

typedef struct pf_metric {
    const char *name; /* TRL's name, static: "rewards/margins" */
    double value;
} pf_metric;
/* metrics of the last loss that was applied on this context; borrowed until the next one */
PF_API const pf_metric *pf_metrics(const pf_ctx *ctx, int *n);

/* ---- gradients ------------------------------------------------------------------------------------------------ */

/* add d(root)/d(leaf) to the gradient of every leaf below root, a one-element tensor. Frees the history.
 * err SHAPE, STATE (no history), NOMEM */
PF_API pf_status pf_backward(pf_tensor *root);
/* switch recording on or off; returns what it was */
PF_API bool pf_set_recording(pf_ctx *ctx, bool on);
/* everything computed from here on belongs to a step ... */
PF_API pf_status pf_step_begin(pf_ctx *ctx);
/* ... and is freed here, at once, whoever still holds it; steps nest */
PF_API void pf_step_end(pf_ctx *ctx);

typedef pf_tensor *(*pf_scalar_fn)(void *ud, pf_tensor *const *inputs, int n);
typedef struct pf_gradcheck_result {
    double worst;      /* largest error, as |analytic - numeric| / max(|numeric|, 1e-3 x largest gradient) */
    int input;         /* where it is: input from 0 ... */
    size_t element;    /* ... and element from 0 */
    double analytic, numeric;
} pf_gradcheck_result;
/* compare backward with central differences of f, in double: inputs are F64 tensors, f must return a one-element
 * tensor (owned by the caller, so by this function). err TYPE, SHAPE, NONFINITE, and what f fails with */
PF_API pf_status pf_gradcheck(pf_ctx *ctx, pf_scalar_fn f, void *ud, pf_tensor *const *inputs, int n,
                              pf_gradcheck_result *out);

#ifdef __cplusplus
}
#endif
#endif
