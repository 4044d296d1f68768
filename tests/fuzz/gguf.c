/* GGUF: metadata and tensors from memory, everything walked. */
#include "file/gguf.h"

#include "fuzz.h"
#include "tensor/tensor.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static double fuzz_pair(const pfi_gguf *g, const char *key) {
    static const pfi_gguf_type kinds[] = {PFI_GGUF_STRING, PFI_GGUF_I64, PFI_GGUF_F64};
    const char *text = "";
    int64_t n = 0;
    double x = 0, sum = 0;
    bool yes = false;
    size_t len = 0;
    pfi_gguf_int(g, key, &n);
    pfi_gguf_number(g, key, &x);
    pfi_gguf_bool(g, key, &yes);
    pfi_gguf_string(g, key, &text, &len);
    fuzz_check(text[len] == 0, "a string has no end");
    for (int k = 0; k < PFI_COUNT(kinds); k++) {
        pfi_gguf_array a;
        if (pfi_gguf_list(g, key, kinds[k], &a) != PF_OK) continue;
        while (a.n) {
            if (k == 0) text = pfi_gguf_next_string(&a, &len);
            if (k == 0 && len) sum += text[0] + text[len - 1];
            if (k == 1) sum += (double)pfi_gguf_next_int(&a);
            if (k == 2) sum += pfi_gguf_next_number(&a);
        }
    }
    return sum + x + (double)n + yes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_memory memory;
    pf_ctx *ctx = fuzz_open(&memory);
    pfi_gguf *g = NULL;
    volatile double sum = 0;
    fuzz_accepted = pfi_gguf_parse(ctx, data, size, "input", NULL, NULL, &g) == PF_OK;
    for (size_t i = 0; g && i < pfi_gguf_keys(g); i++) {
        const char *key = pfi_gguf_key(g, i, NULL);
        fuzz_check(pfi_gguf_has(g, key), "a key is not found");
        sum += fuzz_pair(g, key);
    }
    for (size_t i = 0; g && i < pfi_gguf_count(g); i++) {
        const pfi_weight *at = pfi_gguf_at(g, i);
        fuzz_check(pfi_gguf_find(g, at->name) != NULL, "a tensor is not found by its name");
        pf_tensor *t = pfi_gguf_tensor_of(g, at);
        if (t && pfi_numel(t)) sum += pfi_get(t, 0) + pfi_get(t, pfi_numel(t) - 1);
        pf_tensor_free(t);
    }
    (void)sum;
    pf_tokenizer *tok = NULL;
    if (g) pfi_tokenizer_from_gguf(ctx, g, &tok);
    pf_tokenizer_free(tok);
    pfi_gguf_release(g);
    fuzz_close(ctx, &memory);
    return 0;
}
