/* The trainer: gradients of accumulated losses, clipping, updates, and what to do with values that are not finite. */
#include "train/train.h"

#include <fnmatch.h>
#include <math.h>

#include "kernel/kernel.h"
#include "model/adapter.h"
#include "op/op.h"

/* moments of parameters with fewer values stay as they are in 8-bit optimisers, too */
enum { TRAINER_BAD_STEPS = 5, TRAINER_NARROW = 4096 };

/* ---- making and freeing ---- */

static pf_status trainer_state(pf_tensor *w, pf_tensor **out) {
    *out = pf_tensor_keep(pf_tensor_new(w->ctx, w->dtype, w->nd, w->dim));
    return *out ? PF_OK : PF_NOMEM;
}

/* codes and scales of a moment in 8 bits, all 0 */
static pf_status trainer_codes(const pf_tensor *w, pf_tensor **codes, pf_tensor **scale) {
    const int64_t blocks = ((int64_t)pfi_numel(w) + PFK_CODES - 1) / PFK_CODES;
    *codes = pf_tensor_keep(pf_tensor_new(w->ctx, PF_I32, 2, (int64_t[]){blocks, PFK_CODES / 4}));
    *scale = pf_tensor_keep(pf_tensor_new(w->ctx, PF_F32, 1, &blocks));
    return *codes && *scale ? PF_OK : PF_NOMEM;
}

static pf_status trainer_moments(const pf_trainer *t, pfi_train_item *item, const pf_trainer_options *o) {
    if (t->optimizer == PFI_ADAMW8 && pfi_numel(item->w) >= TRAINER_NARROW) {
        PF_TRY(trainer_codes(item->w, &item->m, &item->m_scale));
        return trainer_codes(item->w, &item->v, &item->v_scale);
    }
    if (t->optimizer != PFI_SGD || o->momentum > 0) PF_TRY(trainer_state(item->w, &item->m));
    if (t->optimizer != PFI_SGD) PF_TRY(trainer_state(item->w, &item->v));
    return PF_OK;
}

static pf_status trainer_item(pf_trainer *t, pf_tensor *w, const pf_trainer_options *o) {
    pf_ctx *ctx = t->ctx;
    pfi_train_item *item = &t->item[t->n];
    PF_TRY(pfi_alive(w));
    item->w = pf_tensor_retain(w);
    t->n++;
    pfi_train_group(o, item);
    item->was_grad = w->needs_grad;
    item->frozen = !w->needs_grad || item->lr_scale == 0;
    pf_tensor_zero_grad(w);
    if (item->frozen) {
        w->needs_grad = false; /* no time is spent on gradients that nobody uses */
        return PF_OK;
    }
    if (!pfi_contiguous(w))
        return pfi_fail(ctx, PF_STATE, "parameter \"%s\" is a view: only whole tensors can be trained", w->name);
    return trainer_moments(t, item, o);
}

/* a pattern that fits nothing is a typing error */
static pf_status trainer_check_groups(pf_trainer *t, const pf_trainer_options *o) {
    for (int g = 0; g < o->n_groups; g++) {
        bool any = false;
        for (int i = 0; i < t->n && !any; i++) any = fnmatch(o->groups[g].pattern, t->item[i].w->name, 0) == 0;
        if (!any)
            return pfi_fail(t->ctx, PF_NAME,
                            "parameter group \"%s\" matches none of the %d parameters, the first is \"%s\"",
                            o->groups[g].pattern, t->n, t->item[0].w->name);
    }
    return PF_OK;
}

static pf_status trainer_fill(pf_trainer *t, pf_tensor *const *params, int n, const pf_trainer_options *o) {
    PF_TRY(pfi_train_check(t->ctx, o, &t->optimizer, &t->schedule));
    size_t largest = 0;
    bool any = false;
    t->item = pfi_calloc(t->ctx, (size_t)n, sizeof *t->item);
    if (!t->item) return PF_NOMEM;
    for (int i = 0; i < n; i++) {
        PF_TRY(trainer_item(t, params[i], o));
        if (t->item[i].frozen) continue;
        any = true;
        largest = PFI_MAX(largest, pfi_numel(params[i]));
    }
    PF_TRY(trainer_check_groups(t, o));
    if (!any)
        return pfi_fail(t->ctx, PF_STATE,
                        "nothing to train: none of the %d parameters collects gradients at a rate above 0", n);
    t->block = pfi_calloc(t->ctx, largest / PFK_BLOCK + 1, sizeof *t->block);
    return t->block ? PF_OK : PF_NOMEM;
}

pf_status pfi_trainer_make(pf_ctx *ctx, pf_tensor *const *params, int n, const pf_trainer_options *o,
                           pf_trainer **out) {
    *out = NULL;
    pf_trainer *t = pfi_calloc(ctx, 1, sizeof *t);
    if (!t) return PF_NOMEM;
    t->ctx = ctx;
    pfi_hold(ctx);
    pf_status s = trainer_fill(t, params, n, o);
    if (s != PF_OK) {
        pf_trainer_free(t);
        return s;
    }
    t->o = *o;
    t->o.optimizer = t->o.schedule = NULL;
    t->o.groups = NULL;
    if (!o->bad_steps) t->o.bad_steps = TRAINER_BAD_STEPS;
    *out = t;
    return PF_OK;
}

pf_status pf_trainer_new(pf_model *m, const pf_trainer_options *o, pf_trainer **out) {
    *out = NULL;
    int n = pf_model_parameter_count(m);
    pf_ctx *ctx = m->ctx;
    pf_tensor **params = pfi_calloc(ctx, (size_t)n, sizeof *params);
    if (!params) return PF_NOMEM;
    for (int i = 0; i < n; i++) params[i] = pf_model_parameter(m, i);
    pf_status s = pfi_trainer_make(ctx, params, n, o, out);
    if (s == PF_OK) {
        (*out)->model = pf_model_retain(m);
        m->recompute = o->recompute;
        m->part = o->part;
        pfi_adapter_at(m, 0);
    }
    pfi_free(ctx, params);
    return s;
}

void pf_trainer_free(pf_trainer *t) {
    if (!t) return;
    pf_ctx *ctx = t->ctx;
    for (int i = 0; i < t->n; i++) {
        pfi_train_item *item = &t->item[i];
        if (item->was_grad) item->w->needs_grad = true;
        pf_tensor_free(item->w);
        pf_tensor_free(item->m);
        pf_tensor_free(item->v);
        pf_tensor_free(item->m_scale);
        pf_tensor_free(item->v_scale);
    }
    if (t->model) t->model->recompute = t->model->part = 0;
    pf_model_free(t->model);
    pfi_free(ctx, t->item);
    pfi_free(ctx, t->block);
    pfi_free(ctx, t);
    pfi_release(ctx);
}

/* ---- accumulating ---- */

void pfi_trainer_forget(pf_trainer *t) {
    for (int i = 0; i < t->n; i++) pf_tensor_zero_grad(t->item[i].w);
    if (t->model) pfi_adapter_at(t->model, t->step);
    t->loss = 0;
    t->bad_loss = false;
}

bool pfi_trainer_pending(const pf_trainer *t) {
    bool any = t->bad_loss;
    for (int i = 0; i < t->n && !any; i++) any = t->item[i].w->grad != NULL;
    return any;
}

static pf_status trainer_backward(pf_tensor *loss, double scale) {
    if (scale == 1) return pf_backward(loss);
    pf_tensor *by = pf_tensor_from(loss->ctx, loss->dtype, 0, NULL, &scale, 1);
    pf_tensor *part = pfi_apply(loss->ctx, "mul", (pf_tensor *[]){loss, by}, NULL, NULL, 0);
    pf_status s = part ? pf_backward(part) : loss->ctx->code;
    pf_tensor_free(by);
    pf_tensor_free(part);
    return s;
}

pf_status pf_trainer_accumulate(pf_trainer *t, pf_tensor *loss, double scale) {
    if (!loss) return t->ctx->code; /* of the operation that failed to make it */
    PF_TRY(pfi_alive(loss));
    if (pfi_numel(loss) != 1)
        return pfi_fail(t->ctx, PF_SHAPE, "a loss is a single value, got shape %s; take the mean or sum first",
                        PFI_SHAPE_TEXT(loss));
    if (!isfinite(scale)) return pfi_fail(t->ctx, PF_RANGE, "the scale of a loss must be finite, got %g", scale);
    double value = scale * pf_tensor_item(loss);
    t->loss += value;
    if (!isfinite(value)) t->bad_loss = true;
    if (t->bad_loss) return PF_OK; /* the step will be skipped: its gradients are not needed */
    pf_status s = trainer_backward(loss, scale);
    if (s != PF_OK) pfi_trainer_forget(t); /* half a gradient is none */
    return s;
}

/* ---- stepping ---- */

static double trainer_squares(const pf_trainer *t, const pf_tensor *g) {
    int64_t n = (int64_t)pfi_numel(g);
    if (g->dtype == PF_F32) return pfk_sum_squares_f32(t->ctx->threads, pfi_data(g), n, t->block);
    return pfk_sum_squares_f64(t->ctx->threads, pfi_data(g), n, t->block);
}

/* global norm, tensors in order; *what: the first thing of this step that is not finite, "" if there is none */
static double trainer_norm(const pf_trainer *t, const char **what) {
    double sum = 0, bytes = 0;
    const double start = pfi_observe_begin(t->ctx);
    *what = t->bad_loss ? "loss" : "";
    for (int i = 0; i < t->n; i++) {
        const pf_tensor *g = t->item[i].w->grad;
        if (!g || t->item[i].frozen) continue;
        double squares = trainer_squares(t, g);
        if (!isfinite(squares) && !**what) *what = t->item[i].w->name;
        sum += squares;
        bytes += (double)g->st->bytes;
    }
    pfi_observe_end(t->ctx, start, (pf_event){.name = "norm", .layer = -1, .bytes = bytes});
    return sqrt(sum);
}

static void trainer_update(const pf_trainer *t, pfi_train_item *item, double scale, double lr) {
    const pf_trainer_options *o = &t->o;
    pf_tensor *w = item->w;
    int64_t n = (int64_t)pfi_numel(w);
    int threads = t->ctx->threads;
    void *m = item->m ? pfi_data(item->m) : NULL, *v = item->v ? pfi_data(item->v) : NULL;
    const void *g = pfi_data(w->grad);
    bool f32 = w->dtype == PF_F32;
    lr *= item->lr_scale;
    item->updates++;
    w->st->version++;
    if (item->m_scale && f32)
        pfk_adamw8_f32(threads, pfi_data(w), m, pfi_f32(item->m_scale), v, pfi_f32(item->v_scale), g, n, scale, lr,
                       o->beta1, o->beta2, o->eps, item->weight_decay, item->updates);
    else if (item->m_scale)
        pfk_adamw8_f64(threads, pfi_data(w), m, pfi_f32(item->m_scale), v, pfi_f32(item->v_scale), g, n, scale, lr,
                       o->beta1, o->beta2, o->eps, item->weight_decay, item->updates);
    else if (t->optimizer != PFI_SGD && f32)
        pfk_adamw_f32(threads, pfi_data(w), m, v, g, n, scale, lr, o->beta1, o->beta2, o->eps, item->weight_decay,
                      item->updates);
    else if (t->optimizer != PFI_SGD)
        pfk_adamw_f64(threads, pfi_data(w), m, v, g, n, scale, lr, o->beta1, o->beta2, o->eps, item->weight_decay,
                      item->updates);
    else if (f32)
        pfk_sgd_f32(threads, pfi_data(w), m, g, n, scale, lr, o->momentum, item->weight_decay);
    else
        pfk_sgd_f64(threads, pfi_data(w), m, g, n, scale, lr, o->momentum, item->weight_decay);
}

static void trainer_update_all(const pf_trainer *t, double scale, double lr) {
    const bool adamw = t->optimizer != PFI_SGD;
    const double start = pfi_observe_begin(t->ctx);
    double bytes = 0;
    for (int i = 0; i < t->n; i++) {
        pfi_train_item *item = &t->item[i];
        if (!item->w->grad || item->frozen) continue;
        trainer_update(t, item, scale, lr);
        bytes += (double)item->w->grad->st->bytes * (3 + 2 * (item->m != NULL) + 2 * (item->v != NULL));
    }
    pfi_observe_end(t->ctx, start, (pf_event){.name = adamw ? "adamw" : "sgd", .layer = -1, .bytes = bytes});
}

static pf_status trainer_skip(pf_trainer *t, const char *what) {
    t->bad++;
    if (t->bad < t->o.bad_steps) return PF_OK;
    bool loss = strcmp(what, "loss") == 0;
    return pfi_fail(
        t->ctx, PF_NONFINITE,
        "training stopped: the last %d steps (%lld to %lld) gave values that are not finite, the last one "
        "the %s%s%s; they changed nothing. Try a lower learning rate, a warm-up or a smaller clip, and look "
        "at the rows of these steps",
        (int)t->bad, (long long)(t->step - t->bad + 1), (long long)t->step, loss ? "loss" : "gradient of \"",
        loss ? "" : what, loss ? "" : "\"");
}

pf_status pf_trainer_step(pf_trainer *t, double lr, pf_step_info *info) {
    if (isnan(lr) || isinf(lr)) return pfi_fail(t->ctx, PF_RANGE, "the learning rate must be finite, got %g", lr);
    if (!pfi_trainer_pending(t))
        return pfi_fail(t->ctx, PF_STATE, "a step needs gradients: nothing was accumulated since the last one");
    const char *what;
    double rate = lr < 0 ? pfi_train_rate(&t->o, t->schedule, t->step) : lr, norm = trainer_norm(t, &what);
    double coef = t->o.clip > 0 ? PFI_MIN(1, t->o.clip / (norm + 1e-6)) : 1;
    t->step++;
    if (info) *info = (pf_step_info){t->step, t->loss, norm, rate, *what != 0, what};
    if (!*what) trainer_update_all(t, coef, rate);
    pfi_trainer_forget(t);
    if (*what) return trainer_skip(t, what);
    t->bad = 0;
    return PF_OK;
}
