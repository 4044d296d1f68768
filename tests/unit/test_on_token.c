/* Sampling that tells of each token: what is told, in which order, what waits, and how it ends a sample. */
#include "model/sampler.h"
#include "stories.h"

enum { PROMPTS = 3, SAMPLES = 2, ALL = PROMPTS * SAMPLES, TOKENS = 24 };
static int32_t ids[] = {1, 40, 17, 3, 1, 40, 17, 55, 1};
static const pf_sequence prompts[PROMPTS] = {{.ids = ids, .n = 4}, {.ids = ids + 4, .n = 4}, {.ids = ids + 8, .n = 1}};

/* ---- what is certain of a text ---- */

static void settled_is(const char *text, const char *a, const char *b, size_t want) {
    const char *stop[] = {a, b};
    int n = a ? b ? 2 : 1 : 0;
    size_t got = pfi_text_settled(text, strlen(text), stop, n);
    if (got != want) fail_msg("\"%s\": %zu bytes are settled, expected %zu", text, got, want);
}

static void test_settled(void **state) {
    (void)state;
    settled_is("", NULL, NULL, 0);
    settled_is("", "stop", NULL, 0);
    settled_is("caf\xC3\xA9", NULL, NULL, 5);
    settled_is("caf\xEF\xBF\xBD", NULL, NULL, 3); /* may become a character */
    settled_is("\xEF\xBF\xBD\xEF\xBF\xBD", NULL, NULL, 0);
    settled_is("\xEF\xBF\xBD.", NULL, NULL, 4); /* will not any more */
    settled_is("one st", "stop", NULL, 4);
    settled_is("one sto", "stop", NULL, 4);
    settled_is("one s ", "stop", NULL, 6);
    settled_is("aab", "aabaac", NULL, 0);
    settled_is("xaabaab", "aabaac", NULL, 4); /* the longest end that begins it */
    settled_is("one st", "tap", "one stop", 0);
    settled_is("st\xEF\xBF\xBD", "stop", NULL, 0);
    settled_is("s", "stop", NULL, 0);
    settled_is("\n", "\n\n", NULL, 0);
}

/* ---- what is told ---- */

typedef struct heard {
    int32_t id[ALL][TOKENS];
    float logp[ALL][TOKENS];
    char text[ALL][TOKENS * 40];
    size_t n[ALL];
    int last[ALL], end_at; /* end_at: end the first sample after this many tokens; 0: never */
} heard;

static bool hear(void *ud, const pf_token *t) {
    heard *h = ud;
    size_t k = t->prompt * SAMPLES + (size_t)t->sample;
    assert_in_range(k, 0, ALL - 1);
    assert_false(h->last[k]);
    h->id[k][h->n[k]] = t->id;
    h->logp[k][h->n[k]++] = t->logp;
    strncat(h->text[k], t->text, t->text_len);
    h->last[k] = t->last;
    return k || !h->end_at || h->n[k] < (size_t)h->end_at;
}

static pf_generate_options ordinary(void) {
    pf_generate_options o = pf_generate_defaults();
    o.samples = SAMPLES;
    o.max_tokens = TOKENS;
    o.seed = 5;
    return o;
}

static void told_is_sampled(const heard *h, const pf_sample *s, int k) {
    assert_int_equal(h->n[k], s->n);
    assert_memory_equal(h->id[k], s->ids, s->n * sizeof *s->ids);
    assert_memory_equal(h->logp[k], s->logp, s->n * sizeof *s->logp);
    assert_string_equal(h->text[k], s->text ? s->text : "");
    assert_true(h->last[k]);
}

static void check_told(pf_model *m, pf_generate_options o) {
    pf_sample *quiet, *s;
    heard *h = calloc(1, sizeof *h);
    support_ok(m->ctx, pf_generate(m, prompts, PROMPTS, &o, &quiet));
    o.on_token = hear;
    o.ud = h;
    support_ok(m->ctx, pf_generate(m, prompts, PROMPTS, &o, &s));
    for (int k = 0; k < ALL; k++) {
        told_is_sampled(h, &s[k], k);
        assert_int_equal(s[k].n, quiet[k].n); /* telling changes nothing */
        assert_memory_equal(s[k].ids, quiet[k].ids, s[k].n * sizeof *s[k].ids);
        assert_int_equal(s[k].finish, quiet[k].finish);
        assert_string_equal(s[k].text ? s[k].text : "", quiet[k].text ? quiet[k].text : "");
    }
    memset(h, 0, sizeof *h);
    h->end_at = 3;
    pf_samples_free(m->ctx, s, ALL);
    support_ok(m->ctx, pf_generate(m, prompts, PROMPTS, &o, &s));
    assert_int_equal(s[0].finish, PF_FINISH_CANCELLED);
    assert_int_equal(s[0].n, 3);
    assert_memory_equal(s[0].ids, quiet[0].ids, 3 * sizeof *s[0].ids);
    for (int k = 1; k < ALL; k++) told_is_sampled(h, &s[k], k); /* the others go on */
    pf_samples_free(m->ctx, s, ALL);
    pf_samples_free(m->ctx, quiet, ALL);
    free(h);
}

static void test_told(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m;
    support_ok(ctx, pf_model_load(ctx, "tests/golden/llama_a", PF_F32, &m));
    check_told(m, ordinary());
    pf_generate_options o = ordinary();
    o.batch = 1;
    check_told(m, o);
    pf_model_free(m);
    support_close(ctx);
}

static void test_told_texts(void **state) {
    (void)state;
    json_decref(stories_figures("test_on_token texts"));
    pf_ctx *ctx = support_open();
    pf_model *m = stories_model(ctx, PF_F32);
    pf_generate_options o = ordinary();
    check_told(m, o);
    o.stop = (const char *const[]){"the c", " was a", "\n"};
    o.n_stop = 3;
    check_told(m, o);
    pf_model_free(m);
    support_close(ctx);
}

/* ---- memory ---- */

static bool agree(void *ud, const pf_token *t) {
    (void)ud;
    return t->id >= 0;
}

static pf_status sweep_told(pf_ctx *ctx, void *ud) {
    pf_model *m = NULL;
    pf_sample *s = NULL;
    pf_generate_options o = ordinary();
    o.on_token = agree;
    o.max_tokens = 3;
    o.stop = (const char *const[]){"stop"};
    o.n_stop = stories_root() ? 1 : 0;
    pf_status st = pf_model_load(ctx, ud, PF_F32, &m);
    if (st == PF_OK) st = pf_generate(m, prompts, PROMPTS, &o, &s);
    pf_samples_free(ctx, s, ALL);
    pf_model_free(m);
    return st;
}

static void test_memory(void **state) {
    (void)state;
    const char *model = stories_root() ? stories_path("data/stories260K") : "tests/golden/llama_a";
    support_sweep(sweep_told, (void *)(uintptr_t)model, 211);
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settled),
        cmocka_unit_test(test_told),
        cmocka_unit_test(test_told_texts),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
