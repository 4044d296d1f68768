/* The gradient of a function of tensors against central differences. */
#include <math.h>

#include "op/op.h"

typedef struct gradcheck {
    pf_ctx *ctx;
    pf_scalar_fn f;
    void *ud;
    pf_tensor *const *in;
    int n;
    double value;               /* f at the inputs */
    double *analytic, *numeric; /* of all inputs, one after the other */
} gradcheck;

static pf_status gradcheck_shape(gradcheck *g, const pf_tensor *y) {
    if (pfi_numel(y) != 1)
        return pfi_fail(g->ctx, PF_SHAPE, "gradcheck: the function must return a single value, got shape %s",
                        PFI_SHAPE_TEXT(y));
    if (y->dtype != PF_F64)
        return pfi_fail(g->ctx, PF_TYPE, "gradcheck: the function must return float64, got %s",
                        pfi_dtype_name(y->dtype));
    PF_TRY(pf_tensor_read(y, &g->value, 1));
    if (isfinite(g->value)) return PF_OK;
    return pfi_fail(g->ctx, PF_NONFINITE, "gradcheck: the function's value is %g", g->value);
}

/* f at the present inputs, everything it made freed again */
static pf_status gradcheck_run(gradcheck *g, bool backward) {
    PF_TRY(pf_step_begin(g->ctx));
    bool was = pf_set_recording(g->ctx, backward);
    g->ctx->code = PF_OK;
    pf_tensor *y = g->f(g->ud, g->in, g->n);
    pf_status s = y ? gradcheck_shape(g, y) : g->ctx->code;
    if (!y && s == PF_OK) s = pfi_fail(g->ctx, PF_STATE, "gradcheck: the function returned nothing");
    if (s == PF_OK && backward && y->needs_grad) s = pf_backward(y);
    pf_tensor_free(y);
    pf_set_recording(g->ctx, was);
    pf_step_end(g->ctx);
    return s;
}

static pf_status gradcheck_analytic(gradcheck *g) {
    PF_TRY(gradcheck_run(g, true));
    double *out = g->analytic;
    for (int k = 0; k < g->n; k++) {
        const pf_tensor *grad = g->in[k]->grad;
        for (size_t i = 0; i < pfi_numel(g->in[k]); i++) {
            *out = grad ? pfi_get(grad, i) : 0;
            if (!isfinite(*out))
                return pfi_fail(g->ctx, PF_NONFINITE, "gradcheck: the gradient of input %d, element %zu, is %g", k + 1,
                                i + 1, *out);
            out++;
        }
    }
    return PF_OK;
}

/* The step that counts is the one between the two values as they were stored. */
static pf_status gradcheck_element(gradcheck *g, pf_tensor *x, size_t i, double *slope) {
    const double at = pfi_get(x, i), h = 1e-5 * fmax(1, fabs(at));
    double value[2], place[2];
    pf_status s = PF_OK;
    for (int side = 0; s == PF_OK && side < 2; side++) {
        pfi_set(x, i, side ? at - h : at + h);
        place[side] = pfi_get(x, i);
        s = gradcheck_run(g, false);
        value[side] = g->value;
    }
    pfi_set(x, i, at);
    if (s == PF_OK) *slope = (value[0] - value[1]) / (place[0] - place[1]);
    return s;
}

static pf_status gradcheck_numeric(gradcheck *g) {
    double *out = g->numeric;
    for (int k = 0; k < g->n; k++)
        for (size_t i = 0; i < pfi_numel(g->in[k]); i++) PF_TRY(gradcheck_element(g, g->in[k], i, out++));
    return PF_OK;
}

/* value: of f; differences resolve no slope far below 1e-10 of it, so the measure does not ask for one */
static void gradcheck_compare(const gradcheck *g, double value, pf_gradcheck_result *out) {
    double largest = 0;
    size_t at = 0;
    *out = (pf_gradcheck_result){.worst = -1};
    for (int k = 0; k < g->n; k++)
        for (size_t i = 0; i < pfi_numel(g->in[k]); i++, at++) largest = fmax(largest, fabs(g->numeric[at]));
    at = 0;
    for (int k = 0; k < g->n; k++)
        for (size_t i = 0; i < pfi_numel(g->in[k]); i++, at++) {
            double a = g->analytic[at], b = g->numeric[at];
            double scale = fmax(fmax(fabs(b), 1e-3 * largest), 1e-6 * fabs(value));
            double error = a == b ? 0 : fabs(a - b) / fmax(scale, 1e-300);
            if (error > out->worst) *out = (pf_gradcheck_result){error, k, i, a, b};
        }
    out->worst = fmax(out->worst, 0);
}

static pf_status gradcheck_all(gradcheck *g, pf_gradcheck_result *out) {
    size_t total = 0;
    for (int k = 0; k < g->n; k++) total += pfi_numel(g->in[k]);
    g->analytic = pfi_calloc(g->ctx, total, 2 * sizeof *g->analytic);
    if (!g->analytic) return PF_NOMEM;
    g->numeric = g->analytic + total;
    pf_status s = gradcheck_analytic(g);
    double value = g->value;
    if (s == PF_OK) s = gradcheck_numeric(g);
    if (s == PF_OK) gradcheck_compare(g, value, out);
    pfi_free(g->ctx, g->analytic);
    return s;
}

static pf_status gradcheck_inputs(pf_ctx *ctx, pf_tensor *const *in, int n) {
    for (int k = 0; k < n; k++) {
        if (!in[k]) return pfi_fail(ctx, PF_TYPE, "gradcheck: input %d is missing", k + 1);
        PF_TRY(pfi_alive(in[k]));
        if (in[k]->dtype != PF_F64)
            return pfi_fail(ctx, PF_TYPE, "gradcheck: input %d is %s, expected float64", k + 1,
                            pfi_dtype_name(in[k]->dtype));
        if (in[k]->node)
            return pfi_fail(ctx, PF_STATE, "gradcheck: input %d is the result of an operation; detach() it", k + 1);
    }
    return PF_OK;
}

pf_status pf_gradcheck(pf_ctx *ctx, pf_scalar_fn f, void *ud, pf_tensor *const *inputs, int n,
                       pf_gradcheck_result *out) {
    *out = (pf_gradcheck_result){0};
    if (n < 0 || n > PF_MAX_INPUTS)
        return pfi_fail(ctx, PF_RANGE, "gradcheck: takes 0 to %d inputs, got %d", PF_MAX_INPUTS, n);
    PF_TRY(gradcheck_inputs(ctx, inputs, n));
    pf_tensor *grad[PF_MAX_INPUTS] = {0};
    bool needed[PF_MAX_INPUTS] = {0};
    for (int k = 0; k < n; k++) {
        grad[k] = inputs[k]->grad;
        needed[k] = inputs[k]->needs_grad;
        inputs[k]->grad = NULL;
        inputs[k]->needs_grad = true;
    }
    gradcheck g = {.ctx = ctx, .f = f, .ud = ud, .in = inputs, .n = n};
    pf_status s = gradcheck_all(&g, out);
    for (int k = n - 1; k >= 0; k--) {
        pf_tensor_zero_grad(inputs[k]);
        inputs[k]->grad = grad[k];
        inputs[k]->needs_grad = needed[k];
    }
    return s;
}
