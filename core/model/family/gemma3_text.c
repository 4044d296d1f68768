/* Gemma 3: Gemma 2 without caps, with norms on the heads of q and k, and windows on five layers of six, which turn by
 * frequencies of their own (arXiv 2503.19786). */
#include <math.h>

#include "model/family.h"

static const char *const gemma3_keys[] = {"attention_bias",
                                          "hidden_activation",
                                          "layer_types",
                                          "query_pre_attn_scalar",
                                          "sliding_window",
                                          "sliding_window_pattern",
                                          "final_logit_softcapping",
                                          "attn_logit_softcapping",
                                          "rope_local_base_freq",
                                          "_sliding_window_pattern",
                                          "use_bidirectional_attention",
                                          NULL};

/* a layer without a window turns by the global frequencies */
static pf_status gemma3_layers(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    const uint8_t flags = PFI_LAYER_WINDOW | PFI_LAYER_LOCAL;
    int64_t every = 6;
    PF_TRY(pfi_config_window(ctx, json, file, "sliding_window", &c->window));
    PF_TRY(pfi_config_window(ctx, json, file, "sliding_window_pattern", &every));
    if (every < 1) return pfi_fail(ctx, PF_FORMAT, "%s: sliding_window_pattern must be a number", file);
    if (!c->window) return pfi_fail(ctx, PF_UNSUPPORTED, "%s: a gemma3 model without a sliding_window", file);
    for (int64_t i = 0; i < c->layers; i++) c->layer[i] = (i + 1) % every ? flags : 0;
    return pfi_config_layer_types(ctx, json, file, flags, c);
}

/* Newer files have rope_parameters for both kinds of layers; in older ones rope_scaling is of the global ones alone. */
static pf_status gemma3_rope(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    json_t *both = NULL, *old = NULL, *part[2] = {NULL};
    PF_TRY(pfi_json_object_opt(ctx, json, "rope_parameters", file, &both));
    PF_TRY(pfi_json_object_opt(ctx, json, "rope_scaling", file, &old));
    const char *key;
    json_t *value;
    json_object_foreach(both, key, value) {
        bool global = strcmp(key, "full_attention") == 0;
        if (!global && strcmp(key, "sliding_attention") != 0)
            return pfi_fail(ctx, PF_UNSUPPORTED,
                            "%s: rope_parameters has \"%s\", expected full_attention and "
                            "sliding_attention",
                            file, key);
        PF_TRY(pfi_json_object_opt(ctx, both, key, file, &part[global ? 0 : 1]));
    }
    if (old) part[0] = old;
    pfi_rope_base global = {"rope_theta", NULL, 1000000, 1, false, 0};
    pfi_rope_base local = {"rope_local_base_freq", NULL, 10000, 1, false, 0};
    PF_TRY(pfi_rope_set(ctx, json, part[0], file, "rope of full_attention", global, c, &c->rope[0]));
    return pfi_rope_set(ctx, json, part[1], file, "rope of sliding_attention", local, c, &c->rope[1]);
}

static pf_status gemma3_text_config(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    c->vocab = 262208;
    c->hidden = 2304;
    c->ffn = 9216;
    c->layers = 26;
    c->heads = 8;
    c->kv_heads = 4;
    c->head_dim = 256;
    c->context = 131072;
    c->window = 4096;
    c->tied = c->out_norms = c->qk_norm = true;
    c->norm_offset = 1;
    c->act = PFI_GELU_TANH;
    PF_TRY(pfi_config_usual(ctx, json, file, gemma3_keys, c));
    c->embedding_scale = sqrt((double)c->hidden);
    PF_TRY(pfi_config_act(ctx, json, file, "hidden_activation", &c->act));
    PF_TRY(pfi_config_only(ctx, json, file, "use_bidirectional_attention", 0));
    PF_TRY(pfi_config_only(ctx, json, file, "attn_logit_softcapping", 0));
    PF_TRY(pfi_config_biases(ctx, json, file, c));
    PF_TRY(pfi_config_scale(ctx, json, file, "query_pre_attn_scalar", 256, c));
    PF_TRY(pfi_config_cap(ctx, json, file, "final_logit_softcapping", &c->head_cap));
    PF_TRY(gemma3_layers(ctx, json, file, c));
    return gemma3_rope(ctx, json, file, c);
}

const pfi_family pfi_family_gemma3_text = {
    .model_type = "gemma3_text", .config = gemma3_text_config, .slots = pfi_slots_straight};
