/* Every family against the figures of transformers, from files that look like its own; sampling against training;
 * saving. */
#include "families.h"

static double worst_logit, worst_gradient; /* of all cases, for the summary line */

/* ---- figures ---- */

static void near(double got, double want, double tol, const char *what, const char *name, size_t at) {
    if (!(fabs(got - want) <= tol * fmax(1, fabs(want))))
        fail_msg("%s: %s %zu is %.9g, expected %.9g", name, what, at, got, want);
    worst_logit = fmax(worst_logit, fabs(got - want) / fmax(1, fabs(want)));
}

static void check_logits(pf_model *m, const json_t *j, const json_t *one, const char *name) {
    int32_t ids[FAMILY_MOST];
    const size_t n = (size_t)(family_ids(json_object_get(j, "ids"), ids) - ids);
    pf_tensor *z = pf_model_logits(m, ids, n);
    if (!z) fail_msg("%s: %s", name, pf_errmsg(m->ctx));
    const size_t V = (size_t)z->dim[1];
    for (size_t t = 0; t < n; t++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", t);
        const json_t *row = json_object_get(json_object_get(one, "logits"), key);
        double probe = 0;
        for (size_t v = 0; v < V; v++) {
            probe += pfi_get(z, t * V + v) * family_noise(999, v);
            if (row) near(pfi_get(z, t * V + v), json_number_value(json_array_get(row, v)), 1e-4, "logit", name, v);
        }
        near(probe, json_number_value(json_array_get(json_object_get(one, "logit_probe"), t)), 1e-4, "logit probe",
             name, t);
    }
    pf_tensor_free(z);
}

/* mean over pairs of -log sigmoid(beta (margin - margin of the reference)) */
static pf_tensor *dpo(pf_ctx *ctx, pf_tensor *logp, const pf_batch *b, const family_batch *d, double beta) {
    const int64_t n = FAMILY_PAIRS;
    pf_tensor *sum = pf_call(ctx, "sum_by", PF_T("x", logp), PF_T("group", pf_batch_tensor(b, "sequence")),
                             PF_N("n", 2 * FAMILY_PAIRS));
    pf_tensor *part[4];
    for (int i = 0; i < 2; i++) {
        part[i] = pf_call(ctx, "narrow", PF_T("x", sum), PF_N("dim", 0), PF_N("start", i * n), PF_N("length", n));
        part[2 + i] = pf_tensor_from(ctx, PF_F32, 1, &n, d->ref + i * n, (size_t)n);
    }
    pf_tensor *loss = pf_call(ctx, "dpo", PF_T("policy_chosen", part[0]), PF_T("policy_rejected", part[1]),
                              PF_T("ref_chosen", part[2]), PF_T("ref_rejected", part[3]), PF_N("beta", beta));
    for (int i = 0; i < 4; i++) pf_tensor_free(part[i]);
    pf_tensor_free(sum);
    return loss;
}

/* the parameter of a row [name, norm, probe, ...]; element i of the file's order is element *place of its gradient */
static const pf_tensor *gradient_of(const pf_model *m, const char *name, const pfi_slot **slot) {
    for (int i = 0; i < m->n_parameters; i++) {
        if (strcmp(m->parameter[i]->name, name) != 0) continue;
        *slot = &m->slots.slot[i];
        return m->parameter[i]->grad;
    }
    return NULL;
}

static void check_gradients(const pf_model *m, const json_t *one, const char *name) {
    const json_t *rows = json_object_get(one, "gradient");
    double top = 0;
    for (size_t k = 0; k < json_array_size(rows); k++)
        top = fmax(top, json_number_value(json_array_get(json_array_get(rows, k), 1)));
    assert_int_equal(json_array_size(rows), m->n_parameters);
    for (size_t k = 0; k < json_array_size(rows); k++) {
        const json_t *row = json_array_get(rows, k);
        const char *key = json_string_value(json_array_get(row, 0));
        const pfi_slot *slot = NULL;
        const pf_tensor *g = gradient_of(m, key, &slot);
        if (!g) fail_msg("%s: no gradient of %s", name, key);
        double got[1 + FAMILY_PROBES] = {0};
        const int64_t cols = slot->nd > 1 ? slot->dim[1] : 1;
        for (int64_t i = 0; i < (int64_t)pfi_numel(g); i++) {
            const double x = pfi_get(g, (size_t)i);
            const int64_t at = pfi_slot_place(slot, false, i / cols, i % cols);
            got[0] += x * x;
            for (uint64_t p = 0; p < FAMILY_PROBES; p++) got[1 + p] += x * family_noise(1000 + p, (uint64_t)at);
        }
        got[0] = sqrt(got[0]);
        const double norm = json_number_value(json_array_get(row, 1)), size = fmax(norm, 1e-3 * top);
        for (size_t p = 0; p < 1 + FAMILY_PROBES; p++) {
            const double want = json_number_value(json_array_get(row, 1 + p)), far = fabs(got[p] - want) / size;
            if (!(far <= 1e-3))
                fail_msg("%s: gradient of %s, figure %zu: %.8g, expected %.8g", name, key, p, got[p], want);
            worst_gradient = fmax(worst_gradient, far);
        }
    }
}

static void check_training(pf_model *m, const json_t *j, const json_t *one, const char *name) {
    static family_batch d;
    pf_ctx *ctx = m->ctx;
    family_pairs(j, &d);
    pf_batch *b;
    support_ok(ctx, pf_batch_new(ctx, d.seq, 2 * FAMILY_PAIRS, &b));
    support_ok(ctx, pf_step_begin(ctx));
    pf_tensor *logp = pf_model_logp(m, b, NULL);
    if (!logp) fail_msg("%s: %s", name, pf_errmsg(ctx));
    size_t e = 0;
    for (size_t i = 0; i < 2 * FAMILY_PAIRS; i++) {
        const json_t *pair = json_array_get(json_object_get(one, "logps"), i % FAMILY_PAIRS);
        const json_t *want = json_array_get(pair, i / FAMILY_PAIRS);
        for (size_t t = 0; t < json_array_size(want); t++, e++)
            near(pfi_get(logp, e), json_number_value(json_array_get(want, t)), 1e-4, "log-prob", name, e);
    }
    pf_tensor *loss = dpo(ctx, logp, b, &d, family_number(j, "beta"));
    if (!loss) fail_msg("%s: %s", name, pf_errmsg(ctx));
    near(pf_tensor_item(loss), family_number(one, "loss"), 1e-4, "loss", name, 0);
    support_ok(ctx, pf_backward(loss));
    check_gradients(m, one, name);
    pf_tensor_free(logp);
    pf_tensor_free(loss);
    pf_step_end(ctx);
    pf_batch_free(b);
}

/* log-probabilities of samples, as sampling saw them and as training sees them */
static void check_sampling(pf_model *m, const json_t *j, const char *name) {
    static family_batch d;
    pf_ctx *ctx = m->ctx;
    family_pairs(j, &d);
    pf_sequence prompt[2] = {{.ids = d.ids[0], .n = d.seq[0].scored_from},
                             {.ids = d.ids[2], .n = d.seq[2].scored_from}};
    pf_generate_options o = pf_generate_defaults();
    o.samples = 3;
    o.max_tokens = 9;
    o.seed = 5;
    pf_sample *s;
    if (pf_generate(m, prompt, 2, &o, &s) != PF_OK) fail_msg("%s: %s", name, pf_errmsg(ctx));
    for (size_t i = 0; i < 6; i++) {
        int32_t ids[FAMILY_MOST];
        const size_t n = prompt[i / 3].n;
        memcpy(ids, prompt[i / 3].ids, n * sizeof *ids);
        memcpy(ids + n, s[i].ids, s[i].n * sizeof *ids);
        pf_batch *b;
        support_ok(ctx, pf_batch_new(ctx, &(pf_sequence){.ids = ids, .n = n + s[i].n, .scored_from = n}, 1, &b));
        pf_tensor *logp = pf_model_logp(m, b, NULL);
        if (!logp) fail_msg("%s: %s", name, pf_errmsg(ctx));
        for (size_t t = 0; t < s[i].n; t++)
            if (!(fabs((double)s[i].logp[t] - pfi_get(logp, t)) <= 2e-5))
                fail_msg("%s: token %zu of sample %zu has log-prob %.9g, in training %.9g", name, t, i,
                         (double)s[i].logp[t], pfi_get(logp, t));
        pf_tensor_free(logp);
        pf_batch_free(b);
    }
    pf_samples_free(ctx, s, 6);
}

/* ---- files ---- */

/* what is saved has the tensors that were loaded, byte for byte, and the configuration */
static void check_saved(pf_model *m, const char *name, const char *dir) {
    pf_ctx *ctx = m->ctx;
    char saved[160];
    snprintf(saved, sizeof saved, "%s.saved", dir);
    support_ok(ctx, pf_model_save(m, saved));
    const char *const dirs[2] = {dir, saved};
    pfi_st *st[2];
    for (int i = 0; i < 2; i++) {
        char file[192];
        snprintf(file, sizeof file, "%s/model.safetensors", dirs[i]);
        support_ok(ctx, pfi_st_open(ctx, file, &st[i]));
    }
    if (pfi_st_count(st[0]) != pfi_st_count(st[1]))
        fail_msg("%s: %zu tensors, saved %zu", name, pfi_st_count(st[0]), pfi_st_count(st[1]));
    for (size_t i = 0; i < pfi_st_count(st[0]); i++) {
        const pfi_weight *w = pfi_st_at(st[0], i), *v = pfi_st_find(st[1], w->name);
        if (!v || w->nd != v->nd || memcmp(w->dim, v->dim, sizeof *w->dim * (size_t)w->nd) != 0 ||
            w->bytes != v->bytes || memcmp(w->data, v->data, w->bytes) != 0)
            fail_msg("%s: tensor %s is not saved as it was", name, w->name);
    }
    for (int i = 0; i < 2; i++) pfi_st_release(st[i]);
    pf_model *again;
    if (pf_model_load(ctx, saved, PF_F32, &again) != PF_OK) fail_msg("%s", pf_errmsg(ctx));
    assert_int_equal(pf_model_fingerprint(m), pf_model_fingerprint(again));
    pf_model_free(again);
}

static bool same_logits(pf_model *a, pf_model *b, const json_t *j) {
    int32_t ids[FAMILY_MOST];
    const size_t n = (size_t)(family_ids(json_object_get(j, "ids"), ids) - ids);
    pf_tensor *x = pf_model_logits(a, ids, n), *y = pf_model_logits(b, ids, n);
    assert_non_null(x);
    assert_non_null(y);
    const bool same = memcmp(pfi_data(x), pfi_data(y), pfi_numel(x) * sizeof(float)) == 0;
    pf_tensor_free(x);
    pf_tensor_free(y);
    return same;
}

static void run_case(pf_ctx *ctx, const json_t *j, const json_t *one, const char *name) {
    pf_model *m, *older;
    const char *dir = family_dir(ctx, one, name, "config");
    if (pf_model_load(ctx, dir, PF_F32, &m) != PF_OK) fail_msg("%s: %s", name, pf_errmsg(ctx));
    check_logits(m, j, one, name);
    check_training(m, j, one, name);
    check_sampling(m, j, name);
    check_saved(m, name, dir);
    if (!json_is_null(json_object_get(one, "older"))) {
        dir = family_dir(ctx, one, name, "older");
        if (pf_model_load(ctx, dir, PF_F32, &older) != PF_OK) fail_msg("%s, older: %s", name, pf_errmsg(ctx));
        if (!same_logits(m, older, j)) fail_msg("%s: config.json of transformers 4 gives another model", name);
        pf_model_free(older);
    }
    pf_model_free(m);
}

static void test_families(void **state) {
    (void)state;
    json_t *j = family_figures(), *one;
    const char *name, *only = getenv("POFIT_FAMILY");
    json_object_foreach(json_object_get(j, "cases"), name, one) {
        if (only && strcmp(only, name) != 0) continue;
        pf_ctx *ctx = support_open();
        run_case(ctx, j, one, name);
        support_close(ctx);
    }
    printf("farthest from transformers: %.1e of a logit, %.1e of a gradient\n", worst_logit, worst_gradient);
    json_decref(j);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_families)};
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
