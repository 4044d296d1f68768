/* Phi-3, Phi-3.5 and Phi-4-mini: Llama with fused projections, longrope and perhaps fewer rotary channels
 * (arXiv 2404.14219). */
#include "model/family.h"

/* keys of released files that must not do anything */
static const char *const phi3_idle[] = {"attention_bias",     "lm_head_bias",  "mlp_bias",
                                        "interpolate_factor", "full_attn_mod", NULL};

static const char *const phi3_keys[] = {
    "sliding_window",     "partial_rotary_factor", "original_max_position_embeddings",
    "attention_bias",     "lm_head_bias",          "mlp_bias",
    "interpolate_factor", "full_attn_mod",         NULL};

static pf_status phi3_config(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    c->context = 4096;
    c->norm_eps = 1e-5;
    c->fused = true;
    PF_TRY(pfi_config_usual(ctx, json, file, phi3_keys, c));
    PF_TRY(pfi_config_act(ctx, json, file, "hidden_act", &c->act));
    for (int i = 0; phi3_idle[i]; i++) PF_TRY(pfi_config_only(ctx, json, file, phi3_idle[i], 1));
    PF_TRY(pfi_config_window(ctx, json, file, "sliding_window", &c->window));
    for (int64_t i = 0; c->window && i < c->layers; i++) c->layer[i] = PFI_LAYER_WINDOW;
    pfi_rope_base base = {"rope_theta", "partial_rotary_factor", 10000, 1, true, 4096};
    return pfi_config_rope(ctx, json, file, base, c, &c->rope[0]);
}

const pfi_family pfi_family_phi3 = {.model_type = "phi3", .config = phi3_config, .slots = pfi_slots_straight};
