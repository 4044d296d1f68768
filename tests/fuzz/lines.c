/* JSON lines: plain or zstd, each line parsed and its strings written again. */
#include "file/file.h"
#include "file/json.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static pf_status lines_one(pf_ctx *ctx, const char *text, size_t len) {
    json_t *v = pfi_json_parse(ctx, text, len, "input");
    if (!v) return pf_errcode(ctx);
    const char *key;
    json_t *item;
    json_object_foreach(v, key, item) {
        pfi_buf again = {0};
        pf_status s = pfi_json_quote(ctx, &again, key, strlen(key));
        json_t *back = s == PF_OK ? pfi_json_parse(ctx, again.data, again.len, "quoted") : NULL;
        if (back) fuzz_check(strcmp(json_string_value(back), key) == 0, "a quoted text reads as another one");
        fuzz_check(back || s != PF_OK || pf_errcode(ctx) == PF_NOMEM, "a quoted text is not read");
        json_decref(back);
        pfi_buf_free(ctx, &again);
    }
    json_decref(v);
    return PF_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_memory memory;
    pf_ctx *ctx = fuzz_open(&memory);
    char path[64];
    int fd = fuzz_file(data, size, path);
    pfi_lines *lines;
    pf_status s = pfi_lines_open(ctx, path, &lines);
    while (s == PF_OK) {
        const char *text;
        size_t len;
        long line;
        s = pfi_lines_next(lines, &text, &len, &line);
        if (s != PF_OK || !text) break;
        fuzz_check(text[len] == 0 && pfi_utf8_check(text, len) == len, "a line that is no text");
        s = lines_one(ctx, text, len);
    }
    fuzz_accepted = s == PF_OK;
    pfi_lines_close(lines);
    close(fd);
    fuzz_close(ctx, &memory);
    return 0;
}
