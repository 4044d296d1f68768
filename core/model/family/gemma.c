/* Gemma 1: norms that add 1 to their weights, embeddings times the root of their size, gated GELU (arXiv 2403.08295).
 */
#include <math.h>

#include "model/family.h"

/* hidden_activation went before hidden_act in transformers 4; 5 does not read it (GemmaConfig), and no more do we */
static const char *const gemma_keys[] = {"attention_bias", "hidden_activation", "use_bidirectional_attention", NULL};

static pf_status gemma_config(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    c->kv_heads = 16;
    c->head_dim = 256;
    c->context = 8192;
    c->tied = true;
    c->norm_offset = 1;
    c->act = PFI_GELU_TANH;
    PF_TRY(pfi_config_usual(ctx, json, file, gemma_keys, c));
    c->embedding_scale = sqrt((double)c->hidden);
    PF_TRY(pfi_config_act(ctx, json, file, "hidden_act", &c->act));
    if (c->act == PFI_GELU_EXACT) c->act = PFI_GELU_TANH; /* "gelu" in the first releases, which meant this */
    PF_TRY(pfi_config_only(ctx, json, file, "use_bidirectional_attention", 0));
    PF_TRY(pfi_config_biases(ctx, json, file, c));
    pfi_rope_base base = {"rope_theta", NULL, 10000, 1, false, 0};
    return pfi_config_rope(ctx, json, file, base, c, &c->rope[0]);
}

const pfi_family pfi_family_gemma = {.model_type = "gemma", .config = gemma_config, .slots = pfi_slots_straight};
