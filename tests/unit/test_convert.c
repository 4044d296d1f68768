/* Weights in another type and in shards: what is written, what is refused, and every allocation failure. */
#include <math.h>

#include "file/safetensors.h"
#include "support.h"
#include "tensor/tensor.h"

static const char *source(pf_ctx *ctx, const float *x, const int32_t *n) {
    const char *path = support_path("source.safetensors");
    const pfi_st_entry e[] = {{"a", PF_F32, 2, (int64_t[]){2, 3}, x},
                              {"b", PF_F32, 1, (int64_t[]){4}, x + 2},
                              {"count", PF_I32, 1, (int64_t[]){2}, n}};
    support_ok(ctx, pfi_st_write(ctx, path, e, 3, NULL));
    return path;
}

static float value_of(pf_ctx *ctx, const char *dir, const char *name, size_t i, const char *dtype) {
    pfi_weights *w;
    support_ok(ctx, pfi_weights_open(ctx, dir, &w));
    const pfi_weight *t = pfi_weights_find(w, name);
    assert_non_null(t);
    assert_string_equal(t->dtype, dtype);
    pf_tensor *x = pfi_weights_tensor(w, t);
    assert_non_null(x);
    float v = (float)pfi_get(x, i);
    pf_tensor_free(x);
    pfi_weights_close(w);
    return v;
}

static void test_types(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    /* 1 + 2^-8 and 1 + 3 * 2^-8 lie between two bfloat16, 1 + 2^-11 and 1 + 3 * 2^-11 between two float16: to even */
    const float x[6] = {1.00390625f, 1.01171875f, 1.00048828125f, 1.00146484375f, -0.0f, 65519};
    const int32_t n[2] = {7, 1 << 30};
    const char *from = source(ctx, x, n), *dir = support_path("b16");
    support_ok(ctx, pfi_weights_convert(ctx, from, dir, PF_BF16, 0));
    assert_true(value_of(ctx, dir, "a", 0, "BF16") == 1);
    assert_true(value_of(ctx, dir, "a", 1, "BF16") == 1.015625f);
    assert_true(signbit(value_of(ctx, dir, "a", 4, "BF16")));
    assert_true(value_of(ctx, dir, "count", 1, "I32") == (float)(1 << 30));
    dir = support_path("f16");
    support_ok(ctx, pfi_weights_convert(ctx, from, dir, PF_F16, 0));
    assert_true(value_of(ctx, dir, "b", 0, "F16") == 1);
    assert_true(value_of(ctx, dir, "b", 1, "F16") == 1.001953125f);
    assert_true(value_of(ctx, dir, "a", 5, "F16") == 65504);
    dir = support_path("as_it_is");
    support_ok(ctx, pfi_weights_convert(ctx, from, dir, PF_DTYPES, 0));
    assert_true(value_of(ctx, dir, "a", 5, "F32") == 65519);
    support_close(ctx);
}

static void test_refusals(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    const float x[6] = {0, 0, 0, INFINITY, NAN, 65520};
    const char *from = source(ctx, x, (int32_t[]){0, 0}), *dir = support_path("refused");
    support_fails(ctx, pfi_weights_convert(ctx, from, dir, PF_F16, 0), PF_RANGE, "\"a\" holds 65520");
    support_ok(ctx, pfi_weights_convert(ctx, from, dir, PF_BF16, 0)); /* infinite and NaN stay what they are */
    assert_true(isinf(value_of(ctx, dir, "a", 3, "BF16")) && isnan(value_of(ctx, dir, "a", 4, "BF16")));
    support_fails(ctx, pfi_weights_convert(ctx, from, dir, PF_Q8_0, 0), PF_UNSUPPORTED, "safetensors holds no q8_0");
    support_fails(ctx, pfi_weights_convert(ctx, "nowhere", dir, PF_F32, 0), PF_IO, "nowhere");
    support_close(ctx);
}

static pf_status sweep_shards(pf_ctx *ctx, void *ud) {
    return pfi_weights_convert(ctx, ud, support_path("shards"), PF_BF16, 8);
}

static void test_shards(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    const float x[6] = {1, 2, 3, 4, 5, 6};
    char from[512];
    snprintf(from, sizeof from, "%s", source(ctx, x, (int32_t[]){8, 9}));
    support_ok(ctx, sweep_shards(ctx, from)); /* 12 bytes, 8 bytes, 8 bytes: a file each */
    const char *dir = support_path("shards");
    pfi_weights *w;
    support_ok(ctx, pfi_weights_open(ctx, dir, &w));
    assert_int_equal(pfi_weights_count(w), 3);
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < i; k++) assert_string_not_equal(pfi_weights_at(w, i)->file, pfi_weights_at(w, k)->file);
    pfi_weights_close(w);
    assert_true(value_of(ctx, dir, "b", 3, "BF16") == 6);
    assert_true(value_of(ctx, dir, "count", 1, "I32") == 9);
    /* the second cannot be written: the first goes, too */
    const char *second = support_path("blocked/model-00002-of-00003.safetensors");
    support_ok(ctx, pfi_file_mkdirs(ctx, second));
    support_fails(ctx, pfi_weights_convert(ctx, from, support_path("blocked"), PF_BF16, 8), PF_IO, second);
    assert_false(pfi_file_exists(support_path("blocked/model-00001-of-00003.safetensors")));
    support_close(ctx);
    support_sweep(sweep_shards, from, 3);
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
