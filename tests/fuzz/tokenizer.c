/* tokenizer.json, a byte 0, and a text that is encoded and decoded. */
#include "text/tokenizer.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void tokenizer_text(pf_ctx *ctx, pf_tokenizer *tok, const char *text, size_t len, int flags) {
    int32_t *ids = NULL;
    size_t n = 0, back_len;
    char *back = NULL;
    if (pfi_tokenizer_encode(tok, text, len, flags, &ids, &n) != PF_OK) return;
    pf_status s = pf_tokenizer_decode(tok, ids, n, false, &back, &back_len);
    fuzz_check(s == PF_OK || s == PF_NOMEM, "ids of the tokenizer's own are not decoded");
    pf_release(ctx, back);
    for (size_t i = 0; i < n; i++) {
        pfi_buf piece = {0};
        pfi_tokenizer_piece(tok, ids[i], &piece);
        pfi_buf_free(ctx, &piece);
    }
    pf_release(ctx, ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    fuzz_memory memory;
    pf_ctx *ctx = fuzz_open(&memory);
    const uint8_t *end = memchr(data, 0, size);
    size_t n = end ? (size_t)(end - data) : size, rest = end ? size - n - 1 : 0;
    char path[64];
    int fd = fuzz_file(data, n, path);
    pf_tokenizer *tok = NULL;
    fuzz_accepted = pf_tokenizer_load(ctx, path, &tok) == PF_OK;
    if (tok && end) {
        char *text = malloc(rest + 1); /* of its own, so that reading past its end is seen */
        fuzz_check(text != NULL, "no memory");
        memcpy(text, end + 1, rest);
        text[rest] = 0;
        tokenizer_text(ctx, tok, text, rest, PFI_TOK_SPECIAL);
        tokenizer_text(ctx, tok, text, rest, PFI_TOK_LITERAL);
        free(text);
    }
    pf_tokenizer_free(tok);
    close(fd);
    fuzz_close(ctx, &memory);
    return 0;
}
