/* Adapters on models of other families: PEFT's figures, merging, sampling, and files. */
#include "families.h"

#include "model/adapter.h"

enum { IDS = 22 };

static double number_at(const json_t *list, size_t i) { return json_number_value(json_array_get(list, i)); }

static void check_logits(pf_model *m, const json_t *want, const int32_t *ids, const char *what) {
    bool was = pf_set_recording(m->ctx, false);
    pf_tensor *z = pf_model_logits(m, ids, IDS);
    if (!z) fail_msg("%s: %s", what, pf_errmsg(m->ctx));
    const size_t V = (size_t)z->dim[1];
    const char *place;
    json_t *row;
    json_object_foreach((json_t *)(uintptr_t)want, place, row) {
        for (size_t v = 0; v < V; v++) {
            double got = pfi_get(z, (size_t)atoi(place) * V + v), w = number_at(row, v);
            if (!(fabs(got - w) <= 1e-4 * fmax(1, fabs(w))))
                fail_msg("%s: logit %zu at %s is %.8g, PEFT has %.8g", what, v, place, got, w);
        }
    }
    pf_tensor_free(z);
    pf_set_recording(m->ctx, was);
}

/* a sample's log-probabilities are those of training */
static void check_sampling(pf_model *m, const char *what) {
    pf_generate_options o = pf_generate_defaults();
    o.max_tokens = 6;
    pf_sample *s;
    int32_t ids[16] = {1, 7, 30};
    support_ok(m->ctx, pf_generate(m, &(pf_sequence){.ids = ids, .n = 3}, 1, &o, &s));
    memcpy(ids + 3, s->ids, s->n * sizeof *ids);
    pf_batch *b;
    support_ok(m->ctx, pf_batch_new(m->ctx, &(pf_sequence){.ids = ids, .n = 3 + s->n, .scored_from = 3}, 1, &b));
    pf_tensor *logp = pf_model_logp(m, b, NULL);
    for (size_t t = 0; t < s->n; t++)
        if (!(fabs(pfi_get(logp, t) - (double)s->logp[t]) <= 1e-5 * fmax(1, fabs(pfi_get(logp, t)))))
            fail_msg("%s: token %zu has log-probability %g sampled and %g trained", what, t, (double)s->logp[t],
                     pfi_get(logp, t));
    pf_tensor_free(logp);
    pf_batch_free(b);
    pf_samples_free(m->ctx, s, 1);
}

static void one_family(pf_ctx *ctx, const json_t *all, const char *name, const json_t *want) {
    char from[128], saved[160], merged[160];
    int32_t ids[FAMILY_MOST];
    assert_true(family_ids(json_object_get(all, "ids"), ids) == ids + IDS);
    const char *dir = family_dir(ctx, json_object_get(json_object_get(all, "cases"), name), name, "config");
    snprintf(from, sizeof from, "tests/golden/peft_families/%s", name);
    snprintf(saved, sizeof saved, "%.80s-adapter", name);
    snprintf(merged, sizeof merged, "%.80s-merged", name);
    pf_model *m, *again;
    support_ok(ctx, pf_model_load(ctx, dir, PF_F32, &m));
    if (pf_model_load_adapter(m, from, 0) != PF_OK) fail_msg("%s: %s", name, pf_errmsg(ctx));
    check_logits(m, want, ids, name);
    check_sampling(m, name);
    support_ok(ctx, pf_model_save_adapter(m, support_path(saved)));
    support_ok(ctx, pf_model_merge(m));
    check_logits(m, want, ids, name);
    support_ok(ctx, pf_model_save(m, support_path(merged)));
    pf_model_free(m);
    support_ok(ctx, pf_model_load(ctx, support_path(merged), PF_F32, &m));
    check_logits(m, want, ids, name);
    support_ok(ctx, pf_model_load(ctx, dir, PF_F32, &again));
    support_ok(ctx, pf_model_load_adapter(again, support_path(saved), 0));
    check_logits(again, want, ids, name);
    pf_model_free(m);
    pf_model_free(again);
}

static void families_as_peft(void **state) {
    (void)state;
    json_error_t e;
    json_t *all = family_figures(), *j = json_load_file("tests/golden/peft_families.json", 0, &e);
    if (!j) fail_msg("%s:%d: %s (a committed fixture must be there)", e.source, e.line, e.text);
    const char *name;
    json_t *want, *cases = json_object_get(j, "cases");
    assert_true(json_object_size(cases) >= 8);
    json_object_foreach(cases, name, want) {
        pf_ctx *ctx = support_open();
        one_family(ctx, all, name, want);
        support_close(ctx);
    }
    json_decref(all);
    json_decref(j);
}

/* rows of B where llama.cpp has those of the weight: interleaved a head, or parts of heads gathered */
static void gguf_rows_follow_the_weight(void **state) {
    (void)state;
    static const char *const names[] = {"gpt_neox", "smollm3", "gpt2"};
    json_t *all = family_figures();
    for (int i = 0; i < PFI_COUNT(names); i++) {
        pf_ctx *ctx = support_open();
        pf_model *m;
        pfi_gguf *g;
        const char *dir = family_dir(ctx, json_object_get(json_object_get(all, "cases"), names[i]), names[i], "config");
        support_ok(ctx, pf_model_load(ctx, dir, PF_F32, &m));
        support_ok(ctx, pf_model_adapt(m, "{\"r\": 2, \"init_lora_weights\": false}", 1));
        support_ok(ctx, pf_model_save_adapter(m, support_path("rows.gguf")));
        support_ok(ctx, pfi_gguf_open(ctx, support_path("rows.gguf"), &g));
        assert_int_equal(pfi_gguf_count(g), m->adapter->n_param);
        for (int k = 0; k < m->adapter->n_lora; k++) {
            const pfi_lora *l = &m->adapter->lora[k];
            const pfi_slot *slot = &m->slots.slot[l->slot];
            char name[80];
            snprintf(name, sizeof name, "%s.lora_b", slot->gguf);
            const pfi_weight *w = pfi_gguf_find(g, name);
            if (!w) fail_msg("%s has no \"%s\"", names[i], name);
            for (int64_t row = 0; row < l->out; row++) {
                float v;
                memcpy(&v, w->data + 4 * (pfi_slot_place(slot, true, row, 0) / slot->dim[1] * l->rank), 4);
                assert_true(fabs((double)v - pfi_get(l->b, (size_t)(row * l->rank))) < 1e-6);
            }
        }
        pfi_gguf_release(g);
        pf_model_free(m);
        support_close(ctx);
    }
    json_decref(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(families_as_peft),
                                       cmocka_unit_test(gguf_rows_follow_the_weight)};
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
