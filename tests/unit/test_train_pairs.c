/* pf_train: tokens as TRL makes them, order and repetition, learning, cancelling, refusals, failing memory. */
#include <math.h>

#include "model/model.h"
#include "support.h"

enum { PAIRS_N = 5 };

static const pf_pair pairs[PAIRS_N] = {
    {"ab", "ba", "bb"}, {"a", "c", ""}, {"abc", "acb", "aab"}, {"b", "ac", "bcca"}, {"ca", "b", "cb"}};

/* "ab" is one token: a boundary between a and b falls inside it */
static const char tokenizer_json[] =
    "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"<s>\": 0, \"</s>\": 1, \"a\": 2, \"b\": 3, \"c\": 4, \"ab\": 5}, "
    "\"merges\": [\"a b\"]}, \"decoder\": {\"type\": \"Fuse\"}, \"added_tokens\": ["
    "{\"id\": 0, \"content\": \"<s>\", \"special\": true}, {\"id\": 1, \"content\": \"</s>\", \"special\": true}]}";

static const char config_json[] =
    "{\"model_type\": \"llama\", \"vocab_size\": 6, \"hidden_size\": 16, \"intermediate_size\": 24, "
    "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, "
    "\"max_position_embeddings\": 8, \"rms_norm_eps\": 1e-5, \"hidden_act\": \"silu\", \"rope_theta\": 10000, "
    "\"tie_word_embeddings\": true, \"initializer_range\": 0.2, \"eos_token_id\": 1}";

static pf_status model_make(pf_ctx *ctx, bool tokens, pf_model **m) {
    pf_tokenizer *tok = NULL;
    if (tokens) {
        const char *path = support_write("tokenizer.json", tokenizer_json, strlen(tokenizer_json));
        PF_TRY(pf_tokenizer_load(ctx, path, &tok));
    }
    pf_status s = pf_model_new(ctx, config_json, tok, 3, m);
    pf_tokenizer_free(tok);
    return s;
}

/* what the callback saw */
typedef struct seen {
    pf_ctx *ctx;
    int calls, cancel_at;
    double first_loss, first_margin, loss, accuracy, chosen, rejected;
} seen;

static void watch(void *ud, const pf_train_info *info) {
    seen *w = ud;
    assert_int_equal(info->step.step, ++w->calls);
    w->loss = info->step.loss;
    for (int i = 0; i < info->n_metrics; i++) {
        const pf_metric *m = &info->metrics[i];
        if (strcmp(m->name, "rewards/accuracies") == 0) w->accuracy = m->value;
        if (strcmp(m->name, "rewards/margins") == 0 && w->calls == 1) w->first_margin = m->value;
        if (strcmp(m->name, "logps/chosen") == 0 && w->calls == 1) w->chosen = m->value;
        if (strcmp(m->name, "logps/rejected") == 0 && w->calls == 1) w->rejected = m->value;
    }
    if (w->calls == 1) w->first_loss = w->loss;
    if (w->calls == w->cancel_at) pf_cancel(w->ctx);
}

static pf_train_options options(seen *w) {
    pf_train_options o = pf_train_defaults();
    o.trainer.steps = 60;
    o.trainer.lr = 1e-2;
    o.batch = PAIRS_N;
    o.on_step = watch;
    o.ud = w;
    return o;
}

/* sum of the log-probabilities of ids[from..] */
static double score(pf_model *m, const int32_t *ids, size_t n, size_t from) {
    float *logp;
    size_t k;
    double sum = 0;
    support_ok(m->ctx,
               pf_reference_logp(m, &(pf_sequence){.ids = ids, .n = n, .scored_from = from}, 1, NULL, &logp, &k, NULL));
    assert_int_equal(k, n - from);
    for (size_t i = 0; i < k; i++) sum += (double)logp[i];
    pf_release(m->ctx, logp);
    return sum;
}

static void learns_what_is_preferred(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m;
    seen w = {.ctx = ctx};
    pf_train_options o = options(&w);
    support_ok(ctx, model_make(ctx, true, &m));
    support_ok(ctx, pf_train(m, pairs, PAIRS_N, &o));
    assert_int_equal(w.calls, 60);
    assert_true(fabs(w.first_loss - log(2)) < 1e-6 && fabs(w.first_margin) < 1e-6);
    assert_true(w.loss < 0.2 && w.accuracy == 1);
    for (int i = 0; i < m->n_parameters; i++) assert_true(m->parameter[i]->needs_grad && !m->parameter[i]->grad);
    pf_model_free(m);
    support_close(ctx);
}

/* the ids of the joint text, then EOS; scored from where they leave the prompt's own, and never the first */
static void tokens_are_those_of_trl(void **state) {
    (void)state;
    static const int32_t plain[] = {5, 3, 2, 1};  /* "ab" + "ba": ab b a </s> */
    static const int32_t empty[] = {2, 1};        /* "a" + "": a </s> */
    static const int32_t straddle[] = {5, 2, 1};  /* "a" + "ba": joint is ab a, which leaves the prompt at once */
    static const int32_t inside[] = {4, 5, 2, 1}; /* "ca" + "ba": c ab a leaves the prompt after c, */
    static const int32_t other[] = {4, 2, 1};     /* and so must the other answer: "ca" + "" */
    static const struct {
        pf_pair pair;
        const int32_t *chosen, *rejected;
        size_t n_chosen, n_rejected;
    } cases[] = {{{"a", "ba", ""}, straddle, empty, 3, 2},
                 {{"ca", "ba", ""}, inside, other, 4, 3},
                 {{"ab", "ba", "ba"}, plain, plain, 4, 4}};
    pf_ctx *ctx = support_open();
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        pf_model *m;
        seen w = {.ctx = ctx, .cancel_at = 1};
        pf_train_options o = options(&w);
        o.batch = 1;
        support_ok(ctx, model_make(ctx, true, &m));
        double chosen = score(m, cases[i].chosen, cases[i].n_chosen, 1);
        double rejected = score(m, cases[i].rejected, cases[i].n_rejected, 1);
        assert_int_equal(pf_train(m, &cases[i].pair, 1, &o), PF_CANCELLED);
        if (!(fabs(w.chosen - chosen) < 1e-5 && fabs(w.rejected - rejected) < 1e-5))
            fail_msg("case %d: %g and %g, expected %g and %g", i, w.chosen, w.rejected, chosen, rejected);
        pf_model_free(m);
    }
    support_close(ctx);
}

static uint64_t trained(uint64_t seed, int threads) {
    pf_ctx *ctx = support_open();
    pf_model *m;
    seen w = {.ctx = ctx};
    pf_train_options o = options(&w);
    o.batch = 2;
    o.seed = seed;
    o.trainer.steps = 7;
    support_ok(ctx, pf_set_threads(ctx, threads));
    support_ok(ctx, model_make(ctx, true, &m));
    support_ok(ctx, pf_train(m, pairs, PAIRS_N, &o));
    uint64_t f = pf_model_fingerprint(m);
    pf_model_free(m);
    support_close(ctx);
    return f;
}

static void same_seed_same_bits(void **state) {
    (void)state;
    assert_true(trained(1, 1) == trained(1, 1));
    assert_true(trained(1, 1) == trained(1, 2));
    assert_true(trained(1, 1) == trained(1, 3));
    assert_true(trained(1, 1) != trained(2, 1));
}

static void cancelling_keeps_what_was_learned(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m;
    seen w = {.ctx = ctx, .cancel_at = 3}, again = {.ctx = ctx};
    pf_train_options o = options(&w);
    support_ok(ctx, model_make(ctx, true, &m));
    uint64_t before = pf_model_fingerprint(m);
    support_fails(ctx, pf_train(m, pairs, PAIRS_N, &o), PF_CANCELLED, "after step 3 of 60");
    assert_int_equal(w.calls, 3);
    assert_true(pf_model_fingerprint(m) != before);
    pf_cancel(ctx); /* before the first step */
    o.ud = &again;
    support_fails(ctx, pf_train(m, pairs, PAIRS_N, &o), PF_CANCELLED, "reference");
    assert_int_equal(again.calls, 0);
    o.trainer.steps = 2;
    support_ok(ctx, pf_train(m, pairs, PAIRS_N, &o)); /* the request was used up */
    pf_model_free(m);
    support_close(ctx);
}

static void stops_when_nothing_is_finite(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m;
    seen w = {.ctx = ctx};
    pf_train_options o = options(&w);
    o.trainer.optimizer = "sgd";
    o.trainer.schedule = "constant";
    o.trainer.clip = 0;
    o.trainer.lr = 1e38;
    support_ok(ctx, model_make(ctx, true, &m));
    support_fails(ctx, pf_train(m, pairs, PAIRS_N, &o), PF_NONFINITE, "lower learning rate");
    assert_true(w.calls >= 6 && w.calls < 60);
    pf_model_free(m);
    support_close(ctx);
}

static void bad_input_is_refused(void **state) {
    (void)state;
    static const pf_pair longer = {"ca", "b", "cccccc"}, empty = {"", "a", "b"}, hole = {"a", NULL, "b"},
                         utf8 = {"a", "b", "\xff"};
    pf_ctx *ctx = support_open();
    pf_model *m, *bare;
    seen w = {.ctx = ctx};
    pf_train_options o = options(&w), bad;
    support_ok(ctx, model_make(ctx, true, &m));
    support_ok(ctx, model_make(ctx, false, &bare));
    uint64_t before = pf_model_fingerprint(m);
    support_fails(ctx, pf_train(m, pairs, 0, &o), PF_RANGE, "no pairs");
    support_fails(ctx, pf_train(m, &longer, 1, &o), PF_RANGE, "pair 1: prompt and rejected answer have 9 tokens");
    support_fails(ctx, pf_train(m, &empty, 1, &o), PF_RANGE, "pair 1 has an empty prompt");
    support_fails(ctx, pf_train(m, &hole, 1, &o), PF_RANGE, "pair 1 has no chosen answer");
    support_fails(ctx, pf_train(m, &utf8, 1, &o), PF_FORMAT, "pair 1");
    support_fails(ctx, pf_train(bare, pairs, PAIRS_N, &o), PF_STATE, "no tokenizer");
    bad = o;
    bad.batch = 0;
    support_fails(ctx, pf_train(m, pairs, PAIRS_N, &bad), PF_RANGE, "at least 1 pair");
    bad = o;
    bad.trainer.steps = 0;
    support_fails(ctx, pf_train(m, pairs, PAIRS_N, &bad), PF_RANGE, "steps");
    bad = o;
    bad.variant = "sigmoyd";
    support_fails(ctx, pf_train(m, pairs, PAIRS_N, &bad), PF_NAME, "sigmoyd");
    bad = o;
    bad.beta = -1;
    support_fails(ctx, pf_train(m, pairs, PAIRS_N, &bad), PF_RANGE, "beta");
    assert_int_equal(w.calls, 0);
    assert_true(pf_model_fingerprint(m) == before);
    pf_model_free(m);
    pf_model_free(bare);
    support_close(ctx);
}

static void count_only(void *ud, const pf_train_info *info) {
    (void)info;
    ++*(int *)ud;
}

static pf_status sweep_train(pf_ctx *ctx, void *ud) {
    (void)ud;
    int calls = 0;
    pf_model *m = NULL;
    pf_train_options o = pf_train_defaults();
    o.trainer.steps = 2;
    o.batch = 2;
    o.on_step = count_only;
    o.ud = &calls;
    PF_TRY(model_make(ctx, true, &m));
    pf_status s = pf_train(m, pairs, 2, &o);
    pf_model_free(m);
    return s;
}

static pf_status train_within(pf_ctx *ctx, size_t memory, uint64_t *fingerprint) {
    seen w = {.ctx = ctx};
    pf_model *m;
    pf_train_options o = options(&w);
    o.memory = memory;
    o.trainer.steps = 4;
    support_ok(ctx, model_make(ctx, true, &m));
    pf_status s = pf_train(m, pairs, PAIRS_N, &o);
    *fingerprint = pf_model_fingerprint(m);
    pf_model_free(m);
    return s;
}

static void keeps_within_memory(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    uint64_t free, enough, little, start;
    support_ok(ctx, train_within(ctx, 0, &free));
    support_ok(ctx, train_within(ctx, (size_t)1 << 30, &enough));
    assert_true(free == enough);
    support_ok(ctx, train_within(ctx, ((size_t)4 << 20) + 500000, &little)); /* what is in use counts 4 MiB at least */
    support_fails(ctx, train_within(ctx, (size_t)4 << 20, &start), PF_RANGE, "are too little: training takes");
    assert_true(start != free);
    support_close(ctx);
}

static void memory_may_fail(void **state) {
    (void)state;
    support_sweep(sweep_train, NULL, 11);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_what_is_preferred),     cmocka_unit_test(tokens_are_those_of_trl),
        cmocka_unit_test(same_seed_same_bits),          cmocka_unit_test(cancelling_keeps_what_was_learned),
        cmocka_unit_test(stops_when_nothing_is_finite), cmocka_unit_test(bad_input_is_refused),
        cmocka_unit_test(keeps_within_memory),          cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
