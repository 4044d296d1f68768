/* Qwen 3: Llama with norms on the heads of q and k, before they turn (arXiv 2505.09388). */
#include "model/family.h"

static const char *const qwen3_keys[] = {"use_sliding_window", "sliding_window", "max_window_layers",
                                         "layer_types",        "attention_bias", NULL};

static pf_status qwen3_config(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    c->kv_heads = 32;
    c->head_dim = 128;
    c->context = 32768;
    c->qk_norm = true;
    PF_TRY(pfi_config_usual(ctx, json, file, qwen3_keys, c));
    PF_TRY(pfi_config_act(ctx, json, file, "hidden_act", &c->act));
    PF_TRY(pfi_config_biases(ctx, json, file, c));
    PF_TRY(pfi_config_late_windows(ctx, json, file, c));
    pfi_rope_base base = {"rope_theta", NULL, 10000, 1, false, 0};
    return pfi_config_rope(ctx, json, file, base, c, &c->rope[0]);
}

const pfi_family pfi_family_qwen3 = {.model_type = "qwen3", .config = qwen3_config, .slots = pfi_slots_straight};
