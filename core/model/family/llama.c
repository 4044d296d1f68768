/* Llama, versions 1 to 3, and what was made like it (TinyLlama, SmolLM, SmolLM2): RMSNorm, rotary embedding,
 * grouped-query attention, SwiGLU (arXiv 2302.13971, 2407.21783). */
#include "model/family.h"

static const char *const llama_keys[] = {"attention_bias", "mlp_bias", "rope_interleaved", NULL};

static pf_status llama_config(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    PF_TRY(pfi_config_usual(ctx, json, file, llama_keys, c));
    PF_TRY(pfi_config_act(ctx, json, file, "hidden_act", &c->act));
    PF_TRY(pfi_config_only(ctx, json, file, "rope_interleaved", 0));
    PF_TRY(pfi_config_biases(ctx, json, file, c));
    pfi_rope_base base = {"rope_theta", NULL, 10000, 1, false, 0};
    return pfi_config_rope(ctx, json, file, base, c, &c->rope[0]);
}

static pf_status llama_slots(pf_model *m, pfi_slots *s) { return pfi_slots_usual(m, s, true); }

const pfi_family pfi_family_llama = {.model_type = "llama", .config = llama_config, .slots = llama_slots};
