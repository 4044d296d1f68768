/* Adapters: PEFT's figures, the double build's differences, freezing, references, merging, files. */
#include "support.h"

#include <jansson.h>
#include <math.h>
#include <sys/stat.h>

#include "file/safetensors.h"
#include "model/adapter.h"
#include "op/op.h"
#include "train/train.h"

#define LLAMA "tests/golden/llama_a"

enum { PAIRS = 4, MOST = 64 };

static json_t *figures(const char *path) {
    json_error_t e;
    json_t *j = json_load_file(path, 0, &e);
    if (!j) fail_msg("%s:%d: %s (a committed fixture must be there)", path, e.line, e.text);
    return j;
}

static double at(json_t *list, size_t i) { return json_number_value(json_array_get(list, i)); }

static int32_t *ids_of(json_t *list, int32_t *out) {
    for (size_t i = 0; i < json_array_size(list); i++) *out++ = (int32_t)json_integer_value(json_array_get(list, i));
    return out;
}

static pf_model *load(pf_ctx *ctx, const char *dir, pf_dtype dtype) {
    pf_model *m;
    support_ok(ctx, pf_model_load(ctx, dir, dtype, &m));
    return m;
}

/* ---- the batch of make_llama.py ---- */

typedef struct pairs {
    int32_t ids[2 * PAIRS][MOST];
    pf_sequence seq[2 * PAIRS]; /* chosen 0..3, rejected 4..7 */
    int32_t one[MOST];          /* a sequence by itself */
    size_t n_one;
} pairs;

static void read_pairs(const char *base, pairs *p) {
    char path[128];
    snprintf(path, sizeof path, "tests/golden/%s.json", base);
    json_t *j = figures(path), *dpo = json_object_get(j, "dpo");
    for (size_t i = 0; i < 2 * PAIRS; i++) {
        json_t *pair = json_array_get(json_object_get(dpo, "pairs"), i % PAIRS);
        json_t *prompt = json_array_get(json_object_get(dpo, "prompts"),
                                        (size_t)json_integer_value(json_object_get(pair, "prompt")));
        int32_t *end = ids_of(json_object_get(pair, i < PAIRS ? "chosen" : "rejected"), ids_of(prompt, p->ids[i]));
        p->seq[i] =
            (pf_sequence){.ids = p->ids[i], .n = (size_t)(end - p->ids[i]), .scored_from = json_array_size(prompt)};
    }
    p->n_one = (size_t)(ids_of(json_object_get(json_object_get(j, "sequence"), "ids"), p->one) - p->one);
    json_decref(j);
}

static pf_tensor *half(pf_tensor *x, int i) {
    return pfi_apply(x->ctx, "narrow", &x, (double[]){0, i * PAIRS, PAIRS}, NULL, 0);
}

/* sums [8] of the log-probabilities of the answers under m. Owned by caller */
static pf_tensor *sums(pf_model *m, const pairs *p) {
    pf_batch *b;
    support_ok(m->ctx, pf_batch_new(m->ctx, p->seq, 2 * PAIRS, &b));
    pf_tensor *logp = pf_model_logp(m, b, NULL);
    if (!logp) fail_msg("%s", pf_errmsg(m->ctx));
    pf_tensor *sum =
        pf_call(m->ctx, "sum_by", PF_T("x", logp), PF_T("group", pf_batch_tensor(b, "sequence")), PF_N("n", 2 * PAIRS));
    pf_tensor_free(logp);
    pf_batch_free(b);
    return sum;
}

/* DPO against ref[8], chosen first */
static pf_tensor *dpo(pf_tensor *sum, pf_tensor *ref) {
    pf_tensor *t[] = {half(sum, 0), half(sum, 1), half(ref, 0), half(ref, 1)};
    pf_tensor *loss = pf_call(sum->ctx, "dpo", PF_T("policy_chosen", t[0]), PF_T("policy_rejected", t[1]),
                              PF_T("ref_chosen", t[2]), PF_T("ref_rejected", t[3]), PF_N("beta", 0.1));
    for (int i = 0; i < 4; i++) pf_tensor_free(t[i]);
    return loss;
}

static pf_tensor *dpo_of(pf_model *m, pf_model *reference, const pairs *p) {
    bool was = pf_set_recording(m->ctx, false);
    pf_tensor *ref = sums(reference, p);
    pf_set_recording(m->ctx, was);
    pf_tensor *sum = sums(m, p), *loss = dpo(sum, ref);
    pf_tensor_free(sum);
    pf_tensor_free(ref);
    return loss;
}

/* ---- PEFT's figures ---- */

static void check_logits(pf_model *m, const pairs *p, json_t *want, double tol) {
    bool was = pf_set_recording(m->ctx, false);
    pf_tensor *z = pf_model_logits(m, p->one, p->n_one);
    assert_non_null(z);
    size_t V = (size_t)z->dim[1], rows = json_array_size(want), worst_at = 0;
    double worst = 0;
    for (size_t t = 0; t < rows; t++)
        for (size_t v = 0; v < V; v++) {
            double w = at(json_array_get(want, t), v),
                   d = fabs(pfi_get(z, (p->n_one - rows + t) * V + v) - w) / fmax(1, fabs(w));
            if (!(d <= worst)) worst_at = v;
            worst = d <= worst ? worst : d;
        }
    if (!(worst <= tol)) fail_msg("logits are off by %g, at token %zu", worst, worst_at);
    pf_tensor_free(z);
    pf_set_recording(m->ctx, was);
}

static void check_gradients(pf_model *m, const char *path, double tol) {
    pfi_st *st;
    double top = 0;
    support_ok(m->ctx, pfi_st_open(m->ctx, path, &st));
    assert_int_equal(pfi_st_count(st), m->adapter->n_param);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < m->adapter->n_param; i++) {
            pf_tensor *t = m->adapter->param[i];
            const pfi_st_tensor *f = pfi_st_find(st, t->name);
            if (!f || !t->grad) fail_msg("\"%s\": %s", t->name, f ? "no gradient" : "not in the figures");
            const size_t n = pfi_numel(t);
            double most = 0, off = 0;
            for (size_t k = 0; k < n; k++) {
                float w;
                memcpy(&w, f->data + 4 * k, 4);
                most = fmax(most, fabs((double)w));
                off = fmax(off, fabs(pfi_get(t->grad, k) - (double)w));
            }
            top = fmax(top, most);
            if (pass && !(off <= tol * fmax(most, 1e-3 * top))) fail_msg("gradient of %s is off by %g", t->name, off);
        }
    pfi_st_release(st);
}

/* no parameter of the base has a gradient */
static void check_base_untouched(pf_model *m) {
    for (int i = 0; i < m->n_parameters; i++) {
        assert_false(m->parameter[i]->needs_grad);
        assert_null(m->parameter[i]->grad);
    }
}

static void peft_case(const char *name, pf_dtype dtype, double tol_logit, double tol_grad) {
    static pairs p;
    char path[128];
    json_t *j = figures("tests/golden/peft.json"), *c = json_object_get(json_object_get(j, "cases"), name);
    const char *base = json_string_value(json_object_get(c, "base"));
    assert_non_null(base);
    read_pairs(base, &p);
    pf_ctx *ctx = support_open();
    snprintf(path, sizeof path, "tests/golden/%s", base);
    pf_model *m = load(ctx, path, dtype), *plain = load(ctx, path, dtype);
    snprintf(path, sizeof path, "tests/golden/peft/%s", name);
    support_ok(ctx, pf_model_load_adapter(m, path, 1));
    m->adapter->dropout = 0; /* the figures are without */
    check_logits(m, &p, json_object_get(c, "logits"), tol_logit);
    pf_tensor *loss = dpo_of(m, plain, &p);
    assert_true(fabs(pf_tensor_item(loss) - json_number_value(json_object_get(c, "loss"))) <= tol_logit);
    support_ok(ctx, pf_backward(loss));
    pf_tensor_free(loss);
    snprintf(path, sizeof path, "tests/golden/peft/%s.grad.safetensors", name);
    check_gradients(m, path, tol_grad);
    check_base_untouched(m);
    support_ok(ctx, pf_model_merge(m)); /* the same function, as a plain model */
    check_logits(m, &p, json_object_get(c, "logits"), tol_logit);
    pf_model_free(m);
    pf_model_free(plain);
    json_decref(j);
    support_close(ctx);
}

static const char *const cases[] = {"lora", "bf16", "rslora", "dora", "patterns", "saved"};

static void peft_figures_double(void **state) {
    (void)state;
    for (int i = 0; i < PFI_COUNT(cases); i++) peft_case(cases[i], PF_F64, 1e-9, 1e-6);
}

static void peft_figures_float(void **state) {
    (void)state;
    for (int i = 0; i < PFI_COUNT(cases); i++) peft_case(cases[i], PF_F32, 1e-5, 1e-4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peft_figures_double),
        cmocka_unit_test(peft_figures_float),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
