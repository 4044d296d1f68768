/* Training real models: runs of PyTorch followed step by step, in double and float. */
#include "stories.h"
#include "train/train.h"

enum { RUN_PAIRS = 4, RUN_ROWS = 2 * RUN_PAIRS, RUN_MOST = 64 };

/* Four pairs, chosen 0..3 and rejected 4..7, with the reference's log-probabilities. */
typedef struct run_data {
    int32_t ids[RUN_ROWS][RUN_MOST];
    pf_sequence s[RUN_ROWS];
    double ref[RUN_ROWS];
} run_data;

static json_t *run_json(const char *path) {
    json_error_t e;
    json_t *v = json_load_file(path, 0, &e);
    if (!v) fail_msg("%s:%d: %s", path, e.line, e.text);
    return v;
}

static json_t *run_get(const json_t *v, const char *key) {
    json_t *got = json_object_get(v, key);
    if (!got) fail_msg("the figures have no \"%s\"", key);
    return got;
}

static double run_number(const json_t *v, const char *key) { return json_number_value(run_get(v, key)); }

static void run_close(const char *what, int step, double got, double want, double tol) {
    if (!(fabs(got - want) <= tol * fmax(fabs(want), 1e-3)))
        fail_msg("step %d: %s is %.12g, expected %.12g", step, what, got, want);
}

/* ---- one update ---- */

static pf_tensor *run_half(pf_tensor *x, int half) {
    return pf_call(x->ctx, "narrow", PF_T("x", x), PF_N("dim", 0), PF_N("start", half * RUN_PAIRS),
                   PF_N("length", RUN_PAIRS));
}

static pf_tensor *run_loss(pf_model *m, const run_data *d, const char *variant, pf_tensor *logp, pf_tensor *sequence) {
    const int64_t n = RUN_PAIRS;
    pf_ctx *ctx = m->ctx;
    pf_tensor *sum = pf_call(ctx, "sum_by", PF_T("x", logp), PF_T("group", sequence), PF_N("n", RUN_ROWS));
    pf_tensor *t[] = {run_half(sum, 0), run_half(sum, 1), pf_tensor_from(ctx, m->dtype, 1, &n, d->ref, RUN_PAIRS),
                      pf_tensor_from(ctx, m->dtype, 1, &n, d->ref + RUN_PAIRS, RUN_PAIRS)};
    pf_tensor *loss =
        pf_call(ctx, "dpo", PF_T("policy_chosen", t[0]), PF_T("policy_rejected", t[1]), PF_T("ref_chosen", t[2]),
                PF_T("ref_rejected", t[3]), PF_N("beta", 0.1), PF_S("variant", variant));
    for (int i = 0; i < PFI_COUNT(t); i++) pf_tensor_free(t[i]);
    pf_tensor_free(sum);
    return loss;
}

static pf_status run_step(pf_model *m, const run_data *d, const char *variant, pf_trainer *t, pf_step_info *info) {
    pf_batch *b = NULL;
    PF_TRY(pf_step_begin(m->ctx));
    pf_status s = pf_batch_new(m->ctx, d->s, RUN_ROWS, &b);
    pf_tensor *logp = s == PF_OK ? pf_model_logp(m, b, NULL) : NULL;
    pf_tensor *loss = logp ? run_loss(m, d, variant, logp, pf_batch_tensor(b, "sequence")) : NULL;
    s = loss ? pf_trainer_accumulate(t, loss, 1) : pf_errcode(m->ctx);
    pf_tensor_free(loss);
    pf_tensor_free(logp);
    pf_batch_free(b);
    pf_step_end(m->ctx);
    return s == PF_OK ? pf_trainer_step(t, -1, info) : s;
}

static double run_metric(pf_ctx *ctx, const char *name) {
    int n;
    const pf_metric *m = pf_metrics(ctx, &n);
    for (int i = 0; i < n; i++)
        if (strcmp(m[i].name, name) == 0) return m[i].value;
    fail_msg("there is no metric \"%s\"", name);
    return (double)NAN;
}

/* ---- tests/golden/llama_a.train.json ---- */

static int32_t *llama_ids(const json_t *list, int32_t *out) {
    for (size_t i = 0; i < json_array_size(list); i++) *out++ = (int32_t)json_integer_value(json_array_get(list, i));
    return out;
}

static void llama_read(run_data *d) {
    json_t *j = run_json("tests/golden/llama_a.json"), *dpo = run_get(j, "dpo");
    for (size_t i = 0; i < RUN_ROWS; i++) {
        const json_t *pair = json_array_get(run_get(dpo, "pairs"), i % RUN_PAIRS);
        const json_t *prompt = json_array_get(run_get(dpo, "prompts"), (size_t)run_number(pair, "prompt"));
        const char *side = i < RUN_PAIRS ? "chosen" : "rejected";
        int32_t *end = llama_ids(run_get(pair, side), llama_ids(prompt, d->ids[i]));
        d->s[i] =
            (pf_sequence){.ids = d->ids[i], .n = (size_t)(end - d->ids[i]), .scored_from = json_array_size(prompt)};
        d->ref[i] = run_number(pair, i < RUN_PAIRS ? "ref_chosen" : "ref_rejected");
    }
    json_decref(j);
}

static pf_trainer_options llama_options(const json_t *o) {
    pf_trainer_options t = pf_trainer_defaults();
    t.lr = run_number(o, "lr");
    t.beta1 = run_number(o, "beta1");
    t.beta2 = run_number(o, "beta2");
    t.eps = run_number(o, "eps");
    t.weight_decay = run_number(o, "weight_decay");
    t.clip = run_number(o, "clip_grad_norm");
    return t;
}

static double llama_norm(const pf_tensor *a, const pf_tensor *b) {
    double sum = 0;
    for (size_t i = 0; i < pfi_numel(a); i++) {
        double x = pfi_get(a, i) - (b ? pfi_get(b, i) : 0);
        sum += x * x;
    }
    return sqrt(sum);
}

static void llama_run(pf_dtype dtype, double tol, double tol_moved) {
    static const char *const metric[] = {"rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"};
    pf_ctx *ctx = support_open();
    pf_model *m, *begin;
    run_data d = {0};
    pf_trainer *t;
    llama_read(&d);
    json_t *j = run_json("tests/golden/llama_a.train.json"), *row;
    support_ok(ctx, pf_model_load(ctx, "tests/golden/llama_a", dtype, &m));
    support_ok(ctx, pf_model_copy(m, &begin));
    pf_trainer_options o = llama_options(run_get(j, "optimizer"));
    support_ok(ctx, pf_trainer_new(m, &o, &t));
    size_t k;
    json_array_foreach(run_get(j, "steps"), k, row) {
        pf_step_info info;
        support_ok(ctx, run_step(m, &d, "sigmoid", t, &info));
        run_close("loss", (int)k, info.loss, run_number(row, "loss"), tol);
        run_close("norm", (int)k, info.grad_norm, run_number(row, "grad_norm"), tol);
        for (int i = 0; i < PFI_COUNT(metric); i++)
            run_close(metric[i], (int)k, run_metric(ctx, metric[i]), run_number(row, metric[i]), tol);
    }
    assert_int_equal(k, 10);
    for (int i = 0; i < m->n_parameters; i++) {
        const pf_tensor *w = m->parameter[i];
        run_close(w->name, 10, llama_norm(w, NULL), run_number(run_get(j, "final_norm"), w->name), tol);
        run_close(w->name, 10, llama_norm(w, begin->parameter[i]), run_number(run_get(j, "moved_norm"), w->name),
                  tol_moved);
    }
    json_decref(j);
    pf_trainer_free(t);
    pf_model_free(begin);
    pf_model_free(m);
    support_close(ctx);
}

/* the figures have 12 digits; in float, PyTorch itself is 1e-6 away from them, and 1e-5 in what the weights moved */
static void llama_in_double(void **state) {
    (void)state;
    llama_run(PF_F64, 1e-9, 1e-9);
}

static void llama_in_float(void **state) {
    (void)state;
    llama_run(PF_F32, 1e-5, 1e-4);
}

/* ---- ten-step runs of the reference data ---- */

static void stories_fill(const json_t *j, run_data *d) {
    stories_data from = {0};
    stories_pairs(j, &from);
    for (size_t i = 0; i < RUN_ROWS; i++) {
        memcpy(d->ids[i], from.ids[i], sizeof d->ids[i]);
        d->s[i] = from.s[i];
        d->s[i].ids = d->ids[i];
        d->ref[i] = from.ref[i];
    }
}

static void stories_run(const json_t *j, pf_dtype dtype, const char *run, const char *variant, double tol) {
    pf_ctx *ctx = support_open();
    pf_model *m = stories_model(ctx, dtype);
    pf_trainer *t;
    run_data d = {0};
    stories_perturb(m);
    stories_fill(j, &d);
    pf_trainer_options o = pf_trainer_defaults();
    o.lr = 1e-4;
    o.weight_decay = 0;
    support_ok(ctx, pf_trainer_new(m, &o, &t));
    const json_t *steps = run_get(run_get(run_get(j, "training"), run), "steps"), *row;
    size_t k;
    json_array_foreach(steps, k, row) {
        pf_step_info info;
        support_ok(ctx, run_step(m, &d, variant, t, &info));
        run_close("loss", (int)k, info.loss, run_number(row, "loss"), tol);
        run_close("norm", (int)k, info.grad_norm, run_number(row, "grad_norm_before_clip"), tol);
        run_close("logps/chosen", (int)k, run_metric(ctx, "logps/chosen"), run_number(row, "chosen_logps"), tol);
        run_close("logps/rejected", (int)k, run_metric(ctx, "logps/rejected"), run_number(row, "rejected_logps"), tol);
    }
    assert_int_equal(k, 10);
    pf_trainer_free(t);
    pf_model_free(m);
    support_close(ctx);
}

static void stories_runs(void **state) {
    (void)state;
    json_t *j = stories_figures("stories_runs");
    /* the figures come from rotary tables in float32, and IPO's gradients of a thousand carry that on */
    stories_run(j, PF_F64, "dpo", "sigmoid", 1e-6);
    stories_run(j, PF_F32, "dpo", "sigmoid", 2e-5);
    stories_run(j, PF_F64, "ipo", "ipo_sum", 3e-5);
    json_decref(j);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_in_double),
        cmocka_unit_test(llama_in_float),
        cmocka_unit_test(stories_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
