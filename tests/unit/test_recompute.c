/* Layers that are computed again in backward: the same bits as if their history had been kept, in less memory. */
#include "families.h"
#include "train/train.h"

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
    pf_model *m;
    support_ok(ctx, pf_model_load(ctx, dir, PF_F32, &m));
    if (adapter) support_ok(ctx, pf_model_adapt(m, adapter, 3));
    fill(m);
    return m;
}

/* log-probabilities of the pairs and gradients of a weighted sum of them; returns the bytes that backward found */
static size_t pass(pf_model *m, const family_batch *d, int64_t recompute, float *logp) {
    pf_ctx *ctx = m->ctx;
    pf_batch *b;
    double weight[2 * FAMILY_PAIRS * FAMILY_MOST];
    m->recompute = recompute;
    const size_t before = ctx->used;
    support_ok(ctx, pf_step_begin(ctx));
    support_ok(ctx, pf_batch_new(ctx, d->seq, 2 * FAMILY_PAIRS, &b));
    pf_tensor *y = pf_model_logp(m, b, NULL);
    if (!y) fail_msg("%s", pf_errmsg(ctx));
    for (int64_t i = 0; i < b->entries; i++) {
        weight[i] = family_noise(5, (uint64_t)i);
        logp[i] = pfi_f32(y)[i];
    }
    pf_tensor_free(pf_model_logp(m, b, NULL)); /* another pass: dropout is further on now */
    pf_batch_free(b);                          /* what is computed again keeps what it needs */
    const size_t used = ctx->used - before;
    support_backward(ctx, y, weight);
    pf_tensor_free(y);
    pf_step_end(ctx);
    return used;
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
    float want[2 * FAMILY_PAIRS * FAMILY_MOST] = {0}, got[2 * FAMILY_PAIRS * FAMILY_MOST] = {0};
    pf_model *kept = load(ctx, dir, adapter);
    const size_t most = pass(kept, d, 0, want);
    for (int64_t k = 1; k <= kept->config.layers + 1; k += kept->config.layers) {
        pf_model *m = load(ctx, dir, adapter);
        const size_t used = pass(m, d, k, got);
        if (memcmp(want, got, sizeof want) != 0) fail_msg("%s: other log-probabilities", name);
        same_gradients(kept, m, name);
        if (k > 1 && !(used < most)) fail_msg("%s: %zu bytes are kept, before %zu", name, used, most);
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

static const char tiny[] =
    "{\"model_type\": \"llama\", \"vocab_size\": 11, \"hidden_size\": 8, \"intermediate_size\": 12, "
    "\"num_hidden_layers\": 3, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"initializer_range\": 0.2, "
    "\"max_position_embeddings\": 16, \"rms_norm_eps\": 1e-5, \"rope_theta\": 100, \"tie_word_embeddings\": true}";

/* updates of a new model on one sequence; its fingerprint afterwards */
static pf_status train(pf_ctx *ctx, int64_t recompute, int updates, uint64_t *fingerprint) {
    const int32_t ids[] = {1, 5, 3, 9, 2, 2, 10};
    const pf_sequence s = {.ids = ids, .n = PFI_COUNT(ids), .scored_from = 1};
    pf_trainer_options o = pf_trainer_defaults();
    pf_model *m = NULL;
    pf_trainer *t = NULL;
    o.recompute = recompute;
    pf_status st = pf_model_new(ctx, tiny, NULL, 4, &m);
    if (st == PF_OK) st = pf_trainer_new(m, &o, &t);
    for (int i = 0; i < updates && st == PF_OK; i++) {
        pf_batch *b = NULL;
        st = pf_step_begin(ctx);
        if (st != PF_OK) break;
        st = pf_batch_new(ctx, &s, 1, &b);
        pf_tensor *y = st == PF_OK ? pf_model_logp(m, b, NULL) : NULL, *loss = pf_call(ctx, "mean", PF_T("x", y));
        if (st == PF_OK) st = pf_trainer_accumulate(t, loss, -1);
        pf_tensor_free(y);
        pf_tensor_free(loss);
        pf_batch_free(b);
        pf_step_end(ctx);
        if (st == PF_OK) st = pf_trainer_step(t, -1, NULL);
    }
    if (st == PF_OK) *fingerprint = pf_model_fingerprint(m);
    pf_trainer_free(t);
    if (m && m->recompute != 0) st = PF_STATE;
    pf_model_free(m);
    return st;
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
