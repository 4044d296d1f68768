/* What a pass takes by the formulas, against what is measured: every family at sizes where tensors outweigh the rest.
 */
#include "families.h"
#include "model/need.h"

enum { NEED_PROMPT = 120, NEED_ANSWER = 60, NEED_ANSWERS = 3, NEED_TIMES = 8 };

/* the configuration of a case, NEED_TIMES as wide; NULL if it has lists that go with its widths */
static char *wide(const json_t *config) {
    static const char *const width[] = {"hidden_size", "intermediate_size", "head_dim", "n_embd", "n_inner"};
    json_t *c = json_deep_copy(config);
    json_t *rope = json_object_get(c, "rope_scaling"), *newer = json_object_get(c, "rope_parameters");
    bool lists = json_object_get(rope, "long_factor") || json_object_get(newer, "long_factor");
    for (int i = 0; i < PFI_COUNT(width); i++)
        if (json_is_integer(json_object_get(c, width[i])))
            json_object_set_new(c, width[i],
                                json_integer(NEED_TIMES * json_integer_value(json_object_get(c, width[i]))));
    json_object_set_new(c, json_object_get(c, "n_embd") ? "n_positions" : "max_position_embeddings", json_integer(512));
    char *text = lists || json_object_get(c, "text_config") ? NULL : json_dumps(c, 0);
    json_decref(c);
    return text;
}

typedef struct need_batch {
    int32_t ids[NEED_ANSWERS][NEED_PROMPT + NEED_ANSWER];
    pf_sequence seq[NEED_ANSWERS];
} need_batch;

static void fill(need_batch *d, int64_t vocab) {
    for (size_t i = 0; i < NEED_ANSWERS; i++) {
        d->seq[i] = (pf_sequence){.ids = d->ids[i], .n = NEED_PROMPT + NEED_ANSWER, .scored_from = NEED_PROMPT};
        for (size_t t = 0; t < d->seq[i].n; t++)
            d->ids[i][t] = (int32_t)((t * 7 + (t < NEED_PROMPT ? 0 : i + 1)) % (size_t)vocab);
    }
}

static void forget(pf_model *m) {
    for (int i = 0; i < pf_model_parameter_count(m); i++) pf_tensor_zero_grad(pf_model_parameter(m, i));
}

/* bytes in use at most during a pass and its backward; *kept: what forward leaves */
static size_t measure(pf_model *m, const need_batch *d, pfi_load *load, size_t *kept) {
    pf_ctx *ctx = m->ctx;
    pf_batch *b;
    support_ok(ctx, pf_step_begin(ctx));
    support_ok(ctx, pf_batch_new(ctx, d->seq, NEED_ANSWERS, &b));
    *load = (pfi_load){b->nodes, b->entries, b->longest};
    const size_t before = ctx->used;
    pfi_trim(ctx); /* high begins anew */
    pf_tensor *y = pf_model_logp(m, b, NULL);
    *kept = ctx->used - before;
    pf_tensor *sum = pf_call(ctx, "sum", PF_T("x", y));
    pf_tensor_free(y);
    support_ok(ctx, pf_backward(sum));
    pf_tensor_free(sum);
    pf_batch_free(b);
    pf_step_end(ctx);
    return ctx->high;
}

static double worst;

static void close_to(const char *name, const char *what, int64_t k, size_t said, size_t measured) {
    const double ratio = (double)said / (double)measured;
    if (getenv("NEED_SHOW")) printf("%-18s %-20s %lld: %.3f of %zu\n", name, what, (long long)k, ratio, measured);
    worst = fmax(worst, fabs(ratio - 1));
    if (!(fabs(ratio - 1) <= 0.1))
        fail_msg("%s, %s, %lld layers again: %zu bytes are said, %zu measured", name, what, (long long)k, said,
                 measured);
}

static void compare(pf_model *m, const char *name, const char *how) {
    need_batch d = {0};
    pfi_load load;
    char what[64];
    fill(&d, m->config.vocab);
    for (int64_t k = 0; k <= m->config.layers; k++) {
        size_t kept;
        const size_t before = m->ctx->used;
        m->recompute = k;
        const size_t first = measure(m, &d, &load, &kept) - before;
        snprintf(what, sizeof what, "%s kept", how);
        close_to(name, what, k, pfi_need_kept(m, load, k), kept);
        snprintf(what, sizeof what, "%s peak", how);
        close_to(name, what, k, pfi_need(m, load, k, false), first);
        /* a block that is used again may be a quarter too long */
        const size_t all = pfi_need_gradients(m), gradients = m->ctx->used - before;
        assert_true(gradients > all && gradients < all + all / 4 + 65536);
        snprintf(what, sizeof what, "%s second", how);
        close_to(name, what, k, pfi_need(m, load, k, true), measure(m, &d, &load, &kept) - before);
        forget(m);
    }
}

/* NULL: a share of the channels that turn does not go with these widths */
static pf_model *make(pf_ctx *ctx, const char *text) {
    pf_model *m;
    if (pf_model_new(ctx, text, NULL, 1, &m) == PF_OK) return m;
    if (!strstr(pf_errmsg(ctx), "rotary channels")) fail_msg("%s", pf_errmsg(ctx));
    return NULL;
}

static void families(void **state) {
    (void)state;
    static const char *const adapter[] = {
        "{\"peft_type\": \"LORA\", \"r\": 8, \"target_modules\": \"all-linear\"}",
        "{\"peft_type\": \"LORA\", \"r\": 8, \"target_modules\": \"all-linear\", \"lora_dropout\": 0.1}",
        "{\"peft_type\": \"LORA\", \"r\": 8, \"target_modules\": \"all-linear\", \"layers_to_transform\": [1]}",
        "{\"peft_type\": \"LORA\", \"r\": 8, \"target_modules\": \"all-linear\", \"use_dora\": true}"};
    json_t *j = family_figures(), *one;
    const char *name;
    const bool slow = getenv("POFIT_SANITIZED") || getenv("POFIT_VALGRIND"); /* two cases must do */
    int compared = 0;
    json_object_foreach(json_object_get(j, "cases"), name, one) {
        if (slow && compared == 2) break;
        char *text = wide(json_object_get(one, "config"));
        if (!text) continue;
        pf_ctx *ctx = support_open();
        pf_model *m = make(ctx, text);
        if (m) compare(m, name, "all");
        compared += m != NULL;
        pf_model_free(m);
        for (int i = 0; m && i < PFI_COUNT(adapter); i++) {
            m = make(ctx, text);
            support_ok(ctx, pf_model_adapt(m, adapter[i], 1));
            compare(m, name, (const char *[]){"lora", "dropout", "upper", "dora"}[i]);
            pf_model_free(m);
        }
        free(text);
        support_close(ctx);
    }
    json_decref(j);
    assert_true(compared > 20 || slow);
    printf("%d cases, the worst is %.1f %% off\n", compared, 100 * worst);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
