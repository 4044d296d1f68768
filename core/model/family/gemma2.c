/* Gemma 2: Gemma with norms before and after each part, windows on every other layer, and soft caps on scores and
 * logits (arXiv 2408.00118). */
#include <math.h>

#include "model/family.h"

static const char *const gemma2_keys[] = {"attention_bias",
                                          "hidden_activation",
                                          "layer_types",
                                          "query_pre_attn_scalar",
                                          "sliding_window",
                                          "sliding_window_size",
                                          "final_logit_softcapping",
                                          "attn_logit_softcapping",
                                          "use_bidirectional_attention",
                                          NULL};

static pf_status gemma2_config(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    c->kv_heads = 4;
    c->head_dim = 256;
    c->context = 8192;
    c->window = 4096;
    c->tied = c->out_norms = true;
    c->norm_offset = 1;
    c->attention_cap = 50;
    c->head_cap = 30;
    c->act = PFI_GELU_TANH;
    PF_TRY(pfi_config_usual(ctx, json, file, gemma2_keys, c));
    c->embedding_scale = sqrt((double)c->hidden);
    PF_TRY(pfi_config_act(ctx, json, file, "hidden_activation", &c->act));
    PF_TRY(pfi_config_only(ctx, json, file, "use_bidirectional_attention", 0));
    PF_TRY(pfi_config_biases(ctx, json, file, c));
    PF_TRY(pfi_config_scale(ctx, json, file, "query_pre_attn_scalar", 256, c));
    PF_TRY(pfi_config_cap(ctx, json, file, "attn_logit_softcapping", &c->attention_cap));
    PF_TRY(pfi_config_cap(ctx, json, file, "final_logit_softcapping", &c->head_cap));
    PF_TRY(pfi_config_window(ctx, json, file, "sliding_window", &c->window));
    for (int64_t i = 0; c->window && i < c->layers; i += 2) c->layer[i] = PFI_LAYER_WINDOW;
    PF_TRY(pfi_config_layer_types(ctx, json, file, PFI_LAYER_WINDOW, c));
    pfi_rope_base base = {"rope_theta", NULL, 10000, 1, false, 0};
    return pfi_config_rope(ctx, json, file, base, c, &c->rope[0]);
}

const pfi_family pfi_family_gemma2 = {.model_type = "gemma2", .config = gemma2_config, .slots = pfi_slots_straight};
