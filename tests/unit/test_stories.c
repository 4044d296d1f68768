/* stories260K against PyTorch: logits, log-probabilities, losses and gradients. */
#include "stories.h"

static void stories_near(const char *what, double got, double want, double tol) {
    if (!(fabs(got - want) <= tol * fmax(1, fabs(want)))) fail_msg("%s is %.10g, expected %.10g", what, got, want);
}

static void stories_close(const char *what, double got, double want, double tol) {
    if (!(fabs(got - want) <= tol * fmax(fabs(want), 1e-3))) fail_msg("%s is %.10g, expected %.10g", what, got, want);
}

/* ---- forward ---- */

static void check_logits(pf_model *m, const json_t *j, double tol) {
    const json_t *full = stories_get(j, "full_logits"), *rows = stories_get(full, "logits");
    int32_t ids[STORIES_MOST];
    size_t n = stories_ids(stories_get(full, "ids"), ids, STORIES_MOST), V = (size_t)m->config.vocab;
    pf_tensor *z = pf_model_logits(m, ids, n);
    if (!z) fail_msg("%s", pf_errmsg(m->ctx));
    assert_int_equal(json_array_size(rows), n);
    for (size_t t = 0; t < n; t++) {
        assert_int_equal(json_array_size(json_array_get(rows, t)), V);
        for (size_t v = 0; v < V; v++)
            stories_near("a logit", pfi_get(z, t * V + v), stories_at(json_array_get(rows, t), v), tol);
    }
    pf_tensor_free(z);
}

/* the five largest logits after the last token, in their order */
static void check_top(pf_model *m, const int32_t *ids, size_t n, const json_t *top, double tol) {
    pf_tensor *z = pf_model_logits(m, ids, n);
    if (!z) fail_msg("%s", pf_errmsg(m->ctx));
    size_t V = (size_t)m->config.vocab, last = (n - 1) * V, i;
    const json_t *entry;
    json_array_foreach(top, i, entry) {
        size_t id = (size_t)json_integer_value(json_array_get(entry, 0)), above = 0;
        double x = pfi_get(z, last + id);
        stories_near("a largest logit", x, stories_at(entry, 1), tol);
        for (size_t v = 0; v < V; v++) above += pfi_get(z, last + v) > x;
        assert_int_equal(above, i);
    }
    assert_int_equal(i, 5);
    pf_tensor_free(z);
}

/* one token more is scored than the text has: the figures' mean entropy counts the place after the last one too */
static void check_text(pf_model *m, const json_t *text, double tol) {
    int32_t ids[STORIES_MOST + 1];
    size_t n = stories_ids(stories_get(text, "ids"), ids, STORIES_MOST);
    const json_t *want = stories_get(text, "token_logprobs");
    pf_batch *b;
    ids[n] = 0;
    support_ok(m->ctx, pf_batch_new(m->ctx, &(pf_sequence){.ids = ids, .n = n + 1, .scored_from = 1}, 1, &b));
    pf_tensor *stats = NULL, *logp = pf_model_logp(m, b, &stats);
    if (!logp) fail_msg("%s", pf_errmsg(m->ctx));
    double sum = 0, entropy = 0;
    assert_int_equal(json_array_size(want), n - 1);
    for (size_t t = 0; t < n - 1; t++) {
        stories_near("a log-probability", pfi_get(logp, t), stories_at(want, t), tol);
        sum += pfi_get(logp, t);
    }
    for (size_t t = 0; t < n; t++) entropy += pfi_get(stats, 4 * t);
    stories_near("the sum", sum, json_number_value(stories_get(text, "sum_logprob")), tol);
    stories_near("the mean entropy", entropy / (double)n, json_number_value(stories_get(text, "mean_entropy")), tol);
    pf_tensor_free(logp);
    pf_tensor_free(stats);
    pf_batch_free(b);
    check_top(m, ids, n, stories_get(text, "last_logits_top5"), tol);
}

/* sums over the completions of the eight rows, in one forest */
static void check_sums(pf_model *m, const stories_data *d, const json_t *want, double tol) {
    pf_batch *b;
    support_ok(m->ctx, pf_batch_new(m->ctx, d->s, STORIES_ROWS, &b));
    pf_tensor *logp = pf_model_logp(m, b, NULL);
    if (!logp) fail_msg("%s", pf_errmsg(m->ctx));
    size_t e = 0;
    for (size_t i = 0; i < STORIES_ROWS; i++) {
        double sum = 0;
        for (size_t t = d->s[i].scored_from; t < d->s[i].n; t++) sum += pfi_get(logp, e++);
        stories_near("the sum of a row", sum, stories_at(want, i), tol);
    }
    pf_tensor_free(logp);
    pf_batch_free(b);
}

static void forward(pf_dtype dtype, double tol) {
    json_t *j = stories_figures("test_stories forward"), *text;
    pf_ctx *ctx = support_open();
    pf_model *m = stories_model(ctx, dtype);
    stories_data d;
    size_t i;
    check_logits(m, j, tol);
    json_array_foreach(stories_get(j, "scored_texts"), i, text) check_text(m, text, tol);
    assert_int_equal(i, 7);
    stories_pairs(j, &d);
    check_sums(m, &d, stories_get(j, "ref_sum_logps"), tol);
    stories_perturb(m);
    check_sums(m, &d, stories_get(j, "policy_sum_logps"), tol);
    pf_model_free(m);
    json_decref(j);
    support_close(ctx);
}

static void test_forward_double(void **state) {
    (void)state;
    forward(PF_F64, 3e-6); /* the figures have rotary tables in float32 */
}

static void test_forward_float(void **state) {
    (void)state;
    forward(PF_F32, 1e-4);
}

/* ---- losses and gradients ---- */

/* The inputs of a loss: sums, means and halves of the batch's log-probabilities. */
typedef struct loss_in {
    pf_ctx *ctx;
    pf_tensor *sum, *chosen, *rejected, *mean_chosen, *mean_rejected, *nll; /* nll: one value, over all chosen tokens */
    pf_tensor *ref, *ref_chosen, *ref_rejected, *label, *len_chosen;
} loss_in;

static pf_tensor *half(pf_tensor *x, int i) {
    return pf_call(x->ctx, "narrow", PF_T("x", x), PF_N("dim", 0), PF_N("start", i * STORIES_PAIRS),
                   PF_N("length", STORIES_PAIRS));
}

static pf_tensor *constant(const loss_in *in, const double *values, int64_t n) {
    return pf_tensor_from(in->ctx, in->sum->dtype, 1, &n, values, (size_t)n);
}

static void loss_open(loss_in *in, pf_tensor *logp, const pf_batch *b, const stories_data *d) {
    static const double label[STORIES_ROWS] = {1, 1, 1, 1};
    double tokens = 0;
    for (int i = 0; i < STORIES_PAIRS; i++) tokens += d->len[i];
    *in = (loss_in){.ctx = logp->ctx};
    pf_tensor *of = pf_batch_tensor(b, "sequence");
    in->sum = pf_call(in->ctx, "sum_by", PF_T("x", logp), PF_T("group", of), PF_N("n", STORIES_ROWS));
    pf_tensor *mean = pf_call(in->ctx, "mean_by", PF_T("x", logp), PF_T("group", of), PF_N("n", STORIES_ROWS));
    if (!in->sum || !mean) fail_msg("%s", pf_errmsg(in->ctx));
    in->chosen = half(in->sum, 0);
    in->rejected = half(in->sum, 1);
    in->mean_chosen = half(mean, 0);
    in->mean_rejected = half(mean, 1);
    pf_tensor *all = pf_call(in->ctx, "sum", PF_T("x", in->chosen)), *scale = constant(in, (double[]){-1 / tokens}, 1);
    in->nll = pf_call(in->ctx, "mul", PF_T("x", all), PF_T("y", scale));
    in->ref = constant(in, d->ref, STORIES_ROWS);
    in->ref_chosen = constant(in, d->ref, STORIES_PAIRS);
    in->ref_rejected = constant(in, d->ref + STORIES_PAIRS, STORIES_PAIRS);
    in->len_chosen = constant(in, d->len, STORIES_PAIRS);
    in->label = constant(in, label, STORIES_ROWS);
    pf_tensor_free(mean);
    pf_tensor_free(all);
    pf_tensor_free(scale);
}

static void loss_close(const loss_in *in) {
    pf_tensor *all[] = {in->sum, in->chosen,     in->rejected,     in->mean_chosen, in->mean_rejected, in->nll,
                        in->ref, in->ref_chosen, in->ref_rejected, in->label,       in->len_chosen};
    for (int i = 0; i < PFI_COUNT(all); i++) pf_tensor_free(all[i]);
}

static pf_tensor *dpo(const loss_in *in, const char *variant, double eps) {
    return pf_call(in->ctx, "dpo", PF_T("policy_chosen", in->chosen), PF_T("policy_rejected", in->rejected),
                   PF_T("ref_chosen", in->ref_chosen), PF_T("ref_rejected", in->ref_rejected), PF_N("beta", 0.1),
                   PF_S("variant", variant), PF_N("label_smoothing", eps));
}

static pf_tensor *loss_dpo(const loss_in *in) { return dpo(in, "sigmoid", 0); }

static pf_tensor *loss_ipo(const loss_in *in) { return dpo(in, "ipo_sum", 0); }

static pf_tensor *loss_cdpo(const loss_in *in) { return dpo(in, "cdpo", 0.1); }

static pf_tensor *loss_sft(const loss_in *in) {
    return pf_call(in->ctx, "dpo", PF_T("policy_chosen", in->chosen), PF_T("policy_rejected", in->rejected),
                   PF_T("len_chosen", in->len_chosen), PF_S("variant", "sft"));
}

static pf_tensor *loss_orpo(const loss_in *in) {
    return pf_call(in->ctx, "orpo", PF_T("policy_chosen", in->mean_chosen), PF_T("policy_rejected", in->mean_rejected),
                   PF_T("nll", in->nll), PF_N("beta", 0.1));
}

static pf_tensor *loss_simpo(const loss_in *in) {
    return pf_call(in->ctx, "simpo", PF_T("policy_chosen", in->mean_chosen), PF_T("policy_rejected", in->mean_rejected),
                   PF_N("beta", 2), PF_N("gamma", 1));
}

static pf_tensor *loss_cpo(const loss_in *in) {
    return pf_call(in->ctx, "cpo", PF_T("policy_chosen", in->chosen), PF_T("policy_rejected", in->rejected),
                   PF_T("nll", in->nll), PF_N("beta", 0.1), PF_N("cpo_alpha", 1));
}

static pf_tensor *loss_kto(const loss_in *in) {
    return pf_call(in->ctx, "kto", PF_T("policy", in->sum), PF_T("ref", in->ref), PF_T("label", in->label),
                   PF_N("beta", 0.1));
}

static const struct {
    const char *name;
    pf_tensor *(*make)(const loss_in *in);
} losses[] = {{"dpo", loss_dpo},          {"ipo", loss_ipo},        {"dpo_label_smoothing0.1", loss_cdpo},
              {"sft", loss_sft},          {"orpo_0.1", loss_orpo},  {"simpo_b2_g1", loss_simpo},
              {"cpo_0.1_sft1", loss_cpo}, {"kto_0.1_kl0", loss_kto}};

/* value and gradients of loss number k at the perturbed policy */
static double loss_run(pf_model *m, const stories_data *d, int k) {
    pf_ctx *ctx = m->ctx;
    pf_batch *b;
    loss_in in;
    for (int i = 0; i < m->n_parameters; i++) pf_tensor_zero_grad(m->parameter[i]);
    support_ok(ctx, pf_batch_new(ctx, d->s, STORIES_ROWS, &b));
    support_ok(ctx, pf_step_begin(ctx));
    pf_tensor *logp = pf_model_logp(m, b, NULL);
    if (!logp) fail_msg("%s", pf_errmsg(ctx));
    loss_open(&in, logp, b, d);
    pf_tensor *loss = losses[k].make(&in);
    if (!loss) fail_msg("%s: %s", losses[k].name, pf_errmsg(ctx));
    double value = pf_tensor_item(loss);
    support_ok(ctx, pf_backward(loss));
    pf_tensor_free(loss);
    pf_tensor_free(logp);
    loss_close(&in);
    pf_step_end(ctx);
    pf_batch_free(b);
    return value;
}

/* norms of all gradients together and of each, and the first eight values of those that keep their layout */
static void check_norms(const pf_model *m, const json_t *want, const char *loss, double tol) {
    double total = 0, norm = json_number_value(stories_get(want, "global_norm"));
    for (int i = 0; i < m->n_parameters; i++) {
        const pf_tensor *g = m->parameter[i]->grad;
        const char *name = stories_name(m->parameter[i]->name);
        const json_t *figure = stories_get(stories_get(want, "per_param"), name),
                     *first = stories_get(figure, "first8");
        double sum = 0, expected = json_number_value(stories_get(figure, "norm"));
        assert_non_null(g);
        for (size_t k = 0; k < pfi_numel(g); k++) sum += pfi_get(g, k) * pfi_get(g, k);
        total += sum;
        if (!(fabs(sqrt(sum) - expected) <= tol * fmax(expected, 1e-3 * norm)))
            fail_msg("%s: the norm of %s is %.10g, expected %.10g", loss, name, sqrt(sum), expected);
        if (strstr(name, ".wq.") || strstr(name, ".wk.")) continue;
        for (size_t k = 0; k < 8; k++)
            if (!(fabs(pfi_get(g, k) - stories_at(first, k)) <= tol * expected))
                fail_msg("%s: value %zu of %s is %.10g, expected %.10g", loss, k, name, pfi_get(g, k),
                         stories_at(first, k));
    }
    stories_close("the global norm", sqrt(total), norm, tol);
}

/* every value of the gradient of dpo, by the closeness of tensors */
static void check_gradient(const pf_model *m, double tol) {
    pfi_st *st;
    support_ok(m->ctx, pfi_st_open(m->ctx, stories_path("golden/stories260K.grad_dpo.safetensors"), &st));
    assert_int_equal(pfi_st_count(st), m->n_parameters);
    double **want = calloc((size_t)m->n_parameters, sizeof *want), largest = 0;
    assert_non_null(want);
    for (int i = 0; i < m->n_parameters; i++) {
        want[i] = stories_read(m, i, st);
        for (size_t k = 0; k < pfi_numel(m->parameter[i]); k++) largest = fmax(largest, fabs(want[i][k]));
    }
    for (int i = 0; i < m->n_parameters; i++) {
        const pf_tensor *g = m->parameter[i]->grad;
        double off = 0, top = 1e-3 * largest;
        for (size_t k = 0; k < pfi_numel(g); k++) {
            top = fmax(top, fabs(want[i][k]));
            off = fmax(off, fabs(pfi_get(g, k) - want[i][k]));
        }
        if (!(off <= tol * top)) fail_msg("the gradient of %s is off by %g", m->parameter[i]->name, off / top);
        free(want[i]);
    }
    free(want);
    pfi_st_release(st);
}

static void gradients(pf_dtype dtype, double tol_value, double tol) {
    json_t *j = stories_figures("test_stories gradients");
    pf_ctx *ctx = support_open();
    pf_model *m = stories_model(ctx, dtype);
    stories_data d;
    stories_pairs(j, &d);
    stories_perturb(m);
    for (int k = 0; k < PFI_COUNT(losses); k++) {
        const char *name = losses[k].name;
        double value = loss_run(m, &d, k);
        stories_close(name, value, json_number_value(stories_get(stories_get(j, "losses_at_perturbed_policy"), name)),
                      tol_value);
        check_norms(m, stories_get(stories_get(j, "grads"), name), name, tol);
        if (k == 0) check_gradient(m, tol);
    }
    pf_model_free(m);
    json_decref(j);
    support_close(ctx);
}

static void test_gradients_double(void **state) {
    (void)state;
    gradients(PF_F64, 1e-5, 1e-5);
}

static void test_gradients_float(void **state) {
    (void)state;
    gradients(PF_F32, 1e-4, 1e-3);
}

/* ---- greedy text ---- */

/* the published text: the lines of EXPECTED.md that are indented by four spaces */
static void expected_text(char *out, size_t room) {
    FILE *f = fopen(stories_path("data/stories260K/EXPECTED.md"), "r");
    assert_non_null(f);
    char line[512];
    size_t n = 0;
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, "    ", 4) != 0) continue;
        n += (size_t)snprintf(out + n, room - n, "%s", line + 4);
        assert_true(n < room);
    }
    fclose(f);
    assert_true(n > 0);
    if (out[n - 1] == '\n') out[n - 1] = 0;
}

static void test_greedy(void **state) {
    (void)state;
    json_t *j = stories_figures("test_stories greedy");
    int32_t want[512];
    char text[2048];
    size_t n = stories_ids(stories_get(j, "greedy_ids_run_c_f32"), want, 512);
    pf_ctx *ctx = support_open();
    pf_model *m = stories_model(ctx, PF_F32);
    pf_generate_options o = pf_generate_defaults();
    pf_sample *s;
    o.temperature = 0;
    o.stop_ids = want + n - 1; /* run.c stops at the next <s> */
    o.n_stop_ids = 1;
    support_ok(ctx, pf_generate(m, &(pf_sequence){.ids = want, .n = 1}, 1, &o, &s));
    assert_int_equal(s->n, n - 1);
    assert_memory_equal(s->ids, want + 1, (n - 1) * sizeof *want);
    assert_int_equal(s->finish, PF_FINISH_STOP);
    expected_text(text, sizeof text);
    assert_true(strlen(text) > 500);
    if (strncmp(s->text, text, strlen(text)) != 0) fail_msg("the text is\n%s\nexpected\n%s", s->text, text);
    pf_samples_free(ctx, s, 1);
    pf_model_free(m);
    json_decref(j);
    support_close(ctx);
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward_double),   cmocka_unit_test(test_forward_float),
        cmocka_unit_test(test_gradients_double), cmocka_unit_test(test_gradients_float),
        cmocka_unit_test(test_greedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
