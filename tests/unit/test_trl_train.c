/* Ten steps of DPO, followed as TRL's own DPOTrainer took them (tests/golden/make_trl_train.py). */
#include "support.h"

#include <jansson.h>
#include <math.h>

#include "model/adapter.h"
#include "train/train.h"

enum { BATCH = 4, MOST = 32 };

static json_t *get(json_t *obj, const char *key) {
    json_t *v = json_object_get(obj, key);
    if (!v) fail_msg("the figures have no \"%s\"", key);
    return v;
}

static double number(json_t *obj, const char *key) { return json_number_value(get(obj, key)); }

/* the rows of a step: chosen 0..3, rejected 4..7 */
typedef struct step_rows {
    int32_t ids[2 * BATCH][MOST];
    pf_sequence seq[2 * BATCH];
} step_rows;

static void read_rows(json_t *rows, size_t step, step_rows *out) {
    for (size_t i = 0; i < 2 * BATCH; i++) {
        json_t *row = json_array_get(rows, (step * BATCH + i % BATCH) % json_array_size(rows));
        json_t *part[] = {get(row, "prompt_ids"), get(row, i < BATCH ? "chosen_ids" : "rejected_ids")};
        size_t n = 0;
        for (int k = 0; k < 2; k++)
            for (size_t t = 0; t < json_array_size(part[k]); t++)
                out->ids[i][n++] = (int32_t)json_integer_value(json_array_get(part[k], t));
        assert_true(n <= MOST);
        out->seq[i] = (pf_sequence){.ids = out->ids[i], .n = n, .scored_from = json_array_size(part[0])};
    }
}

/* [8] log-probabilities summed over each answer */
static pf_tensor *sums(pf_model *m, const pf_batch *b) {
    pf_tensor *logp = pf_model_logp(m, b, NULL);
    if (!logp) fail_msg("%s", pf_errmsg(m->ctx));
    pf_tensor *sum =
        pf_call(m->ctx, "sum_by", PF_T("x", logp), PF_T("group", pf_batch_tensor(b, "sequence")), PF_N("n", 2 * BATCH));
    pf_tensor_free(logp);
    return sum;
}

static pf_tensor *half(pf_tensor *x, double from) {
    return pf_call(x->ctx, "narrow", PF_T("x", x), PF_N("dim", 0), PF_N("start", from), PF_N("length", BATCH));
}

static pf_tensor *step_loss(pf_model *m, pf_model *reference, json_t *rows, size_t step, double beta) {
    pf_batch *b;
    step_rows r;
    read_rows(rows, step, &r);
    support_ok(m->ctx, pf_batch_new(m->ctx, r.seq, 2 * BATCH, &b));
    bool was = pf_set_recording(m->ctx, false);
    pf_tensor *ref = sums(reference, b);
    pf_set_recording(m->ctx, was);
    pf_tensor *sum = sums(m, b);
    pf_tensor *t[] = {half(sum, 0), half(sum, BATCH), half(ref, 0), half(ref, BATCH)};
    pf_tensor *loss = pf_call(m->ctx, "dpo", PF_T("policy_chosen", t[0]), PF_T("policy_rejected", t[1]),
                              PF_T("ref_chosen", t[2]), PF_T("ref_rejected", t[3]), PF_N("beta", beta));
    for (int i = 0; i < 4; i++) pf_tensor_free(t[i]);
    pf_tensor_free(sum);
    pf_tensor_free(ref);
    pf_batch_free(b);
    return loss;
}

static void near(const char *run, size_t step, const char *what, double got, double want) {
    if (!(fabs(got - want) <= 1e-3 * fmax(fabs(want), 1e-3)))
        fail_msg("%s, step %zu: %s is %.9g, TRL has %.9g", run, step, what, got, want);
}

static void follow(const char *run, pf_model *m, pf_model *reference, json_t *j) {
    json_t *o = get(j, "options"), *settings = get(get(j, "runs"), run), *steps = get(settings, "steps");
    pf_param_group undecayed = {.pattern = "*norm*", .lr_scale = 1, .weight_decay = 0}; /* as the HF trainer */
    pf_trainer_options t = pf_trainer_defaults();
    t.lr = number(settings, "learning_rate");
    t.beta1 = number(o, "adam_beta1");
    t.beta2 = number(o, "adam_beta2");
    t.eps = number(o, "adam_epsilon");
    t.weight_decay = number(o, "weight_decay");
    t.clip = number(o, "max_grad_norm");
    t.schedule = json_string_value(get(o, "lr_scheduler_type"));
    t.warmup = json_integer_value(get(o, "warmup_steps"));
    t.steps = json_integer_value(get(o, "max_steps"));
    t.groups = &undecayed;
    t.n_groups = 1;
    pf_trainer *trainer;
    support_ok(m->ctx, pf_trainer_new(m, &t, &trainer));
    assert_int_equal(json_array_size(steps), 10);
    for (size_t i = 0; i < json_array_size(steps); i++) {
        json_t *want = json_array_get(steps, i);
        pf_step_info info;
        support_ok(m->ctx, pf_step_begin(m->ctx));
        pf_tensor *loss = step_loss(m, reference, get(j, "rows"), i, number(o, "beta"));
        support_ok(m->ctx, pf_trainer_accumulate(trainer, loss, 1));
        pf_tensor_free(loss);
        pf_step_end(m->ctx);
        support_ok(m->ctx, pf_trainer_step(trainer, -1, &info));
        near(run, i + 1, "loss", info.loss, number(want, "loss"));
        near(run, i + 1, "grad_norm", info.grad_norm, number(want, "grad_norm"));
        near(run, i + 1, "learning_rate", info.lr, number(want, "learning_rate"));
        int n, found = 0;
        const pf_metric *metric = pf_metrics(m->ctx, &n);
        for (int k = 0; k < n; k++) {
            json_t *v = json_object_get(want, metric[k].name);
            if (v) near(run, i + 1, metric[k].name, metric[k].value, json_number_value(v));
            found += v != NULL;
        }
        assert_true(found >= 4); /* rewards: chosen, rejected, margins, accuracies */
    }
    pf_trainer_free(trainer);
}

static void run(const char *name, bool adapter) {
    json_error_t e;
    json_t *j = json_load_file("tests/golden/trl_train.json", 0, &e);
    if (!j) fail_msg("%s:%d: %s (a committed fixture must be there)", e.source, e.line, e.text);
    char path[128];
    snprintf(path, sizeof path, "tests/golden/%s", json_string_value(get(j, "base")));
    pf_ctx *ctx = support_open();
    pf_model *m, *reference;
    support_ok(ctx, pf_model_load(ctx, path, PF_F32, &m));
    if (adapter) support_ok(ctx, pf_model_load_adapter(m, "tests/golden/peft/start", 0));
    support_ok(ctx, pf_model_reference(m, &reference));
    follow(name, m, reference, j);
    pf_model_free(m);
    pf_model_free(reference);
    json_decref(j);
    support_close(ctx);
}

static void full_as_trl(void **state) {
    (void)state;
    run("full", false);
}

static void lora_as_trl(void **state) {
    (void)state;
    run("lora", true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(full_as_trl), cmocka_unit_test(lora_as_trl)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
