/* Adapters: PEFT's figures, the double build's differences, freezing, references, merging, files. */
#include "support.h"

#include <jansson.h>
#include <math.h>
#include <sys/stat.h>

#include "file/gguf.h"
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

/* ---- a new adapter ---- */

#define SMALL "{\"r\": 2, \"lora_alpha\": 4, \"target_modules\": \"all-linear\"}"
#define DORA  "{\"r\": 2, \"lora_alpha\": 4, \"target_modules\": \"all-linear\", \"use_dora\": true}"
#define DROP  "{\"r\": 2, \"lora_alpha\": 4, \"lora_dropout\": 0.25, \"use_dora\": true}"

static double logits_apart(pf_model *a, pf_model *b, const pairs *p) {
    bool was = pf_set_recording(a->ctx, false);
    pf_tensor *x = pf_model_logits(a, p->one, p->n_one), *y = pf_model_logits(b, p->one, p->n_one);
    assert_true(x && y);
    double worst = 0;
    for (size_t i = 0; i < pfi_numel(x); i++) worst = fmax(worst, fabs(pfi_get(x, i) - pfi_get(y, i)));
    pf_tensor_free(x);
    pf_tensor_free(y);
    pf_set_recording(a->ctx, was);
    return worst;
}

static void stir(pf_model *m, uint64_t seed) {
    for (int k = 0; k < m->adapter->n_param; k++) {
        pf_tensor *t = m->adapter->param[k];
        for (size_t i = 0; i < pfi_numel(t); i++)
            pfi_set(t, i, pfi_get(t, i) + 0.2 * pfi_random_normal(seed, (uint64_t)k, i));
    }
}

/* computes what the base does, to the bit but for DoRA's division; the loss starts at ln 2 */
static void fresh_is_base(void **state) {
    (void)state;
    static pairs p;
    read_pairs("llama_a", &p);
    const char *const config[] = {SMALL, DORA, "{\"use_rslora\": true}", "{\"init_lora_weights\": \"gaussian\"}"};
    for (int i = 0; i < PFI_COUNT(config); i++) {
        pf_ctx *ctx = support_open();
        pf_model *m = load(ctx, LLAMA, PF_F32), *plain = load(ctx, LLAMA, PF_F32), *reference;
        support_ok(ctx, pf_model_adapt(m, config[i], 5));
        assert_true(logits_apart(m, plain, &p) <= (m->adapter->lora[0].magnitude ? 1e-5 : 0));
        support_ok(ctx, pf_model_reference(m, &reference));
        assert_null(reference->adapter);
        pf_tensor *loss = dpo_of(m, reference, &p);
        assert_true(fabs(pf_tensor_item(loss) - log(2)) <= (m->adapter->lora[0].magnitude ? 1e-6 : 1e-7));
        pf_tensor_free(loss);
        pf_model_free(reference);
        pf_model_free(m);
        pf_model_free(plain);
        support_close(ctx);
    }
}

static pf_tensor *loss_of_inputs(void *ud, pf_tensor *const *inputs, int n) {
    (void)inputs;
    (void)n;
    void **both = ud;
    pf_tensor *sum = sums(both[0], both[1]), *loss = pf_call(sum->ctx, "mean", PF_T("x", sum));
    pf_tensor_free(sum);
    return loss;
}

static void lora_gradients_are_differences(void **state) {
    (void)state;
    static pairs p;
    read_pairs("llama_a", &p);
    pf_ctx *ctx = support_open();
    pf_model *m = load(ctx, LLAMA, PF_F64);
    support_ok(ctx, pf_model_adapt(m, "{\"r\": 2, \"target_modules\": [\"k_proj\", \"down_proj\"]}", 5));
    stir(m, 3);
    pf_gradcheck_result r;
    support_ok(ctx, pf_gradcheck(ctx, loss_of_inputs, (void *[]){m, &p}, m->adapter->param, m->adapter->n_param, &r));
    if (!(r.worst < 1e-5))
        fail_msg("%s element %zu: %g by backward, %g by differences", m->adapter->param[r.input]->name, r.element,
                 r.analytic, r.numeric);
    pf_model_free(m);
    support_close(ctx);
}

/* ---- training ---- */

static pf_trainer *trainer_of(pf_model *m) {
    pf_trainer_options o = pf_trainer_defaults();
    pf_trainer *t;
    o.lr = 1e-2;
    support_ok(m->ctx, pf_trainer_new(m, &o, &t));
    return t;
}

static void train(pf_model *m, pf_model *reference, pf_trainer *t, const pairs *p, int steps) {
    for (int i = 0; i < steps; i++) {
        support_ok(m->ctx, pf_step_begin(m->ctx));
        for (int part = 0; part < 2; part++) {
            pf_tensor *loss = dpo_of(m, reference, p);
            support_ok(m->ctx, pf_trainer_accumulate(t, loss, 0.5));
            pf_tensor_free(loss);
        }
        pf_step_end(m->ctx);
        support_ok(m->ctx, pf_trainer_step(t, -1, NULL));
    }
}

static void only_the_adapter_is_trained(void **state) {
    (void)state;
    static pairs p;
    read_pairs("llama_a", &p);
    pf_ctx *ctx = support_open();
    pf_model *m = load(ctx, LLAMA, PF_F32), *plain = load(ctx, LLAMA, PF_F32), *reference;
    support_ok(ctx, pf_model_adapt(m, SMALL, 5));
    support_ok(ctx, pf_model_reference(m, &reference));
    assert_ptr_equal(reference->parameter[0], m->parameter[0]); /* no second base in memory */
    size_t before, after, adapter = 0, peak;
    for (int i = 0; i < m->adapter->n_param; i++) adapter += 4 * pfi_numel(m->adapter->param[i]);
    assert_int_equal(pf_model_size(m, "trainable_parameters"), adapter / 4);
    pf_memory(ctx, &before, NULL);
    pf_trainer *t = trainer_of(m);
    pf_memory(ctx, &after, NULL);
    const size_t overhead =
        (size_t)pf_model_parameter_count(m) * (sizeof(pfi_train_item) + 2 * sizeof(pf_tensor) + 256);
    if (after - before > 2 * adapter + overhead + 8192) /* two moments, and lists */
        fail_msg("the trainer takes %zu bytes for an adapter of %zu", after - before, adapter);
    train(m, reference, t, &p, 3);
    pf_memory(ctx, &after, &peak);
    check_base_untouched(m);
    for (int i = 0; i < m->n_parameters; i++)
        assert_memory_equal(pfi_data(m->parameter[i]), pfi_data(plain->parameter[i]),
                            4 * pfi_numel(plain->parameter[i]));
    for (int i = 0; i < m->adapter->n_lora; i++) {
        double norm = 0;
        const pf_tensor *b = m->adapter->lora[i].b;
        for (size_t k = 0; k < pfi_numel(b); k++) norm += fabs(pfi_get(b, k));
        assert_true(norm > 0);
    }
    assert_true(logits_apart(m, plain, &p) > 1e-3);
    assert_true(logits_apart(reference, plain, &p) == 0);
    pf_trainer_free(t);
    support_ok(ctx, pf_model_merge(m)); /* the reference keeps the base that it shares */
    assert_true(logits_apart(reference, plain, &p) == 0);
    assert_true(logits_apart(m, plain, &p) > 1e-3);
    assert_int_equal(pf_model_size(m, "trainable_parameters"), pf_model_size(m, "parameters"));
    t = trainer_of(m);
    train(m, reference, t, &p, 2);
    pf_trainer_free(t);
    assert_true(logits_apart(reference, plain, &p) == 0);
    pf_model_free(reference);
    pf_model_free(m);
    pf_model_free(plain);
    support_close(ctx);
}

/* dropout draws by the number of the step: an interrupted run goes on to the same bits */
static void resumes_to_the_same_bits(void **state) {
    (void)state;
    static pairs p;
    read_pairs("llama_a", &p);
    pf_ctx *ctx = support_open();
    pf_model *whole = load(ctx, LLAMA, PF_F32), *cut = load(ctx, LLAMA, PF_F32), *rest = load(ctx, LLAMA, PF_F32);
    pf_model *other = load(ctx, LLAMA, PF_F32), *reference;
    support_ok(ctx, pf_model_copy(whole, &reference));
    pf_model *all[] = {whole, cut, rest};
    for (int i = 0; i < 3; i++) support_ok(ctx, pf_model_adapt(all[i], DROP, 5));
    support_ok(ctx, pf_model_adapt(other, DROP, 6));
    pf_trainer *t = trainer_of(whole);
    train(whole, reference, t, &p, 4);
    pf_trainer_free(t);
    const char *path = support_path("adapter.checkpoint");
    t = trainer_of(cut);
    train(cut, reference, t, &p, 2);
    support_ok(ctx, pf_trainer_save(t, path, NULL, 0));
    pf_trainer_free(t);
    t = trainer_of(rest);
    train(rest, reference, t, &p, 1); /* what is restored over */
    support_ok(ctx, pf_trainer_restore(t, path, NULL, NULL));
    train(rest, reference, t, &p, 2);
    pf_trainer_free(t);
    for (int i = 0; i < whole->adapter->n_param; i++) {
        const pf_tensor *a = whole->adapter->param[i], *b = rest->adapter->param[i];
        assert_memory_equal(pfi_data(a), pfi_data(b), 4 * pfi_numel(a));
    }
    t = trainer_of(other); /* the same shapes, drawn from another seed: still its own base and adapter */
    support_ok(ctx, pf_trainer_restore(t, path, NULL, NULL));
    pf_trainer_free(t);
    other->parameter[0]->needs_grad = false;
    pfi_set(other->parameter[0], 0, 1);
    t = trainer_of(other);
    support_fails(ctx, pf_trainer_restore(t, path, NULL, NULL), PF_STATE, "another model");
    pf_trainer_free(t);
    for (int i = 0; i < 3; i++) pf_model_free(all[i]);
    pf_model_free(other);
    pf_model_free(reference);
    support_close(ctx);
}

static double sum_of(pf_model *m, const pairs *p) {
    pf_tensor *sum = sums(m, p), *all = pf_call(m->ctx, "sum", PF_T("x", sum));
    double v = pf_tensor_item(all);
    pf_tensor_free(sum);
    pf_tensor_free(all);
    return v;
}

static void dropout_is_for_training(void **state) {
    (void)state;
    static pairs p;
    read_pairs("llama_a", &p);
    pf_ctx *ctx = support_open();
    pf_model *m = load(ctx, LLAMA, PF_F32);
    support_ok(ctx, pf_model_adapt(m, DROP, 5));
    stir(m, 3);
    double first = sum_of(m, &p), second = sum_of(m, &p);
    assert_true(first != second); /* recorded passes draw anew ... */
    pfi_adapter_at(m, 0);
    assert_true(sum_of(m, &p) == first); /* ... from the place in the run */
    pfi_adapter_at(m, 1);
    assert_true(sum_of(m, &p) != first);
    pf_set_recording(ctx, false);
    double off = sum_of(m, &p);
    assert_true(off == sum_of(m, &p) && off != first);
    m->adapter->dropout = 0;
    assert_true(off == sum_of(m, &p));
    pf_model_free(m);
    support_close(ctx);
}

/* threads do not change a bit, forward, backward and dropout */
static void threads_make_no_difference(void **state) {
    (void)state;
    static pairs p;
    read_pairs("llama_a", &p);
    double norm[2] = {0};
    for (int k = 0; k < 2; k++) {
        pf_ctx *ctx = support_open();
        support_ok(ctx, pf_set_threads(ctx, k ? 3 : 1));
        pf_model *m = load(ctx, LLAMA, PF_F32);
        support_ok(ctx, pf_model_adapt(m, DROP, 5));
        stir(m, 3);
        pf_tensor *sum = sums(m, &p), *loss = pf_call(ctx, "mean", PF_T("x", sum));
        support_ok(ctx, pf_backward(loss));
        for (int i = 0; i < m->adapter->n_param; i++)
            for (size_t e = 0; e < pfi_numel(m->adapter->param[i]); e++)
                norm[k] = 0.5 * norm[k] + pfi_get(m->adapter->param[i]->grad, e) * (double)(e + 1);
        pf_tensor_free(sum);
        pf_tensor_free(loss);
        pf_model_free(m);
        support_close(ctx);
    }
    assert_true(norm[0] == norm[1] && norm[0] != 0);
}

/* ---- sampling ---- */

static void sampling_has_the_adapter(void **state) {
    (void)state;
    static pairs p;
    read_pairs("llama_b", &p);
    const char *const names[] = {"lora", "rslora", "dora", "saved"};
    for (int i = 0; i < PFI_COUNT(names); i++) {
        pf_ctx *ctx = support_open();
        char path[128];
        snprintf(path, sizeof path, "tests/golden/peft/%s", names[i]);
        pf_model *m = load(ctx, i < 2 ? LLAMA : "tests/golden/llama_b", PF_F32);
        support_ok(ctx, pf_model_load_adapter(m, path, 0));
        pf_generate_options o = pf_generate_defaults();
        o.max_tokens = 12;
        o.seed = 4;
        pf_sample *s;
        const int32_t prompt[] = {1, 7, 30};
        support_ok(ctx, pf_generate(m, &(pf_sequence){.ids = prompt, .n = 3}, 1, &o, &s));
        int32_t ids[16];
        memcpy(ids, prompt, sizeof prompt);
        memcpy(ids + 3, s->ids, s->n * sizeof *ids);
        pf_batch *b;
        support_ok(ctx, pf_batch_new(ctx, &(pf_sequence){.ids = ids, .n = 3 + s->n, .scored_from = 3}, 1, &b));
        pf_tensor *logp = pf_model_logp(m, b, NULL);
        for (size_t t = 0; t < s->n; t++)
            if (!(fabs(pfi_get(logp, t) - (double)s->logp[t]) <= 1e-5 * fmax(1, fabs(pfi_get(logp, t)))))
                fail_msg("%s: token %zu has log-probability %g sampled and %g trained", names[i], t, (double)s->logp[t],
                         pfi_get(logp, t));
        pf_tensor_free(logp);
        pf_batch_free(b);
        pf_samples_free(ctx, s, 1);
        pf_model_free(m);
        support_close(ctx);
    }
}

/* ---- references and copies ---- */

static void a_loaded_adapter_is_its_own_reference(void **state) {
    (void)state;
    static pairs p;
    read_pairs("llama_b", &p);
    const char *const names[] = {"dora", "saved", "patterns"};
    for (int i = 0; i < PFI_COUNT(names); i++) {
        pf_ctx *ctx = support_open();
        char path[128];
        snprintf(path, sizeof path, "tests/golden/peft/%s", names[i]);
        pf_model *m = load(ctx, "tests/golden/llama_b", PF_F32), *plain = load(ctx, "tests/golden/llama_b", PF_F32);
        pf_model *reference, *copy;
        support_ok(ctx, pf_model_load_adapter(m, path, 0));
        support_ok(ctx, pf_model_reference(m, &reference));
        support_ok(ctx, pf_model_copy(m, &copy));
        assert_ptr_equal(reference->parameter[0], m->parameter[0]);
        assert_ptr_not_equal(copy->parameter[0], m->parameter[0]);
        assert_true(logits_apart(m, plain, &p) > 1e-3);
        assert_true(logits_apart(m, reference, &p) == 0 && logits_apart(m, copy, &p) == 0);
        assert_int_equal(pf_model_fingerprint(m), pf_model_fingerprint(copy));
        assert_int_not_equal(pf_model_fingerprint(m), pf_model_fingerprint(plain));
        pf_tensor *loss = dpo_of(m, reference, &p);
        assert_true(fabs(pf_tensor_item(loss) - log(2)) <= 1e-7);
        pf_tensor_free(loss);
        assert_int_equal(pf_model_size(reference, "trainable_parameters"), 0);
        stir(m, 2);
        assert_true(logits_apart(m, reference, &p) > 1e-4 && logits_apart(reference, copy, &p) == 0);
        pf_model *gone[] = {m, plain, reference, copy};
        for (int k = 0; k < 4; k++) pf_model_free(gone[k]);
        support_close(ctx);
    }
}

/* ---- files ---- */

static void what_is_saved_is_what_was_loaded(void **state) {
    (void)state;
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        pf_ctx *ctx = support_open();
        char from[128], to[320], command[1100];
        json_t *j = figures("tests/golden/peft.json");
        const char *base =
            json_string_value(json_object_get(json_object_get(json_object_get(j, "cases"), cases[i]), "base"));
        snprintf(from, sizeof from, "tests/golden/%s", base);
        pf_model *m = load(ctx, from, PF_F32), *again = load(ctx, from, PF_F32);
        snprintf(from, sizeof from, "tests/golden/peft/%s", cases[i]);
        snprintf(to, sizeof to, "%s/%s", support_dir(), cases[i]);
        support_ok(ctx, pf_model_load_adapter(m, from, 0));
        support_ok(ctx, pf_model_save_adapter(m, to));
        support_ok(ctx, pf_model_load_adapter(again, to, 0));
        assert_string_equal(m->adapter->config, again->adapter->config);
        assert_int_equal(pf_model_fingerprint(m), pf_model_fingerprint(again));
        snprintf(command, sizeof command, "cmp -s '%s/adapter_model.safetensors' '%s/adapter_model.safetensors'", from,
                 to);
        assert_int_equal(system(command) == 0, strcmp(cases[i], "bf16") != 0); /* that one is written as float32 */
        pf_model_free(m);
        pf_model_free(again);
        json_decref(j);
        support_close(ctx);
    }
}

static void refuses_configurations(void **state) {
    (void)state;
    const struct {
        const char *config;
        pf_status status;
        const char *text;
    } bad[] = {
        {"[]", PF_FORMAT, "expected a JSON object"},
        {"{\"peft_type\": \"IA3\"}", PF_UNSUPPORTED, "peft_type \"IA3\""},
        {"{\"task_type\": \"SEQ_CLS\"}", PF_UNSUPPORTED, "task_type"},
        {"{\"bias\": \"all\"}", PF_UNSUPPORTED, "bias \"all\""},
        {"{\"lora_aplha\": 4}", PF_UNSUPPORTED, "did you mean \"lora_alpha\""},
        {"{\"use_qalora\": true}", PF_UNSUPPORTED, "use_qalora"},
        {"{\"lora_bias\": true}", PF_UNSUPPORTED, "lora_bias"},
        {"{\"layer_replication\": [[0, 1]]}", PF_UNSUPPORTED, "layer_replication"},
        {"{\"loftq_config\": {\"loftq_bits\": 4}}", PF_UNSUPPORTED, "loftq_config"},
        {"{\"init_lora_weights\": \"pissa\"}", PF_UNSUPPORTED, "pissa"},
        {"{\"init_lora_weights\": \"eva\"}", PF_UNSUPPORTED, "a new adapter"},
        {"{\"r\": 0}", PF_RANGE, "r is 0"},
        {"{\"r\": \"8\"}", PF_FORMAT, "r"},
        {"{\"lora_dropout\": 1}", PF_RANGE, "lora_dropout"},
        {"{\"target_modules\": 3}", PF_FORMAT, "target_modules"},
        {"{\"target_modules\": [\"q_proj\", \"q_prj\"]}", PF_NAME, "\"q_prj\" fits no matrix product"},
        {"{\"target_modules\": [\"embed_tokens\"]}", PF_NAME, "embed_tokens"},
        {"{\"target_modules\": \"(\"}", PF_FORMAT, "regular expression"},
        {"{\"target_modules\": [\"lm_head\"]}", PF_UNSUPPORTED, "tie_word_embeddings"},
        {"{\"modules_to_save\": [\"lm_head\"]}", PF_UNSUPPORTED, "tie_word_embeddings"},
        {"{\"modules_to_save\": [\"embed_tokens\"]}", PF_UNSUPPORTED, "tie_word_embeddings"},
        {"{\"modules_to_save\": [\"score\"]}", PF_NAME, "\"score\" fits no module"},
        {"{\"exclude_modules\": \".*\"}", PF_NAME, "fits no module"},
        {"{\"rank_pattern\": {\"q_proj\": 0}}", PF_FORMAT, "rank_pattern"},
        {"{\"alpha_pattern\": {\"q_proj\": \"x\"}}", PF_FORMAT, "alpha_pattern"},
        {"{\"layers_to_transform\": \"1\"}", PF_FORMAT, "layers_to_transform"},
        {"{\"layers_to_transform\": [7]}", PF_NAME, "fits no module"},
        {"{\"layers_to_transform\": 1, \"target_modules\": \".*q_proj\"}", PF_UNSUPPORTED, "layers_to_transform"},
    };
    pf_ctx *ctx = support_open();
    pf_model *m = load(ctx, LLAMA, PF_F32);
    for (int i = 0; i < PFI_COUNT(bad); i++) {
        support_fails(ctx, pf_model_adapt(m, bad[i].config, 0), bad[i].status, bad[i].text);
        assert_null(m->adapter);
        assert_true(m->parameter[0]->needs_grad);
    }
    support_ok(ctx, pf_model_adapt(m, "{\"layers_to_transform\": [1], \"layers_pattern\": \"layers\"}", 0));
    assert_int_equal(m->adapter->n_lora, 2);
    assert_string_equal(m->adapter->lora[0].module, "model.layers.1.self_attn.q_proj");
    support_fails(ctx, pf_model_adapt(m, "{}", 0), PF_STATE, "adapter already");
    support_fails(ctx, pf_model_save(m, support_path("whole")), PF_STATE, "merge");
    pf_model_free(m);
    support_close(ctx);
}

static void copy_file(const char *from, const char *to) {
    char command[1100];
    snprintf(command, sizeof command, "cp '%s' '%s'", from, to);
    assert_int_equal(system(command), 0);
}

static void refuses_directories(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m = load(ctx, LLAMA, PF_F32);
    const char *dir = support_path("bad"), *config = support_path("bad/adapter_config.json");
    const char *weights = support_path("bad/adapter_model.safetensors"), *bin = support_path("bad/adapter_model.bin");
    mkdir(dir, 0755);
    support_fails(ctx, pf_model_load_adapter(m, dir, 0), PF_IO, "adapter_config.json");
    copy_file("tests/golden/peft/lora/adapter_config.json", config);
    copy_file("tests/golden/peft/lora/adapter_config.json", bin);
    support_fails(ctx, pf_model_load_adapter(m, dir, 0), PF_UNSUPPORTED, "save_pretrained");
    copy_file("tests/golden/peft/rslora/adapter_model.safetensors", weights);
    support_fails(ctx, pf_model_load_adapter(m, dir, 0), PF_UNSUPPORTED, "belongs to nothing");
    copy_file("tests/golden/peft/bf16/adapter_config.json", config);
    copy_file("tests/golden/peft/lora/adapter_model.safetensors", weights);
    support_fails(ctx, pf_model_load_adapter(m, dir, 0), PF_UNSUPPORTED, "belongs to nothing");
    copy_file("tests/golden/peft/rslora/adapter_config.json", config);
    support_write("bad/adapter_model.safetensors", "\2\0\0\0\0\0\0\0{}", 10);
    support_fails(ctx, pf_model_load_adapter(m, dir, 0), PF_FORMAT, "has no tensor");
    pf_model *b = load(ctx, "tests/golden/llama_b", PF_F32); /* the same names, other sizes */
    support_fails(ctx, pf_model_load_adapter(b, "tests/golden/peft/lora", 0), PF_SHAPE, "expected");
    assert_null(m->adapter);
    assert_true(m->parameter[0]->needs_grad);
    pf_model_free(b);
    pf_model_free(m);
    support_close(ctx);
}

/* names as PEFT holds them in memory, and without its prefix */
static void accepts_other_names(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m = load(ctx, LLAMA, PF_F32), *again = load(ctx, LLAMA, PF_F32);
    support_ok(ctx, pf_model_load_adapter(m, "tests/golden/peft/lora", 0));
    enum { MOST_PARTS = 8 };
    pfi_st_entry e[MOST_PARTS];
    char names[MOST_PARTS][PF_MAX_NAME];
    assert_int_equal(m->adapter->n_param, MOST_PARTS);
    for (int i = 0; i < MOST_PARTS; i++) {
        const pf_tensor *t = m->adapter->param[i];
        snprintf(names[i], sizeof names[i], "%.*s.default.weight", (int)(strlen(t->name + 17) - 7), t->name + 17);
        e[i] = (pfi_st_entry){.name = names[i], .dtype = t->dtype, .nd = t->nd, .dim = t->dim, .data = pfi_data(t)};
    }
    const char *dir = support_path("names");
    mkdir(dir, 0755);
    copy_file("tests/golden/peft/lora/adapter_config.json", support_path("names/adapter_config.json"));
    support_ok(ctx, pfi_st_write(ctx, support_path("names/adapter_model.safetensors"), e, MOST_PARTS, NULL));
    support_ok(ctx, pf_model_load_adapter(again, dir, 0));
    assert_int_equal(pf_model_fingerprint(m), pf_model_fingerprint(again));
    pf_model_free(m);
    pf_model_free(again);
    support_close(ctx);
}

/* ---- LoRA files for llama.cpp ---- */

static double gguf_value(const pfi_weight *w, int64_t i, int64_t k) {
    float v;
    memcpy(&v, w->data + 4 * (i * w->dim[1] + k), 4);
    return (double)v;
}

/* scale / (alpha / r) is in B; rows of q and k are interleaved a head */
static void gguf_holds_what_llama_cpp_adds(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m = load(ctx, "tests/golden/llama_b", PF_F32);
    support_ok(ctx, pf_model_load_adapter(m, "tests/golden/peft/patterns", 0));
    const char *path = support_path("lora.gguf");
    support_ok(ctx, pf_model_save_adapter(m, path));
    pfi_gguf *g;
    support_ok(ctx, pfi_gguf_open(ctx, path, &g));
    assert_int_equal(pfi_gguf_count(g), m->adapter->n_param);
    double alpha = 0;
    support_ok(ctx, pfi_gguf_number(g, "adapter.lora.alpha", &alpha));
    for (int i = 0; i < m->adapter->n_lora; i++) {
        const pfi_lora *l = &m->adapter->lora[i];
        const bool q = strstr(l->module, "q_proj") != NULL;
        char name[80];
        snprintf(name, sizeof name, "blk.%c.%s.weight.lora_b", l->module[13],
                 q                              ? "attn_q"
                 : strstr(l->module, "up_proj") ? "ffn_up"
                                                : "ffn_down");
        const pfi_weight *w = pfi_gguf_find(g, name);
        if (!w) fail_msg("%s is missing", name);
        assert_true(w->dim[0] == l->out && w->dim[1] == l->rank);
        const int64_t D = m->config.head_dim;
        for (int64_t row = 0; row < l->out; row++) {
            int64_t d = row % D, from = q ? row - d + (d % 2 ? D / 2 : 0) + d / 2 : row;
            for (int64_t k = 0; k < l->rank; k++) {
                double got = gguf_value(w, row, k) * alpha / (double)l->rank;
                double want = l->scale * pfi_get(l->b, (size_t)(from * l->rank + k));
                assert_true(fabs(got - want) <= 1e-6 * fmax(1, fabs(want)));
            }
        }
    }
    pfi_gguf_release(g);
    pf_model_free(m);
    const char *const cannot[][2] = {{"dora", "DoRA"}, {"saved", "modules_to_save"}};
    for (int i = 0; i < 2; i++) {
        char dir[64];
        m = load(ctx, "tests/golden/llama_b", PF_F32);
        support_fails(ctx, pfi_adapter_check_gguf(m), PF_STATE, "no adapter");
        snprintf(dir, sizeof dir, "tests/golden/peft/%s", cannot[i][0]);
        support_ok(ctx, pf_model_load_adapter(m, dir, 0));
        support_fails(ctx, pfi_adapter_check_gguf(m), PF_UNSUPPORTED, cannot[i][1]);
        support_fails(ctx, pf_model_save_adapter(m, path), PF_UNSUPPORTED, cannot[i][1]);
        pf_model_free(m);
    }
    support_close(ctx);
}

/* ---- allocation failure ---- */

static pf_status life(pf_ctx *ctx, void *ud) {
    pf_model *m = NULL, *reference = NULL;
    pf_trainer *t = NULL;
    pf_trainer_options o = pf_trainer_defaults();
    const pairs *p = ud;
    pf_status s = pf_model_load(ctx, LLAMA, PF_F32, &m);
    if (s == PF_OK) s = pf_model_adapt(m, "{\"r\": 1, \"use_dora\": true, \"modules_to_save\": [\"model.norm\"]}", 0);
    if (s == PF_OK) s = pf_model_save_adapter(m, support_path("sweep"));
    if (s == PF_OK) s = pf_model_merge(m);
    if (s == PF_OK) s = pf_model_load_adapter(m, support_path("sweep"), 0);
    if (s == PF_OK) s = pf_model_reference(m, &reference);
    if (s == PF_OK) s = pf_trainer_new(m, &o, &t);
    if (s == PF_OK) {
        pf_tensor *z = pf_model_logits(m, p->one, 3), *loss = z ? pf_call(ctx, "mean", PF_T("x", z)) : NULL;
        s = loss ? pf_trainer_accumulate(t, loss, 1) : pf_errcode(ctx);
        pf_tensor_free(z);
        pf_tensor_free(loss);
    }
    pf_trainer_free(t);
    pf_model_free(reference);
    pf_model_free(m);
    return s;
}

static void survives_allocation_failure(void **state) {
    (void)state;
    static pairs p;
    read_pairs("llama_a", &p);
    support_sweep(life, &p, 23);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peft_figures_double),
        cmocka_unit_test(peft_figures_float),
        cmocka_unit_test(fresh_is_base),
        cmocka_unit_test(lora_gradients_are_differences),
        cmocka_unit_test(only_the_adapter_is_trained),
        cmocka_unit_test(resumes_to_the_same_bits),
        cmocka_unit_test(dropout_is_for_training),
        cmocka_unit_test(threads_make_no_difference),
        cmocka_unit_test(sampling_has_the_adapter),
        cmocka_unit_test(a_loaded_adapter_is_its_own_reference),
        cmocka_unit_test(what_is_saved_is_what_was_loaded),
        cmocka_unit_test(refuses_configurations),
        cmocka_unit_test(refuses_directories),
        cmocka_unit_test(accepts_other_names),
        cmocka_unit_test(gguf_holds_what_llama_cpp_adds),
        cmocka_unit_test(survives_allocation_failure),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
