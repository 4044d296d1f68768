/* Forest and model: figures of transformers, the forest against one sequence at a time, order and threads. */
#include "support.h"

#include <jansson.h>
#include <math.h>

#include "file/safetensors.h"
#include "model/model.h"
#include "op/op.h"

/* ---- reading figures ---- */

static json_t *figures(const char *path) {
    json_error_t e;
    json_t *j = json_load_file(path, 0, &e);
    if (!j) fail_msg("%s:%d: %s (a committed fixture must be there)", path, e.line, e.text);
    return j;
}

static int32_t *ids_of(json_t *list, int32_t *out) {
    for (size_t i = 0; i < json_array_size(list); i++) *out++ = (int32_t)json_integer_value(json_array_get(list, i));
    return out;
}

static double number(json_t *obj, const char *key) { return json_number_value(json_object_get(obj, key)); }

static pf_tensor *op(pf_ctx *ctx, const char *name, pf_tensor *a, pf_tensor *b, double x) {
    return pfi_apply(ctx, name, (pf_tensor *[]){a, b, NULL}, (double[]){x, 0}, NULL, 0);
}

/* architecture's closeness of tensors */
static double distance(const pf_tensor *a, const double *want, size_t n, double floor) {
    double worst = 0, top = floor;
    for (size_t i = 0; i < n; i++) top = fmax(top, fabs(want[i]));
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs(pfi_get(a, i) - want[i]));
    return worst / top;
}

/* ---- the DPO batch of a fixture ---- */

enum { PAIRS = 4, MOST = 64 };

typedef struct dpo_batch {
    int32_t ids[2 * PAIRS][MOST];
    pf_sequence seq[2 * PAIRS]; /* chosen 0..3, rejected 4..7 */
    double want[2 * PAIRS][MOST], ref[2 * PAIRS];
} dpo_batch;

static void dpo_read(json_t *dpo, dpo_batch *b) {
    json_t *pairs = json_object_get(dpo, "pairs"), *prompts = json_object_get(dpo, "prompts");
    for (size_t i = 0; i < 2 * PAIRS; i++) {
        json_t *p = json_array_get(pairs, i % PAIRS);
        const char *side = i < PAIRS ? "chosen" : "rejected";
        json_t *prompt = json_array_get(prompts, (size_t)json_integer_value(json_object_get(p, "prompt")));
        int32_t *end = ids_of(json_object_get(p, side), ids_of(prompt, b->ids[i]));
        b->seq[i] =
            (pf_sequence){.ids = b->ids[i], .n = (size_t)(end - b->ids[i]), .scored_from = json_array_size(prompt)};
        char key[32];
        snprintf(key, sizeof key, "%s_logps", side);
        json_t *logps = json_object_get(p, key);
        for (size_t t = 0; t < json_array_size(logps); t++) b->want[i][t] = json_number_value(json_array_get(logps, t));
        snprintf(key, sizeof key, "ref_%s", side);
        b->ref[i] = number(p, key);
    }
}

/* mean over pairs of softplus(-beta margin), from plain operations: the loss file has its own test */
static pf_tensor *dpo_loss(pf_ctx *ctx, pf_tensor *logp, const pf_batch *b, const dpo_batch *d, double beta) {
    pf_tensor *sum = op(ctx, "sum_by", logp, pf_batch_tensor(b, "sequence"), 2 * PAIRS);
    double ref[PAIRS];
    for (int i = 0; i < PAIRS; i++) ref[i] = d->ref[i] - d->ref[PAIRS + i];
    const int64_t n = PAIRS;
    pf_tensor *side[2], *refs = pf_tensor_from(ctx, logp->dtype, 1, &n, ref, PAIRS);
    pf_tensor *minus_beta = pf_tensor_from(ctx, logp->dtype, 0, NULL, (double[]){-beta}, 1);
    for (int i = 0; i < 2; i++) side[i] = pfi_apply(ctx, "narrow", &sum, (double[]){0, i * PAIRS, PAIRS}, NULL, 0);
    pf_tensor *d1 = op(ctx, "sub", side[0], side[1], 0), *d2 = op(ctx, "sub", d1, refs, 0);
    pf_tensor *u = op(ctx, "mul", d2, minus_beta, 0), *l = op(ctx, "softplus", u, NULL, 0);
    pf_tensor *mean = op(ctx, "mean", l, NULL, (double)NAN);
    pf_tensor *all[] = {sum, side[0], side[1], refs, minus_beta, d1, d2, u, l};
    for (int i = 0; i < PFI_COUNT(all); i++) pf_tensor_free(all[i]);
    return mean;
}

static void check_logits(pf_model *m, json_t *sequence, double tol) {
    int32_t ids[MOST];
    size_t n = (size_t)(ids_of(json_object_get(sequence, "ids"), ids) - ids);
    pf_tensor *z = pf_model_logits(m, ids, n);
    assert_non_null(z);
    size_t V = (size_t)z->dim[1];
    for (size_t t = 0; t < n; t++)
        for (size_t v = 0; v < V; v++) {
            double want = json_number_value(json_array_get(json_array_get(json_object_get(sequence, "logits"), t), v));
            double got = pfi_get(z, t * V + v);
            if (!(fabs(got - want) <= tol * fmax(1, fabs(want))))
                fail_msg("logit [%zu][%zu] is %.9g, expected %.9g", t, v, got, want);
        }
    pf_tensor_free(z);
}

static void check_gradients(pf_model *m, const char *path, double tol) {
    pfi_st *st;
    assert_int_equal(pfi_st_open(m->ctx, path, &st), PF_OK);
    double top = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < m->n_parameters; i++) {
            const pfi_st_tensor *t = pfi_st_find(st, m->parameter[i]->name);
            assert_non_null(t);
            pf_tensor *want = pfi_st_tensor_of(st, t);
            size_t n = pfi_numel(want);
            double *w = malloc(n * sizeof *w);
            assert_int_equal(pf_tensor_read(want, w, n), PF_OK);
            for (size_t k = 0; pass == 0 && k < n; k++) top = fmax(top, fabs(w[k]));
            assert_non_null(m->parameter[i]->grad);
            double d = distance(m->parameter[i]->grad, w, n, 1e-3 * top);
            if (pass && !(d <= tol)) fail_msg("gradient of %s is off by %g", m->parameter[i]->name, d);
            free(w);
            pf_tensor_free(want);
        }
    pfi_st_release(st);
}

static void golden(const char *name, pf_dtype dtype, double tol_logit, double tol_grad) {
    char path[128];
    pf_ctx *ctx = support_open();
    pf_model *m;
    snprintf(path, sizeof path, "tests/golden/%s", name);
    if (pf_model_load(ctx, path, dtype, &m) != PF_OK) fail_msg("%s", pf_errmsg(ctx));
    snprintf(path, sizeof path, "tests/golden/%s.json", name);
    json_t *j = figures(path), *dpo = json_object_get(j, "dpo");
    check_logits(m, json_object_get(j, "sequence"), tol_logit);

    static dpo_batch d;
    dpo_read(dpo, &d);
    pf_batch *b;
    if (pf_batch_new(ctx, d.seq, 2 * PAIRS, &b) != PF_OK) fail_msg("%s", pf_errmsg(ctx));
    json_t *forest = json_object_get(dpo, "forest");
    assert_int_equal(pf_batch_size(b, "nodes"), (int64_t)number(forest, "distinct_inputs"));
    assert_int_equal(pf_batch_size(b, "entries"), (int64_t)number(forest, "scored"));
    pf_step_begin(ctx);
    pf_tensor *logp = pf_model_logp(m, b, NULL);
    if (!logp) fail_msg("%s", pf_errmsg(ctx));
    size_t e = 0;
    for (int i = 0; i < 2 * PAIRS; i++)
        for (size_t t = 0; t < d.seq[i].n - d.seq[i].scored_from; t++, e++)
            if (!(fabs(pfi_get(logp, e) - d.want[i][t]) <= tol_logit * fmax(1, fabs(d.want[i][t]))))
                fail_msg("log-prob of sequence %d token %zu is %.9g, expected %.9g", i, t, pfi_get(logp, e),
                         d.want[i][t]);
    pf_tensor *loss = dpo_loss(ctx, logp, b, &d, number(dpo, "beta"));
    assert_true(fabs(pf_tensor_item(loss) - number(dpo, "loss")) <= tol_logit);
    if (pf_backward(loss) != PF_OK) fail_msg("%s", pf_errmsg(ctx));
    snprintf(path, sizeof path, "tests/golden/%s.grad.safetensors", name);
    check_gradients(m, path, tol_grad);
    pf_tensor_free(logp);
    pf_tensor_free(loss);
    pf_step_end(ctx);
    pf_batch_free(b);
    json_decref(j);
    pf_model_free(m);
    support_close(ctx);
}

/* tied head; then untied, head_dim of its own, another rope base. The figures' gradients are stored in float32. */
static void test_golden_a_double(void **state) {
    (void)state;
    golden("llama_a", PF_F64, 1e-9, 1e-6);
}
static void test_golden_b_double(void **state) {
    (void)state;
    golden("llama_b", PF_F64, 1e-9, 1e-6);
}
static void test_golden_a_float(void **state) {
    (void)state;
    golden("llama_a", PF_F32, 1e-5, 1e-4);
}
static void test_golden_b_float(void **state) {
    (void)state;
    golden("llama_b", PF_F32, 1e-5, 1e-4);
}

/* ---- the forest against one sequence at a time ---- */

static uint32_t draw(uint64_t *at, uint32_t below) {
    uint32_t r[4];
    pfi_random_u32x4(5, 0, (*at)++, r);
    return r[0] % below;
}

/* Random tries: nested, duplicate, single-token and empty branches, marks anywhere. */
static size_t random_sequences(uint64_t seed, int32_t ids[][MOST], uint8_t score[][MOST], pf_sequence *s) {
    uint64_t at = seed * 10000;
    size_t n = 2 + draw(&at, 9);
    for (size_t i = 0; i < n; i++) {
        size_t len = 2 + draw(&at, 20), keep = 0;
        if (i && draw(&at, 4)) { /* continue an earlier one: from its start, its middle or its end */
            size_t from = draw(&at, (uint32_t)i);
            keep = draw(&at, 3) ? draw(&at, (uint32_t)s[from].n + 1) : s[from].n;
            memcpy(ids[i], ids[from], keep * sizeof(int32_t));
            if (keep >= 2 && !draw(&at, 3)) len = 0; /* a prefix or a duplicate */
        }
        for (size_t t = keep; t < keep + len; t++) ids[i][t] = (int32_t)draw(&at, 3);
        size_t total = keep + len > MOST ? MOST : keep + len;
        for (size_t t = 0; t < total; t++) score[i][t] = t > 0 && draw(&at, 3) > 0;
        score[i][1 + draw(&at, (uint32_t)total - 1)] = 1;
        s[i] = (pf_sequence){.ids = ids[i], .n = total, .score = score[i]};
    }
    return n;
}

/* input prefixes that no earlier sequence has, by comparing all of them */
static int64_t distinct_prefixes(const pf_sequence *s, size_t n) {
    int64_t count = 0;
    for (size_t i = 0; i < n; i++) {
        size_t inputs = 0;
        for (size_t t = 1; t < s[i].n; t++)
            if (s[i].score[t]) inputs = t;
        for (size_t len = 1; len <= inputs; len++) {
            bool seen = false;
            for (size_t k = 0; !seen && k < i; k++) {
                size_t other = 0;
                for (size_t t = 1; t < s[k].n; t++)
                    if (s[k].score[t]) other = t;
                seen = other >= len && memcmp(s[k].ids, s[i].ids, len * sizeof(int32_t)) == 0;
            }
            count += !seen;
        }
    }
    return count;
}

/* sum of weight[e] * logp[e] over entries first..; adds into the gradients, writes the log-probs */
static void weighted(pf_ctx *ctx, pf_model *m, const pf_sequence *s, size_t n, const double *weight, double *logp,
                     int64_t *nodes) {
    pf_batch *b;
    if (pf_batch_new(ctx, s, n, &b) != PF_OK) fail_msg("%s", pf_errmsg(ctx));
    int64_t E = pf_batch_size(b, "entries");
    if (nodes) *nodes = pf_batch_size(b, "nodes");
    pf_step_begin(ctx);
    pf_tensor *lp = pf_model_logp(m, b, NULL);
    if (!lp) fail_msg("%s", pf_errmsg(ctx));
    pf_tensor_read(lp, logp, (size_t)E);
    pf_tensor *w = pf_tensor_from(ctx, m->dtype, 1, &E, weight, (size_t)E);
    pf_tensor *p = op(ctx, "mul", lp, w, 0), *sum = op(ctx, "sum", p, NULL, (double)NAN);
    if (pf_backward(sum) != PF_OK) fail_msg("%s", pf_errmsg(ctx));
    pf_tensor *all[] = {lp, w, p, sum};
    for (int i = 0; i < 4; i++) pf_tensor_free(all[i]);
    pf_step_end(ctx);
    pf_batch_free(b);
}

static const char tiny_config[] =
    "{\"model_type\": \"llama\", \"vocab_size\": 5, \"hidden_size\": 16, \"intermediate_size\": 24,"
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"max_position_embeddings\": "
    "256,"
    "\"initializer_range\": 0.4, \"tie_word_embeddings\": false, \"rms_norm_eps\": 1e-5}";

static void test_forest_equals_padded(void **state) {
    (void)state;
    static int32_t ids[16][MOST];
    static uint8_t score[16][MOST];
    pf_sequence s[16];
    pf_ctx *ctx = support_open();
    pf_model *m;
    if (pf_model_new(ctx, tiny_config, NULL, 3, &m) != PF_OK) fail_msg("%s", pf_errmsg(ctx));
    for (uint64_t seed = 0; seed < 40; seed++) {
        size_t n = random_sequences(seed, ids, score, s);
        double weight[16 * MOST], forest[16 * MOST], alone[16 * MOST];
        for (int i = 0; i < 16 * MOST; i++) weight[i] = pfi_random_normal(9, seed, (uint64_t)i);
        int64_t nodes;
        weighted(ctx, m, s, n, weight, forest, &nodes);
        assert_int_equal(nodes, distinct_prefixes(s, n));
        pf_tensor *grad[32];
        for (int i = 0; i < m->n_parameters; i++) {
            grad[i] = pf_tensor_retain(m->parameter[i]->grad);
            pf_tensor_zero_grad(m->parameter[i]);
        }
        size_t e = 0;
        for (size_t i = 0; i < n; i++) {
            weighted(ctx, m, &s[i], 1, weight + e, alone + e, NULL);
            for (size_t t = 0; t < s[i].n; t++) e += s[i].score[t];
        }
        double top = 0;
        for (int i = 0; i < m->n_parameters; i++)
            for (size_t k = 0; k < pfi_numel(grad[i]); k++) top = fmax(top, fabs(pfi_get(grad[i], k)));
        for (size_t k = 0; k < e; k++)
            if (!(fabs(forest[k] - alone[k]) <= 1e-5 * fmax(1, fabs(alone[k]))))
                fail_msg("trie %d entry %zu: %.9g in the forest, %.9g alone", (int)seed, k, forest[k], alone[k]);
        for (int i = 0; i < m->n_parameters; i++) {
            size_t count = pfi_numel(grad[i]);
            double *want = malloc(count * sizeof *want);
            pf_tensor_read(grad[i], want, count);
            double d = distance(m->parameter[i]->grad, want, count, 1e-3 * top);
            if (!(d <= 1e-5)) fail_msg("trie %d: gradient of %s differs by %g", (int)seed, m->parameter[i]->name, d);
            free(want);
            pf_tensor_free(grad[i]);
            pf_tensor_zero_grad(m->parameter[i]);
        }
    }
    pf_model_free(m);
    support_close(ctx);
}

static void test_threads_same_bits(void **state) {
    (void)state;
    static int32_t ids[16][MOST];
    static uint8_t score[16][MOST];
    pf_sequence s[16];
    pf_ctx *ctx = support_open();
    pf_model *m;
    assert_int_equal(pf_model_new(ctx, tiny_config, NULL, 3, &m), PF_OK);
    size_t n = random_sequences(7, ids, score, s);
    double weight[16 * MOST], logp[3][16 * MOST] = {{0}};
    for (int i = 0; i < 16 * MOST; i++) weight[i] = pfi_random_normal(9, 1, (uint64_t)i);
    pf_tensor *first[32];
    for (int threads = 1; threads <= 3; threads++) {
        pf_set_threads(ctx, threads);
        weighted(ctx, m, s, n, weight, logp[threads - 1], NULL);
        assert_memory_equal(logp[0], logp[threads - 1], sizeof logp[0]);
        for (int i = 0; i < m->n_parameters; i++) {
            pf_tensor *g = m->parameter[i]->grad;
            if (threads == 1)
                first[i] = pf_tensor_retain(g);
            else
                assert_memory_equal(pfi_data(first[i]), pfi_data(g), pfi_numel(g) * sizeof(float));
            pf_tensor_zero_grad(m->parameter[i]);
        }
    }
    for (int i = 0; i < m->n_parameters; i++) pf_tensor_free(first[i]);
    pf_model_free(m);
    support_close(ctx);
}

static void test_batch_errors(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_batch *b;
    int32_t ids[] = {1, 2, 3};
    assert_int_equal(pf_batch_new(ctx, NULL, 0, &b), PF_RANGE);
    assert_int_equal(pf_batch_new(ctx, &(pf_sequence){.ids = ids, .n = 0}, 1, &b), PF_RANGE);
    assert_int_equal(pf_batch_new(ctx, &(pf_sequence){.ids = ids, .n = 3, .scored_from = 0}, 1, &b), PF_RANGE);
    assert_int_equal(pf_batch_new(ctx, &(pf_sequence){.ids = ids, .n = 3, .scored_from = 3}, 1, &b), PF_RANGE);
    assert_null(b);
    pf_model *m;
    assert_int_equal(pf_model_new(ctx, tiny_config, NULL, 3, &m), PF_OK);
    int32_t far[] = {1, 9, 0};
    assert_int_equal(pf_batch_new(ctx, &(pf_sequence){.ids = far, .n = 3, .scored_from = 2}, 1, &b), PF_OK);
    assert_null(pf_model_logp(m, b, NULL));
    assert_int_equal(pf_errcode(ctx), PF_RANGE);
    pf_batch_free(b);
    static int32_t many[300];
    assert_null(pf_model_logits(m, many, 300));
    assert_non_null(strstr(pf_errmsg(ctx), "256"));
    pf_model_free(m);
    support_close(ctx);
}

/* attention over q, k, v of one head; start and parent as given */
static pf_tensor *attend(pf_ctx *ctx, pf_tensor *x, int64_t branches, const double *start, const double *parent) {
    const int64_t more = branches + 1;
    pf_tensor *s = pf_tensor_from(ctx, PF_I32, 1, &more, start, (size_t)more);
    pf_tensor *p = pf_tensor_from(ctx, PF_I32, 1, &branches, parent, (size_t)branches);
    pf_tensor *o = pfi_apply(ctx, "attention", (pf_tensor *[]){x, x, x, s, p}, (double[]){(double)NAN, 0, 0}, NULL, 0);
    pf_tensor_free(s);
    pf_tensor_free(p);
    return o;
}

static void test_attention_order_and_threads(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_tensor *x = pf_tensor_new(ctx, PF_F32, 3, (int64_t[]){4, 1, 2});
    pf_tensor_set_grad(x, true);
    /* a child that comes after its uncle is out of order, and a child of a tree that is done with */
    assert_null(attend(ctx, x, 4, (double[]){0, 1, 2, 3, 4}, (double[]){-1, 0, 0, 1}));
    assert_int_equal(pf_errcode(ctx), PF_RANGE);
    assert_null(attend(ctx, x, 3, (double[]){0, 1, 2, 4}, (double[]){-1, -1, 0}));
    assert_int_equal(pf_errcode(ctx), PF_RANGE);
    /* more threads backward than forward had scratch for */
    pf_set_threads(ctx, 1);
    pf_tensor *o = attend(ctx, x, 1, (double[]){0, 4}, (double[]){-1});
    pf_tensor *sum = op(ctx, "sum", o, NULL, (double)NAN);
    pf_set_threads(ctx, 8);
    assert_int_equal(pf_backward(sum), PF_OK);
    pf_tensor_free(o);
    pf_tensor_free(sum);
    pf_tensor_free(x);
    assert_int_equal(pf_backward(NULL), PF_STATE);
    support_close(ctx);
}

static pf_status oom_run(pf_ctx *ctx, void *ud) {
    pf_sequence *s = ud;
    pf_model *m = NULL;
    pf_batch *b = NULL;
    pf_status st = pf_model_new(ctx, tiny_config, NULL, 3, &m);
    if (st == PF_OK) st = pf_batch_new(ctx, s, 3, &b);
    if (st == PF_OK) st = pf_step_begin(ctx);
    if (st == PF_OK) {
        pf_tensor *lp = pf_model_logp(m, b, NULL), *sum = op(ctx, "sum", lp, NULL, (double)NAN);
        st = sum ? pf_backward(sum) : pf_errcode(ctx);
        pf_tensor_free(lp);
        pf_tensor_free(sum);
        pf_step_end(ctx);
    }
    pf_generate_options o = pf_generate_defaults();
    o.max_tokens = 3;
    o.samples = 2;
    pf_sample *out = NULL;
    if (st == PF_OK) st = pf_generate(m, s, 3, &o, &out);
    if (st == PF_OK) pf_samples_free(ctx, out, 6);
    pf_batch_free(b);
    pf_model_free(m);
    return st;
}

static void test_allocation_failure(void **state) {
    (void)state;
    static int32_t ids[] = {1, 2, 3, 1, 2, 4, 1, 0};
    pf_sequence s[] = {{.ids = ids, .n = 3, .scored_from = 1},
                       {.ids = ids + 3, .n = 3, .scored_from = 1},
                       {.ids = ids + 6, .n = 2, .scored_from = 1}};
    support_sweep(oom_run, s, 1);
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_a_double),      cmocka_unit_test(test_golden_b_double),
        cmocka_unit_test(test_golden_a_float),       cmocka_unit_test(test_golden_b_float),
        cmocka_unit_test(test_forest_equals_padded), cmocka_unit_test(test_threads_same_bits),
        cmocka_unit_test(test_batch_errors),         cmocka_unit_test(test_attention_order_and_threads),
        cmocka_unit_test(test_allocation_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
