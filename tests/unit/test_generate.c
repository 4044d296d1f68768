/* Sampling: how one token is drawn, that a sample depends on nothing around it, and when it ends. */
#include "kernel/kernel.h"
#include "model/adapter.h"
#include "model/sampler.h"
#include "stories.h"

/* ---- one token from logits made by hand ---- */

enum { FEW = 5, DRAWS = 2000 };

/* logits whose probabilities at temperature 1 are .4 .3 .2 .1, in this order of ids, and one that cannot be drawn */
static void few_logits(float *z) {
    const double p[FEW] = {.2, .4, 0, .1, .3};
    for (int i = 0; i < FEW; i++) z[i] = (float)log(p[i]) + 3;
}

static pf_generate_options cut(int top_k, double top_p, double min_p) {
    pf_generate_options o = pf_generate_defaults();
    o.top_k = top_k;
    o.top_p = top_p;
    o.min_p = min_p;
    return o;
}

static int32_t drawn(const float *logits, int64_t n, const pf_generate_options *o, double u, float *logp) {
    int32_t id;
    void *work = malloc(pfi_sample_room(1, n));
    assert_non_null(work);
    pfi_sample_rows(1, logits, 1, n, o, &u, &id, logp, work);
    free(work);
    return id;
}

/* u runs evenly over [0, 1): the share of each id must be its probability, to one draw a boundary */
static void shares_are(const pf_generate_options *o, const double *want) {
    float z[FEW], logp;
    double share[FEW] = {0};
    few_logits(z);
    for (int k = 0; k < DRAWS; k++) {
        int32_t id = drawn(z, FEW, o, (k + 0.5) / DRAWS, &logp);
        assert_in_range(id, 0, FEW - 1);
        share[id] += 1.0 / DRAWS;
        assert_true(fabs((double)logp - ((double)z[id] - 3)) < 1e-6); /* at temperature 1, over all, whatever is cut */
    }
    for (int i = 0; i < FEW; i++)
        if (!(fabs(share[i] - want[i]) <= 2.0 / DRAWS))
            fail_msg("share of %d is %g, expected %g", i, share[i], want[i]);
}

static void test_shares(void **state) {
    (void)state;
    pf_generate_options o = pf_generate_defaults();
    shares_are(&o, (double[]){.2, .4, 0, .1, .3});
    o.temperature = 0.5; /* p^2, normalised */
    shares_are(&o, (double[]){4 / 30.0, 16 / 30.0, 0, 1 / 30.0, 9 / 30.0});
    o.temperature = 0;
    shares_are(&o, (double[]){0, 1, 0, 0, 0});
}

static void test_cuts(void **state) {
    (void)state;
    pf_generate_options o = cut(1, 1, 0);
    shares_are(&o, (double[]){0, 1, 0, 0, 0});
    o = cut(2, 1, 0);
    shares_are(&o, (double[]){0, 4 / 7.0, 0, 0, 3 / 7.0});
    o = cut(99, 1, 0);
    shares_are(&o, (double[]){.2, .4, 0, .1, .3});
    o = cut(0, 0.39, 0); /* the first alone reaches it */
    shares_are(&o, (double[]){0, 1, 0, 0, 0});
    o = cut(0, 0.69, 0); /* .4 + .3 is the first sum that does */
    shares_are(&o, (double[]){0, 4 / 7.0, 0, 0, 3 / 7.0});
    o = cut(0, 0.71, 0);
    shares_are(&o, (double[]){2 / 9.0, 4 / 9.0, 0, 0, 3 / 9.0});
    o = cut(0, 1, 0.74); /* at least .74 x .4 */
    shares_are(&o, (double[]){0, 4 / 7.0, 0, 0, 3 / 7.0});
    o = cut(0, 1, 0.76);
    shares_are(&o, (double[]){0, 1, 0, 0, 0});
    o = cut(0, 1, 0.4);
    shares_are(&o, (double[]){2 / 9.0, 4 / 9.0, 0, 0, 3 / 9.0});
    o = cut(0, 1, 1);
    shares_are(&o, (double[]){0, 1, 0, 0, 0});
    o = cut(2, 0.5, 0); /* top_p of what top_k left: 4/7 reaches it, .4 of all would not */
    shares_are(&o, (double[]){0, 1, 0, 0, 0});
    o = cut(0, 0.6, 0); /* of the probabilities at this temperature: 16/30 and 9/30 */
    o.temperature = 0.5;
    shares_are(&o, (double[]){0, 16 / 25.0, 0, 0, 9 / 25.0});
}

/* the cuts of a large vocabulary, by sorting all of it */
enum { MANY = 5000 };

static int by_weight(const void *a, const void *b) {
    const float *x = *(const float *const *)a, *y = *(const float *const *)b;
    return *x != *y ? (*x < *y ? 1 : -1) : x < y ? -1 : x > y;
}

static int32_t naive_draw(const float *z, const pf_generate_options *o, double u) {
    static const float *order[MANY];
    double p[MANY] = {0}, total = 0, reached = 0, at = 0;
    int n = o->top_k > 0 ? o->top_k : MANY, keep = 0;
    for (int i = 0; i < MANY; i++) order[i] = &z[i];
    qsort(order, MANY, sizeof *order, by_weight);
    for (int i = 0; i < n; i++) total += p[i] = exp(((double)*order[i] - (double)*order[0]) / o->temperature);
    while (keep < n && (o->top_p >= 1 || keep == 0 || reached < o->top_p * total)) reached += p[keep++];
    while (keep > 1 && p[keep - 1] < o->min_p) reached -= p[--keep];
    for (int i = 0; i < keep; i++)
        if ((at += p[i]) > u * reached) return (int32_t)(order[i] - z);
    return (int32_t)(order[keep - 1] - z);
}

static void test_many(void **state) {
    (void)state;
    static float z[MANY];
    for (int i = 0; i < MANY; i++) z[i] = (float)(3 * pfi_random_normal(11, 0, (uint64_t)i));
    const pf_generate_options cuts[] = {cut(40, 1, 0),    cut(0, 0.9, 0),  cut(0, 1, 0.05),    cut(4000, 0.99, 1e-3),
                                        cut(3, 0.5, 0.2), cut(4999, 1, 0), cut(0, 0.999999, 0)};
    for (int i = 0; i < PFI_COUNT(cuts); i++)
        for (int k = 0; k < 200; k++) {
            pf_generate_options o = cuts[i];
            o.temperature = k % 2 ? 1 : 1.7;
            const double u = (k + 0.37) / 200;
            float logp;
            assert_int_equal(drawn(z, MANY, &o, u, &logp), naive_draw(z, &o, u));
        }
}

/* all of a large vocabulary, in the order of ids; whole blocks of it cannot be drawn */
static void all_drawn(uint64_t seed, int step) {
    static float z[MANY];
    static double reached[MANY]; /* by the token and those before it */
    double total = 0;
    float logp;
    const pf_generate_options o = pf_generate_defaults();
    for (int i = 0; i < MANY; i++) {
        const bool never = i < 300 || (i > 2000 && i < 2900) || i > 4600;
        z[i] = never ? -HUGE_VALF : (float)(3 * pfi_random_normal(seed, 0, (uint64_t)i));
        reached[i] = total += exp((double)z[i]);
    }
    for (int i = 0; i < MANY; i += step) {
        if (isinf(z[i]) || exp((double)z[i]) / total < 1e-6) continue; /* floats do not tell it from its neighbours */
        assert_int_equal(drawn(z, MANY, &o, (reached[i] - exp((double)z[i]) / 2) / total, &logp), i);
    }
    assert_int_equal(drawn(z, MANY, &o, 0, &logp), 300);
    assert_int_equal(drawn(z, MANY, &o, nextafter(1, 0), &logp), 4600);
}

static void test_all(void **state) {
    (void)state;
    for (uint64_t seed = 12; seed < 32; seed++) all_drawn(seed, seed == 12 ? 1 : 97);
}

static void test_edges(void **state) {
    (void)state;
    float equal[FEW] = {1, 1, 1, 1, 1}, far[FEW] = {-1000, 0, 1000, 0, -HUGE_VALF}, logp;
    pf_generate_options o = cut(1, 1, 0);
    assert_int_equal(drawn(equal, FEW, &o, 0.99, &logp), 0); /* the smallest of equals, as greedy */
    o.temperature = 0;
    assert_int_equal(drawn(equal, FEW, &o, 0.99, &logp), 0);
    assert_true(fabs((double)logp + log(5)) < 1e-6);
    o = pf_generate_defaults();
    assert_int_equal(drawn(equal, FEW, &o, nextafter(1, 0), &logp), 4);
    assert_int_equal(drawn(far, FEW, &o, nextafter(1, 0), &logp), 2);
    assert_true(logp == 0);
    o.temperature = 1e-60;
    assert_int_equal(drawn(equal, FEW, &o, 0.5, &logp), 2);
    assert_int_equal(drawn(far, FEW, &o, 0.5, &logp), 2);
    o.temperature = 1e300; /* all alike, but what cannot be drawn */
    assert_int_equal(drawn(far, FEW, &o, 0, &logp), 0);
    assert_int_equal(drawn(far, FEW, &o, nextafter(1, 0), &logp), 3);
}

/* ---- samples of a model ---- */

/* With the data: stories260K. Without: the committed random model. */
static pf_model *some_model(pf_ctx *ctx, pf_dtype dtype) {
    pf_model *m;
    if (stories_root()) return stories_model(ctx, dtype);
    support_ok(ctx, pf_model_load(ctx, "tests/golden/llama_a", dtype, &m));
    return m;
}

enum { PROMPTS = 7, LONG = 3, LONG_TOKENS = 100, SAMPLES = 2, TOKENS = 24 };
static int32_t long_ids[LONG][LONG_TOKENS];
static int32_t short_ids[] = {1, 40, 17, 3, 1, 40, 17, 55, 9, 9, 9, 9, 9, 1, 33, 60, 41, 5, 28, 1, 40, 17};
/* two that begin alike, one that is a prefix of another, one of one token, and more than one pass takes */
static const pf_sequence prompts[PROMPTS] = {{.ids = short_ids, .n = 4},
                                             {.ids = long_ids[0], .n = LONG_TOKENS},
                                             {.ids = short_ids + 4, .n = 15},
                                             {.ids = long_ids[1], .n = LONG_TOKENS},
                                             {.ids = short_ids + 19, .n = 3},
                                             {.ids = short_ids + 19, .n = 1},
                                             {.ids = long_ids[2], .n = LONG_TOKENS}};

static int fill_prompts(void **state) {
    (void)state;
    for (uint64_t i = 0; i < LONG; i++)
        for (uint64_t t = 0; t < LONG_TOKENS; t++)
            long_ids[i][t] = t == 0 ? 1 : 3 + (int32_t)(58 * pfi_random_uniform(1, i, t));
    return 0;
}

static pf_sample *samples_of(pf_model *m, const pf_sequence *p, size_t n, const pf_generate_options *o) {
    pf_sample *s;
    support_ok(m->ctx, pf_generate(m, p, n, o, &s));
    return s;
}

static bool same_sample(const pf_sample *a, const pf_sample *b) {
    return a->n == b->n && memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0 && a->finish == b->finish &&
           memcmp(a->logp, b->logp, a->n * sizeof *a->logp) == 0; /* the same bits */
}

static void must_be_same(const pf_sample *got, const pf_sample *want, const char *what, int number) {
    if (!same_sample(got, want)) fail_msg("sample %d differs %s", number, what);
}

static void check_independence(pf_model *m, const pf_generate_options *base) {
    pf_generate_options o = *base;
    pf_sample *all = samples_of(m, prompts, PROMPTS, &o);
    static const int around[][2] = {{1, 0}, {1, 1}, {2, 2}, {3, 5}, {2, 0}}; /* threads, batch */
    for (int k = 0; k < PFI_COUNT(around); k++) {
        support_ok(m->ctx, pf_set_threads(m->ctx, around[k][0]));
        o.batch = around[k][1];
        pf_sample *s = samples_of(m, prompts, PROMPTS, &o);
        for (int i = 0; i < PROMPTS * SAMPLES; i++) must_be_same(&s[i], &all[i], "with threads or batch", i);
        pf_samples_free(m->ctx, s, PROMPTS * SAMPLES);
    }
    o = *base;
    for (int p = 0; p < PROMPTS; p++) {
        pf_sample *s = samples_of(m, &prompts[p], 1, &o);
        for (int i = 0; i < SAMPLES; i++) must_be_same(&s[i], &all[p * SAMPLES + i], "without the other prompts", i);
        pf_samples_free(m->ctx, s, SAMPLES);
        o.samples = 1;
        s = samples_of(m, &prompts[p], 1, &o);
        must_be_same(s, &all[p * SAMPLES], "alone", p);
        pf_samples_free(m->ctx, s, 1);
        o.samples = SAMPLES;
    }
    pf_sequence turned[PROMPTS];
    for (int p = 0; p < PROMPTS; p++) turned[p] = prompts[PROMPTS - 1 - p];
    pf_sample *s = samples_of(m, turned, PROMPTS, &o);
    for (int i = 0; i < PROMPTS * SAMPLES; i++)
        must_be_same(&s[i], &all[(PROMPTS - 1 - i / SAMPLES) * SAMPLES + i % SAMPLES], "in another order", i);
    pf_samples_free(m->ctx, s, PROMPTS * SAMPLES);
    pf_samples_free(m->ctx, all, PROMPTS * SAMPLES);
}

static pf_generate_options ordinary(void) {
    pf_generate_options o = pf_generate_defaults();
    o.samples = SAMPLES;
    o.max_tokens = TOKENS;
    o.seed = 11;
    return o;
}

static void test_independence(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m = some_model(ctx, PF_F32);
    pf_generate_options o = ordinary();
    check_independence(m, &o);
    o.temperature = 1.4;
    o.top_p = 0.9;
    o.top_k = 30;
    check_independence(m, &o);
    pf_model_free(m);
    m = some_model(ctx, PF_BF16);
    o = ordinary();
    o.compute = PF_BF16;
    o.kv = PF_F16;
    check_independence(m, &o);
    pf_model_free(m);
    support_close(ctx);
}

static void test_seeds(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m = some_model(ctx, PF_F32);
    pf_generate_options o = ordinary();
    pf_sample *a = samples_of(m, prompts, PROMPTS, &o), *b = samples_of(m, prompts, PROMPTS, &o);
    o.seed++;
    pf_sample *c = samples_of(m, prompts, PROMPTS, &o);
    int differ = 0;
    for (int i = 0; i < PROMPTS * SAMPLES; i++) {
        must_be_same(&b[i], &a[i], "with the same seed", i);
        differ += !same_sample(&c[i], &a[i]);
        for (int k = 0; k < i; k++) assert_false(same_sample(&a[i], &a[k]));
    }
    assert_int_equal(differ, PROMPTS * SAMPLES);
    pf_samples_free(ctx, a, PROMPTS * SAMPLES);
    pf_samples_free(ctx, b, PROMPTS * SAMPLES);
    pf_samples_free(ctx, c, PROMPTS * SAMPLES);
    pf_model_free(m);
    support_close(ctx);
}

/* prompt and new tokens in one list; returns its length */
static size_t joined(const pf_sequence *p, const int32_t *ids, size_t n, int32_t *out) {
    memcpy(out, p->ids, p->n * sizeof *out);
    memcpy(out + p->n, ids, n * sizeof *out);
    return p->n + n;
}

/* the largest difference between what was reported of the samples and what the model scores them */
static double logp_error(pf_model *m, const pf_generate_options *o) {
    double error = 0;
    pf_sample *s = samples_of(m, prompts, PROMPTS, o);
    for (int i = 0; i < PROMPTS * SAMPLES; i++) {
        const pf_sequence *p = &prompts[i / SAMPLES];
        int32_t ids[128];
        pf_sequence row = {.ids = ids, .n = joined(p, s[i].ids, s[i].n, ids), .scored_from = p->n};
        pf_batch *b;
        support_ok(m->ctx, pf_batch_new(m->ctx, &row, 1, &b));
        pf_tensor *logp = pf_model_logp(m, b, NULL);
        assert_non_null(logp);
        assert_int_equal(pf_tensor_numel(logp), s[i].n);
        for (size_t t = 0; t < s[i].n; t++) {
            const double want = pfi_get(logp, t);
            error = fmax(error, fabs((double)s[i].logp[t] - want) / fmax(1, fabs(want)));
        }
        pf_tensor_free(logp);
        pf_batch_free(b);
    }
    pf_samples_free(m->ctx, s, PROMPTS * SAMPLES);
    return error;
}

static void test_logp(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m = some_model(ctx, PF_F32);
    pf_generate_options o = ordinary();
    o.temperature = 1.5; /* what is reported is at temperature 1 all the same */
    o.top_p = 0.95;
    assert_true(logp_error(m, &o) <= 1e-5);
    pf_model_free(m);
    support_close(ctx);
}

/* float16 has 11 bits and bfloat16 8: keys and values, and what goes into products, are rounded to these and no worse
 */
static void test_narrow(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m = some_model(ctx, PF_BF16);
    pf_generate_options o = ordinary();
    const bool rounds = pfk_vector_sets() > 3;
    assert_true(logp_error(m, &o) <= 1e-5);
    o.kv = PF_F16;
    const double halves = logp_error(m, &o);
    assert_true(halves > 1e-5 && halves <= 16 * 0x1p-11);
    o.kv = PF_F32;
    o.compute = PF_BF16;
    const double narrow = logp_error(m, &o);
    if (rounds)
        assert_true(narrow > 1e-4 && narrow <= 16 * 0x1p-8);
    else
        assert_true(narrow <= 1e-5);
    /* an adapter's own matrices are float32, and read the input that others read as bfloat16 */
    support_ok(ctx, pf_model_adapt(m, "{\"r\": 2, \"lora_alpha\": 4, \"target_modules\": \"all-linear\"}", 5));
    for (int i = 0; i < m->adapter->n_lora; i++) {
        pf_tensor *b = m->adapter->lora[i].b;
        for (size_t k = 0; k < pf_tensor_numel(b); k++) pfi_set(b, k, 0.1 * pfi_random_normal(6, (uint64_t)i, k));
    }
    assert_true(logp_error(m, &o) <= (rounds ? 16 * 0x1p-8 : 1e-5));
    pf_model_free(m);
    m = some_model(ctx, PF_F32); /* with other weights than bfloat16 it makes no difference */
    assert_true(logp_error(m, &o) <= 1e-5);
    pf_model_free(m);
    support_close(ctx);
}

static void test_top_k_one_is_greedy(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m = some_model(ctx, PF_F32);
    pf_generate_options o = ordinary();
    o.top_k = 1;
    pf_sample *a = samples_of(m, prompts, PROMPTS, &o);
    o.top_k = 0;
    o.temperature = 0;
    pf_sample *b = samples_of(m, prompts, PROMPTS, &o);
    for (int i = 0; i < PROMPTS * SAMPLES; i++) must_be_same(&a[i], &b[i], "from greedy", i);
    pf_samples_free(ctx, a, PROMPTS * SAMPLES);
    pf_samples_free(ctx, b, PROMPTS * SAMPLES);
    pf_model_free(m);
    support_close(ctx);
}

static void test_continuing_a_prefix(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m = some_model(ctx, PF_F32);
    pf_generate_options o = ordinary();
    o.temperature = 0;
    o.samples = 1;
    pf_sample *all = samples_of(m, prompts, PROMPTS, &o);
    for (int p = 0; p < PROMPTS; p++)
        for (size_t k = 1; k < all[p].n; k += 9) {
            int32_t ids[128];
            pf_sequence rest = {.ids = ids, .n = joined(&prompts[p], all[p].ids, k, ids)};
            o.max_tokens = TOKENS - (int)k;
            pf_sample *s = samples_of(m, &rest, 1, &o);
            assert_int_equal(s->n, all[p].n - k);
            assert_memory_equal(s->ids, all[p].ids + k, s->n * sizeof *s->ids);
            assert_int_equal(s->finish, all[p].finish);
            pf_samples_free(ctx, s, 1);
        }
    pf_samples_free(ctx, all, PROMPTS);
    pf_model_free(m);
    support_close(ctx);
}

/* ---- ends ---- */

static void test_ends(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m = some_model(ctx, PF_F32);
    pf_generate_options o = ordinary();
    o.temperature = 0;
    o.samples = 1;
    o.max_tokens = 7;
    m->config.n_eos = 0;
    pf_sample *s = samples_of(m, prompts, 1, &o);
    assert_int_equal(s->n, 7);
    assert_int_equal(s->finish, PF_FINISH_LENGTH);
    int32_t third = s->ids[2], first_at = 2;
    for (int t = 1; t >= 0; t--)
        if (s->ids[t] == third) first_at = t;
    pf_samples_free(ctx, s, 1);

    o.stop_ids = (int32_t[]){500000, third};
    o.n_stop_ids = 2;
    s = samples_of(m, prompts, 1, &o);
    assert_int_equal(s->finish, PF_FINISH_STOP);
    assert_int_equal(s->n, first_at + 1); /* the token that stops is the last */
    assert_int_equal(s->ids[first_at], third);
    pf_samples_free(ctx, s, 1);

    o.n_stop_ids = 0;
    m->config.eos[m->config.n_eos++] = third;
    s = samples_of(m, prompts, 1, &o);
    assert_int_equal(s->finish, PF_FINISH_EOS);
    assert_int_equal(s->n, first_at + 1);
    pf_samples_free(ctx, s, 1);

    o.max_tokens = 0; /* what the context leaves: nothing but its end can stop a model without EOS */
    m->config.n_eos = 0;
    s = samples_of(m, prompts, 1, &o);
    assert_int_equal(s->n, (size_t)m->config.context - prompts[0].n);
    assert_int_equal(s->finish, PF_FINISH_LENGTH);
    pf_samples_free(ctx, s, 1);
    pf_model_free(m);
    support_close(ctx);
}

static pf_sample *story(pf_model *m, const char *const *stop, int n) {
    pf_generate_options o = pf_generate_defaults();
    o.temperature = 0;
    o.max_tokens = 60;
    o.stop = stop;
    o.n_stop = n;
    return samples_of(m, &(pf_sequence){.ids = (int32_t[]){1}, .n = 1}, 1, &o);
}

static void test_stop_texts(void **state) {
    (void)state;
    json_decref(stories_figures("test_generate stop texts"));
    pf_ctx *ctx = support_open();
    pf_model *m = stories_model(ctx, PF_F32);
    pf_sample *all = story(m, NULL, 0);
    assert_int_equal(all->finish, PF_FINISH_LENGTH);
    static const char *const stop[] = {"nowhere", " girl na", "little girl name", "was a"};
    for (int i = 1; i < 4; i++) { /* one among others that do not come; the stop text spans several tokens */
        pf_sample *s = story(m, (const char *const[]){stop[0], stop[i]}, 2);
        size_t len = (size_t)(strstr(all->text, stop[i]) - all->text);
        assert_int_equal(s->finish, PF_FINISH_STOP);
        assert_int_equal(s->text_len, len);
        assert_int_equal(strlen(s->text), len);
        assert_memory_equal(s->text, all->text, len);
        assert_true(s->n < all->n);
        assert_memory_equal(s->ids, all->ids, s->n * sizeof *s->ids); /* the ids keep what the text was cut by */
        char *text;
        size_t n;
        support_ok(ctx, pf_tokenizer_decode(m->tokenizer, s->ids, s->n, true, &text, &n));
        assert_non_null(strstr(text, stop[i]));
        pf_release(ctx, text);
        support_ok(ctx, pf_tokenizer_decode(m->tokenizer, s->ids, s->n - 1, true, &text, &n));
        assert_null(strstr(text, stop[i])); /* and end where it is complete */
        pf_release(ctx, text);
        pf_samples_free(ctx, s, 1);
    }
    pf_sample *s =
        story(m, (const char *const[]){"named", "girl named"}, 2); /* both at once: the earlier place counts */
    assert_string_equal(s->text + s->text_len - 7, "little ");
    pf_samples_free(ctx, s, 1);
    pf_samples_free(ctx, all, 1);
    pf_model_free(m);
    support_close(ctx);
}

/* ---- refusals ---- */

static void refused(pf_model *m, pf_generate_options o, const pf_sequence *p, pf_status status, const char *text) {
    pf_sample *s = (pf_sample *)(uintptr_t)1;
    support_fails(m->ctx, pf_generate(m, p, 1, &o, &s), status, text);
    assert_null(s);
}

static void test_refusals(void **state) {
    (void)state;
    static int32_t far[] = {1, -1}, many[600];
    pf_ctx *ctx = support_open();
    pf_model *m;
    support_ok(ctx, pf_model_load(ctx, "tests/golden/llama_a", PF_F32, &m));
    const pf_sequence *p = prompts;
    const pf_generate_options o = ordinary();
    pf_generate_options x;
#define WITH(field, value) (x = o, x.field = (value), x)
    refused(m, WITH(samples, 0), p, PF_RANGE, "samples");
    refused(m, WITH(max_tokens, -1), p, PF_RANGE, "max_tokens");
    refused(m, WITH(temperature, -0.5), p, PF_RANGE, "temperature");
    refused(m, WITH(temperature, (double)NAN), p, PF_RANGE, "temperature");
    refused(m, WITH(top_p, 0), p, PF_RANGE, "top_p");
    refused(m, WITH(top_p, 1.1), p, PF_RANGE, "top_p");
    refused(m, WITH(min_p, -0.1), p, PF_RANGE, "min_p");
    refused(m, WITH(top_k, -1), p, PF_RANGE, "top_k");
    refused(m, WITH(compute, PF_F16), p, PF_RANGE, "float16");
    refused(m, WITH(kv, PF_BF16), p, PF_RANGE, "bfloat16");
    refused(m, WITH(n_stop, 1), p, PF_STATE, "tokenizer");
#undef WITH
    refused(m, o, &(pf_sequence){.ids = far, .n = 0}, PF_RANGE, "empty");
    refused(m, o, &(pf_sequence){.ids = far, .n = 2}, PF_RANGE, "-1");
    refused(m, o, &(pf_sequence){.ids = many, .n = 128}, PF_RANGE, "context");
    pf_cancel(ctx);
    refused(m, o, p, PF_CANCELLED, "cancelled");
    pf_samples_free(ctx, samples_of(m, p, 1, &o), SAMPLES); /* and not again */
    pf_model_free(m);
    support_ok(ctx, pf_model_load(ctx, "tests/golden/llama_a", PF_F64, &m));
    refused(m, o, p, PF_TYPE, "float32");
    pf_model_free(m);
    support_close(ctx);
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_independence),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_logp),
        cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_top_k_one_is_greedy),
        cmocka_unit_test(test_continuing_a_prefix),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_stop_texts),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, fill_prompts, NULL);
}
