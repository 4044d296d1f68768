/* adapter_config.json on a small model; what is accepted is run and trained on a token, and merged. */
#include "model/adapter.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char adapter_model[] =
    "{\"model_type\":\"llama\",\"vocab_size\":8,\"hidden_size\":8,\"intermediate_size\":6,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"max_position_embeddings\":8,\"rms_norm_eps\":1e-5}";

static void adapter_run(pf_model *m) {
    pf_tensor *logits = pf_model_logits(m, (int32_t[]){0, 1}, 2);
    pf_tensor *loss = pf_call(m->ctx, "mean", PF_T("x", logits));
    if (loss && pf_tensor_needs_grad(loss)) fuzz_check(pf_backward(loss) == PF_OK, "no gradient");
    pf_tensor_free(logits);
    pf_tensor_free(loss);
    pf_model_merge(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_memory memory;
    pf_ctx *ctx = fuzz_open(&memory);
    pf_model *m = NULL;
    char *text = malloc(size + 1);
    fuzz_check(text != NULL, "no memory");
    if (size) memcpy(text, data, size);
    text[size] = 0;
    fuzz_check(pf_model_new(ctx, adapter_model, NULL, 1, &m) == PF_OK, "no model");
    fuzz_accepted = pf_model_adapt(m, text, 1) == PF_OK;
    if (fuzz_accepted) adapter_run(m);
    pf_model_free(m);
    free(text);
    fuzz_close(ctx, &memory);
    return 0;
}
