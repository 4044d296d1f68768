/* JSON: what is accepted, messages, typed values, quoting. */
#include "support.h"

#include <dirent.h>

#include "file/file.h"
#include "file/json.h"

/* n_: must be refused; y_: must be accepted; i_: either, without harm */
static void test_suite(void **state) {
    (void)state;
    char dir[512];
    if (!support_data(dir, sizeof dir, "json_suite", "malformed/json")) skip();
    pf_ctx *ctx = support_open();
    DIR *d = opendir(dir);
    assert_non_null(d);
    int seen = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (!strstr(e->d_name, ".json") || e->d_name[1] != '_') continue;
        char path[800];
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        pfi_buf text = {0};
        bool hidden;
        support_ok(ctx, pfi_file_read(ctx, path, &text));
        json_t *v = pfi_json_parse_hidden(ctx, text.data, text.len, path, 1, &hidden);
        pfi_buf_free(ctx, &text);
        if (!v) assert_int_equal(pf_errcode(ctx), PF_FORMAT);
        if (!v && !strstr(pf_errmsg(ctx), e->d_name))
            fail_msg("the message does not name the file: %s", pf_errmsg(ctx));
        bool ok = v != NULL;
        json_decref(v);
        seen++;
        if ((e->d_name[0] == 'n' && ok) || (e->d_name[0] == 'y' && !ok)) fail_msg("%s: %s", e->d_name, pf_errmsg(ctx));
    }
    closedir(d);
    assert_true(seen > 300);
    support_close(ctx);
}

static void test_messages(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    assert_null(pfi_json_parse(ctx, "{\n \"a\": 1,\n}", 12, "f.json"));
    assert_non_null(strstr(pf_errmsg(ctx), "f.json:3:1: not valid JSON"));
    assert_null(pfi_json_parse(ctx, "", 0, "f.json"));
    assert_non_null(strstr(pf_errmsg(ctx), "f.json is empty"));
    assert_null(pfi_json_parse(ctx, "[1,\n\"\xFF\"]", 7, "f.json"));
    assert_non_null(strstr(pf_errmsg(ctx), "f.json:2: byte 2 of the line (0xFF) is not valid UTF-8"));
    assert_null(pfi_json_load(ctx, support_path("none.json")));
    assert_int_equal(pf_errcode(ctx), PF_IO);
    const char *twice = "{\"a\": 1, \"a\": 2}";
    assert_null(pfi_json_parse_unique(ctx, twice, strlen(twice), "f.json"));
    assert_non_null(strstr(pf_errmsg(ctx), "duplicate"));
    json_t *v = pfi_json_parse(ctx, twice, strlen(twice), "f.json");
    assert_int_equal(json_integer_value(json_object_get(v, "a")), 2);
    json_decref(v);
    v = pfi_json_parse(ctx, "\"a\\u0000b\"", 10, "f.json");
    assert_int_equal(json_string_length(v), 3);
    json_decref(v);
    support_close(ctx);
}

static void test_values(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    const char *text = "{\"i\": 7, \"x\": 2.5, \"b\": true, \"s\": \"text\", \"l\": [1], \"o\": {}, \"n\": null}";
    json_t *o = pfi_json_parse(ctx, text, strlen(text), "f.json"), *c;
    int64_t i = 0;
    double x = 0;
    bool b = false;
    const char *s = NULL;
    support_ok(ctx, pfi_json_int(ctx, o, "i", "f.json", &i));
    assert_int_equal(i, 7);
    support_ok(ctx, pfi_json_number(ctx, o, "x", "f.json", &x));
    assert_true(x == 2.5);
    support_ok(ctx, pfi_json_number(ctx, o, "i", "f.json", &x));
    assert_true(x == 7);
    support_ok(ctx, pfi_json_bool(ctx, o, "b", "f.json", &b));
    assert_true(b);
    support_ok(ctx, pfi_json_string(ctx, o, "s", "f.json", &s));
    assert_string_equal(s, "text");
    support_ok(ctx, pfi_json_array(ctx, o, "l", "f.json", &c));
    assert_int_equal(json_array_size(c), 1);
    support_ok(ctx, pfi_json_object(ctx, o, "o", "f.json", &c));
    support_fails(ctx, pfi_json_int(ctx, o, "hidden_size", "f.json", &i), PF_FORMAT,
                  "f.json: the key \"hidden_size\" is missing, expected an integer");
    support_fails(ctx, pfi_json_int(ctx, o, "n", "f.json", &i), PF_FORMAT, "is null");
    support_fails(ctx, pfi_json_int(ctx, o, "x", "f.json", &i), PF_FORMAT, "holds the number 2.5, expected an integer");
    support_fails(ctx, pfi_json_bool(ctx, o, "s", "f.json", &b), PF_FORMAT, "the string \"text\"");
    support_fails(ctx, pfi_json_string_opt(ctx, o, "l", "f.json", &s), PF_FORMAT, "an array of 1");
    support_fails(ctx, pfi_json_array(ctx, o, "o", "f.json", &c), PF_FORMAT, "an object of 0");
    support_fails(ctx, pfi_json_object(ctx, o, "b", "f.json", &c), PF_FORMAT, "true");
    support_fails(ctx, pfi_json_int(ctx, json_object_get(o, "l"), "k", "f.json", &i), PF_FORMAT, "an object with");
    i = 42;
    support_ok(ctx, pfi_json_int_opt(ctx, o, "absent", "f.json", &i));
    support_ok(ctx, pfi_json_int_opt(ctx, o, "n", "f.json", &i));
    assert_int_equal(i, 42);
    json_decref(o);
    support_close(ctx);
}

/* integers beyond 64 bits become real numbers, those within stay exact */
static void test_big_integers(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    const char *text = "{\"max\": 1000000000000000019884624838656, \"in\": 9223372036854775807, \"x\": 2.5,"
                       " \"out\": -9223372036854775809, \"s\": \"\\\"99999999999999999999\", \"e\": 1e3,"
                       " \"f\": 0.12345678901234567890123}";
    json_t *o = pfi_json_parse(ctx, text, strlen(text), "f.json");
    if (!o) fail_msg("%s", pf_errmsg(ctx));
    int64_t i = 0;
    double x = 0;
    const char *s = NULL;
    support_ok(ctx, pfi_json_number(ctx, o, "max", "f.json", &x));
    assert_true(x == 1e30);
    support_ok(ctx, pfi_json_int(ctx, o, "in", "f.json", &i));
    assert_true(i == INT64_MAX);
    support_ok(ctx, pfi_json_number(ctx, o, "out", "f.json", &x));
    assert_true(x == -0x1p63);
    support_ok(ctx, pfi_json_string(ctx, o, "s", "f.json", &s));
    assert_string_equal(s, "\"99999999999999999999");
    support_ok(ctx, pfi_json_number(ctx, o, "f", "f.json", &x));
    assert_true(x == 0.12345678901234567890123);
    support_fails(ctx, pfi_json_int(ctx, o, "max", "f.json", &i), PF_FORMAT, "the number 1e+30, expected an integer");
    json_decref(o);
    support_close(ctx);
}

static void test_quote(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pfi_buf q = {0};
    support_ok(ctx, pfi_json_quote(ctx, &q, "a\"\\\n\t\x01\0é", 9));
    assert_string_equal(q.data, "\"a\\\"\\\\\\n\\t\\u0001\\u0000é\"");
    json_t *v = pfi_json_parse(ctx, q.data, q.len, "q");
    assert_int_equal(json_string_length(v), 9);
    json_decref(v);
    pfi_buf_free(ctx, &q);
    support_close(ctx);
}

/* U+0000 in a key, which jansson cannot hold, beside strings with the mark that hides it */
static void test_nul_in_key(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    bool hidden = true;
    const char *plain = "{\"a\": \"\\u0000\"}";
    json_t *o = pfi_json_parse_hidden(ctx, plain, strlen(plain), "f.json", 1, &hidden);
    assert_false(hidden);
    json_decref(o);
    static const char want[] = "a\0b\uFDD0\uFDD0"
                               "0\\u0000\uFDD1";
    static const char text[] = "[[99999999999999999999], {\"x\\\\\": 1}, {\"a\\u0000b\uFDD0\\uFdD0"
                               "0\\\\u0000\uFDD1\": 1}]";
    o = pfi_json_parse_hidden(ctx, text, strlen(text), "f.json", 1, &hidden);
    if (!o) fail_msg("%s", pf_errmsg(ctx));
    assert_true(hidden);
    const char *key = json_object_iter_key(json_object_iter(json_array_get(o, 2)));
    char out[64];
    assert_int_equal(pfi_json_reveal(out, key, strlen(key)), sizeof want - 1);
    assert_memory_equal(out, want, sizeof want - 1);
    json_decref(o);
    support_fails(ctx, pfi_json_parse(ctx, "{\"\\u0000\": 1}", 13, "f.json") ? PF_OK : pf_errcode(ctx), PF_UNSUPPORTED,
                  "f.json:1:9: a key with U+0000 is supported in data only");
    support_close(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suite),        cmocka_unit_test(test_messages), cmocka_unit_test(test_values),
        cmocka_unit_test(test_big_integers), cmocka_unit_test(test_quote),    cmocka_unit_test(test_nul_in_key),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
