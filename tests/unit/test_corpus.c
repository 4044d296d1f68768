/* Replays tests/fuzz/corpus/NAME through the fuzz target NAME: what fuzzing found once, and seeds. A file whose name
 * begins with "ok" must be accepted, one that begins with "bad" refused. */
#include <dirent.h>

#include "support.h"

#define LLVMFuzzerTestOneInput corpus_adapter
#include "../fuzz/adapter.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput corpus_checkpoint
#include "../fuzz/checkpoint.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput corpus_config
#include "../fuzz/config.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput corpus_gguf
#include "../fuzz/gguf.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput corpus_lines
#include "../fuzz/lines.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput corpus_safetensors
#include "../fuzz/safetensors.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput corpus_tokenizer
#include "../fuzz/tokenizer.c"
#undef LLVMFuzzerTestOneInput

typedef int (*corpus_target)(const uint8_t *data, size_t size);

static const struct {
    const char *name;
    corpus_target run;
} corpus_targets[] = {{"adapter", corpus_adapter},    {"checkpoint", corpus_checkpoint},
                      {"config", corpus_config},      {"gguf", corpus_gguf},
                      {"lines", corpus_lines},        {"safetensors", corpus_safetensors},
                      {"tokenizer", corpus_tokenizer}};

static void corpus_file(corpus_target run, const char *path, const char *name) {
    pf_ctx *ctx = support_open();
    pfi_buf b = {0};
    support_ok(ctx, pfi_file_read(ctx, path, &b));
    uint8_t *exact = malloc(b.len ? b.len : 1); /* nothing behind the last byte, so that reading past it is seen */
    assert_non_null(exact);
    if (b.len) memcpy(exact, b.data, b.len);
    run(exact, b.len);
    if (strncmp(name, "ok", 2) == 0 && !fuzz_accepted) fail_msg("%s is refused", path);
    if (strncmp(name, "bad", 3) == 0 && fuzz_accepted) fail_msg("%s is accepted", path);
    free(exact);
    pfi_buf_free(ctx, &b);
    support_close(ctx);
}

static void test_corpus(void **state) {
    (void)state;
    for (int i = 0; i < PFI_COUNT(corpus_targets); i++) {
        char dir[64], path[400];
        snprintf(dir, sizeof dir, "tests/fuzz/corpus/%s", corpus_targets[i].name);
        DIR *d = opendir(dir);
        if (!d) fail_msg("no directory %s", dir);
        int n = 0;
        for (struct dirent *e; (e = readdir(d));) {
            if (e->d_name[0] == '.') continue;
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            corpus_file(corpus_targets[i].run, path, e->d_name);
            n++;
        }
        closedir(d);
        if (n < 2) fail_msg("%s holds %d files, expected some", dir, n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpus)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
