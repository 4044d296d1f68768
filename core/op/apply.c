/* Applying an operation: binding arguments, checking, running forward, recording history. */
#include "op/op.h"

#include <math.h>

static bool apply_is_tensor(pf_kind k) { return k <= PF_KIND_TOKEN; }
static bool apply_is_int(pf_kind k) { return k == PF_KIND_INDEX || k == PF_KIND_TOKEN; }

void pfi_call_free(pfi_call *c) {
    if (!c) return;
    pf_ctx *ctx = c->ctx;
    for (int i = 0; i < c->n_in; i++) {
        if (c->recorded && c->in[i]) {
            c->in[i]->histories--;
            if (!(c->unread >> i & 1)) c->in[i]->readers--;
        }
        pf_tensor_free(c->in[i]);
    }
    for (int i = 0; i < PFI_MAX_SAVED; i++) pfi_free(ctx, c->saved[i]);
    if (c->again) c->again->drop(c->again);
    pfi_free(ctx, c);
}

/* ---- checks ---- */

pf_status pfi_call_fail(pfi_call *c, pf_status s, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    char text[1024];
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return pfi_fail(c->ctx, s, "%s: %s", c->op->info.name, text);
}

const char *pfi_in_name(const pfi_call *c, int input) {
    for (int i = 0, k = 0; i < c->op->info.n_params; i++)
        if (apply_is_tensor(c->op->info.params[i].kind) && k++ == input) return c->op->info.params[i].name;
    return "?";
}

int64_t pfi_matrix_rows(const pf_tensor *t) {
    int64_t rows = 1;
    for (int i = 0; i + 1 < t->nd; i++) rows *= t->dim[i];
    return rows;
}

pf_status pfi_shape_like(pfi_call *c, int input) {
    c->nd = c->in[input]->nd;
    for (int i = 0; i < c->nd; i++) c->dim[i] = c->in[input]->dim[i];
    return PF_OK;
}

pf_status pfi_shape_broadcast(pfi_call *c) {
    const pf_tensor *a = c->in[0], *b = c->in[1];
    c->nd = PFI_MAX(a->nd, b->nd);
    for (int i = 1; i <= c->nd; i++) {
        int64_t p = i <= a->nd ? a->dim[a->nd - i] : 1, q = i <= b->nd ? b->dim[b->nd - i] : 1;
        if (p != q && p != 1 && q != 1)
            return pfi_call_fail(c, PF_SHAPE, "%s has shape %s, %s has shape %s; sizes must be equal or 1",
                                 pfi_in_name(c, 0), PFI_SHAPE_TEXT(a), pfi_in_name(c, 1), PFI_SHAPE_TEXT(b));
        c->dim[c->nd - i] = p == 1 ? q : p;
    }
    return PF_OK;
}

pf_status pfi_need_ndim(pfi_call *c, int input, int nd) {
    if (c->in[input]->nd == nd) return PF_OK;
    return pfi_call_fail(c, PF_SHAPE, "%s must have %d dimension%s, got shape %s", pfi_in_name(c, input), nd,
                         nd == 1 ? "" : "s", PFI_SHAPE_TEXT(c->in[input]));
}

pf_status pfi_need_shape(pfi_call *c, int input, int nd, const int64_t *dim) {
    const pf_tensor *t = c->in[input];
    bool ok = t->nd == nd;
    for (int i = 0; ok && i < nd; i++) ok = t->dim[i] == dim[i];
    if (ok) return PF_OK;
    return pfi_call_fail(c, PF_SHAPE, "%s must have shape %s, got %s", pfi_in_name(c, input),
                         pfi_shape_text((char[96]){0}, 96, nd, dim), PFI_SHAPE_TEXT(t));
}

pf_status pfi_dim_arg(pfi_call *c, int i, int nd, int *out) {
    double d = c->num[i];
    if (d < 0) d += nd;
    if (!(d >= 0 && d < nd))
        return pfi_call_fail(c, PF_RANGE, "there is no such dimension in a tensor of %d dimension%s", nd,
                             nd == 1 ? "" : "s");
    *out = (int)d;
    return PF_OK;
}

void pfi_metric(pfi_call *c, const char *name, double value) {
    if (c->ctx->n_metrics < PFI_MAX_METRICS) c->ctx->metric[c->ctx->n_metrics++] = (pf_metric){name, value};
}

/* ---- running ---- */

static pf_tensor *apply_contiguous(pf_tensor *t) {
    return pfi_contiguous(t) ? pf_tensor_retain(t) : pfi_apply(t->ctx, "contiguous", &t, NULL, NULL, 0);
}

/* Take the inputs into the call: alive, of the right type, contiguous unless the operation is a view. */
static pf_status apply_take_inputs(pfi_call *c, pf_tensor *const *in) {
    for (int i = 0, k = 0; i < c->op->info.n_params; i++) {
        const pf_param *p = &c->op->info.params[i];
        if (!apply_is_tensor(p->kind)) continue;
        pf_tensor *t = in[k];
        if (t) {
            PF_TRY(pfi_alive(t));
            pf_dtype want = apply_is_int(p->kind) ? PF_I32 : c->op->dtype;
            bool stored = c->op->stored >> k & 1 && pfi_dtype_stored(t->dtype);
            if (stored && !pfi_contiguous(t))
                return pfi_call_fail(c, PF_TYPE, "%s is a view of a %s tensor, expected all of it", p->name,
                                     pfi_dtype_name(t->dtype));
            if (t->dtype != want && !stored)
                return pfi_call_fail(c, PF_TYPE, "%s is %s, expected %s", p->name, pfi_dtype_name(t->dtype),
                                     pfi_dtype_name(want));
            c->in[k] = c->op->flags & PFI_STRIDED ? pf_tensor_retain(t) : apply_contiguous(t);
            if (!c->in[k]) return c->ctx->code;
        }
        c->n_in = ++k;
    }
    return PF_OK;
}

static bool apply_needs_grad(const pfi_call *c) {
    if (!c->ctx->recording || c->op->flags & PFI_NO_GRAD) return false;
    for (int i = 0, k = 0; i < c->op->info.n_params; i++) {
        pf_kind kind = c->op->info.params[i].kind;
        if (!apply_is_tensor(kind)) continue;
        if (kind == PF_KIND_TENSOR && c->in[k] && c->in[k]->needs_grad) return true;
        k++;
    }
    return false;
}

/* Constants must not be asked for a gradient later: detach them now. */
static pf_status apply_detach_constants(pfi_call *c) {
    for (int i = 0, k = 0; i < c->op->info.n_params; i++) {
        pf_kind kind = c->op->info.params[i].kind;
        if (!apply_is_tensor(kind)) continue;
        if (kind == PF_KIND_CONSTANT && c->in[k] && c->in[k]->needs_grad) {
            pf_tensor *d = pf_tensor_detach(c->in[k]);
            if (!d) return PF_NOMEM;
            pf_tensor_free(c->in[k]);
            c->in[k] = d;
        }
        k++;
    }
    return PF_OK;
}

/* says which inputs want a gradient, before the operation decides what to save for it */
static pf_status apply_wants(pfi_call *c, bool needs_grad) {
    if (!needs_grad) return PF_OK;
    PF_TRY(apply_detach_constants(c));
    for (int i = 0; i < c->n_in; i++) c->wants[i] = c->in[i] && c->in[i]->needs_grad;
    return PF_OK;
}

static pf_tensor *apply_view(pfi_call *c, bool needs_grad) {
    pf_tensor *x = c->in[0];
    pf_tensor *t = pfi_tensor_alias(x, c->nd, c->dim, c->stride, x->offset + c->offset);
    if (!t || !needs_grad) return t;
    /* gradients are contiguous in in[0]'s shape: the same view of a contiguous tensor says where they go */
    int64_t strided[PF_MAX_DIMS];
    memcpy(strided, x->stride, sizeof strided);
    pfi_strides(x->nd, x->dim, x->stride);
    pf_status s = c->op->shape(c);
    memcpy(x->stride, strided, sizeof strided);
    if (s == PF_OK) return t;
    pf_tensor_free(t);
    return NULL;
}

static double apply_bytes(const pf_tensor *t) { return t ? (double)pfi_dtype_bytes(t->dtype, pfi_numel(t)) : 0; }

void pfi_call_observed(pfi_call *c, const pf_tensor *y, bool backward, double start) {
    if (!c->ctx->observer) return;
    const bool again = c->ctx->again && !backward;
    double bytes = apply_bytes(y);
    for (int i = 0; i < c->n_in; i++) bytes += apply_bytes(c->in[i]) * (backward && c->wants[i] ? 2 : 1);
    pfi_observe_end(c->ctx, start,
                    (pf_event){.name = c->op->info.name,
                               .backward = backward || again,
                               .layer = c->layer,
                               .flops = c->op->flops && !again ? c->op->flops(c, backward) : 0,
                               .bytes = bytes});
}

/* forward into t */
static pf_status apply_forward(pfi_call *c, pf_tensor *t) {
    const double start = pfi_observe_begin(c->ctx);
    c->y = pfi_data(t);
    for (int i = 0; i < c->n_in; i++) c->x[i] = c->in[i] ? pfi_data(c->in[i]) : NULL;
    if (c->scratch_bytes && !(c->scratch = pfi_alloc_data(c->ctx, c->scratch_bytes))) return PF_NOMEM;
    pf_status s = c->op->forward(c);
    if (s == PF_OK && c->op->metrics) {
        c->ctx->n_metrics = 0;
        s = c->op->metrics(c);
    }
    pfi_free(c->ctx, c->scratch);
    c->scratch = NULL;
    if (s == PF_OK) pfi_call_observed(c, t, false, start);
    return s;
}

static pf_tensor *apply_compute(pfi_call *c) {
    pf_tensor *t = pfi_tensor_make(c->ctx, c->dtype, c->nd, c->dim);
    if (!t) return NULL;
    pf_status s = PF_OK;
    for (int i = 0; s == PF_OK && i < PFI_MAX_SAVED; i++)
        if (c->saved_bytes[i] && !(c->saved[i] = pfi_alloc_data(c->ctx, c->saved_bytes[i]))) s = PF_NOMEM;
    if (s == PF_OK) s = apply_forward(c, t);
    if (s == PF_OK) return t;
    pf_tensor_free(t);
    return NULL;
}

static pf_status apply_again(pf_tensor *t) {
    if (t->st || !t->node || !t->node->cheap) return pfi_alive(t);
    pfi_call *c = t->node;
    const bool again = c->ctx->again;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i]) PF_TRY(pfi_call_read(c, i));
    PF_TRY(pfi_tensor_refill(t));
    c->ctx->again = true;
    pf_status s = apply_forward(c, t);
    c->ctx->again = again;
    return s;
}

/* no deeper than two: what is made again is made of what stays */
pf_status pfi_call_read(const pfi_call *c, int i) {
    const pf_tensor *x = c->in[i];
    PF_TRY(apply_again(c->in[i]));
    if (x->st->version == c->version[i]) return PF_OK;
    return pfi_fail(c->ctx, PF_STATE,
                    "backward: %s%s, which %s has read, was written over between forward and backward",
                    x->name[0] ? "parameter " : "a tensor", x->name, c->op->info.name);
}

/* The type of an application is that of its first real tensor. */
static pf_dtype apply_dtype(const pfi_op *op, pf_tensor *const *in) {
    for (int i = 0, k = 0; i < op->info.n_params; i++) {
        pf_kind kind = op->info.params[i].kind;
        if (!apply_is_tensor(kind)) continue;
        if (in[k] && !apply_is_int(kind)) return in[k]->dtype;
        k++;
    }
    return PF_F32;
}

/* What is made again must be made of values that stay, or a chain of such would go deep. */
static void apply_record(pfi_call *c) {
    c->recorded = true;
    c->cheap = c->op->flags & PFI_CHEAP;
    for (int i = 0; i < c->n_in; i++) {
        if (!c->in[i]) continue;
        c->in[i]->histories++;
        c->version[i] = c->in[i]->st->version;
        if (!(c->unread >> i & 1)) c->in[i]->readers++;
        if (c->in[i]->node && c->in[i]->node->cheap) c->cheap = false;
    }
}

static pf_tensor *apply_run(pfi_call *c, pf_tensor *const *in) {
    if (apply_take_inputs(c, in) != PF_OK) return NULL;
    const bool needs_grad = apply_needs_grad(c);
    if (apply_wants(c, needs_grad) != PF_OK || c->op->shape(c) != PF_OK) return NULL;
    c->seq = c->ctx->seq++; /* after the copies that made inputs contiguous: they are older history */
    pf_tensor *t = c->op->flags & PFI_VIEW ? apply_view(c, needs_grad) : apply_compute(c);
    if (!t || !needs_grad) return t;
    t->needs_grad = true;
    t->node = c;
    apply_record(c);
    return t;
}

pf_tensor *pfi_apply(pf_ctx *ctx, const char *name, pf_tensor *const *in, const double *num, const int64_t *shape,
                     int n_shape) {
    const pfi_op *op = pfi_op_get(name, PF_F32);
    if (!op) {
        pfi_fail(ctx, PF_NAME, "there is no operation \"%s\"", name);
        return NULL;
    }
    op = pfi_op_get(name, apply_dtype(op, in));
    for (int i = 0, k = 0; i < op->info.n_params; i++)
        if (apply_is_tensor(op->info.params[i].kind) && !in[k++] && !op->info.params[i].optional) return NULL;
    pfi_call *c = pfi_calloc(ctx, 1, sizeof *c);
    if (!c) return NULL;
    c->op = op;
    c->ctx = ctx;
    c->dtype = op->dtype;
    c->unread = op->flags & PFI_VIEW ? 1u | 1u << PFI_RESULT : op->unread;
    c->layer = ctx->layer;
    for (int i = 0, k = 0; i < op->info.n_params; i++)
        if (!apply_is_tensor(op->info.params[i].kind) && op->info.params[i].kind != PF_KIND_SHAPE) {
            c->num[k] = num[k];
            k++;
        }
    for (int i = 0; i < n_shape; i++) c->shape_arg[i] = shape[i];
    c->n_shape_arg = n_shape;
    pf_tensor *t = apply_run(c, in);
    if (!t || t->node != c) pfi_call_free(c);
    return t;
}
