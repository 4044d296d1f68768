/* GGUF: every rule of the format, metadata by type, stored types bit for bit, writing, damaged files. */
#include "support.h"

#include <math.h>

#include "base/half.h"
#include "file/gguf.h"
#include "file/json.h"
#include "kernel/kernel.h"
#include "tensor/tensor.h"

#define GGUF_GOLDEN "tests/golden/quant.gguf"

static pfi_gguf *gguf_golden(pf_ctx *ctx) {
    pfi_gguf *g;
    support_ok(ctx, pfi_gguf_open(ctx, GGUF_GOLDEN, &g));
    return g;
}

/* ---- rules ---- */

/* what upstream's own test makes, and what we say to it; none of the files holds the tensors' data */
static const struct {
    const char *type, *message; /* NULL: accepted */
} gguf_said[] = {
    {"HEADER_BAD_MAGIC", "does not begin with \"GGUF\""},
    {"HEADER_BAD_VERSION_0", "has version 0, expected 2 or 3"},
    {"HEADER_BAD_VERSION_1", "has version 1, expected 2 or 3"},
    {"HEADER_BAD_VERSION_FUTURE", "has version 4, expected 2 or 3"},
    {"HEADER_BAD_N_KV", "metadata pairs, which 8 bytes cannot hold"},
    {"HEADER_BAD_N_TENSORS", "tensors, which "},
    {"HEADER_EMPTY", NULL},
    {"KV_BAD_KEY_SIZE", "a key at byte 24 claims 18446744073709551615 bytes"},
    {"KV_EMPTY_KEY", "a key is empty"},
    {"KV_BAD_TYPE", "of type 13, expected"},
    {"KV_DUPLICATE_KEY", "is there twice"},
    {"KV_BAD_ALIGN", "general.alignment is 13, expected a power of two"},
    {"KV_WRONG_TYPE_ALIGN", "general.alignment is an i32, expected a u32"},
    {"KV_RANDOM_KV", NULL},
    {"TENSORS_BAD_NAME_SIZE", "bytes, at most 63 are allowed"},
    {"TENSORS_BAD_N_DIMS", "5 dimensions, at most 4"},
    {"TENSORS_BAD_SHAPE", "above 2^63 - 1"},
    {"TENSORS_ZERO_DIM", NULL},
    {"TENSORS_NE_TOO_BIG", "a shape whose product overflows"},
    {"TENSORS_NBYTES_TOO_BIG", "a size in bytes that overflows"},
    {"TENSORS_BAD_TYPE", "the unknown type 43"},
    {"TENSORS_BAD_OFFSET", "has the offset 18446744073709551615, expected 0"},
    {"TENSORS_DUPLICATE_NAME", "two tensors are called \"my_tensor\""},
    {"TENSORS_BAD_ALIGN", "general.alignment is 13, expected a power of two"},
    {"TENSORS_INCONSISTENT_ALIGN", "has the offset"},
    {"TENSORS_SUCCESS", "it is cut short"},
    {"TENSORS_CUSTOM_ALIGN", "it is cut short"},
    {"DATA_MEM_SIZE_OVERFLOW", "a size in bytes that overflows"},
};

static void test_manifest(void **state) {
    (void)state;
    char path[512];
    if (!support_data(path, sizeof path, "gguf_manifest", "malformed/gguf/manifest.json")) skip();
    pf_ctx *ctx = support_open();
    json_t *list = pfi_json_load(ctx, path), *e;
    assert_non_null(list);
    size_t i;
    json_array_foreach(list, i, e) {
        const char *file, *type;
        support_ok(ctx, pfi_json_string(ctx, e, "file", path, &file));
        support_ok(ctx, pfi_json_string(ctx, e, "type", path, &type));
        int k = PFI_COUNT(gguf_said) - 1;
        while (k > 0 && strcmp(gguf_said[k].type, type) != 0) k--;
        assert_string_equal(gguf_said[k].type, type);
        strcpy(strrchr(path, '/') + 1, file);
        pfi_gguf *g;
        pf_status s = pfi_gguf_open(ctx, path, &g);
        if (gguf_said[k].message) {
            support_fails(ctx, s, PF_FORMAT, gguf_said[k].message);
            assert_non_null(strstr(pf_errmsg(ctx), file));
            continue;
        }
        support_ok(ctx, s);
        assert_int_equal(pfi_gguf_keys(g), json_integer_value(json_object_get(e, "n_kv")));
        assert_int_equal(pfi_gguf_count(g), json_integer_value(json_object_get(e, "n_tensors")));
        assert_int_equal(pfi_gguf_alignment(g), json_integer_value(json_object_get(e, "alignment")));
        pfi_gguf_release(g);
    }
    assert_true(i >= 84);
    json_decref(list);
    support_close(ctx);
}

/* a header of version v with counts, and what follows */
static size_t gguf_header(unsigned char *p, uint32_t version, uint64_t tensors, uint64_t pairs) {
    memcpy(p, "GGUF", 4);
    for (int i = 0; i < 4; i++) p[4 + i] = (unsigned char)(version >> (8 * i));
    for (int i = 0; i < 8; i++) p[8 + i] = (unsigned char)(tensors >> (8 * i));
    for (int i = 0; i < 8; i++) p[16 + i] = (unsigned char)(pairs >> (8 * i));
    return 24;
}

static void test_rules(void **state) {
    (void)state;
#define KEY      "\1\0\0\0\0\0\0\0k"
#define NAME     "\1\0\0\0\0\0\0\0t"
#define ONE_ROW  "\1\0\0\0\x20\0\0\0\0\0\0\0"
#define OFFSET_0 "\0\0\0\0\0\0\0\0"
    static const struct {
        uint32_t version;
        int tensors, pairs;
        const char *rest;
        size_t n;
        const char *message;
    } cases[] = {
#define REST(s) s, sizeof s - 1
        {2, 0, 0, REST(""), NULL},
        {0x3000000, 0, 0, REST(""), "big-endian"},
        {3, 0, 1, REST(KEY "\7\0\0\0\1\0\0\0"), NULL},
        {3, 0, 1, REST(KEY "\4\0\0\0\1"), "in the middle of k"},
        {3, 0, 1, REST(KEY "\x9\0\0\0\x9\0\0\0\1\0\0\0\0\0\0\0"), "an array of elements of type 9"},
        {3, 0, 1, REST(KEY "\x9\0\0\0\x4\0\0\0\2\0\0\0\0\0\0\0....."), "claims 2 elements, which the 5 bytes"},
        {3, 0, 1, REST(KEY "\x9\0\0\0\x8\0\0\0\1\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0abc"), "key \"k\", element 1"},
        {3, 0, 1, REST(KEY "\x9\0\0\0\x4\0\0\0\0\0\0\0\0\0\0\x80"), "claims 9223372036854775808 elements"},
        {3, 0, 1, REST("\1\0\0\0\0\0\0\0\0\4\0\0\0\1\0\0\0"), "a key at byte 24 holds a zero byte"},
        {3, 0, 1, REST("\1\0\0\0\0\0\0\0\xFF\4\0\0\0\1\0\0\0"), "a key at byte 24 is not valid UTF-8"},
        {3, 1, 0, REST(NAME ONE_ROW "\2\0\0\0" OFFSET_0), "it is cut short"},
        {3, 1, 0, REST(NAME "\1\0\0\0\x1f\0\0\0\0\0\0\0\2\0\0\0" OFFSET_0), "rows of 31 values, Q4_0 needs a multiple"},
        {3, 1, 0, REST(NAME ONE_ROW "\4\0\0\0" OFFSET_0), "the unknown type 4"},
        {3, 1, 0, REST(NAME "\0\0\0\0\2\0\0\0" OFFSET_0), "rows of 1 values, Q4_0"},
        {3, 1, 0,
         REST(NAME "\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" OFFSET_0 "..............................."),
         NULL},
        {3, 1, 0,
         REST(NAME "\2\0\0\0\0\0\0\0\0\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F\0\0\0\0" OFFSET_0
                   "..............................."),
         NULL},
    };
    pf_ctx *ctx = support_open();
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        unsigned char buf[256];
        size_t n = gguf_header(buf, cases[i].version, (uint64_t)cases[i].tensors, (uint64_t)cases[i].pairs);
        memcpy(buf + n, cases[i].rest, cases[i].n);
        unsigned char *exact = malloc(n + cases[i].n);
        assert_non_null(exact);
        memcpy(exact, buf, n + cases[i].n);
        pfi_gguf *g;
        pf_status s = pfi_gguf_parse(ctx, exact, n + cases[i].n, "rule", NULL, NULL, &g);
        if (cases[i].message) {
            support_fails(ctx, s, PF_FORMAT, cases[i].message);
            assert_null(g);
        } else {
            support_ok(ctx, s);
            pfi_gguf_release(g);
        }
        free(exact);
    }
    pfi_gguf *g;
    support_fails(ctx, pfi_gguf_open(ctx, support_path("none.gguf"), &g), PF_IO, "No such file");
    support_close(ctx);
}

/* ---- metadata ---- */

static void test_numbers(void **state) {
    (void)state;
    static const struct {
        const char *key;
        double value;
    } cases[] = {{"k.u8", 200},         {"k.i8", -100},         {"k.u16", 60000},  {"k.i16", -30000},
                 {"k.u32", 4000000000}, {"k.i32", -2000000000}, {"k.i64", -0x1p62}};
    pf_ctx *ctx = support_open();
    pfi_gguf *g = gguf_golden(ctx);
    int64_t n = 0;
    double x = 0;
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        support_ok(ctx, pfi_gguf_int(g, cases[i].key, &n));
        support_ok(ctx, pfi_gguf_number(g, cases[i].key, &x));
        assert_true((double)n == cases[i].value && x == cases[i].value);
    }
    support_ok(ctx, pfi_gguf_number(g, "k.u64", &x));
    assert_true(x == 0x1p63);
    support_fails(ctx, pfi_gguf_int(g, "k.u64", &n), PF_FORMAT,
                  "key \"k.u64\" is a u64, expected an integer below 2^63");
    support_ok(ctx, pfi_gguf_number(g, "k.f32", &x));
    assert_true(x == (double)0.1f);
    support_ok(ctx, pfi_gguf_number(g, "k.f64", &x));
    assert_true(x == 0.1);
    support_fails(ctx, pfi_gguf_int(g, "k.f32", &n), PF_FORMAT,
                  "quant.gguf: key \"k.f32\" is an f32, expected an integer");
    support_fails(ctx, pfi_gguf_number(g, "k.text", &x), PF_FORMAT, "is a string, expected a number");
    support_fails(ctx, pfi_gguf_int(g, "k.none", &n), PF_FORMAT, "key \"k.none\" is missing");
    n = 7;
    support_ok(ctx, pfi_gguf_int_opt(g, "k.none", &n));
    assert_int_equal(n, 7);
    support_fails(ctx, pfi_gguf_int_opt(g, "k.yes", &n), PF_FORMAT, "is a boolean, expected an integer");
    bool yes = false, no = true;
    support_ok(ctx, pfi_gguf_bool(g, "k.yes", &yes));
    support_ok(ctx, pfi_gguf_bool_opt(g, "k.no", &no));
    assert_true(yes && !no);
    support_fails(ctx, pfi_gguf_bool(g, "k.u8", &no), PF_FORMAT, "expected a boolean");
    pfi_gguf_release(g);
    support_close(ctx);
}

static void test_texts_and_arrays(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pfi_gguf *g = gguf_golden(ctx);
    const char *text = NULL;
    size_t len = 0;
    support_ok(ctx, pfi_gguf_string(g, "k.text", &text, &len));
    assert_string_equal(text, "zwölf");
    assert_int_equal(len, 6);
    support_ok(ctx, pfi_gguf_string_opt(g, "general.architecture", &text, NULL));
    assert_string_equal(text, "llama");
    support_ok(ctx, pfi_gguf_string_opt(g, "k.none", &text, NULL));
    assert_string_equal(text, "llama");
    support_fails(ctx, pfi_gguf_string(g, "k.u8", &text, NULL), PF_FORMAT, "expected a string");
    pfi_gguf_array a;
    support_ok(ctx, pfi_gguf_list(g, "k.words", PFI_GGUF_STRING, &a));
    static const char *const words[] = {"", "a", "é b"};
    assert_int_equal(a.n, 3);
    for (int i = 0; i < 3; i++) {
        text = pfi_gguf_next_string(&a, &len);
        assert_int_equal(len, strlen(words[i]));
        assert_memory_equal(text, words[i], len);
    }
    assert_int_equal(a.n, 0);
    support_ok(ctx, pfi_gguf_list(g, "k.ints", PFI_GGUF_I64, &a));
    assert_true(a.n == 3 && pfi_gguf_next_int(&a) == 1 && pfi_gguf_next_int(&a) == -2);
    support_ok(ctx, pfi_gguf_list(g, "k.ints", PFI_GGUF_F64, &a));
    assert_true(pfi_gguf_next_number(&a) == 1 && pfi_gguf_next_number(&a) == -2);
    support_ok(ctx, pfi_gguf_list_opt(g, "k.floats", PFI_GGUF_F64, &a));
    assert_true(a.n == 2 && pfi_gguf_next_number(&a) == 0.5 && pfi_gguf_next_number(&a) == -1.25);
    support_ok(ctx, pfi_gguf_list(g, "k.bools", PFI_GGUF_I64, &a));
    assert_true(a.n == 2 && pfi_gguf_next_int(&a) == 1 && pfi_gguf_next_int(&a) == 0);
    support_ok(ctx, pfi_gguf_list_opt(g, "k.none", PFI_GGUF_I64, &a));
    assert_int_equal(a.n, 0);
    support_fails(ctx, pfi_gguf_list(g, "k.none", PFI_GGUF_I64, &a), PF_FORMAT, "is missing");
    support_fails(ctx, pfi_gguf_list(g, "k.floats", PFI_GGUF_I64, &a), PF_FORMAT, "an f32, expected integers");
    support_fails(ctx, pfi_gguf_list(g, "k.ints", PFI_GGUF_STRING, &a), PF_FORMAT, "an i32, expected strings");
    support_fails(ctx, pfi_gguf_list(g, "k.u8", PFI_GGUF_F64, &a), PF_FORMAT, "is a u8, expected an array of numbers");
    pfi_gguf_release(g);
    support_close(ctx);
}

/* ---- stored types ---- */

static const struct {
    pf_dtype type;
    const char *name;
} gguf_block_types[] = {{PF_Q8_0, "q8_0"}, {PF_Q4_0, "q4_0"}, {PF_Q4_1, "q4_1"}, {PF_Q5_0, "q5_0"},
                        {PF_Q5_1, "q5_1"}, {PF_Q4_K, "q4_k"}, {PF_Q5_K, "q5_k"}, {PF_Q6_K, "q6_k"}};

/* the figures of the gguf package and of ggml, bit for bit; the double kernel holds the same floats */
static void test_widen(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pfi_gguf *g = gguf_golden(ctx);
    for (int i = 0; i < PFI_COUNT(gguf_block_types); i++) {
        char name[32];
        snprintf(name, sizeof name, "%s.f32", gguf_block_types[i].name);
        const pfi_weight *from = pfi_gguf_find(g, gguf_block_types[i].name), *to = pfi_gguf_find(g, name);
        assert_true(from && to && from->pf == (int)gguf_block_types[i].type && to->bytes == 4096);
        float y[1024];
        double z[1024];
        pfk_widen_f32(gguf_block_types[i].type, from->data, y, 1024);
        pfk_widen_f64(gguf_block_types[i].type, from->data, z, 1024);
        assert_memory_equal(y, to->data, to->bytes);
        for (int k = 0; k < 1024; k++) assert_true(z[k] == (double)y[k]);
        pf_tensor *t = pfi_gguf_tensor_of(g, from);
        assert_non_null(t);
        assert_ptr_equal(pfi_data(t), from->data);
        for (size_t k = 0; k < 1024; k++) assert_true(pfi_get(t, k) == z[k]);
        support_fails(ctx, pf_tensor_write(t, z, 1024), PF_TYPE, "cannot be written to");
        support_fails(ctx, pf_tensor_set_grad(t, true), PF_TYPE, "cannot collect gradients");
        pf_tensor_free(t);
    }
    pfi_gguf_release(g);
    support_close(ctx);
}

/* value i of a block from the words of the format, one value at a time */
static float gguf_twin(pf_dtype type, const unsigned char *b, int i) {
    float d = pfi_f16_to_f32((uint16_t)(b[0] | b[1] << 8)), m = pfi_f16_to_f32((uint16_t)(b[2] | b[3] << 8));
    int half = i % 16, high = i / 16, j = i / 32, q, s, t;
    volatile float a, c; /* no fused multiply-add */
    switch (type) {
    case PF_Q8_0: return (float)(signed char)b[2 + i] * d;
    case PF_Q4_0: return (float)((high ? b[2 + half] / 16 : b[2 + half] % 16) - 8) * d;
    case PF_Q4_1: a = (float)(high ? b[4 + half] / 16 : b[4 + half] % 16) * d; return a + m;
    case PF_Q5_0:
        q = (high ? b[6 + half] / 16 : b[6 + half] % 16) + (b[2 + i / 8] >> i % 8) % 2 * 16;
        return (float)(q - 16) * d;
    case PF_Q5_1:
        q = (high ? b[8 + half] / 16 : b[8 + half] % 16) + (b[4 + i / 8] >> i % 8) % 2 * 16;
        a = (float)q * d;
        return a + m;
    case PF_Q6_K:
        d = pfi_f16_to_f32((uint16_t)(b[208] | b[209] << 8));
        q = i % 128; /* element l of a half; rows of 32 */
        s = b[i / 128 * 64 + q % 64];
        t = b[128 + i / 128 * 32 + q % 32] >> q / 32 * 2 & 3;
        a = d * (float)(signed char)b[192 + i / 128 * 8 + q / 16];
        return a * (float)((q < 64 ? s % 16 : s / 16) + 16 * t - 32);
    default: break;
    }
    const unsigned char *k = b + 4, *line = type == PF_Q4_K ? b + 16 : b + 48;
    s = j < 4 ? k[j] % 64 : k[j + 4] % 16 + k[j - 4] / 64 * 16;
    t = j < 4 ? k[j + 4] % 64 : k[j + 4] / 16 + k[j] / 64 * 16;
    q = line[j / 2 * 32 + i % 32];
    q = j % 2 ? q / 16 : q % 16;
    if (type == PF_Q5_K) q += (b[16 + i % 32] >> j) % 2 * 16;
    a = d * (float)s;
    c = m * (float)t;
    a *= (float)q;
    return a - c;
}

static void test_widen_twin(void **state) {
    (void)state;
    for (int i = 0; i < PFI_COUNT(gguf_block_types); i++) {
        pf_dtype type = gguf_block_types[i].type;
        int64_t block = pfk_block(type);
        size_t bytes = pfk_block_bytes(type);
        for (uint64_t k = 0; k < 500; k++) {
            unsigned char b[256 + 1];
            float y[PFK_BLOCK_MAX];
            for (size_t j = 0; j < bytes; j++) {
                uint32_t r[4];
                pfi_random_u32x4(3, k, j, r);
                b[1 + j] = (unsigned char)r[0];
            }
            pfk_widen_f32(type, b + 1, y, block); /* aligned to nothing */
            for (int e = 0; e < block; e++) {
                float want = gguf_twin(type, b + 1, e);
                if (!(y[e] == want || (isnan(y[e]) && isnan(want))))
                    fail_msg("%s value %d: %a, expected %a", gguf_block_types[i].name, e, (double)y[e], (double)want);
            }
        }
    }
}

static void test_narrow(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pfi_gguf *g = gguf_golden(ctx);
    const pfi_weight *from = pfi_gguf_find(g, "q8_0.from"), *to = pfi_gguf_find(g, "q8_0.to");
    assert_true(from && to && from->bytes == 4096);
    unsigned char q[1088];
    float x[1024];
    memcpy(x, from->data, sizeof x);
    assert_int_equal(to->bytes, sizeof q);
    pfk_narrow(PF_Q8_0, q, x, 1024);
    assert_memory_equal(q, to->data, sizeof q);
    for (int i = 0; i < 32; i++) x[i] = 1e-40f * (float)i; /* a scale whose inverse is infinite */
    pfk_narrow(PF_Q8_0, q, x, 32);
    for (int i = 0; i < 34; i++) assert_int_equal(q[i], 0);
    pfi_gguf_release(g);
    support_close(ctx);
}

static void test_block_tensors(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    assert_null(pf_tensor_new(ctx, PF_Q4_0, 2, (int64_t[]){2, 33}));
    support_fails(ctx, pf_errcode(ctx), PF_SHAPE,
                  "a q4_0 tensor's last dimension is a multiple of 32, got shape [2, 33]");
    assert_null(pf_tensor_new(ctx, PF_Q6_K, 0, NULL));
    support_fails(ctx, pf_errcode(ctx), PF_SHAPE, "a multiple of 256");
    pf_tensor *t = pf_tensor_new(ctx, PF_Q6_K, 2, (int64_t[]){3, 512});
    assert_non_null(t);
    assert_int_equal(t->st->bytes, 6 * 210);
    assert_true(pfi_get(t, 1000) == 0);
    pf_tensor_free(t);
    support_close(ctx);
}

/* ---- weights ---- */

static void test_weights(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pfi_weights *w;
    support_ok(ctx, pfi_weights_open(ctx, GGUF_GOLDEN, &w));
    assert_non_null(pfi_weights_gguf(w));
    assert_int_equal(pfi_weights_count(w), 19);
    const pfi_weight *q = pfi_weights_find(w, "q4_k");
    assert_true(q && q->nd == 2 && q->dim[0] == 2 && q->dim[1] == 512);
    assert_string_equal(q->dtype, "Q4_K");
    assert_string_equal(q->file, GGUF_GOLDEN);
    assert_ptr_equal(pfi_weights_at(w, 0), pfi_weights_find(w, "q8_0"));
    assert_null(pfi_weights_find(w, "x"));
    pf_tensor *t = pfi_weights_tensor(w, q), *h = pfi_weights_tensor(w, pfi_weights_find(w, "half"));
    pfi_weights_close(w); /* the tensors keep the file */
    assert_true(t && h && t->dtype == PF_Q4_K && h->dtype == PF_F16);
    assert_true(isfinite(pfi_get(t, 1023)) && pfi_get(h, 1) == (double)pfi_f16_to_f32(97));
    pf_tensor_free(t);
    pf_tensor_free(h);
    support_close(ctx);
}

/* types that the format has and we have not are refused when they are used, with their names */
static void test_unread_type(void **state) {
    (void)state;
    unsigned char buf[256] = {0};
    size_t n = gguf_header(buf, 3, 1, 0);
    static const char rest[] = NAME "\1\0\0\0\0\1\0\0\0\0\0\0\xA\0\0\0" OFFSET_0;
    memcpy(buf + n, rest, sizeof rest - 1);
    pf_ctx *ctx = support_open();
    pfi_gguf *g;
    support_ok(ctx, pfi_gguf_parse(ctx, buf, 64 + 84, "two.gguf", NULL, NULL, &g));
    assert_null(pfi_gguf_tensor_of(g, pfi_gguf_at(g, 0)));
    support_fails(ctx, pf_errcode(ctx), PF_TYPE, "two.gguf: tensor \"t\" is stored as Q2_K, which is not read");
    pfi_gguf_release(g);
    support_close(ctx);
}

/* ---- writing ---- */

static pf_status gguf_write_pairs(pfi_gguf_writer *w) {
    PF_TRY(pfi_gguf_put_string(w, "general.architecture", "llama", 5));
    PF_TRY(pfi_gguf_put_int(w, "a.u8", PFI_GGUF_U8, 255));
    PF_TRY(pfi_gguf_put_int(w, "a.i16", PFI_GGUF_I16, -32768));
    PF_TRY(pfi_gguf_put_int(w, "a.u64", PFI_GGUF_U64, INT64_MAX));
    PF_TRY(pfi_gguf_put_number(w, "a.f32", PFI_GGUF_F32, 1e-5));
    PF_TRY(pfi_gguf_put_number(w, "a.f64", PFI_GGUF_F64, 1e-5));
    PF_TRY(pfi_gguf_put_bool(w, "a.yes", true));
    PF_TRY(pfi_gguf_put_string(w, "a.zero", "p\0q", 3));
    PF_TRY(pfi_gguf_put_array(w, "a.words", PFI_GGUF_STRING, 2));
    PF_TRY(pfi_gguf_put_string(w, NULL, "x\0y", 3));
    PF_TRY(pfi_gguf_put_string(w, NULL, "", 0));
    PF_TRY(pfi_gguf_put_array(w, "a.floats", PFI_GGUF_F32, 1));
    PF_TRY(pfi_gguf_put_number(w, NULL, PFI_GGUF_F32, -2));
    return pfi_gguf_put_array(w, "a.none", PFI_GGUF_I32, 0);
}

static const pf_dtype gguf_written[] = {PF_F32, PF_F16, PF_BF16, PF_Q8_0};

static pf_status gguf_write_all(pfi_gguf_writer *w, const float *x) {
    static const char *const names[] = {"f32", "f16", "bf16", "q8_0"};
    PF_TRY(gguf_write_pairs(w));
    for (int i = 0; i < 4; i++) PF_TRY(pfi_gguf_put_tensor(w, names[i], gguf_written[i], 2, (int64_t[]){3, 32}));
    PF_TRY(pfi_gguf_put_tensor(w, "empty", PF_F32, 1, (int64_t[]){0}));
    PF_TRY(pfi_gguf_put_tensor(w, "odd", PF_F32, 1, (int64_t[]){3}));
    PF_TRY(pfi_gguf_put_tensor(w, "stored", PF_Q4_0, 1, (int64_t[]){32}));
    for (int i = 0; i < 4; i++) { /* in pieces and whole */
        PF_TRY(pfi_gguf_put_values(w, x, 32));
        PF_TRY(pfi_gguf_put_values(w, x + 32, 64));
    }
    PF_TRY(pfi_gguf_put_values(w, x, 3));
    return pfi_gguf_put_stored(w, x, 18);
}

static pf_status gguf_write(pf_ctx *ctx, const char *path, const float *x) {
    pfi_gguf_writer *w;
    PF_TRY(pfi_gguf_writer_open(ctx, path, &w));
    pf_status s = gguf_write_all(w, x);
    if (s == PF_OK) return pfi_gguf_writer_commit(w);
    pfi_gguf_writer_abandon(w);
    return s;
}

static void gguf_values(float *x, int n) {
    for (int i = 0; i < n; i++) x[i] = (float)pfi_random_normal(5, 0, (uint64_t)i);
}

static void test_write(void **state) {
    (void)state;
    float x[96], y[96], want[96];
    gguf_values(x, 96);
    pf_ctx *ctx = support_open();
    const char *path = support_path("w.gguf");
    support_ok(ctx, gguf_write(ctx, path, x));
    pfi_gguf *g;
    support_ok(ctx, pfi_gguf_open(ctx, path, &g));
    int64_t n = 0;
    double f = 0;
    pfi_gguf_type type;
    assert_string_equal(pfi_gguf_key(g, 1, &type), "a.u8");
    assert_int_equal(type, PFI_GGUF_U8);
    support_ok(ctx, pfi_gguf_int(g, "a.i16", &n));
    assert_int_equal(n, -32768);
    support_ok(ctx, pfi_gguf_int(g, "a.u64", &n));
    assert_true(n == INT64_MAX);
    support_ok(ctx, pfi_gguf_number(g, "a.f32", &f));
    assert_true(f == (double)1e-5f);
    support_ok(ctx, pfi_gguf_number(g, "a.f64", &f));
    assert_true(f == 1e-5);
    pfi_gguf_array a;
    size_t len;
    support_ok(ctx, pfi_gguf_list(g, "a.words", PFI_GGUF_STRING, &a));
    assert_memory_equal(pfi_gguf_next_string(&a, &len), "x\0y", 3);
    assert_int_equal(len, 3);
    const char *text;
    support_ok(ctx, pfi_gguf_string(g, "a.zero", &text, &len));
    assert_memory_equal(text, "p\0q", 4);
    assert_int_equal(len, 3);
    support_fails(ctx, pfi_gguf_string(g, "a.zero", &text, NULL), PF_FORMAT, "expected one without a zero byte");
    support_ok(ctx, pfi_gguf_list(g, "a.none", PFI_GGUF_I64, &a));
    assert_int_equal(a.n, 0);
    for (int i = 0; i < 4; i++) {
        const pfi_weight *t = pfi_gguf_at(g, (size_t)i);
        assert_int_equal(t->pf, gguf_written[i]);
        assert_true(t->nd == 2 && t->dim[0] == 3 && t->dim[1] == 32);
        pfk_widen_f32(gguf_written[i], t->data, y, 96);
        unsigned char q[102];
        pfk_narrow(PF_Q8_0, q, x, 96);
        pfk_widen_f32(PF_Q8_0, q, want, 96);
        for (int k = 0; k < 96 && i < 3; k++)
            want[k] = i == 0   ? x[k]
                      : i == 1 ? pfi_f16_to_f32(pfi_f32_to_f16(x[k]))
                               : pfi_bf16_to_f32(pfi_f32_to_bf16(x[k]));
        assert_memory_equal(y, want, sizeof y);
        assert_int_equal((size_t)(t->data - pfi_gguf_at(g, 0)->data) % 32, 0);
    }
    assert_memory_equal(pfi_gguf_find(g, "odd")->data, x, 12);
    assert_memory_equal(pfi_gguf_find(g, "stored")->data, x, 18);
    pfi_gguf_release(g);
    support_close(ctx);
}

static void test_write_order(void **state) {
    (void)state;
    float x[96] = {0};
    pf_ctx *ctx = support_open();
    const char *path = support_path("order.gguf");
    pfi_gguf_writer *w;
    support_ok(ctx, pfi_gguf_writer_open(ctx, path, &w));
    support_fails(ctx, pfi_gguf_put_int(w, "k", PFI_GGUF_U8, 256), PF_RANGE, "256 does not fit a u8 for the key k");
    support_fails(ctx, pfi_gguf_put_int(w, "k", PFI_GGUF_I8, -129), PF_RANGE, "does not fit an i8");
    support_fails(ctx, pfi_gguf_put_int(w, "k", PFI_GGUF_U64, -1), PF_RANGE, "does not fit a u64");
    support_fails(ctx, pfi_gguf_put_int(w, "k", PFI_GGUF_F32, 1), PF_TYPE, "cannot be stored as an f32");
    support_fails(ctx, pfi_gguf_put_number(w, "k", PFI_GGUF_U8, 1), PF_TYPE, "cannot be stored as a u8");
    support_fails(ctx, pfi_gguf_put_bool(w, "", true), PF_NAME, "1 to 65535 bytes, got 0");
    support_ok(ctx, pfi_gguf_put_bool(w, "k", true));
    support_fails(ctx, pfi_gguf_put_bool(w, "k", true), PF_NAME, "\"k\" is there already");
    support_fails(ctx, pfi_gguf_put_bool(w, NULL, true), PF_STATE, "is not open");
    support_fails(ctx, pfi_gguf_put_array(w, "a", PFI_GGUF_ARRAY, 1), PF_TYPE, "array of arrays");
    support_ok(ctx, pfi_gguf_put_array(w, "a", PFI_GGUF_I32, 1));
    support_fails(ctx, pfi_gguf_put_bool(w, NULL, true), PF_STATE, "of another type is open");
    support_fails(ctx, pfi_gguf_put_bool(w, "l", true), PF_STATE, "lacks 1 elements");
    support_fails(ctx, pfi_gguf_put_tensor(w, "t", PF_F32, 1, (int64_t[]){3}), PF_STATE, "too early");
    support_ok(ctx, pfi_gguf_put_int(w, NULL, PFI_GGUF_I32, -5));
    support_fails(ctx, pfi_gguf_put_tensor(w, "", PF_F32, 1, (int64_t[]){3}), PF_NAME, "1 to 63 bytes");
    support_fails(ctx, pfi_gguf_put_tensor(w, "t", PF_Q8_0, 1, (int64_t[]){33}), PF_SHAPE, "the last a multiple of 32");
    support_fails(ctx, pfi_gguf_put_tensor(w, "t", PF_F32, 2, (int64_t[]){INT64_MAX, 8}), PF_SHAPE, "too large");
    support_ok(ctx, pfi_gguf_put_tensor(w, "t", PF_Q8_0, 1, (int64_t[]){64}));
    support_fails(ctx, pfi_gguf_put_tensor(w, "t", PF_Q8_0, 1, (int64_t[]){64}), PF_NAME, "are called \"t\"");
    support_ok(ctx, pfi_gguf_put_tensor(w, "u", PF_Q4_0, 1, (int64_t[]){32}));
    support_fails(ctx, pfi_gguf_put_bool(w, "late", true), PF_STATE, "comes before its tensors");
    support_fails(ctx, pfi_gguf_put_values(w, x, 33), PF_RANGE, "multiples of 32 values, 33 came");
    support_fails(ctx, pfi_gguf_put_values(w, x, 96), PF_RANGE, "room for 68 more bytes, 102 came");
    x[3] = NAN;
    support_fails(ctx, pfi_gguf_put_values(w, x, 64), PF_NONFINITE, "tensor \"t\" holds a value that is not finite");
    support_fails(ctx, pfi_gguf_put_tensor(w, "v", PF_F32, 1, (int64_t[]){3}), PF_STATE, "too late");
    support_fails(ctx, pfi_gguf_put_stored(w, x, 34), PF_RANGE, "is stored in 68 bytes, 34 came");
    support_ok(ctx, pfi_gguf_put_stored(w, x, 68));
    support_fails(ctx, pfi_gguf_put_values(w, x, 32), PF_TYPE, "not narrowed to q4_0");
    support_fails(ctx, pfi_gguf_writer_commit(w), PF_STATE, "tensor \"u\" lacks 18 bytes");
    assert_false(pfi_file_exists(path));
    support_close(ctx);
}

/* ---- damage ---- */

/* every cut and 20000 changes of a file are refused or read, never worse */
static void test_mutations(void **state) {
    (void)state;
    float x[96];
    gguf_values(x, 96);
    pf_ctx *ctx = support_open();
    const char *path = support_path("m.gguf");
    pfi_buf b = {0};
    support_ok(ctx, gguf_write(ctx, path, x));
    support_ok(ctx, pfi_file_read(ctx, path, &b));
    size_t head = b.len - 3 * 32 * 4 - 3 * 64 * 2; /* nearly all that is no data */
    int refused = 0;
    for (uint64_t k = 0; k < 20000; k++) {
        uint32_t r[4];
        pfi_random_u32x4(1, 0, k, r);
        size_t n = k < b.len ? (size_t)k : b.len;
        char *copy = malloc(n + 1);
        assert_non_null(copy);
        memcpy(copy, b.data, n);
        for (uint32_t i = 0; k >= b.len && i <= r[0] % 3; i++) {
            uint32_t q[4];
            pfi_random_u32x4(1, i + 1, k, q);
            copy[q[0] % head] = q[1] % 2 ? (char)(q[2] % 16) : (char)(q[2] % 256);
        }
        pfi_gguf *g;
        if (pfi_gguf_parse(ctx, copy, n, "mutant", NULL, NULL, &g) == PF_OK) {
            if (k < b.len - 14) fail_msg("cut at %zu: accepted", n); /* 14 bytes of padding may be missing */
            unsigned sum = 0;
            for (size_t i = 0; i < pfi_gguf_count(g); i++)
                for (size_t j = 0; j < pfi_gguf_at(g, i)->bytes; j++) sum += pfi_gguf_at(g, i)->data[j];
            assert_true(sum < 1000000);
            pfi_gguf_release(g);
        } else {
            refused++;
            if (k < b.len && !strstr(pf_errmsg(ctx), "mutant")) fail_msg("cut at %zu: %s", n, pf_errmsg(ctx));
        }
        free(copy);
    }
    assert_true(refused > 5000);
    pfi_buf_free(ctx, &b);
    support_close(ctx);
}

static pf_status gguf_everything(pf_ctx *ctx, void *ud) {
    const char *path = ud;
    float x[96];
    gguf_values(x, 96);
    PF_TRY(gguf_write(ctx, path, x));
    pfi_weights *w = NULL;
    PF_TRY(pfi_weights_open(ctx, path, &w));
    pf_tensor *t = pfi_weights_tensor(w, pfi_weights_find(w, "q8_0"));
    pfi_weights_close(w);
    pf_tensor_free(t);
    return t ? PF_OK : pf_errcode(ctx);
}

static void test_memory(void **state) {
    (void)state;
    support_sweep(gguf_everything, (void *)(uintptr_t)support_path("oom.gguf"), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest),  cmocka_unit_test(test_rules),
        cmocka_unit_test(test_numbers),   cmocka_unit_test(test_texts_and_arrays),
        cmocka_unit_test(test_widen),     cmocka_unit_test(test_widen_twin),
        cmocka_unit_test(test_narrow),    cmocka_unit_test(test_block_tensors),
        cmocka_unit_test(test_weights),   cmocka_unit_test(test_unread_type),
        cmocka_unit_test(test_write),     cmocka_unit_test(test_write_order),
        cmocka_unit_test(test_mutations), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
