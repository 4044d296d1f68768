/* What the losses share: scalar functions that neither overflow nor lose small terms, losses that are one value an
 * item, and the metrics of pairs. Losses are tiny, so they compute in double whatever pf_real is. Internal to loss/. */
#ifndef PFI_LOSS_H
#define PFI_LOSS_H

#include "kernel/real.h"
#include "op/op.h"

#define PFI_LOSS_OP(id, ...)           PFI_OP(id, .flags = PFI_LOSS, .info.is_loss = true, __VA_ARGS__)
#define PFI_LOSS_DOC(math, from, text) .info.formula = (math), .info.source = (from), .info.doc = (text)

/* ---- scalar functions ---- */

static const double loss_exp_max = 80; /* e^80 is finite in float */

static inline double loss_softplus(double x) { return fmax(x, 0) + log1p(exp(-fabs(x))); }
static inline double loss_sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
/* derivative of the sigmoid */
static inline double loss_bell(double x) { return loss_sigmoid(x) * loss_sigmoid(-x); }
static inline double loss_exp(double x) { return exp(fmin(x, loss_exp_max)); }
/* log(e^a + e^b); a sum over many starts from -HUGE_VAL */
static inline double loss_log_add(double a, double b) { return fmax(a, b) + log1p(exp(-fabs(a - b))); }

/* ---- reading ---- */

/* value i of a tensor; a tensor of one value has it for all items; one left out is all `otherwise` */
static inline double loss_value(const pfi_call *c, int input, int64_t i, double otherwise) {
    const pf_real *x = c->x[input];
    if (!c->in[input]) return otherwise;
    return (double)x[pfi_numel(c->in[input]) == 1 ? 0 : i];
}
static inline double loss_at(const pfi_call *c, int input, int64_t i) { return loss_value(c, input, i, 0); }
static inline int64_t loss_count(const pfi_call *c, int input) { return (int64_t)pfi_numel(c->in[input]); }

/* ---- checks ---- */

/* Shape stage: in[0] is [N], N > 0, the other tensors too; those in the bit set `single` may have one value instead. */
static inline pf_status loss_items_shape(pfi_call *c, unsigned single) {
    PF_TRY(pfi_need_ndim(c, 0, 1));
    if (c->in[0]->dim[0] == 0) return pfi_call_fail(c, PF_SHAPE, "%s is empty", pfi_in_name(c, 0));
    for (int i = 1; i < c->n_in; i++) {
        if (!c->in[i] || ((single >> i & 1) && pfi_numel(c->in[i]) == 1)) continue;
        PF_TRY(pfi_need_shape(c, i, 1, c->in[0]->dim));
    }
    return pfi_shape_like(c, 0);
}

/* Shape stage: in[input] is [K] with at least `least` values; the result is one value. */
static inline pf_status loss_list_shape(pfi_call *c, int input, int64_t least) {
    PF_TRY(pfi_need_ndim(c, input, 1));
    c->nd = 0;
    if (c->in[input]->dim[0] >= least) return PF_OK;
    return pfi_call_fail(c, PF_SHAPE, "%s is empty", pfi_in_name(c, input));
}

/* a number that must be finite and above 0 */
static inline pf_status loss_need_positive(pfi_call *c, const char *name, double x) {
    if (x > 0 && isfinite(x)) return PF_OK;
    return pfi_call_fail(c, PF_RANGE, "%s is %g, expected a finite number above 0", name, x);
}

/* forward: every value of in[input] lies in what `good` accepts; `expected` says what that is */
static inline pf_status loss_need_values(pfi_call *c, int input, bool (*good)(double), const char *expected) {
    if (!c->in[input]) return PF_OK;
    for (int64_t i = 0; i < loss_count(c, input); i++)
        if (!good(loss_at(c, input, i)))
            return pfi_call_fail(c, PF_RANGE, "value %lld of %s is %g, expected %s", (long long)i + 1,
                                 pfi_in_name(c, input), loss_at(c, input, i), expected);
    return PF_OK;
}
static inline bool loss_is_label(double x) { return x == 0 || x == 1; }

/* ---- losses of items ---- */

/* The loss of item i; d[k] takes its derivative by tensor k, and comes in as zeros. */
typedef double (*loss_item)(const pfi_call *c, int64_t i, double *d);

static inline void loss_items_forward(pfi_call *c, loss_item item) {
    pf_real *y = c->y;
    for (int64_t i = 0; i < c->dim[0]; i++) y[i] = (pf_real)item(c, i, (double[PF_MAX_INPUTS]){0});
}

static inline void loss_items_backward(pfi_call *c, loss_item item) {
    const pf_real *dy = c->dy;
    for (int64_t i = 0; i < c->dim[0]; i++) {
        double d[PF_MAX_INPUTS] = {0};
        item(c, i, d);
        for (int k = 0; k < c->n_in; k++) {
            pf_real *dx = c->dx[k];
            if (dx) dx[loss_count(c, k) == 1 ? 0 : i] += (pf_real)((double)dy[i] * d[k]);
        }
    }
}

/* ---- metrics ---- */

/* the reward of item i of in[side], side 0 chosen, 1 rejected */
typedef double (*loss_reward)(const pfi_call *c, int side, int64_t i);

/* TRL's metrics of pairs whose policy log-probs are in[0] (chosen) and in[1] (rejected). A tie counts as wrong. */
static inline void loss_pair_metrics(pfi_call *c, loss_reward reward) {
    int64_t n = loss_count(c, 0);
    double mean[2] = {0, 0}, logp[2] = {0, 0}, right = 0;
    for (int64_t i = 0; i < n; i++) {
        right += reward(c, 0, i) > reward(c, 1, i);
        for (int side = 0; side < 2; side++) {
            mean[side] += reward(c, side, i) / (double)n;
            logp[side] += loss_at(c, side, i) / (double)n;
        }
    }
    pfi_metric(c, "rewards/chosen", mean[0]);
    pfi_metric(c, "rewards/rejected", mean[1]);
    pfi_metric(c, "rewards/accuracies", right / (double)n);
    pfi_metric(c, "rewards/margins", mean[0] - mean[1]);
    pfi_metric(c, "logps/chosen", logp[0]);
    pfi_metric(c, "logps/rejected", logp[1]);
}

/* The same of single rows: in[0] policy, in[1] reference, in[2] label. A side without rows is left out. */
static inline void loss_row_metrics(pfi_call *c, double beta) {
    double mean[2] = {0, 0}, logp[2] = {0, 0}, rows[2] = {0, 0};
    for (int64_t i = 0; i < loss_count(c, 0); i++) {
        int side = loss_at(c, 2, i) == 1 ? 0 : 1;
        rows[side]++;
        mean[side] += beta * (loss_at(c, 0, i) - loss_at(c, 1, i));
        logp[side] += loss_at(c, 0, i);
    }
    if (rows[0] > 0) {
        pfi_metric(c, "rewards/chosen", mean[0] / rows[0]);
        pfi_metric(c, "logps/chosen", logp[0] / rows[0]);
    }
    if (rows[1] > 0) {
        pfi_metric(c, "rewards/rejected", mean[1] / rows[1]);
        pfi_metric(c, "logps/rejected", logp[1] / rows[1]);
    }
    if (rows[0] > 0 && rows[1] > 0) pfi_metric(c, "rewards/margins", mean[0] / rows[0] - mean[1] / rows[1]);
}

#endif
