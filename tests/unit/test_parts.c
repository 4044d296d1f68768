/* A batch in parts: the same entries, log-probabilities and gradients as at once, in less memory. */
#include <math.h>

#include "families.h"

/* ---- the forest ---- */

static void check_parts(const pf_batch *b, int64_t most, const pfi_part *part, int64_t n) {
    int times[FAMILY_ENTRIES] = {0};
    for (int64_t i = 0; i < n; i++) {
        const pf_batch *p = part[i].batch;
        assert_true(p->nodes <= most || p->sequences == 1);
        for (int64_t e = 0; e < p->entries; e++) {
            int32_t here[FAMILY_MOST], whole[FAMILY_MOST];
            const int64_t at = part[i].from[e];
            times[at]++;
            assert_int_equal(pfi_i32(p->target)[e], pfi_i32(b->target)[at]);
            const int64_t k = pfi_forest_path(p, pfi_i32(p->node)[e], here);
            assert_int_equal(k, pfi_forest_path(b, pfi_i32(b->node)[at], whole));
            for (int64_t t = 0; t < k; t++) assert_int_equal(pfi_i32(p->token)[here[t]], pfi_i32(b->token)[whole[t]]);
        }
    }
    for (int64_t e = 0; e < b->entries; e++) assert_int_equal(times[e], 1);
}

static void forest(void **state) {
    (void)state;
    /* the same twice, a prompt alone, one that forks late, one with targets of its own, one of which nothing follows */
    const int32_t a[] = {1, 2, 3, 4, 5, 6, 7}, c[] = {1, 2, 3, 4, 9, 9}, d[] = {8, 8, 8, 8, 8, 8, 8, 8, 8, 8};
    const uint8_t some[] = {0, 0, 1, 0, 1, 0};
    const int32_t other[] = {0, 0, 5, 0, 3, 0};
    const pf_sequence s[] = {{.ids = a, .n = 7, .scored_from = 3}, {.ids = d, .n = 10, .scored_from = 1},
                             {.ids = c, .n = 6, .scored_from = 3}, {.ids = a, .n = 7, .scored_from = 5},
                             {.ids = a, .n = 3, .scored_from = 3}, {.ids = c, .n = 6, .score = some, .target = other},
                             {.ids = a, .n = 4, .scored_from = 3}};
    pf_ctx *ctx = support_open();
    pf_batch *b;
    support_ok(ctx, pf_batch_new(ctx, s, PFI_COUNT(s), &b));
    for (int64_t most = 1; most <= b->nodes; most++) {
        pfi_part *part;
        int64_t n;
        support_ok(ctx, pfi_forest_parts(b, most, &part, &n));
        check_parts(b, most, part, n);
        if (most == 1) assert_int_equal(n, 6); /* one of the seven has no entry */
        if (most == b->nodes) assert_int_equal(n, 1);
        pfi_forest_parts_free(ctx, part, n);
    }
    pf_batch_free(b);
    support_close(ctx);
}

/* ---- the model ---- */

static double far(const double *a, const double *b, int n) {
    double most = 0;
    for (int i = 0; i < n; i++) most = fmax(most, fabs(a[i] - b[i]) / fmax(1, fabs(b[i])));
    return most;
}

/* the largest difference of gradients, by max|a - b| / max(max|b|, 1e-3 x the largest gradient) */
static double far_gradients(pf_model *a, pf_model *b) {
    double top = 0, worst = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < pf_model_parameter_count(a); i++) {
            const pf_tensor *x = pf_model_parameter(a, i)->grad, *y = pf_model_parameter(b, i)->grad;
            assert_true(!x == !y);
            double size = 0, most = 0;
            for (size_t k = 0; x && k < pfi_numel(x); k++) {
                size = fmax(size, fabs(pfi_get(y, k)));
                most = fmax(most, fabs(pfi_get(x, k) - pfi_get(y, k)));
            }
            if (pass == 0) top = fmax(top, size);
            if (pass == 1 && x) worst = fmax(worst, most / fmax(size, 1e-3 * top));
        }
    return worst;
}

static void compare(const char *dir, const family_batch *d, const char *name) {
    pf_ctx *ctx = support_open();
    static family_pass want, got;
    pf_model *whole = family_load(ctx, dir, NULL), *m = family_load(ctx, dir, NULL);
    family_run(whole, d, false, &want);
    m->part = 30;
    family_run(m, d, false, &got);
    if (!(far(got.logp, want.logp, FAMILY_ENTRIES) <= 1e-5)) fail_msg("%s: other log-probabilities", name);
    if (!(far(got.stats, want.stats, 4 * FAMILY_ENTRIES) <= 1e-5)) fail_msg("%s: other statistics", name);
    const double worst = far_gradients(m, whole);
    if (!(worst <= 1e-4)) fail_msg("%s: a gradient is %g away", name, worst);
    if (!(got.kept < want.kept / 3)) fail_msg("%s: %zu bytes are kept, before %zu", name, got.kept, want.kept);
    pf_model_free(whole);
    pf_model_free(m);
    support_close(ctx);
}

/* with dropout: what was drawn in forward, whatever was drawn since, and layers within parts */
static void dropped(const char *dir, const family_batch *d) {
    const char *adapter = "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_dropout\": 0.3, \"init_lora_weights\": "
                          "\"gaussian\", \"target_modules\": \"all-linear\"}";
    pf_ctx *ctx = support_open();
    static family_pass a, b;
    pf_model *first = family_load(ctx, dir, adapter), *second = family_load(ctx, dir, adapter);
    first->part = second->part = 30;
    second->recompute = 2;
    family_run(first, d, false, &a);
    family_run(second, d, true, &b);
    assert_memory_equal(a.logp, b.logp, sizeof a.logp);
    assert_true(far_gradients(first, second) == 0);
    pf_model_free(first);
    pf_model_free(second);
    support_close(ctx);
}

static void families(void **state) {
    (void)state;
    json_t *j = family_figures(), *one;
    const char *name;
    family_batch d = {0};
    pf_ctx *ctx = support_open();
    family_pairs(j, &d);
    json_object_foreach(json_object_get(j, "cases"), name, one) {
        const char *dir = family_dir(ctx, one, name, "config");
        compare(dir, &d, name);
        if (strcmp(name, "llama") == 0) dropped(dir, &d);
    }
    json_decref(j);
    support_close(ctx);
}

/* ---- failures ---- */

static pf_status train(pf_ctx *ctx, void *ud) {
    pf_trainer_options o = pf_trainer_defaults();
    o.part = 6;
    return family_train(ctx, &o, 1, ud);
}

static void failures(void **state) {
    (void)state;
    uint64_t fingerprint;
    support_sweep(train, &fingerprint, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forest),
        cmocka_unit_test(families),
        cmocka_unit_test(failures),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
