/* Greedy tokens of llama.cpp with a LoRA file: compare_llama_cpp BASE.gguf LORA.gguf COUNT ID...; prints the logits
 * after the given ids on one line, and the COUNT ids that follow on the next. Compiled by compare_llama_cpp.py. */
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>

static void quiet(enum ggml_log_level level, const char *text, void *ud) {
    (void)ud;
    if (level >= GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static int best(const float *logits, int n) {
    int top = 0;
    for (int i = 1; i < n; i++)
        if (logits[i] > logits[top]) top = i;
    return top;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = 512;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    struct llama_context *ctx = model ? llama_init_from_model(model, params) : NULL;
    struct llama_adapter_lora *lora = ctx ? llama_adapter_lora_init(model, argv[2]) : NULL;
    float one = 1;
    if (!lora || llama_set_adapters_lora(ctx, &lora, 1, &one) != 0) return 1;
    const int vocab = llama_vocab_n_tokens(llama_model_get_vocab(model)), count = atoi(argv[3]), n = argc - 4;
    llama_token *ids = malloc((size_t)(n + count) * sizeof *ids);
    for (int i = 0; i < n; i++) ids[i] = atoi(argv[4 + i]);
    for (int i = 0, from = 0; i < count; i++) {
        if (llama_decode(ctx, llama_batch_get_one(ids + from, n + i - from)) != 0) return 1;
        const float *logits = llama_get_logits_ith(ctx, -1);
        for (int k = 0; i == 0 && k < vocab; k++) printf(k ? " %.9g" : "%.9g", (double)logits[k]);
        from = n + i;
        ids[from] = best(logits, vocab);
    }
    for (int i = 0; i < count; i++) printf(i ? " %d" : "\n%d", ids[n + i]);
    puts("");
    free(ids);
    llama_free(ctx);
    llama_model_free(model);
    return 0;
}
