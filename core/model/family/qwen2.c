/* Qwen 2 and 2.5: Llama with biases on q, k and v, and windows from some layer on if asked (arXiv 2407.10671). */
#include "model/family.h"

static const char *const qwen2_keys[] = {"use_sliding_window", "sliding_window", "max_window_layers",
                                         "layer_types",        "use_mrope",      NULL};

static pf_status qwen2_config(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    c->kv_heads = 32;
    c->context = 32768;
    c->qkv_bias = true;
    PF_TRY(pfi_config_usual(ctx, json, file, qwen2_keys, c));
    PF_TRY(pfi_config_act(ctx, json, file, "hidden_act", &c->act));
    PF_TRY(pfi_config_only(ctx, json, file, "use_mrope", 0));
    PF_TRY(pfi_config_late_windows(ctx, json, file, c));
    pfi_rope_base base = {"rope_theta", NULL, 10000, 1, false, 0};
    return pfi_config_rope(ctx, json, file, base, c, &c->rope[0]);
}

const pfi_family pfi_family_qwen2 = {.model_type = "qwen2", .config = qwen2_config, .slots = pfi_slots_straight};
