/* A small list of parameters to train, for the tests of the trainer: no model is needed. */
#ifndef TRAIN_SUPPORT_H
#define TRAIN_SUPPORT_H

#include <math.h>

#include "op/op.h"
#include "support.h"
#include "train/train.h"

enum { TOY_N = 3 };

typedef struct toy {
    pf_ctx *ctx;
    pf_tensor *w[TOY_N];
} toy;

static const char *const toy_name[TOY_N] = {"layer.0.weight", "layer.1.weight", "norm.weight"};

static inline void toy_free(toy *t) {
    for (int i = 0; i < TOY_N; i++) pf_tensor_free(t->w[i]);
}

/* [3, 4], [2, 2], [5] (times scale in the first dimension), values from the counter-based generator */
static inline pf_status toy_make_scaled(pf_ctx *ctx, pf_dtype dtype, uint64_t seed, int64_t scale, toy *t) {
    const int64_t dim[TOY_N][2] = {{3 * scale, 4}, {2 * scale, 2}, {5 * scale, 0}};
    *t = (toy){.ctx = ctx};
    for (int i = 0; i < TOY_N; i++) {
        t->w[i] = pf_tensor_new(ctx, dtype, i == 2 ? 1 : 2, dim[i]);
        if (!t->w[i]) {
            toy_free(t);
            return PF_NOMEM;
        }
        snprintf(t->w[i]->name, sizeof t->w[i]->name, "%s", toy_name[i]);
        for (size_t k = 0; k < pfi_numel(t->w[i]); k++)
            pfi_set(t->w[i], k, pfi_random_normal(seed, (uint64_t)i, (uint64_t)k));
        t->w[i]->needs_grad = true;
    }
    return PF_OK;
}

static inline pf_status toy_make(pf_ctx *ctx, uint64_t seed, toy *t) {
    return toy_make_scaled(ctx, PF_F32, seed, 1, t);
}

/* sum over the parameters of sum(exp(w) w): every parameter gets a gradient that is not linear in it */
static inline pf_tensor *toy_loss(const toy *t) {
    pf_tensor *loss = NULL;
    for (int i = 0; i < TOY_N; i++) {
        pf_tensor *w = t->w[i];
        pf_tensor *e = pf_call(t->ctx, "exp", PF_T("x", w)), *y = pf_call(t->ctx, "mul", PF_T("x", e), PF_T("y", w));
        pf_tensor *s = pf_call(t->ctx, "sum", PF_T("x", y));
        pf_tensor *sum = loss ? pf_call(t->ctx, "add", PF_T("x", loss), PF_T("y", s)) : pf_tensor_retain(s);
        pf_tensor_free(e);
        pf_tensor_free(y);
        pf_tensor_free(s);
        pf_tensor_free(loss);
        loss = sum;
        if (!loss) return NULL;
    }
    return loss;
}

static inline pf_status toy_step(const toy *t, pf_trainer *trainer, pf_step_info *info) {
    PF_TRY(pf_step_begin(t->ctx));
    pf_tensor *loss = toy_loss(t);
    pf_status s = loss ? pf_trainer_accumulate(trainer, loss, 1) : pf_errcode(t->ctx);
    pf_tensor_free(loss);
    pf_step_end(t->ctx);
    return s == PF_OK ? pf_trainer_step(trainer, -1, info) : s;
}

/* the gradient of parameter i, set to a value in every place */
static inline void toy_set_grad(const toy *t, int i, double value) {
    pf_tensor *g = pfi_grad_of(t->w[i]);
    assert_non_null(g);
    for (size_t k = 0; k < pfi_numel(g); k++) pfi_set(g, k, value);
}

static inline bool toy_equal(const toy *a, const toy *b) {
    bool same = true;
    for (int i = 0; i < TOY_N; i++)
        same &= memcmp(pfi_data(a->w[i]), pfi_data(b->w[i]), pfi_numel(a->w[i]) * pfi_dtype_size(a->w[i]->dtype)) == 0;
    return same;
}

#endif
