/* Mistral 7B: Llama with a window over all layers (arXiv 2310.06825; later versions have none). */
#include "model/family.h"

static const char *const mistral_keys[] = {"sliding_window", NULL};

static pf_status mistral_config(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    c->kv_heads = 8;
    c->context = 131072;
    c->window = 4096;
    PF_TRY(pfi_config_usual(ctx, json, file, mistral_keys, c));
    PF_TRY(pfi_config_act(ctx, json, file, "hidden_act", &c->act));
    PF_TRY(pfi_config_window(ctx, json, file, "sliding_window", &c->window));
    for (int64_t i = 0; c->window && i < c->layers; i++) c->layer[i] = PFI_LAYER_WINDOW;
    pfi_rope_base base = {"rope_theta", NULL, 10000, 1, false, 0};
    return pfi_config_rope(ctx, json, file, base, c, &c->rope[0]);
}

static pf_status mistral_slots(pf_model *m, pfi_slots *s) { return pfi_slots_usual(m, s, true); }

const pfi_family pfi_family_mistral = {.model_type = "mistral", .config = mistral_config, .slots = mistral_slots};
