/* safetensors: every rule of the format, round trips, shards, damaged files. */
#include "support.h"

#include "file/json.h"
#include "file/safetensors.h"
#include "tensor/tensor.h"

/* a file with this header and n bytes of data 0, 1, 2, ... */
static const char *st_file(const char *name, const char *header, size_t n) {
    static char buf[4096];
    size_t len = strlen(header);
    memset(buf, 0, 8);
    for (int i = 0; i < 8; i++) buf[i] = (char)(unsigned char)((uint64_t)len >> (8 * i));
    memcpy(buf + 8, header, len);
    for (size_t i = 0; i < n; i++) buf[8 + len + i] = (char)(unsigned char)i;
    return support_write(name, buf, 8 + len + n);
}

static void test_rules(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t bytes;
        const char *message; /* NULL: accepted */
    } cases[] = {
        {"{}", 0, NULL},
        {"{}", 1, "the tensors end at byte 0 of the data, the file holds 1"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "cut short"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, "the file holds 9"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "needs 12 bytes"},
        {"{\"a\":{\"dtype\":\"F31\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "unknown dtype \"F31\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8, "the number 2 as size 1"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "the number -2 as size 1"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "begin <= end"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}", 8, "begin <= end"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8.0]}}", 8, "begin <= end"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, "a hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
         12, "an overlap"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
         8, "an overlap"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
         16, "duplicate"},
        {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "\"dtype\" is missing"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "\"shape\" is missing"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "\"data_offsets\" is missing"},
        {"{\"a\":7}", 8, "tensor \"a\""},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1, "whole byte"},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]}}", 2, NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,0],\"data_offsets\":[0,0]}}", 0, NULL},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, "9 dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "overflows"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, "overflows"},
        {"{\"__metadata__\":{\"k\":\"v\"}}   ", 0, NULL},
        {"{\"__metadata__\":{\"k\":1}}", 0, "the number 1 under \"k\", expected a string"},
        {"{\"__metadata__\":[]}", 0, "an array of 0, expected an object"},
        {"[]", 0, "expected an object"},
        {"{\"a\"", 0, "not valid JSON"},
    };
    pf_ctx *ctx = support_open();
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        pfi_st *st;
        pf_status s = pfi_st_open(ctx, st_file("rule.safetensors", cases[i].header, cases[i].bytes), &st);
        if (cases[i].message) {
            support_fails(ctx, s, PF_FORMAT, cases[i].message);
            assert_non_null(strstr(pf_errmsg(ctx), "rule.safetensors"));
            assert_null(st);
        } else {
            support_ok(ctx, s);
            pfi_st_release(st);
        }
    }
    support_close(ctx);
}

static void test_lengths(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *message;
    } cases[] = {
        {"", 0, "0 bytes are too few"},
        {"\2\0\0\0\0\0\0", 7, "7 bytes are too few"},
        {"\2\0\0\0\0\0\0\0{", 9, "claims 2 bytes, the file has 1"},
        {"\1\xE1\xF5\5\0\0\0\0{}", 10, "claims 100000001 bytes, at most"},
        {"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10, "at most"},
        {"\1\0\0\0\0\0\0\0\xFF", 9, "not valid UTF-8"},
        {"\0\0\0\0\0\0\0\0", 8, "is empty"},
    };
    pf_ctx *ctx = support_open();
    pfi_st *st;
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        const char *path = support_write("len.safetensors", cases[i].bytes, cases[i].n);
        support_fails(ctx, pfi_st_open(ctx, path, &st), PF_FORMAT, cases[i].message);
    }
    support_fails(ctx, pfi_st_open(ctx, support_path("none.safetensors"), &st), PF_IO, "No such file");
    support_close(ctx);
}

/* upstream's own cases with what upstream says to them */
static void test_manifest(void **state) {
    (void)state;
    static const struct {
        const char *expect, *message;
    } words[] = {
        {"MetadataIncompleteBuffer", "the data, the file holds"},
        {"HeaderTooLarge", "at most"},
        {"HeaderTooSmall", "too few"},
        {"InvalidHeaderLength", "after its length field"},
        {"InvalidHeader", "not valid UTF-8"},
        {"InvalidHeaderDeserialization", "not valid JSON"},
        {"TensorInvalidInfo", "data_offsets give"},
        {"ValidationOverflow", "overflows"},
        {"InvalidOffset", "begins at offset"},
        {"InvalidOffset (overlapping tensors)", "an overlap"},
    };
    char path[512];
    if (!support_data(path, sizeof path, "safetensors_manifest", "malformed/safetensors/manifest.json")) skip();
    pf_ctx *ctx = support_open();
    json_t *list = pfi_json_load(ctx, path), *e;
    assert_non_null(list);
    size_t i;
    json_array_foreach(list, i, e) {
        const char *file, *expect, *message = NULL;
        support_ok(ctx, pfi_json_string(ctx, e, "file", path, &file));
        support_ok(ctx, pfi_json_string(ctx, e, "expect", path, &expect));
        for (int k = 0; k < PFI_COUNT(words); k++)
            if (strcmp(expect, words[k].expect) == 0) message = words[k].message;
        strcpy(strrchr(path, '/') + 1, file);
        pfi_st *st;
        pf_status s = pfi_st_open(ctx, path, &st);
        if (strcmp(expect, "ok") == 0) {
            support_ok(ctx, s);
            pfi_st_release(st);
            continue;
        }
        assert_non_null(message);
        /* a size beyond 64 bits reads as a real number */
        if (strcmp(message, "overflows") == 0 && strstr(pf_errmsg(ctx), "e+19")) message = "expected an integer from 0";
        support_fails(ctx, s, PF_FORMAT, message);
    }
    assert_true(i >= 24);
    json_decref(list);
    support_close(ctx);
}

static const int64_t st_dims[] = {2, 3};
static const float st_f32[] = {1, -2, 3, 4, 5, 6.5f};
static const double st_f64[] = {0.1};
static const int32_t st_i32[] = {7, -8};
static const uint16_t st_half[] = {0x3C00};

static const pfi_st_entry st_sample[] = {
    {"half.b", PF_F16, 0, NULL, st_half},
    {"half.a", PF_BF16, 0, NULL, st_half},
    {"w.b", PF_F32, 2, st_dims, st_f32},
    {"w.a", PF_F32, 1, (const int64_t[]){3}, st_f32 + 3},
    {"ids", PF_I32, 1, st_dims, st_i32},
    {"d\"é", PF_F64, 1, (const int64_t[]){1}, st_f64},
    {"none", PF_F32, 1, (const int64_t[]){0}, st_f32},
};
static const char *const st_sample_meta[] = {"z", "last", "format", "pt", NULL};

static void test_round_trip(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    const char *path = support_path("rt.safetensors");
    support_ok(ctx, pfi_st_write(ctx, path, st_sample, PFI_COUNT(st_sample), st_sample_meta));
    pfi_buf file = {0}, buf = {0};
    support_ok(ctx, pfi_file_read(ctx, path, &file));
    support_ok(ctx, pfi_st_write_buf(ctx, st_sample, PFI_COUNT(st_sample), st_sample_meta, &buf));
    assert_int_equal(file.len, buf.len);
    assert_memory_equal(file.data, buf.data, buf.len);
    const char *head = "{\"__metadata__\":{\"format\":\"pt\",\"z\":\"last\"},"
                       "\"d\\\"é\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]},"
                       "\"none\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[8,8]},"
                       "\"w.a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[8,20]},"
                       "\"w.b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[20,44]},"
                       "\"ids\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[44,52]},"
                       "\"half.a\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[52,54]},"
                       "\"half.b\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[54,56]}}";
    assert_memory_equal(buf.data + 8, head, strlen(head));
    assert_int_equal(buf.len % 8, 0);
    pfi_st *st;
    support_ok(ctx, pfi_st_parse(ctx, buf.data, buf.len, "buffer", NULL, NULL, &st));
    assert_int_equal(pfi_st_count(st), PFI_COUNT(st_sample));
    for (int i = 0; i < PFI_COUNT(st_sample); i++) {
        const pfi_st_tensor *t = pfi_st_find(st, st_sample[i].name);
        assert_non_null(t);
        assert_int_equal(t->pf, st_sample[i].dtype);
        assert_int_equal(t->nd, st_sample[i].nd);
        assert_memory_equal(t->data, st_sample[i].data, t->bytes);
    }
    assert_string_equal(pfi_st_at(st, 0)->name, "d\"é");
    assert_null(pfi_st_at(st, 7));
    assert_null(pfi_st_find(st, "w"));
    assert_string_equal(pfi_st_meta(st, "format"), "pt");
    assert_null(pfi_st_meta(st, "nothing"));
    pfi_st_release(st);
    pfi_buf_free(ctx, &file);
    pfi_buf_free(ctx, &buf);
    support_close(ctx);
}

static void test_names(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    const char *path = support_path("names.safetensors");
    pfi_st_entry e[2] = {st_sample[2], st_sample[3]};
    e[1].name = "w.b";
    support_fails(ctx, pfi_st_write(ctx, path, e, 2, NULL), PF_NAME, "two tensors");
    e[1].name = "";
    support_fails(ctx, pfi_st_write(ctx, path, e, 2, NULL), PF_NAME, "cannot be");
    e[1].name = "__metadata__";
    support_fails(ctx, pfi_st_write(ctx, path, e, 2, NULL), PF_NAME, "cannot be");
    e[1].name = "\xFF";
    support_fails(ctx, pfi_st_write(ctx, path, e, 2, NULL), PF_NAME, "UTF-8");
    e[1] = (pfi_st_entry){"q", PF_Q4_0, 1, (const int64_t[]){32}, st_f32};
    support_fails(ctx, pfi_st_write(ctx, path, e, 2, NULL), PF_TYPE, "\"q\" is q4_0, which a safetensors file");
    assert_false(pfi_file_exists(path));
    support_close(ctx);
}

/* tensors outlive the handle of the file; unaligned data is copied; types we lack are named */
static void test_tensors(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    const char *path = support_path("t.safetensors");
    support_ok(ctx, pfi_st_write(ctx, path, st_sample, PFI_COUNT(st_sample), NULL));
    pfi_st *st;
    support_ok(ctx, pfi_st_open(ctx, path, &st));
    const pfi_st_tensor *e = pfi_st_find(st, "w.b");
    pf_tensor *t = pfi_st_tensor_of(st, e);
    assert_non_null(t);
    assert_ptr_equal(pfi_data(t), e->data);
    pfi_st_release(st);
    double v[6];
    support_ok(ctx, pf_tensor_read(t, v, 6));
    assert_true(v[1] == -2 && v[5] == 6.5);
    pf_tensor_free(t);

    path = st_file("odd.safetensors", "{\"a\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
    support_ok(ctx, pfi_st_open(ctx, path, &st));
    e = pfi_st_at(st, 0);
    assert_true((uintptr_t)e->data % 4 != 0);
    t = pfi_st_tensor_of(st, e);
    pfi_st_release(st);
    assert_non_null(t);
    assert_true((uintptr_t)pfi_data(t) % 4 == 0);
    assert_true(pf_tensor_item(t) == 0x03020100);
    pf_tensor_free(t);

    path = st_file("i64.safetensors", "{\"pos\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8);
    support_ok(ctx, pfi_st_open(ctx, path, &st));
    assert_null(pfi_st_tensor_of(st, pfi_st_at(st, 0)));
    assert_int_equal(pf_errcode(ctx), PF_TYPE);
    assert_non_null(strstr(pf_errmsg(ctx), "\"pos\" is stored as I64"));
    pfi_st_release(st);
    support_close(ctx);
}

static void test_shards(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    support_ok(ctx, pfi_file_mkdirs(ctx, support_path("m")));
    const char *dir = support_path("m");
    pfi_weights *w;
    support_fails(ctx, pfi_weights_open(ctx, dir, &w), PF_IO, "holds no weights");
    support_fails(ctx, pfi_weights_open(ctx, support_path("nowhere"), &w), PF_IO, "no such model");
    support_write("m/pytorch_model.bin", "x", 1);
    support_fails(ctx, pfi_weights_open(ctx, dir, &w), PF_UNSUPPORTED, "pytorch_model.bin");
    support_ok(ctx, pfi_st_write(ctx, support_path("m/s1.safetensors"), &st_sample[2], 1, NULL));
    support_ok(ctx, pfi_st_write(ctx, support_path("m/s2.safetensors"), &st_sample[3], 2, NULL));
    support_ok(ctx, pfi_st_write(ctx, support_path("m/s3.safetensors"), (pfi_st_entry[]){st_sample[2], st_sample[4]}, 2,
                                 NULL));
    const char *good = "{\"metadata\":{},\"weight_map\":{\"w.a\":\"s2.safetensors\",\"ids\":\"s2.safetensors\","
                       "\"w.b\":\"s1.safetensors\"}}";
    support_write("m/model.safetensors.index.json", good, strlen(good));
    support_ok(ctx, pfi_weights_open(ctx, dir, &w));
    assert_int_equal(pfi_weights_count(w), 3);
    const pfi_weight *ids = pfi_weights_find(w, "ids");
    assert_non_null(ids);
    assert_non_null(strstr(ids->file, "s2.safetensors"));
    assert_null(pfi_weights_find(w, "x"));
    assert_string_equal(pfi_weights_at(w, 2)->name, "w.b");
    assert_null(pfi_weights_at(w, 3));
    assert_null(pfi_weights_gguf(w));
    pf_tensor *t = pfi_weights_tensor(w, ids), *u = pfi_weights_tensor(w, pfi_weights_find(w, "w.b"));
    pfi_weights_close(w);
    assert_true(t && u && pfi_get(t, 1) == -8 && pfi_get(u, 5) == 6.5);
    pf_tensor_free(t);
    pf_tensor_free(u);
    static const char *const bad[][2] = {
        {"{\"weight_map\":{\"w.b\":\"../m/s1.safetensors\"}}", "the same directory"},
        {"{\"weight_map\":{\"w.b\":\"/etc/passwd\"}}", "the same directory"},
        {"{\"weight_map\":{\"w.b\":3}}", "the number 3"},
        {"{\"weight_map\":{\"w.c\":\"s1.safetensors\"}}", "\"w.c\" should be in s1.safetensors"},
        {"{\"weight_map\":{\"w.b\":\"s2.safetensors\",\"ids\":\"s1.safetensors\"}}", "should be in s"},
        {"{\"weight_map\":{\"w.b\":\"s1.safetensors\",\"ids\":\"s3.safetensors\"}}", "tensor \"w.b\" is in"},
        {"{\"weight_map\":{\"w.b\":\"s4.safetensors\"}}", "s4.safetensors: No such file"},
        {"{}", "\"weight_map\" is missing"},
        {"[", "not valid JSON"},
    };
    for (int i = 0; i < PFI_COUNT(bad); i++) {
        support_write("m/model.safetensors.index.json", bad[i][0], strlen(bad[i][0]));
        assert_int_not_equal(pfi_weights_open(ctx, dir, &w), PF_OK);
        if (!strstr(pf_errmsg(ctx), bad[i][1])) fail_msg("%s: %s", bad[i][0], pf_errmsg(ctx));
        assert_null(w);
    }
    support_ok(ctx, pfi_weights_open(ctx, support_path("m/s1.safetensors"), &w));
    assert_int_equal(pfi_weights_count(w), 1);
    pfi_weights_close(w);
    support_close(ctx);
}

/* damaged headers are refused or read, never worse */
static void test_mutations(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pfi_buf b = {0};
    support_ok(ctx, pfi_st_write_buf(ctx, st_sample, PFI_COUNT(st_sample), st_sample_meta, &b));
    char *copy = pfi_alloc(ctx, b.len);
    int refused = 0;
    for (uint64_t k = 0; k < 20000; k++) {
        memcpy(copy, b.data, b.len);
        uint32_t r[4];
        pfi_random_u32x4(1, 0, k, r);
        size_t n = r[3] % 4 ? b.len : r[2] % b.len;
        for (uint32_t i = 0; i <= r[0] % 3; i++) {
            uint32_t q[4];
            pfi_random_u32x4(1, i + 1, k, q);
            copy[q[0] % b.len] = q[1] % 2 ? (char)(q[2] % 128) : "0123456789[]{},:\"-."[q[2] % 19];
        }
        pfi_st *st;
        if (pfi_st_parse(ctx, copy, n, "mutant", NULL, NULL, &st) != PF_OK) {
            refused++;
            continue;
        }
        unsigned sum = 0;
        for (size_t i = 0; i < pfi_st_count(st); i++) {
            const pfi_st_tensor *t = pfi_st_at(st, i);
            for (size_t j = 0; j < t->bytes; j++) sum += t->data[j];
        }
        assert_true(sum < 1000000);
        pfi_st_release(st);
    }
    assert_true(refused > 10000);
    pfi_free(ctx, copy);
    pfi_buf_free(ctx, &b);
    support_close(ctx);
}

static pf_status st_everything(pf_ctx *ctx, void *ud) {
    const char *path = ud;
    pfi_st *st = NULL;
    PF_TRY(pfi_st_write(ctx, path, st_sample, PFI_COUNT(st_sample), st_sample_meta));
    PF_TRY(pfi_st_open(ctx, path, &st));
    pf_tensor *t = pfi_st_tensor_of(st, pfi_st_find(st, "w.b"));
    pfi_st_release(st);
    pf_tensor_free(t);
    pfi_weights *w = NULL;
    if (t) PF_TRY(pfi_weights_open(ctx, path, &w));
    pfi_weights_close(w);
    return t ? PF_OK : pf_errcode(ctx);
}

static void test_memory(void **state) {
    (void)state;
    support_sweep(st_everything, (void *)(uintptr_t)support_path("oom.safetensors"), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),      cmocka_unit_test(test_lengths),   cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_names),     cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_shards),     cmocka_unit_test(test_mutations), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
