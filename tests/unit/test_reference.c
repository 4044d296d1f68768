/* Reference log-probabilities: batches against single sequences, and the file that keeps them. */
#include <math.h>
#include <sys/stat.h>

#include "file/file.h"
#include "model/model.h"
#include "support.h"
#include "train/train.h"

enum { REF_N = 140, REF_LEN = 60, REF_SHARED = 20 };

/* Seven prompts, twenty answers each: more nodes than one batch takes. Odd ones are scored by marks. */
typedef struct ref_data {
    int32_t ids[REF_N][REF_LEN];
    uint8_t score[REF_LEN];
    pf_sequence s[REF_N];
    size_t entries;
} ref_data;

static ref_data *ref_make(void) {
    ref_data *d = calloc(1, sizeof *d);
    assert_non_null(d);
    for (int t = REF_SHARED; t < REF_LEN; t += 2) d->score[t] = 1;
    for (int i = 0; i < REF_N; i++) {
        for (int t = 0; t < REF_LEN; t++) {
            uint64_t row = (uint64_t)(t < REF_SHARED ? i / 20 : 1000 + i);
            d->ids[i][t] = 3 + (int32_t)(58 * pfi_random_uniform(1, row, (uint64_t)t));
        }
        d->s[i] = (pf_sequence){.ids = d->ids[i], .n = REF_LEN, .scored_from = REF_SHARED};
        if (i % 2) d->s[i].score = d->score;
        d->entries += i % 2 ? (REF_LEN - REF_SHARED) / 2 : REF_LEN - REF_SHARED;
    }
    return d;
}

static pf_model *ref_model(pf_ctx *ctx) {
    pf_model *m;
    support_ok(ctx, pf_model_load(ctx, "tests/golden/llama_a", PF_F32, &m));
    return m;
}

static void batches_agree_with_single_sequences(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m = ref_model(ctx);
    ref_data *d = ref_make();
    float *all, *one;
    size_t n, k, at = 0;
    bool cached = true;
    support_ok(ctx, pf_reference_logp(m, d->s, REF_N, NULL, &all, &n, &cached));
    assert_false(cached);
    assert_int_equal(n, d->entries);
    for (int i = 0; i < REF_N; i++) {
        support_ok(ctx, pf_reference_logp(m, &d->s[i], 1, NULL, &one, &k, NULL));
        for (size_t j = 0; j < k; j++, at++)
            if (!(fabsf(all[at] - one[j]) <= 1e-5f * fmaxf(1, fabsf(one[j])))) fail_msg("entry %zu differs", at);
        pf_release(ctx, one);
    }
    assert_int_equal(at, n);
    assert_true(ctx->recording);
    pf_release(ctx, all);
    pf_model_free(m);
    support_close(ctx);
    free(d);
}

/* reads or computes, compares with want (NULL: takes it), and says which it was */
static bool ref_again(pf_model *m, const pf_sequence *s, size_t n, const char *cache, float **want, bool same) {
    float *got;
    size_t k;
    bool cached;
    support_ok(m->ctx, pf_reference_logp(m, s, n, cache, &got, &k, &cached));
    if (!*want) {
        *want = got;
        return cached;
    }
    assert_true((memcmp(got, *want, k * sizeof *got) == 0) == same);
    pf_release(m->ctx, got);
    return cached;
}

static void cache_is_read_and_bound(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m = ref_model(ctx);
    ref_data *d = ref_make();
    const char *path = support_path("new/dir/reference.zst");
    float *want = NULL;
    assert_false(ref_again(m, d->s, 6, path, &want, true));
    assert_true(ref_again(m, d->s, 6, path, &want, true));
    /* another choice of tokens, other tokens, other weights: computed anew, and the file follows */
    d->s[0].scored_from++;
    assert_false(ref_again(m, d->s, 6, path, &want, false));
    assert_non_null(strstr(pf_errmsg(ctx), "made for another data"));
    d->s[0].scored_from--;
    assert_false(ref_again(m, d->s, 6, path, &want, true));
    d->score[30] = 0;
    d->score[31] = 1;
    assert_false(ref_again(m, d->s, 6, path, &want, false));
    d->score[30] = 1;
    d->score[31] = 0;
    assert_false(ref_again(m, d->s, 6, path, &want, true));
    d->ids[3][30]++;
    assert_false(ref_again(m, d->s, 6, path, &want, false));
    d->ids[3][30]--;
    assert_false(ref_again(m, d->s, 6, path, &want, true));
    assert_true(ref_again(m, d->s, 6, path, &want, true));
    pfi_f32(m->parameter[1])[0] += 0.5f;
    assert_false(ref_again(m, d->s, 6, path, &want, false));
    assert_non_null(strstr(pf_errmsg(ctx), "made for another model"));
    pf_release(ctx, want);
    pf_model_free(m);
    support_close(ctx);
    free(d);
}

static void damaged_cache_is_replaced(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m = ref_model(ctx);
    ref_data *d = ref_make();
    const char *path = support_path("damaged.zst");
    float *want = NULL;
    pfi_buf b = {0};
    ref_again(m, d->s, 2, path, &want, true);
    support_ok(ctx, pfi_file_read(ctx, path, &b));
    size_t used = 0;
    for (size_t at = 0; at < b.len; at += 7) {
        b.data[at] = (char)(b.data[at] ^ 0x81);
        support_write("damaged.zst", b.data, b.len);
        b.data[at] = (char)(b.data[at] ^ 0x81);
        used += ref_again(m, d->s, 2, path, &want, true); /* zstd has padding bits, so a change may be without effect */
        assert_true(ref_again(m, d->s, 2, path, &want, true));
    }
    assert_true(used <= b.len / 70);
    support_write("damaged.zst", b.data, b.len / 2);
    assert_false(ref_again(m, d->s, 2, path, &want, true));
    support_write("damaged.zst", b.data, 0);
    assert_false(ref_again(m, d->s, 2, path, &want, true));
    pfi_buf_free(ctx, &b);
    pf_release(ctx, want);
    pf_model_free(m);
    support_close(ctx);
    free(d);
}

static void reference_failures(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pf_model *m = ref_model(ctx);
    ref_data *d = ref_make();
    float *got;
    size_t n;
    const char *path = support_path("failed.zst");
    pf_cancel(ctx);
    support_fails(ctx, pf_reference_logp(m, d->s, REF_N, path, &got, &n, NULL), PF_CANCELLED, "0 of 140");
    assert_null(got);
    assert_false(pfi_file_exists(path));
    support_fails(ctx, pf_reference_logp(m, d->s, 2, support_dir(), &got, &n, NULL), PF_IO, "is a directory");
    support_write("file", "x", 1);
    support_fails(ctx, pf_reference_logp(m, d->s, 2, support_path("file/x.zst"), &got, &n, NULL), PF_IO, "file");
    d->ids[1][3] = 1000;
    assert_int_equal(pf_reference_logp(m, d->s, 2, path, &got, &n, NULL), PF_RANGE);
    d->ids[1][3] = 5;
    pfi_f32(m->parameter[1])[0] = (float)NAN;
    support_fails(ctx, pf_reference_logp(m, d->s, 2, path, &got, &n, NULL), PF_NONFINITE, "weights are not usable");
    assert_false(pfi_file_exists(path));
    pf_model_free(m);
    support_close(ctx);
    free(d);
}

static pf_status sweep_reference(pf_ctx *ctx, void *ud) {
    ref_data *d = ud;
    pf_model *m = NULL;
    float *logp = NULL;
    size_t n;
    PF_TRY(pf_model_load(ctx, "tests/golden/llama_a", PF_F32, &m));
    const char *path = support_path("sweep.zst");
    unlink(path);
    pf_status s = pf_reference_logp(m, d->s, 2, path, &logp, &n, NULL);
    pf_release(ctx, logp);
    if (s == PF_OK) s = pf_reference_logp(m, d->s, 2, path, &logp, &n, NULL);
    if (s == PF_OK) pf_release(ctx, logp);
    pf_model_free(m);
    return s;
}

static void memory_may_fail(void **state) {
    (void)state;
    ref_data *d = ref_make();
    d->s[0].n = d->s[1].n = REF_SHARED + 4;
    support_sweep(sweep_reference, d, 7);
    free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_agree_with_single_sequences),
        cmocka_unit_test(cache_is_read_and_bound),
        cmocka_unit_test(damaged_cache_is_replaced),
        cmocka_unit_test(reference_failures),
        cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
