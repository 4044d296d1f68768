/* Layers that are computed again in backward: the same bits as if their history had been kept, in less memory. */
#include "families.h"

#define LORA_ALL                                                                                                       \
    "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 5, \"lora_dropout\": 0.2, \"init_lora_weights\": "            \
    "\"gaussian\", \"target_modules\": \"all-linear\""
#define LORA_UPPER                                                                                                     \
    "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 5, \"init_lora_weights\": \"gaussian\", "                     \
    "\"target_modules\": \"all-linear\", \"layers_to_transform\": [1]}"

/* values of B that are not 0, or A would have no gradient */
static void fill(pf_model *m) {
    for (int i = m->n_parameters; i < pf_model_parameter_count(m); i++) {
        pf_tensor *w = pf_model_parameter(m, i);
        for (size_t k = 0; k < pfi_numel(w); k++)
            pfi_set(w, k, pfi_get(w, k) + 0.1 * pfi_random_normal(7, (uint64_t)i, (uint64_t)k));
    }
}

static pf_model *load(pf_ctx *ctx, const char *dir, const char *adapter) {
    pf_model *m = family_load(ctx, dir, adapter);
    fill(m);
    return m;
}

static void same_gradients(pf_model *a, pf_model *b, const char *name) {
    for (int i = 0; i < pf_model_parameter_count(a); i++) {
        const pf_tensor *x = pf_model_parameter(a, i), *y = pf_model_parameter(b, i);
        if (!x->grad != !y->grad) fail_msg("%s: %s has a gradient in one of two runs", name, x->name);
        if (x->grad && memcmp(pfi_data(x->grad), pfi_data(y->grad), x->grad->st->bytes) != 0)
            fail_msg("%s: another gradient of %s", name, x->name);
    }
}

static void compare(const char *dir, const family_batch *d, const char *adapter, const char *name) {
    pf_ctx *ctx = support_open();
    static family_pass want, got;
    pf_model *kept = load(ctx, dir, adapter);
    family_run(kept, d, true, &want);
    for (int64_t k = 1; k <= kept->config.layers + 1; k += kept->config.layers) {
        pf_model *m = load(ctx, dir, adapter);
        m->recompute = k;
        family_run(m, d, true, &got);
        if (memcmp(want.logp, got.logp, sizeof want.logp) != 0) fail_msg("%s: other log-probabilities", name);
        same_gradients(kept, m, name);
        if (k > 1 && !(got.kept < want.kept)) fail_msg("%s: %zu bytes are kept, before %zu", name, got.kept, want.kept);
        pf_model_free(m);
    }
    pf_model_free(kept);
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
        compare(dir, &d, NULL, name);
        compare(dir, &d, LORA_ALL "}", name);
        compare(dir, &d, LORA_UPPER, name);
        if (strcmp(name, "llama") == 0) compare(dir, &d, LORA_ALL ", \"use_dora\": true}", name);
    }
    json_decref(j);
    support_close(ctx);
}

/* ---- under a trainer ---- */

static pf_status train(pf_ctx *ctx, int64_t recompute, int updates, uint64_t *fingerprint) {
    pf_trainer_options o = pf_trainer_defaults();
    o.recompute = recompute;
    return family_train(ctx, &o, updates, fingerprint);
}

static void count(void *ud, const pf_event *e) { *(double *)ud += e->flops; }

static void trainer(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    uint64_t want = 0, got = 0;
    double needed = 0, flops;
    pf_observe(ctx, count, &needed);
    support_ok(ctx, train(ctx, 0, 5, &want));
    for (int64_t k = 1; k <= 4; k++) {
        pf_observe(ctx, count, &flops);
        flops = 0;
        support_ok(ctx, train(ctx, k, 5, &got));
        assert_true(got == want);
        assert_true(flops == needed); /* what is computed again is not needed work */
    }
    pf_observe(ctx, NULL, NULL);
    support_fails(ctx, train(ctx, -1, 1, &got), PF_RANGE, "recompute must be 0 or more");
    support_close(ctx);
}

static pf_status train_once(pf_ctx *ctx, void *ud) { return train(ctx, 2, 1, ud); }

static void failures(void **state) {
    (void)state;
    uint64_t fingerprint;
    support_sweep(train_once, &fingerprint, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families),
        cmocka_unit_test(trainer),
        cmocka_unit_test(failures),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
