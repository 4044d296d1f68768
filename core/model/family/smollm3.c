/* SmolLM3: Llama in which some layers do not know positions (arXiv 2501.18795). no_rope_layers holds 1 where a layer
 * does turn. */
#include "model/family.h"

static const char *const smollm3_keys[] = {"use_sliding_window", "sliding_window",         "max_window_layers",
                                           "layer_types",        "no_rope_layers",         "attention_bias",
                                           "mlp_bias",           "no_rope_layer_interval", NULL};

static pf_status smollm3_still(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    int64_t every = 4;
    json_t *list = NULL;
    PF_TRY(pfi_json_int_opt(ctx, json, "no_rope_layer_interval", file, &every));
    PF_TRY(pfi_json_array_opt(ctx, json, "no_rope_layers", file, &list));
    if (every < 1) return pfi_fail(ctx, PF_FORMAT, "%s: no_rope_layer_interval is %lld", file, (long long)every);
    if (list && (int64_t)json_array_size(list) < c->layers)
        return pfi_fail(ctx, PF_FORMAT, "%s: no_rope_layers names %zu layers, num_hidden_layers is %lld", file,
                        json_array_size(list), (long long)c->layers);
    for (int64_t i = 0; i < c->layers; i++) {
        bool turns = (i + 1) % every != 0;
        if (list) turns = json_integer_value(json_array_get(list, (size_t)i)) != 0;
        if (!turns) c->layer[i] |= PFI_LAYER_STILL;
    }
    return PF_OK;
}

/* windows, if asked for, are on the layers without positions */
static pf_status smollm3_windows(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    bool use = false;
    PF_TRY(pfi_json_bool_opt(ctx, json, "use_sliding_window", file, &use));
    PF_TRY(pfi_config_window(ctx, json, file, "sliding_window", &c->window));
    if (!use) c->window = 0;
    for (int64_t i = 0; c->window && i < c->layers; i++)
        if (c->layer[i] & PFI_LAYER_STILL) c->layer[i] |= PFI_LAYER_WINDOW;
    return pfi_config_layer_types(ctx, json, file, PFI_LAYER_WINDOW, c);
}

static pf_status smollm3_config(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    c->kv_heads = 4;
    c->context = 32768;
    c->tied = true;
    PF_TRY(pfi_config_usual(ctx, json, file, smollm3_keys, c));
    PF_TRY(pfi_config_act(ctx, json, file, "hidden_act", &c->act));
    PF_TRY(pfi_config_biases(ctx, json, file, c));
    PF_TRY(smollm3_still(ctx, json, file, c));
    PF_TRY(smollm3_windows(ctx, json, file, c));
    pfi_rope_base base = {"rope_theta", NULL, 2000000, 1, false, 0};
    return pfi_config_rope(ctx, json, file, base, c, &c->rope[0]);
}

static pf_status smollm3_slots(pf_model *m, pfi_slots *s) { return pfi_slots_usual(m, s, true); }

const pfi_family pfi_family_smollm3 = {.model_type = "smollm3", .config = smollm3_config, .slots = smollm3_slots};
