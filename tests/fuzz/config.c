/* config.json; a model that is small enough is made, run and trained on a token. */
#include "fuzz.h"
#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void config_run(pf_ctx *ctx, const char *text) {
    pf_model *m = NULL;
    pf_model_new(ctx, text, NULL, 1, &m);
    if (!m) return;
    pf_tensor *logits = pf_model_logits(m, (int32_t[]){0}, 1);
    pf_tensor *loss = pf_call(ctx, "mean", PF_T("x", logits));
    if (loss) pf_backward(loss);
    pf_tensor_free(logits);
    pf_tensor_free(loss);
    pf_model_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_memory memory;
    pf_ctx *ctx = fuzz_open(&memory);
    char *text = malloc(size + 1);
    fuzz_check(text != NULL, "no memory");
    if (size) memcpy(text, data, size);
    text[size] = 0;
    const pfi_family *family;
    pfi_config c = {0};
    fuzz_accepted = pfi_config_read(ctx, text, size, "input", &family, &c) == PF_OK;
    if (fuzz_accepted && c.vocab < 64 && c.hidden < 64 && c.ffn < 64 && c.layers < 4 && c.heads < 16 &&
        c.head_dim < 64 && c.context < 4096)
        config_run(ctx, text);
    free(text);
    fuzz_close(ctx, &memory);
    return 0;
}
