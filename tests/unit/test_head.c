/* The output head over strips of the vocabulary and chunks of nodes, against plain loops in double. */
#include <math.h>

#include "support.h"

enum { NODES = 5, CHANNELS = 3 };

typedef struct head_case {
    int64_t T, V, E;
    double cap;
} head_case;

/* Logits grow along the vocabulary, so that every strip moves the largest one. */
static double head_weight(int64_t v, int64_t c, int64_t V) {
    return 12 * (double)(v + 1) / (double)V * (0.5 + pfi_random_uniform(1, 2, (uint64_t)(v * CHANNELS + c)));
}

static double head_state(int64_t t, int64_t c) {
    return pfi_random_uniform(3, 4, (uint64_t)(t * CHANNELS + c)) - (t % 2 ? 0.1 : 0.9);
}

static int32_t head_node(const head_case *k, int64_t e) { return (int32_t)(e * 7 % k->T); }

static int32_t head_target(const head_case *k, int64_t e) { return (int32_t)((e * 7919 + 3) % k->V); }

static double head_dy(int64_t e) { return 0.5 + (double)(e % 4); }

/* what is expected: log-probabilities, statistics [E, 4], gradients of sum(dy y) */
typedef struct head_want {
    double *logp, *stats, *dh, *dw;
} head_want;

static double *head_new(int64_t n) {
    double *p = calloc((size_t)n, sizeof *p);
    assert_non_null(p);
    return p;
}

static void head_entry(const head_case *k, int64_t e, double *z, const head_want *w) {
    const int64_t t = head_node(k, e), at = head_target(k, e);
    double top = -HUGE_VAL, sum = 0, mean = 0, entropy = 0, squares = 0;
    int64_t best = 0;
    for (int64_t v = 0; v < k->V; v++) {
        z[v] = 0;
        for (int64_t c = 0; c < CHANNELS; c++) z[v] += head_state(t, c) * head_weight(v, c, k->V);
        if (k->cap > 0) z[v] = k->cap * tanh(z[v] / k->cap);
        mean += z[v] / (double)k->V;
        if (z[v] > top) {
            top = z[v];
            best = v;
        }
    }
    for (int64_t v = 0; v < k->V; v++) sum += exp(z[v] - top);
    const double lse = top + log(sum);
    for (int64_t v = 0; v < k->V; v++) {
        const double p = exp(z[v] - lse), slope = k->cap > 0 ? 1 - z[v] / k->cap * (z[v] / k->cap) : 1;
        const double d = head_dy(e) * ((v == at) - p) * slope;
        entropy -= p * (z[v] - lse);
        squares += p * p;
        for (int64_t c = 0; c < CHANNELS; c++) {
            w->dh[t * CHANNELS + c] += d * head_weight(v, c, k->V);
            w->dw[v * CHANNELS + c] += d * head_state(t, c);
        }
    }
    w->logp[e] = z[at] - lse;
    memcpy(w->stats + 4 * e, (double[]){entropy, at == best, mean, log(squares)}, 4 * sizeof(double));
}

static void head_close(const char *what, pf_tensor *t, const double *want, int64_t n, double tolerance) {
    double *got = head_new(n), most = 0;
    assert_int_equal(pf_tensor_read(t, got, (size_t)n), PF_OK);
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(want[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance * most))
            fail_msg("%s: %lld is %.9g, expected %.9g", what, (long long)i, got[i], want[i]);
    free(got);
}

static void head_run(const head_case *k, pf_dtype type, const head_want *want, double tolerance) {
    pf_ctx *ctx = support_open();
    pf_tensor *h = pf_tensor_new(ctx, type, 2, (int64_t[]){k->T, CHANNELS});
    pf_tensor *w = pf_tensor_new(ctx, type, 2, (int64_t[]){k->V, CHANNELS});
    pf_tensor *node = pf_tensor_new(ctx, PF_I32, 1, &k->E), *target = pf_tensor_new(ctx, PF_I32, 1, &k->E);
    double *dy = head_new(k->E);
    for (int64_t i = 0; i < k->T * CHANNELS; i++) pfi_set(h, (size_t)i, head_state(i / CHANNELS, i % CHANNELS));
    for (int64_t i = 0; i < k->V * CHANNELS; i++) pfi_set(w, (size_t)i, head_weight(i / CHANNELS, i % CHANNELS, k->V));
    for (int64_t e = 0; e < k->E; e++) {
        pfi_i32(node)[e] = head_node(k, e);
        pfi_i32(target)[e] = head_target(k, e);
        dy[e] = head_dy(e);
    }
    support_ok(ctx, pf_tensor_set_grad(h, true));
    support_ok(ctx, pf_tensor_set_grad(w, true));
    const pf_arg args[] = {
        PF_T("h", h), PF_T("w", w), PF_T("node", node), PF_T("target", target), PF_N("softcap", k->cap), PF_END};
    pf_tensor *y = pf_apply(ctx, "token_logp", args), *stats = pf_apply(ctx, "token_stats", args);
    assert_non_null(y);
    assert_non_null(stats);
    head_close("token_logp", y, want->logp, k->E, tolerance);
    head_close("token_stats", stats, want->stats, 4 * k->E, tolerance);
    support_backward(ctx, y, dy);
    head_close("gradient of h", pf_tensor_grad(h), want->dh, k->T * CHANNELS, tolerance);
    head_close("gradient of w", pf_tensor_grad(w), want->dw, k->V * CHANNELS, tolerance);
    free(dy);
    pf_tensor *made[] = {h, w, node, target, y, stats};
    for (int i = 0; i < PFI_COUNT(made); i++) pf_tensor_free(made[i]);
    support_close(ctx);
}

static void head_check(head_case k) {
    head_want w = {head_new(k.E), head_new(4 * k.E), head_new(k.T * CHANNELS), head_new(k.V * CHANNELS)};
    double *z = head_new(k.V);
    for (int64_t e = 0; e < k.E; e++) head_entry(&k, e, z, &w);
    head_run(&k, PF_F64, &w, 1e-12);
    head_run(&k, PF_F32, &w, 2e-5);
    free(z);
    free(w.logp);
    free(w.stats);
    free(w.dh);
    free(w.dw);
}

static void strips(void **state) {
    (void)state;
    head_check((head_case){.T = NODES, .V = 120000, .E = 40});
}

static void strips_capped(void **state) {
    (void)state;
    head_check((head_case){.T = NODES, .V = 120000, .E = 24, .cap = 9});
}

static void chunks(void **state) {
    (void)state;
    head_check((head_case){.T = 1300, .V = 50, .E = 1600});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strips),
        cmocka_unit_test(strips_capped),
        cmocka_unit_test(chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
