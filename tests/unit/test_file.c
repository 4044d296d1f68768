/* Whole files, atomic writing, zstd, lines, UTF-8. */
#include "support.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "file/file.h"

static int file_count(const char *dir) {
    int n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void file_is(pf_ctx *ctx, const char *path, const char *want) {
    pfi_buf b = {0};
    support_ok(ctx, pfi_file_read(ctx, path, &b));
    assert_int_equal(b.len, strlen(want));
    assert_string_equal(b.data, want);
    pfi_buf_free(ctx, &b);
}

static void test_read(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    file_is(ctx, support_write("r.txt", "hello", 5), "hello");
    file_is(ctx, support_write("e.txt", "", 0), "");
    pfi_buf b = {0};
    support_fails(ctx, pfi_file_read(ctx, support_path("none"), &b), PF_IO, "No such file");
    support_fails(ctx, pfi_file_read(ctx, support_dir(), &b), PF_IO, "irectory");
    pfi_buf_free(ctx, &b);
    support_close(ctx);
}

static void test_map(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pfi_map *m;
    support_ok(ctx, pfi_file_map(ctx, support_write("m.txt", "mapped", 6), &m));
    assert_int_equal(m->size, 6);
    assert_memory_equal(m->data, "mapped", 6);
    pfi_map_release(pfi_map_retain(m));
    assert_memory_equal(m->data, "mapped", 6);
    pfi_map_release(m);
    support_ok(ctx, pfi_file_map(ctx, support_write("m0.txt", "", 0), &m));
    assert_int_equal(m->size, 0);
    pfi_map_release(m);
    support_fails(ctx, pfi_file_map(ctx, support_dir(), &m), PF_IO, "directory");
    assert_null(m);
    support_close(ctx);
}

static void test_write_atomic(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    support_ok(ctx, pfi_file_mkdirs(ctx, support_path("a/b//c/")));
    support_ok(ctx, pfi_file_mkdirs(ctx, support_path("a/b")));
    const char *path = support_path("a/b/c/out.txt");
    support_ok(ctx, pfi_file_write_atomic(ctx, path, "first", 5));
    support_ok(ctx, pfi_file_write_atomic(ctx, path, "second", 6));
    file_is(ctx, path, "second");
    assert_int_equal(file_count(support_path("a/b/c")), 1);
    pfi_writer *w;
    support_ok(ctx, pfi_writer_open(ctx, path, &w));
    support_ok(ctx, pfi_writer_add(w, "half", 4));
    pfi_writer_abandon(w);
    file_is(ctx, path, "second");
    assert_int_equal(file_count(support_path("a/b/c")), 1);
    support_fails(ctx, pfi_file_write_atomic(ctx, support_path("no/such/x"), "x", 1), PF_IO, "No such file");
    support_fails(ctx, pfi_file_mkdirs(ctx, path), PF_IO, "File exists");
    /* a directory in the way of the rename */
    support_fails(ctx, pfi_file_write_atomic(ctx, support_path("a/b"), "x", 1), PF_IO, "a/b");
    assert_int_equal(file_count(support_path("a")), 1);
    support_close(ctx);
}

/* a limit on file size stands for the full disk */
static void test_disk_full(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    support_ok(ctx, pfi_file_mkdirs(ctx, support_path("full")));
    const char *path = support_path("full/out.bin");
    support_ok(ctx, pfi_file_write_atomic(ctx, path, "old", 3));
    static char big[100000];
    struct rlimit was, now;
    getrlimit(RLIMIT_FSIZE, &was);
    now = was;
    now.rlim_cur = 5000;
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &now);
    pf_status s = pfi_file_write_atomic(ctx, path, big, sizeof big);
    setrlimit(RLIMIT_FSIZE, &was);
    signal(SIGXFSZ, old);
    support_fails(ctx, s, PF_IO, "out.bin: File too large");
    file_is(ctx, path, "old");
    assert_int_equal(file_count(support_path("full")), 1);
    support_close(ctx);
}

static void test_plain_name(void **state) {
    (void)state;
    assert_true(pfi_file_plain_name("model-00001-of-00002.safetensors"));
    const char *bad[] = {"", ".", "..", "a/b", "/etc/passwd", "..\\x", "a\\b", "x..y"};
    for (int i = 0; i < PFI_COUNT(bad); i++) assert_false(pfi_file_plain_name(bad[i]));
}

/* ---- zstd ---- */

static void zst_sample(pf_ctx *ctx, pfi_buf *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char c = (char)(i * i % 251 ^ (i >> 9));
        support_ok(ctx, pfi_buf_add(ctx, b, &c, 1));
    }
}

static void test_zst_round_trip(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    const size_t sizes[] = {0, 1, 1000, 300000};
    for (int i = 0; i < PFI_COUNT(sizes); i++) {
        pfi_buf in = {0}, z = {0}, out = {0};
        zst_sample(ctx, &in, sizes[i]);
        support_ok(ctx, pfi_zst_compress(ctx, in.data, in.len, i == 3 ? 9 : 0, &z));
        support_ok(ctx, pfi_zst_compress(ctx, "tail", 4, 0, &z)); /* a second frame */
        support_ok(ctx, pfi_zst_decompress(ctx, z.data, z.len, "x.zst", &out));
        assert_int_equal(out.len, in.len + 4);
        if (in.len) assert_memory_equal(out.data, in.data, in.len);
        assert_memory_equal(out.data + in.len, "tail", 5);
        pfi_buf_free(ctx, &in);
        pfi_buf_free(ctx, &z);
        pfi_buf_free(ctx, &out);
    }
    support_fails(ctx, pfi_zst_compress(ctx, "", 0, 20, &(pfi_buf){0}), PF_RANGE, "level");
    support_close(ctx);
}

/* every cut and every changed byte is noticed */
static void test_zst_damage(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pfi_buf in = {0}, z = {0};
    zst_sample(ctx, &in, 500);
    support_ok(ctx, pfi_zst_compress(ctx, in.data, in.len, 3, &z));
    for (size_t n = 0; n < z.len; n++) {
        pfi_buf out = {0};
        support_fails(ctx, pfi_zst_decompress(ctx, z.data, n, "cut.zst", &out), PF_FORMAT, "cut.zst is damaged");
        pfi_buf_free(ctx, &out);
    }
    for (size_t i = 0; i < z.len; i++) {
        pfi_buf out = {0};
        z.data[i] ^= 0x40;
        pf_status s = pfi_zst_decompress(ctx, z.data, z.len, "flip.zst", &out);
        /* a few header bits say nothing about the content */
        assert_true(s == PF_FORMAT || (s == PF_OK && out.len == in.len && !memcmp(out.data, in.data, in.len)));
        z.data[i] ^= 0x40;
        pfi_buf_free(ctx, &out);
    }
    pfi_buf_free(ctx, &in);
    pfi_buf_free(ctx, &z);
    support_close(ctx);
}

static void test_zst_malformed(void **state) {
    (void)state;
    const char *names[] = {"off0.bin.zst", "truncated_huff_state.zst", "zeroSeq_extraneous.zst"};
    char dir[512];
    if (!support_data(dir, sizeof dir, "zst_malformed", "malformed/zstd")) skip();
    pf_ctx *ctx = support_open();
    for (int i = 0; i < PFI_COUNT(names); i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        pfi_buf in = {0}, out = {0};
        support_ok(ctx, pfi_file_read(ctx, path, &in));
        support_fails(ctx, pfi_zst_decompress(ctx, in.data, in.len, path, &out), PF_FORMAT, names[i]);
        pfi_buf_free(ctx, &in);
        pfi_buf_free(ctx, &out);
    }
    support_close(ctx);
}

/* ---- lines ---- */

/* all lines joined as "number:text|", or the status */
static pf_status lines_all(pf_ctx *ctx, const char *path, pfi_buf *out) {
    pfi_lines *l;
    PF_TRY(pfi_lines_open(ctx, path, &l));
    const char *text;
    size_t len;
    long no;
    pf_status s;
    while ((s = pfi_lines_next(l, &text, &len, &no)) == PF_OK && text) {
        if (text[len] != 0) s = pfi_fail(ctx, PF_STATE, "not terminated");
        if (s == PF_OK) s = pfi_buf_fmt(ctx, out, "%ld:", no);
        if (s == PF_OK) s = pfi_buf_add(ctx, out, text, len);
        if (s == PF_OK) s = pfi_buf_str(ctx, out, "|");
        if (s != PF_OK) break;
    }
    pfi_lines_close(l);
    return s;
}

static void test_lines(void **state) {
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", ""},
        {"\n\n", ""},
        {"one", "1:one|"},
        {"one\ntwo\n", "1:one|2:two|"},
        {"one\r\n\r\n  \t\r\nfour\r", "1:one|4:four|"},
        {"\xEF\xBB\xBF"
         "a\nb",
         "1:a|2:b|"},
        {"\xEF\xBB\xBF", ""},
        {"a\n\xEF\xBB\xBF"
         "b",
         "1:a|2:\xEF\xBB\xBF"
         "b|"},
        {" x \n", "1: x |"},
    };
    pf_ctx *ctx = support_open();
    for (int i = 0; i < PFI_COUNT(cases); i++) {
        pfi_buf z = {0};
        support_ok(ctx, pfi_zst_compress(ctx, cases[i].text, strlen(cases[i].text), 0, &z));
        const char *path[3] = {support_write("l.jsonl", cases[i].text, strlen(cases[i].text)),
                               support_write("l.jsonl.zst", z.data, z.len), support_write("l.zipped", z.data, z.len)};
        for (int k = 0; k < 3; k++) {
            pfi_buf out = {0};
            support_ok(ctx, pfi_buf_str(ctx, &out, ""));
            support_ok(ctx, lines_all(ctx, path[k], &out));
            assert_string_equal(out.data, cases[i].want);
            pfi_buf_free(ctx, &out);
        }
        pfi_buf_free(ctx, &z);
    }
    pfi_lines *l;
    support_fails(ctx, pfi_lines_open(ctx, support_path("none.jsonl"), &l), PF_IO, "none.jsonl: No such file");
    support_close(ctx);
}

/* lines longer than every buffer, and zstd that expands a few bytes to many */
static void test_lines_long(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pfi_buf t = {0}, z = {0};
    const size_t lens[] = {65534, 65535, 65536, 65537, 131072, 900000, 3};
    for (int i = 0; i < PFI_COUNT(lens); i++) {
        support_ok(ctx, pfi_buf_reserve(ctx, &t, lens[i] + 1));
        memset(t.data + t.len, 'a' + i, lens[i]);
        t.len += lens[i];
        support_ok(ctx, pfi_buf_str(ctx, &t, i + 1 < PFI_COUNT(lens) ? "\n" : ""));
    }
    support_ok(ctx, pfi_zst_compress(ctx, t.data, t.len, 0, &z));
    const char *path[2] = {support_write("long.txt", t.data, t.len), support_write("long.zst", z.data, z.len)};
    for (int k = 0; k < 2; k++) {
        pfi_lines *l;
        const char *text;
        size_t len;
        long no;
        support_ok(ctx, pfi_lines_open(ctx, path[k], &l));
        for (int i = 0; i < PFI_COUNT(lens); i++) {
            support_ok(ctx, pfi_lines_next(l, &text, &len, &no));
            assert_non_null(text);
            assert_int_equal(no, i + 1);
            assert_int_equal(len, lens[i]);
            assert_true(text[0] == 'a' + i && text[len - 1] == 'a' + i && text[len] == 0);
        }
        support_ok(ctx, pfi_lines_next(l, &text, &len, &no));
        assert_null(text);
        support_ok(ctx, pfi_lines_next(l, &text, &len, &no));
        assert_null(text);
        pfi_lines_close(l);
    }
    pfi_buf_free(ctx, &t);
    pfi_buf_free(ctx, &z);
    support_close(ctx);
}

static void test_lines_bad(void **state) {
    (void)state;
    pf_ctx *ctx = support_open();
    pfi_buf out = {0}, in = {0}, z = {0};
    support_fails(ctx, lines_all(ctx, support_write("u.txt", "ok\n\nab\xFFz\n", 9), &out), PF_FORMAT,
                  "u.txt:3: byte 3 of the line (0xFF)");
    support_fails(ctx, lines_all(ctx, support_write("e.zst", "", 0), &out), PF_FORMAT, "e.zst:1:");
    support_fails(ctx, lines_all(ctx, support_write("t.zst", "plain\n", 6), &out), PF_FORMAT, "t.zst:1:");
    for (int i = 0; i < 20000; i++) support_ok(ctx, pfi_buf_fmt(ctx, &in, "line %d %d\n", i, i * 7919 % 1000));
    support_ok(ctx, pfi_zst_compress(ctx, in.data, in.len, 0, &z));
    support_fails(ctx, lines_all(ctx, support_write("c.zst", z.data, z.len - 1), &out), PF_FORMAT, "cut short");
    z.data[z.len - 1] ^= 1;
    support_fails(ctx, lines_all(ctx, support_write("d.zst", z.data, z.len), &out), PF_FORMAT, "checksum");
    pfi_buf_free(ctx, &out);
    pfi_buf_free(ctx, &in);
    pfi_buf_free(ctx, &z);
    support_close(ctx);
}

/* ---- UTF-8 ---- */

/* the file's lines are "number:valid:bytes" and "number:invalid:bytes" */
static void test_utf8_cases(void **state) {
    (void)state;
    char path[512];
    if (!support_data(path, sizeof path, "utf8_cases", "malformed/utf8/utf8tests.bin")) skip();
    pf_ctx *ctx = support_open();
    pfi_buf b = {0};
    support_ok(ctx, pfi_file_read(ctx, path, &b));
    int seen[2] = {0, 0};
    for (char *p = b.data, *end = b.data + b.len; p < end;) {
        char *lf = memchr(p, '\n', (size_t)(end - p));
        if (!lf) lf = end;
        char *kind = memchr(p, ':', (size_t)(lf - p));
        assert_non_null(kind);
        char *bytes = memchr(kind + 1, ':', (size_t)(lf - kind - 1));
        assert_non_null(bytes);
        bool valid = strncmp(kind, ":valid:", 7) == 0;
        size_t n = (size_t)(lf - bytes - 1);
        if ((pfi_utf8_check(bytes + 1, n) == n) != valid) fail_msg("case %.*s", (int)(kind - p), p);
        const char *one = support_write("one.txt", bytes + 1, n);
        pfi_buf out = {0};
        assert_int_equal(lines_all(ctx, one, &out), valid ? PF_OK : PF_FORMAT);
        pfi_buf_free(ctx, &out);
        seen[valid]++;
        p = lf + 1;
    }
    assert_true(seen[0] > 50 && seen[1] > 10);
    pfi_buf_free(ctx, &b);
    support_close(ctx);
}

/* ---- memory ---- */

static pf_status file_everything(pf_ctx *ctx, void *ud) {
    const char *const *path = ud;
    pfi_buf b = {0}, z = {0};
    pf_status s = pfi_file_read(ctx, path[0], &b);
    if (s == PF_OK) s = pfi_zst_compress(ctx, b.data, b.len, 0, &z);
    if (s == PF_OK) s = pfi_file_write_atomic(ctx, path[1], z.data, z.len);
    pfi_buf_free(ctx, &b);
    if (s == PF_OK) s = pfi_zst_decompress(ctx, z.data, z.len, "z", &b);
    pfi_map *m = NULL;
    if (s == PF_OK) s = pfi_file_map(ctx, path[1], &m);
    pfi_map_release(m);
    if (s == PF_OK) s = lines_all(ctx, path[1], &b);
    if (s == PF_OK) s = pfi_file_mkdirs(ctx, path[2]);
    pfi_buf_free(ctx, &b);
    pfi_buf_free(ctx, &z);
    return s;
}

static void test_memory(void **state) {
    (void)state;
    static char text[200000];
    for (size_t i = 0; i < sizeof text; i++) text[i] = i % 1000 == 999 ? '\n' : (char)('a' + i % 26);
    const char *path[3] = {support_write("oom.txt", text, sizeof text), support_path("oom.zst"),
                           support_path("oom/dir")};
    support_sweep(file_everything, path, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),       cmocka_unit_test(test_map),           cmocka_unit_test(test_write_atomic),
        cmocka_unit_test(test_disk_full),  cmocka_unit_test(test_plain_name),    cmocka_unit_test(test_zst_round_trip),
        cmocka_unit_test(test_zst_damage), cmocka_unit_test(test_zst_malformed), cmocka_unit_test(test_lines),
        cmocka_unit_test(test_lines_long), cmocka_unit_test(test_lines_bad),     cmocka_unit_test(test_utf8_cases),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, support_cleanup);
}
