/* What the tests of losses share: calls whose arguments are freed together, closeness of figures. */
#ifndef LOSSES_H
#define LOSSES_H

#include <math.h>

#include "support.h"

static const pf_dtype losses_dtypes[] = {PF_F32, PF_F64};
static inline double losses_tolerance(pf_dtype d) { return d == PF_F32 ? 1e-5 : 1e-9; }

/* |a - b| <= tol max(|b|, 1e-3) */
#define losses_close(a, b, tol, ...)                                                                                   \
    do {                                                                                                               \
        double close_a = (a), close_b = (b);                                                                           \
        if (!(fabs(close_a - close_b) <= (tol)*fmax(fabs(close_b), 1e-3))) {                                           \
            print_error("%.17g is not %.17g: ", close_a, close_b);                                                     \
            fail_msg(__VA_ARGS__);                                                                                     \
        }                                                                                                              \
    } while (0)

/* ---- arguments that are freed together ---- */

enum { LOSSES_MAX = 24 };

typedef struct losses_call {
    pf_ctx *ctx;
    pf_dtype dtype;
    pf_arg arg[LOSSES_MAX];
    const char *key[LOSSES_MAX]; /* the name in the reference table */
    int n;
} losses_call;

static inline pf_tensor *losses_tensor(losses_call *k, const char *name, const double *v, size_t n, bool grad) {
    pf_tensor *t = pf_tensor_from(k->ctx, k->dtype, 1, (int64_t[]){(int64_t)n}, v, n);
    assert_non_null(t);
    if (grad) support_ok(k->ctx, pf_tensor_set_grad(t, true));
    assert_in_range(k->n, 0, LOSSES_MAX - 2);
    k->arg[k->n++] = (pf_arg)PF_T(name, t);
    return t;
}
/* losses_t(&k, "logp", -1.0, -2.0): a tensor that collects gradients; losses_c: one that should not */
#define losses_t(k, name, ...)                                                                                         \
    losses_tensor((k), (name), (const double[]){__VA_ARGS__}, sizeof((double[]){__VA_ARGS__}) / sizeof(double), true)
#define losses_c(k, name, ...)                                                                                         \
    losses_tensor((k), (name), (const double[]){__VA_ARGS__}, sizeof((double[]){__VA_ARGS__}) / sizeof(double), false)

static inline void losses_number(losses_call *k, const char *name, double x) { k->arg[k->n++] = (pf_arg)PF_N(name, x); }
static inline void losses_text(losses_call *k, const char *name, const char *s) {
    k->arg[k->n++] = (pf_arg)PF_S(name, s);
}

/* positions, from 0 */
static inline void losses_index(losses_call *k, const char *name, const double *v, size_t n) {
    pf_dtype real = k->dtype;
    k->dtype = PF_I32;
    losses_tensor(k, name, v, n, false);
    k->dtype = real;
}

static inline pf_tensor *losses_apply(losses_call *k, const char *loss) {
    k->arg[k->n] = (pf_arg)PF_END;
    pf_tensor *t = pf_apply(k->ctx, loss, k->arg);
    if (!t) fail_msg("%s: %s", loss, pf_errmsg(k->ctx));
    return t;
}

static inline void losses_free(losses_call *k) {
    for (int i = 0; i < k->n; i++) pf_tensor_free(k->arg[i].tensor);
    k->n = 0;
}

/* value of the loss, with its gradients left in the arguments */
static inline double losses_run(losses_call *k, const char *loss) {
    pf_tensor *t = losses_apply(k, loss);
    double v = pf_tensor_item(t);
    support_ok(k->ctx, pf_backward(t));
    pf_tensor_free(t);
    return v;
}

static inline double losses_grad(const pf_tensor *t, size_t i) {
    double g[32];
    assert_non_null(pf_tensor_grad(t));
    assert_int_equal(pf_tensor_read(pf_tensor_grad(t), g, pf_tensor_numel(t)), PF_OK);
    return g[i];
}

static inline double losses_metric(pf_ctx *ctx, const char *name) {
    int n;
    const pf_metric *m = pf_metrics(ctx, &n);
    for (int i = 0; i < n; i++)
        if (strcmp(m[i].name, name) == 0) return m[i].value;
    return (double)NAN;
}

/* every test runs in both types */
#define LOSSES_BOTH(k)                                                                                                 \
    for (int both = 0; both < 2; both++)                                                                               \
        for (losses_call k = {.ctx = support_open(), .dtype = losses_dtypes[both]}; k.ctx;                             \
             losses_free(&k), support_close(k.ctx), k.ctx = NULL)

static inline void losses_expect(losses_call *k, const char *loss, double want) {
    losses_close(losses_run(k, loss), want, losses_tolerance(k->dtype), "%s", loss);
}
static inline void losses_expect_grad(losses_call *k, const pf_tensor *t, const double *want) {
    for (size_t i = 0; i < pf_tensor_numel(t); i++)
        losses_close(losses_grad(t, i), want[i], losses_tolerance(k->dtype), "gradient %zu", i);
}
static inline void losses_expect_metric(losses_call *k, const char *name, double want) {
    losses_close(losses_metric(k->ctx, name), want, losses_tolerance(k->dtype), "%s", name);
}

/* pairs A, B, C of the reference table: log-ratios 1, -1; -0.5, 0.5; 0, 0 */
static inline void losses_pairs(losses_call *k) {
    losses_t(k, "policy_chosen", -12, -20, -5);
    losses_t(k, "policy_rejected", -15, -18, -5);
    losses_c(k, "ref_chosen", -13, -19.5, -5);
    losses_c(k, "ref_rejected", -14, -18.5, -5);
}

#endif
