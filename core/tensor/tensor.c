/* Tensors: creation, views, reading and writing. */
#include "tensor/tensor.h"

#include <math.h>

#include "base/half.h"
#include "kernel/kernel.h"
#include "op/op.h"

int64_t pfi_dtype_block(pf_dtype d) { return pfk_block(d); }

bool pfi_dtype_stored(pf_dtype d) { return d > PF_I32; }

size_t pfi_dtype_bytes(pf_dtype d, size_t n) { return n / (size_t)pfk_block(d) * pfk_block_bytes(d); }

size_t pfi_dtype_size(pf_dtype d) { return pfk_block(d) == 1 ? pfk_block_bytes(d) : 0; }

const char *pfi_dtype_name(pf_dtype d) {
    static const char *const name[PF_DTYPES] = {"float32", "float64", "int32", "bfloat16", "float16", "q8_0", "q4_0",
                                                "q4_1",    "q5_0",    "q5_1",  "q4_k",     "q5_k",    "q6_k"};
    return (unsigned)d < PF_DTYPES ? name[d] : "unknown";
}

const char *pfi_shape_text(char *buf, size_t n, int nd, const int64_t *dim) {
    size_t at = 0;
    at += (size_t)snprintf(buf, n, "[");
    for (int i = 0; i < nd && at < n; i++)
        at += (size_t)snprintf(buf + at, n - at, i ? ", %lld" : "%lld", (long long)dim[i]);
    if (at < n) snprintf(buf + at, n - at, "]");
    return buf;
}

void pfi_strides(int nd, const int64_t *dim, int64_t *stride) {
    int64_t s = 1;
    for (int i = nd - 1; i >= 0; i--) {
        stride[i] = s;
        s *= dim[i];
    }
}

bool pfi_contiguous(const pf_tensor *t) {
    int64_t s = 1;
    for (int i = t->nd - 1; i >= 0; i--) {
        if (t->dim[i] != 1 && t->stride[i] != s) return false;
        s *= t->dim[i];
    }
    return true;
}

bool pfi_same_shape(const pf_tensor *a, const pf_tensor *b) {
    if (a->nd != b->nd) return false;
    for (int i = 0; i < a->nd; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

static pf_status tensor_check_shape(pf_ctx *ctx, pf_dtype dtype, int nd, const int64_t *dim, size_t *bytes) {
    if ((unsigned)dtype >= PF_DTYPES) return pfi_fail(ctx, PF_TYPE, "unknown tensor type %d", (int)dtype);
    if (nd < 0 || nd > PF_MAX_DIMS)
        return pfi_fail(ctx, PF_SHAPE, "a tensor has 0 to %d dimensions, got %d", PF_MAX_DIMS, nd);
    size_t n = 1;
    bool zero = false; /* sizes beside a 0 must be countable too */
    for (int i = 0; i < nd; i++) {
        if (dim[i] < 0) return pfi_fail(ctx, PF_SHAPE, "dimension %d is %lld, below 0", i + 1, (long long)dim[i]);
        if (dim[i] == 0) zero = true;
        if (dim[i] && n > (SIZE_MAX / 32) / (size_t)dim[i])
            return pfi_fail(ctx, PF_NOMEM, "not enough memory: a tensor of shape %s was asked for",
                            pfi_shape_text((char[96]){0}, 96, nd, dim));
        if (dim[i]) n *= (size_t)dim[i];
    }
    if (pfi_dtype_block(dtype) > 1 && (nd == 0 || dim[nd - 1] % pfi_dtype_block(dtype)))
        return pfi_fail(ctx, PF_SHAPE, "a %s tensor's last dimension is a multiple of %d, got shape %s",
                        pfi_dtype_name(dtype), (int)pfi_dtype_block(dtype), pfi_shape_text((char[96]){0}, 96, nd, dim));
    *bytes = pfi_dtype_bytes(dtype, zero ? 0 : n);
    return PF_OK;
}

static pf_tensor *tensor_shell(pf_ctx *ctx, pf_dtype dtype, int nd, const int64_t *dim) {
    pf_tensor *t = pfi_calloc(ctx, 1, sizeof *t);
    if (!t) return NULL;
    t->ctx = ctx;
    t->refs = 1;
    t->dtype = dtype;
    t->nd = nd;
    for (int i = 0; i < nd; i++) t->dim[i] = dim[i];
    pfi_strides(nd, dim, t->stride);
    pfi_hold(ctx);
    return t;
}

static pfi_storage *storage_new(pf_ctx *ctx, void *data, size_t bytes, void (*release)(void *), void *ud) {
    pfi_storage *st = pfi_calloc(ctx, 1, sizeof *st);
    if (!st) return NULL;
    *st = (pfi_storage){.ctx = ctx, .refs = 1, .data = data, .bytes = bytes, .release = release, .ud = ud};
    if (!release) st->data = pfi_alloc_data(ctx, bytes);
    if (!st->data) {
        pfi_free(ctx, st);
        return NULL;
    }
    return st;
}

static void storage_drop(pfi_storage *st) {
    if (!st || --st->refs > 0) return;
    if (st->release)
        st->release(st->ud);
    else
        pfi_free(st->ctx, st->data);
    pfi_free(st->ctx, st);
}

pf_tensor *pfi_tensor_make(pf_ctx *ctx, pf_dtype dtype, int nd, const int64_t *dim) {
    size_t bytes;
    if (tensor_check_shape(ctx, dtype, nd, dim, &bytes) != PF_OK) return NULL;
    pf_tensor *t = tensor_shell(ctx, dtype, nd, dim);
    if (!t) return NULL;
    t->st = storage_new(ctx, NULL, bytes, NULL, NULL);
    if (!t->st) {
        pf_tensor_free(t);
        return NULL;
    }
    pfi_step_link(t);
    return t;
}

pf_tensor *pfi_tensor_wrap(pf_ctx *ctx, pf_dtype dtype, int nd, const int64_t *dim, void *data,
                           void (*release)(void *ud), void *ud) {
    size_t bytes;
    if (tensor_check_shape(ctx, dtype, nd, dim, &bytes) != PF_OK) return NULL;
    pf_tensor *t = tensor_shell(ctx, dtype, nd, dim);
    if (!t) return NULL;
    t->st = storage_new(ctx, data, bytes, release, ud);
    if (!t->st) {
        pf_tensor_free(t);
        return NULL;
    }
    return t;
}

pf_tensor *pfi_tensor_alias(pf_tensor *from, int nd, const int64_t *dim, const int64_t *stride, int64_t offset) {
    size_t bytes;
    if (tensor_check_shape(from->ctx, from->dtype, nd, dim, &bytes) != PF_OK) return NULL;
    pf_tensor *t = tensor_shell(from->ctx, from->dtype, nd, dim);
    if (!t) return NULL;
    for (int i = 0; i < nd; i++) t->stride[i] = stride[i];
    t->offset = offset;
    t->st = from->st;
    t->st->refs++;
    pfi_step_link(t);
    return t;
}

pf_tensor *pf_tensor_new(pf_ctx *ctx, pf_dtype dtype, int nd, const int64_t *dim) {
    pf_tensor *t = pfi_tensor_make(ctx, dtype, nd, dim);
    if (t) memset(t->st->data, 0, t->st->bytes);
    return t;
}

pf_tensor *pf_tensor_from(pf_ctx *ctx, pf_dtype dtype, int nd, const int64_t *dim, const double *values, size_t n) {
    pf_tensor *t = pfi_tensor_make(ctx, dtype, nd, dim);
    if (!t) return NULL;
    if (pf_tensor_write(t, values, n) == PF_OK) return t;
    pf_tensor_free(t);
    return NULL;
}

pf_tensor *pf_tensor_retain(pf_tensor *t) {
    if (t) t->refs++;
    return t;
}

void pfi_tensor_empty(pf_tensor *t) {
    if (t->node && !(t->node->unread >> PFI_RESULT & 1)) return;
    storage_drop(t->st);
    t->st = NULL;
}

pf_status pfi_tensor_refill(pf_tensor *t) {
    t->st = storage_new(t->ctx, NULL, pfi_dtype_bytes(t->dtype, pfi_numel(t)), NULL, NULL);
    return t->st ? PF_OK : PF_NOMEM;
}

/* Freeing a result lets go of its inputs, and so on down a history that may be a million operations deep: what is to go
 * waits in a list instead of on the stack. */
void pf_tensor_free(pf_tensor *t) {
    if (!t) return;
    if (--t->refs > 0) {
        /* histories alone hold it: they do not read its values, or have them made again */
        if (t->refs == t->histories && (!t->readers || (t->node && t->node->cheap))) pfi_tensor_empty(t);
        return;
    }
    pf_ctx *ctx = t->ctx;
    pfi_step_unlink(t);
    t->next = ctx->dying;
    ctx->dying = t;
    if (ctx->freeing) return;
    ctx->freeing = true;
    pfi_hold(ctx);
    while ((t = ctx->dying)) {
        ctx->dying = t->next;
        pfi_call_free(t->node);
        pf_tensor_free(t->grad);
        storage_drop(t->st);
        pfi_free(ctx, t);
        pfi_release(ctx);
    }
    ctx->freeing = false;
    pfi_release(ctx);
}

void pfi_tensor_kill(pf_tensor *t) {
    t->refs++;
    pfi_step_unlink(t);
    pfi_call_free(t->node);
    t->node = NULL;
    pf_tensor_free(t->grad);
    t->grad = NULL;
    storage_drop(t->st);
    t->st = NULL;
    pf_tensor_free(t);
}

pf_status pfi_alive(const pf_tensor *t) {
    if (t->st) return PF_OK;
    return pfi_fail(t->ctx, PF_STATE,
                    "this tensor %s belonged to a training step that has ended; keep() it, or read its values, before "
                    "the step ends",
                    PFI_SHAPE_TEXT(t));
}

pf_dtype pf_tensor_dtype(const pf_tensor *t) { return t->dtype; }

int pf_tensor_ndim(const pf_tensor *t) { return t->nd; }

int64_t pf_tensor_dim(const pf_tensor *t, int i) { return i >= 0 && i < t->nd ? t->dim[i] : 1; }

size_t pf_tensor_numel(const pf_tensor *t) { return pfi_numel(t); }

static int64_t tensor_place(const pf_tensor *t, size_t i) {
    int64_t at = t->offset;
    for (int d = t->nd - 1; d >= 0; d--) {
        at += (int64_t)(i % (size_t)t->dim[d]) * t->stride[d];
        i /= (size_t)t->dim[d];
    }
    return at;
}

double pfi_get(const pf_tensor *t, size_t i) {
    int64_t at = tensor_place(t, i), block = pfk_block(t->dtype);
    const void *p = t->st->data;
    switch (t->dtype) {
    case PF_F64: return ((const double *)p)[at];
    case PF_I32: return ((const int32_t *)p)[at];
    default: break;
    }
    float y[PFK_BLOCK_MAX];
    pfk_widen_f32(t->dtype, (const char *)p + pfi_dtype_bytes(t->dtype, (size_t)(at - at % block)), y, block);
    return (double)y[at % block];
}

void pfi_set(pf_tensor *t, size_t i, double v) {
    int64_t at = tensor_place(t, i);
    void *p = t->st->data;
    switch (t->dtype) {
    case PF_F32: ((float *)p)[at] = (float)v; break;
    case PF_F64: ((double *)p)[at] = v; break;
    case PF_I32: ((int32_t *)p)[at] = (int32_t)v; break;
    case PF_BF16: ((uint16_t *)p)[at] = pfi_f32_to_bf16((float)v); break;
    case PF_F16: ((uint16_t *)p)[at] = pfi_f32_to_f16((float)v); break;
    default: break;
    }
}

static pf_status tensor_check_count(const pf_tensor *t, size_t n) {
    PF_TRY(pfi_alive(t));
    if (n == pfi_numel(t)) return PF_OK;
    return pfi_fail(t->ctx, PF_SHAPE, "a tensor of shape %s has %zu values, got %zu", PFI_SHAPE_TEXT(t), pfi_numel(t),
                    n);
}

pf_status pf_tensor_read(const pf_tensor *t, double *out, size_t n) {
    if (!t) return PF_STATE;
    PF_TRY(tensor_check_count(t, n));
    if (t->dtype != PF_I32 && pfi_contiguous(t)) {
        pfk_widen_f64(t->dtype, pfi_data(t), out, (int64_t)n);
        return PF_OK;
    }
    for (size_t i = 0; i < n; i++) out[i] = pfi_get(t, i);
    return PF_OK;
}

pf_status pf_tensor_write(pf_tensor *t, const double *values, size_t n) {
    PF_TRY(tensor_check_count(t, n));
    if (t->node)
        return pfi_fail(t->ctx, PF_STATE,
                        "the result of an operation cannot be written to: its history would be wrong");
    if (pfi_dtype_block(t->dtype) > 1)
        return pfi_fail(t->ctx, PF_TYPE, "a %s tensor cannot be written to", pfi_dtype_name(t->dtype));
    if (t->dtype == PF_I32)
        for (size_t i = 0; i < n; i++)
            if (!(values[i] >= INT32_MIN && values[i] <= INT32_MAX) || values[i] != floor(values[i]))
                return pfi_fail(t->ctx, PF_TYPE, "value %zu is %g, an int32 tensor needs whole numbers", i + 1,
                                values[i]);
    for (size_t i = 0; i < n; i++) pfi_set(t, i, values[i]);
    t->st->version++;
    return PF_OK;
}

double pf_tensor_item(const pf_tensor *t) {
    double v = (double)NAN;
    if (t) pf_tensor_read(t, &v, 1);
    return v;
}

pf_tensor *pf_tensor_detach(pf_tensor *t) {
    if (!t || pfi_alive(t) != PF_OK) return NULL;
    return pfi_tensor_alias(t, t->nd, t->dim, t->stride, t->offset);
}

pf_status pf_tensor_set_grad(pf_tensor *t, bool on) {
    if (t->node) return pfi_fail(t->ctx, PF_STATE, "only a leaf can be told to collect gradients; detach() it first");
    if (on && t->dtype != PF_F32 && t->dtype != PF_F64)
        return pfi_fail(t->ctx, PF_TYPE, "a %s tensor cannot collect gradients%s", pfi_dtype_name(t->dtype),
                        pfi_dtype_stored(t->dtype) ? ": weights in this type are frozen; load them as float32" : "");
    t->needs_grad = on;
    return PF_OK;
}

bool pf_tensor_needs_grad(const pf_tensor *t) { return t->needs_grad; }

pf_tensor *pf_tensor_grad(const pf_tensor *t) { return t->grad; }

void pf_tensor_zero_grad(pf_tensor *t) {
    pf_tensor_free(t->grad);
    t->grad = NULL;
}

pf_tensor *pfi_grad_fresh(pf_tensor *t) {
    pfi_step *open = t->ctx->step;
    t->ctx->step = NULL; /* a gradient lives as long as its tensor, not as long as the step */
    t->grad = pfi_tensor_make(t->ctx, t->dtype, t->nd, t->dim);
    t->ctx->step = open;
    return t->grad;
}

pf_tensor *pfi_grad_of(pf_tensor *t) {
    if (!t->grad && pfi_grad_fresh(t)) memset(t->grad->st->data, 0, t->grad->st->bytes);
    return t->grad;
}

pf_tensor *pf_tensor_keep(pf_tensor *t) {
    if (!t) return NULL;
    pfi_step_unlink(t);
    if (!t->node) return t; /* a leaf goes on collecting gradients */
    pfi_call_free(t->node);
    t->node = NULL;
    t->needs_grad = false;
    return t;
}
