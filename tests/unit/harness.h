/* What walks the registry needs: an allocator that fails on request and guards its blocks, the inputs of a worked
 * case, the closeness of two tensors, and one run of an operation with its gradients. */
#ifndef HARNESS_H
#define HARNESS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "op/op.h"

/* ---- memory ---- */

/* Fresh memory is filled with NaN, freed memory with rubbish, and both ends of a block are checked when it is freed. */
typedef struct harness_memory {
    long calls, fail_at; /* allocation number fail_at (from 0) fails; below 0: none */
    bool persistent;     /* and all that follow it */
    bool failed;         /* one did */
    long blocks;
    size_t bytes;
    long broken; /* blocks whose guards were overwritten or whose size was wrong */
} harness_memory;

enum { HARNESS_GUARD = 64, HARNESS_GUARD_BYTE = 0xA5 };

static inline size_t harness_guard_broken(const unsigned char *p) {
    size_t n = 0;
    for (int i = 0; i < HARNESS_GUARD; i++) n += p[i] != HARNESS_GUARD_BYTE;
    return n;
}

static inline void *harness_realloc(void *ud, void *p, size_t old, size_t now) {
    harness_memory *m = ud;
    unsigned char *raw = p ? (unsigned char *)p - HARNESS_GUARD : NULL;
    if (now) {
        long k = m->calls++;
        if (m->fail_at >= 0 && (k == m->fail_at || (m->persistent && k > m->fail_at))) {
            m->failed = true;
            return NULL;
        }
        unsigned char *q = malloc(now + 2 * HARNESS_GUARD);
        if (!q) return NULL;
        memset(q, HARNESS_GUARD_BYTE, HARNESS_GUARD);
        memset(q + HARNESS_GUARD, 0xFF, now);
        memset(q + HARNESS_GUARD + now, HARNESS_GUARD_BYTE, HARNESS_GUARD);
        if (p) memcpy(q + HARNESS_GUARD, p, old < now ? old : now);
        m->blocks++;
        m->bytes += now;
        if (raw) harness_realloc(ud, p, old, 0);
        return q + HARNESS_GUARD;
    }
    if (!raw) return NULL;
    if (harness_guard_broken(raw) || harness_guard_broken(raw + HARNESS_GUARD + old)) m->broken++;
    memset(raw, 0xDB, old + 2 * (size_t)HARNESS_GUARD);
    m->blocks--;
    m->bytes -= old;
    free(raw);
    return NULL;
}

/* ---- cases ---- */

static inline bool harness_is_tensor(pf_kind k) { return k <= PF_KIND_TOKEN; }
static inline bool harness_is_int(pf_kind k) { return k == PF_KIND_INDEX || k == PF_KIND_TOKEN; }

/* A case with its values: the same for float and double, so all of them are floats. */
typedef struct harness_case {
    const pfi_op *op;
    const pfi_case *from;
    int place; /* of the case in the operation's list, from 1 */
    int n_in;
    const pf_param *in[PF_MAX_INPUTS];
    int nd[PF_MAX_INPUTS]; /* -1: left out */
    size_t numel[PF_MAX_INPUTS];
    double *value[PF_MAX_INPUTS];
    char words[256];
    pf_arg arg[PF_MAX_PARAMS + 2]; /* the other parameters */
    int64_t dims[PF_MAX_DIMS];
    int n_arg;
} harness_case;

/* "2x-1x3" */
static inline int harness_dims(const char *text, int64_t *dims) {
    int n = 0;
    for (char *end; *text && n < PF_MAX_DIMS; text = *end == 'x' ? end + 1 : end) {
        dims[n++] = strtoll(text, &end, 10);
        if (end == text) break;
    }
    return n;
}

/* "dim=1 keep=1 variant=ipo shape=2x-1x3" to named arguments */
static inline void harness_parse(harness_case *h, const char *text) {
    const pf_op_info *info = &h->op->info;
    snprintf(h->words, sizeof h->words, "%s", text ? text : "");
    char *save = NULL;
    for (char *word = strtok_r(h->words, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *value = strchr(word, '=');
        if (!value || h->n_arg > PF_MAX_PARAMS) continue;
        *value++ = 0;
        pf_kind kind = PF_KIND_NUMBER;
        for (int i = 0; i < info->n_params; i++)
            if (strcmp(info->params[i].name, word) == 0) kind = info->params[i].kind;
        pf_arg *a = &h->arg[h->n_arg++];
        if (kind == PF_KIND_CHOICE)
            *a = (pf_arg)PF_S(word, value);
        else if (kind == PF_KIND_SHAPE)
            *a = (pf_arg)PF_D(word, h->dims, harness_dims(value, h->dims));
        else
            *a = (pf_arg)PF_N(word, strtod(value, NULL));
    }
}

/* deterministic, different for every operation, case and input */
static inline double harness_random(const harness_case *h, int stream, size_t i) {
    uint64_t seed = pfi_hash64((uint64_t)h->place, h->op->info.name, strlen(h->op->info.name));
    return pfi_random_uniform(seed, (uint64_t)stream, i);
}

static inline void harness_fill(harness_case *h, int k) {
    const pfi_case *c = h->from;
    double lo = c->lo, hi = c->hi;
    if (lo == 0 && hi == 0) {
        lo = -1;
        hi = 1;
    }
    for (size_t i = 0; i < h->numel[k]; i++) {
        double v = c->reals[k] ? c->reals[k][i] : lo + (hi - lo) * harness_random(h, k, i);
        if (harness_is_int(h->in[k]->kind)) v = c->ints[k] ? c->ints[k][i] : 0;
        h->value[k][i] = (double)(float)v;
    }
}

static inline bool harness_open(harness_case *h, const pfi_op *op, int place) {
    *h = (harness_case){.op = op, .from = &op->cases[place], .place = place + 1};
    for (int i = 0; i < op->info.n_params; i++) {
        if (!harness_is_tensor(op->info.params[i].kind)) continue;
        int k = h->n_in++;
        const int64_t *dim = h->from->dim[k];
        h->in[k] = &op->info.params[i];
        h->nd[k] = (int)dim[0] - 1;
        if (h->nd[k] < 0) continue;
        h->numel[k] = 1;
        for (int d = 0; d < h->nd[k]; d++) h->numel[k] *= (size_t)dim[d + 1];
        h->value[k] = calloc(h->numel[k] + 1, sizeof(double));
        if (!h->value[k]) return false;
        harness_fill(h, k);
    }
    harness_parse(h, h->from->args);
    return true;
}

static inline void harness_close(harness_case *h) {
    for (int k = 0; k < h->n_in; k++) free(h->value[k]);
}

static inline bool harness_differentiable(const harness_case *h, int k) {
    return h->nd[k] >= 0 && h->in[k]->kind == PF_KIND_TENSOR && !(h->op->flags & PFI_NO_GRAD);
}

/* ---- one run ---- */

typedef struct harness_run {
    pf_dtype dtype;
    unsigned grad;   /* bit k: input k collects gradients */
    bool strided;    /* inputs are views with strides */
    bool twice;      /* run and run backward twice: gradients add up */
    int share, with; /* input `share` is given at the place `with` too; both 0: no */
    int wrong;       /* input wrong - 1 gets another type */
} harness_run;

typedef struct harness_result {
    pf_status status;
    bool needs_grad, extra_grad; /* of the result; an input that should not collect a gradient has one */
    size_t n;
    double *y;
    double *grad[PF_MAX_INPUTS]; /* NULL: none */
} harness_result;

static inline void harness_result_free(harness_result *r) {
    free(r->y);
    for (int k = 0; k < PF_MAX_INPUTS; k++) free(r->grad[k]);
    *r = (harness_result){0};
}

static inline double *harness_read(const pf_tensor *t) {
    size_t n = pf_tensor_numel(t);
    double *out = malloc((n + 1) * sizeof *out);
    if (out && pf_tensor_read(t, out, n) == PF_OK) return out;
    free(out);
    return NULL;
}

/* The values under strides: dimensions stored in the opposite order, or every second value of a row. */
static inline pf_tensor *harness_strided(pf_ctx *ctx, pf_dtype dtype, int nd, const int64_t *dim, const double *value) {
    int64_t store[PF_MAX_DIMS + 1], stride[PF_MAX_DIMS];
    if (nd == 1)
        store[0] = 2 * dim[0];
    else
        for (int i = 0; i < nd; i++) store[i] = dim[nd - 1 - i];
    pf_tensor *base = pf_tensor_new(ctx, dtype, nd, store);
    if (!base) return NULL;
    for (int i = 0; i < nd; i++) stride[nd - 1 - i] = base->stride[i];
    if (nd == 1) stride[0] = 2;
    pf_tensor *t = pfi_tensor_alias(base, nd, dim, stride, nd == 1);
    pf_tensor_free(base);
    if (t) pf_tensor_write(t, value, pf_tensor_numel(t));
    return t;
}

static inline pf_tensor *harness_input(pf_ctx *ctx, const harness_case *h, const harness_run *run, int k) {
    const int64_t *dim = h->from->dim[k] + 1;
    const double *value = run->with && k == run->with ? h->value[run->share] : h->value[k];
    bool integer = harness_is_int(h->in[k]->kind);
    pf_dtype dtype = integer ? PF_I32 : run->dtype;
    if (run->wrong == k + 1) return pf_tensor_new(ctx, integer ? PF_F32 : PF_I32, h->nd[k], dim);
    pf_tensor *t = run->strided && !integer && h->nd[k] > 0
                       ? harness_strided(ctx, dtype, h->nd[k], dim, value)
                       : pf_tensor_from(ctx, dtype, h->nd[k], dim, value, h->numel[k]);
    if (t && run->grad >> k & 1u) pf_tensor_set_grad(t, true);
    return t;
}

static inline pf_tensor *harness_apply(pf_ctx *ctx, const harness_case *h, pf_tensor *const *in) {
    pf_arg arg[PF_MAX_INPUTS + PF_MAX_PARAMS + 4];
    int n = 0;
    for (int k = 0; k < h->n_in; k++)
        if (h->nd[k] >= 0) arg[n++] = (pf_arg)PF_T(h->in[k]->name, in[k]);
    for (int i = 0; i < h->n_arg; i++) arg[n++] = h->arg[i];
    if (h->op->info.is_loss) arg[n++] = (pf_arg)PF_S("reduction", "none");
    arg[n] = (pf_arg)PF_END;
    return pf_apply(ctx, h->op->info.name, arg);
}

/* weight of result element i in the sum that is differentiated: any, but none near 0 */
static inline double harness_weight(const harness_case *h, size_t i) {
    double u = harness_random(h, PF_MAX_INPUTS, i);
    return (double)(float)(u < 0.5 ? -0.25 - u : u);
}

static inline pf_status harness_backward(pf_ctx *ctx, const harness_case *h, pf_tensor *y) {
    size_t n = pf_tensor_numel(y);
    double *w = malloc((n + 1) * sizeof *w);
    if (!w) return PF_NOMEM;
    for (size_t i = 0; i < n; i++) w[i] = harness_weight(h, i);
    pf_tensor *r = pf_tensor_from(ctx, y->dtype, y->nd, y->dim, w, n);
    pf_tensor *z = pf_call(ctx, "mul", PF_T("x", y), PF_T("y", r)), *sum = pf_call(ctx, "sum", PF_T("x", z));
    pf_status s = sum ? pf_backward(sum) : pf_errcode(ctx);
    pf_tensor_free(r);
    pf_tensor_free(z);
    pf_tensor_free(sum);
    free(w);
    return s;
}

static inline pf_status harness_forward_backward(pf_ctx *ctx, const harness_case *h, pf_tensor *const *in,
                                                 harness_result *out) {
    pf_tensor *y = harness_apply(ctx, h, in);
    if (!y) return pf_errcode(ctx);
    out->needs_grad = y->needs_grad;
    free(out->y);
    out->n = pf_tensor_numel(y);
    out->y = harness_read(y);
    pf_status s = y->needs_grad ? harness_backward(ctx, h, y) : PF_OK;
    pf_tensor_free(y);
    return s;
}

/* Run a case on a context; everything made there is freed again. out is freed by the caller. */
static inline void harness_go(pf_ctx *ctx, const harness_case *h, const harness_run *run, harness_result *out) {
    pf_tensor *in[PF_MAX_INPUTS] = {NULL};
    *out = (harness_result){0};
    for (int k = 0; k < h->n_in && out->status == PF_OK; k++) {
        if (h->nd[k] < 0) continue;
        in[k] = run->with == k && k ? pf_tensor_retain(in[run->share]) : harness_input(ctx, h, run, k);
        if (!in[k]) out->status = pf_errcode(ctx);
    }
    for (int i = 0; i < 1 + run->twice && out->status == PF_OK; i++)
        out->status = harness_forward_backward(ctx, h, in, out);
    for (int k = 0; k < h->n_in; k++) {
        if (in[k] && in[k]->grad && out->status == PF_OK) {
            out->grad[k] = harness_read(in[k]->grad);
            if (!(run->grad >> k & 1u) && !(run->with && k == run->with)) out->extra_grad = true;
        }
        pf_tensor_free(in[k]);
    }
}

/* ---- closeness ---- */

static inline double harness_largest(const double *x, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(x[i]));
    return most;
}

/* max |scale a - b| / max(max |b|, 1e-3 largest); infinite if one is not finite and the other differs */
static inline double harness_distance(const double *a, const double *b, size_t n, double scale, double largest) {
    double most = 0, norm = fmax(harness_largest(b, n), 1e-3 * largest);
    for (size_t i = 0; i < n; i++) {
        double d = scale * a[i] == b[i] ? 0 : fabs(scale * a[i] - b[i]);
        if (!(d < HUGE_VAL)) return HUGE_VAL;
        most = fmax(most, d);
    }
    return most == 0 ? 0 : most / fmax(norm, 1e-300);
}

#endif
