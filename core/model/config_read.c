/* What most families read of config.json. */
#include <math.h>

#include "model/family.h"

const pfi_size_keys pfi_usual_sizes = {.hidden = "hidden_size",
                                       .ffn = "intermediate_size",
                                       .layers = "num_hidden_layers",
                                       .heads = "num_attention_heads",
                                       .kv_heads = "num_key_value_heads",
                                       .head_dim = "head_dim",
                                       .context = "max_position_embeddings"};

pf_status pfi_config_only(pf_ctx *ctx, json_t *json, const char *file, const char *key, double usual) {
    json_t *v = json_object_get(json, key);
    if (!v || json_is_null(v) || json_is_false(v)) return PF_OK;
    if (json_is_number(v) && json_number_value(v) == usual) return PF_OK;
    return pfi_fail(ctx, PF_UNSUPPORTED, "%s: %s is %s, which is not supported", file, key, PFI_JSON_FOUND(v));
}

/* one size: from the file, or the default that is there already */
static pf_status config_size(pf_ctx *ctx, json_t *json, const char *file, const char *key, int64_t most,
                             int64_t *size) {
    if (*size == 0)
        PF_TRY(pfi_json_int(ctx, json, key, file, size));
    else if (key)
        PF_TRY(pfi_json_int_opt(ctx, json, key, file, size));
    if (*size < 1 || *size > most)
        return pfi_fail(ctx, PF_FORMAT, "%s: %s is %lld, expected 1 to %lld", file, key, (long long)*size,
                        (long long)most);
    return PF_OK;
}

pf_status pfi_config_sizes(pf_ctx *ctx, json_t *json, const char *file, const pfi_size_keys *k, pfi_config *c) {
    PF_TRY(config_size(ctx, json, file, "vocab_size", 1 << 24, &c->vocab));
    PF_TRY(config_size(ctx, json, file, k->hidden, 1 << 20, &c->hidden));
    PF_TRY(config_size(ctx, json, file, k->ffn, 1 << 22, &c->ffn));
    PF_TRY(config_size(ctx, json, file, k->layers, PFI_MAX_LAYERS, &c->layers));
    PF_TRY(config_size(ctx, json, file, k->heads, 1 << 16, &c->heads));
    if (c->kv_heads == 0) c->kv_heads = c->heads;
    PF_TRY(config_size(ctx, json, file, k->kv_heads, 1 << 16, &c->kv_heads));
    if (c->context == 0) c->context = 2048;
    PF_TRY(config_size(ctx, json, file, k->context, 1 << 28, &c->context));
    bool divides = c->head_dim || c->hidden % c->heads == 0;
    if (c->head_dim == 0) c->head_dim = c->hidden / c->heads;
    if (k->head_dim) {
        json_t *given = json_object_get(json, k->head_dim);
        divides = divides || (given && !json_is_null(given));
        PF_TRY(pfi_json_int_opt(ctx, json, k->head_dim, file, &c->head_dim));
    }
    if (!divides)
        return pfi_fail(ctx, PF_FORMAT, "%s: %s %lld is no multiple of %s %lld", file, k->hidden, (long long)c->hidden,
                        k->heads, (long long)c->heads);
    if (c->head_dim < 2 || c->head_dim % 2 || c->head_dim > 1 << 16)
        return pfi_fail(ctx, PF_FORMAT, "%s: head_dim is %lld, expected an even number", file, (long long)c->head_dim);
    if (c->heads % c->kv_heads)
        return pfi_fail(ctx, PF_FORMAT, "%s: num_attention_heads %lld is no multiple of num_key_value_heads %lld", file,
                        (long long)c->heads, (long long)c->kv_heads);
    return PF_OK;
}

pf_status pfi_config_act(pf_ctx *ctx, json_t *json, const char *file, const char *key, pfi_act *out) {
    static const struct {
        const char *name;
        pfi_act act;
    } acts[] = {{"silu", PFI_SILU},
                {"swish", PFI_SILU},
                {"gelu", PFI_GELU_EXACT},
                {"gelu_new", PFI_GELU_TANH},
                {"gelu_pytorch_tanh", PFI_GELU_TANH},
                {"gelu_fast", PFI_GELU_TANH}};
    const char *name = NULL;
    PF_TRY(pfi_json_string_opt(ctx, json, key, file, &name));
    if (!name) return PF_OK;
    for (int i = 0; i < PFI_COUNT(acts); i++)
        if (strcmp(name, acts[i].name) == 0) {
            *out = acts[i].act;
            return PF_OK;
        }
    return pfi_fail(ctx, PF_UNSUPPORTED,
                    "%s: %s \"%s\" is not supported; supported: silu, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast",
                    file, key, name);
}

pf_status pfi_config_window(pf_ctx *ctx, json_t *json, const char *file, const char *key, int64_t *out) {
    if (json_is_null(json_object_get(json, key))) *out = 0;
    int64_t given = 1;
    PF_TRY(pfi_json_int_opt(ctx, json, key, file, &given));
    if (given < 1) return pfi_fail(ctx, PF_FORMAT, "%s: %s is %lld, expected at least 1", file, key, (long long)given);
    return pfi_json_int_opt(ctx, json, key, file, out);
}

pf_status pfi_config_cap(pf_ctx *ctx, json_t *json, const char *file, const char *key, double *out) {
    if (json_is_null(json_object_get(json, key))) *out = 0;
    double given = 1;
    PF_TRY(pfi_json_number_opt(ctx, json, key, file, &given));
    if (!(given > 0)) return pfi_fail(ctx, PF_FORMAT, "%s: %s is %g, expected above 0", file, key, given);
    return pfi_json_number_opt(ctx, json, key, file, out);
}

pf_status pfi_config_scale(pf_ctx *ctx, json_t *json, const char *file, const char *key, double scalar, pfi_config *c) {
    PF_TRY(pfi_config_cap(ctx, json, file, key, &scalar));
    if (!(scalar > 0)) return pfi_fail(ctx, PF_FORMAT, "%s: %s is null, expected a number above 0", file, key);
    c->attention_scale = 1 / sqrt(scalar);
    return PF_OK;
}

pf_status pfi_config_layer_types(pf_ctx *ctx, json_t *json, const char *file, uint8_t flags, pfi_config *c) {
    json_t *list = NULL;
    PF_TRY(pfi_json_array_opt(ctx, json, "layer_types", file, &list));
    if (!list) return PF_OK;
    if ((int64_t)json_array_size(list) != c->layers)
        return pfi_fail(ctx, PF_FORMAT, "%s: layer_types names %zu layers, num_hidden_layers is %lld", file,
                        json_array_size(list), (long long)c->layers);
    for (int64_t i = 0; i < c->layers; i++) {
        const char *type = json_string_value(json_array_get(list, (size_t)i));
        bool slides = type && strcmp(type, "sliding_attention") == 0;
        if (!slides && !(type && strcmp(type, "full_attention") == 0))
            return pfi_fail(ctx, PF_UNSUPPORTED,
                            "%s: layer_types has %s for layer %lld, expected \"full_attention\" or "
                            "\"sliding_attention\"",
                            file, PFI_JSON_FOUND(json_array_get(list, (size_t)i)), (long long)i);
        if (slides && c->window == 0)
            return pfi_fail(ctx, PF_UNSUPPORTED, "%s: layer_types asks for sliding_attention without a sliding_window",
                            file);
        c->layer[i] = (uint8_t)((c->layer[i] & ~flags) | (slides ? flags : 0));
    }
    return PF_OK;
}

pf_status pfi_config_late_windows(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    bool use = false;
    int64_t first = 28;
    c->window = 4096;
    PF_TRY(pfi_json_bool_opt(ctx, json, "use_sliding_window", file, &use));
    PF_TRY(pfi_config_window(ctx, json, file, "sliding_window", &c->window));
    PF_TRY(pfi_json_int_opt(ctx, json, "max_window_layers", file, &first));
    if (!use) c->window = 0;
    for (int64_t i = PFI_MAX(first, 0); c->window && i < c->layers; i++) c->layer[i] = PFI_LAYER_WINDOW;
    return pfi_config_layer_types(ctx, json, file, PFI_LAYER_WINDOW, c);
}

pf_status pfi_config_biases(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    PF_TRY(pfi_json_bool_opt(ctx, json, "attention_bias", file, &c->qkv_bias));
    PF_TRY(pfi_json_bool_opt(ctx, json, "mlp_bias", file, &c->ffn_bias));
    c->o_bias = c->qkv_bias;
    return PF_OK;
}

static const char *const config_usual_keys[] = {"vocab_size",          "hidden_size",
                                                "intermediate_size",   "num_hidden_layers",
                                                "num_attention_heads", "head_dim",
                                                "rms_norm_eps",        "num_key_value_heads",
                                                "rope_theta",          "rope_parameters",
                                                "hidden_act",          "rope_scaling",
                                                "tie_word_embeddings", NULL};

/* keys of two lists at once */
static pf_status config_keys(pf_ctx *ctx, json_t *json, const char *file, const char *const *more) {
    const char *all[48];
    int n = 0;
    for (int i = 0; config_usual_keys[i]; i++) all[n++] = config_usual_keys[i];
    for (int i = 0; more && more[i] && n < 47; i++) all[n++] = more[i];
    all[n] = NULL;
    return pfi_config_refuse_unknown(ctx, json, file, all);
}

pf_status pfi_config_usual(pf_ctx *ctx, json_t *json, const char *file, const char *const *more, pfi_config *c) {
    PF_TRY(config_keys(ctx, json, file, more));
    PF_TRY(pfi_config_sizes(ctx, json, file, &pfi_usual_sizes, c));
    PF_TRY(pfi_json_number_opt(ctx, json, "rms_norm_eps", file, &c->norm_eps));
    return pfi_json_bool_opt(ctx, json, "tie_word_embeddings", file, &c->tied);
}
