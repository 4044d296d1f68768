/* Llama, versions 1 to 3: RMSNorm, rotary embedding, grouped-query attention, SwiGLU (arXiv 2302.13971, 2407.21783). */
#include "model/model.h"

static const char *const llama_keys[] = {"vocab_size",        "hidden_size",         "intermediate_size",
                                         "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                                         "head_dim",          "rms_norm_eps",        "rope_theta",
                                         "rope_parameters",   "rope_scaling",        "tie_word_embeddings",
                                         "hidden_act",        "attention_bias",      "mlp_bias",
                                         "pretraining_tp",    "rope_interleaved",    NULL};

/* rope_theta stands at the top, or in rope_parameters as newer files have it */
static pf_status llama_rope(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    c->rope_theta = 10000;
    PF_TRY(pfi_json_number_opt(ctx, json, "rope_theta", file, &c->rope_theta));
    const char *const places[] = {"rope_parameters", "rope_scaling"};
    for (int i = 0; i < 2; i++) {
        json_t *p = NULL;
        PF_TRY(pfi_json_object_opt(ctx, json, places[i], file, &p));
        if (!p) continue;
        const char *type = "default";
        PF_TRY(pfi_json_string_opt(ctx, p, "type", file, &type));
        PF_TRY(pfi_json_string_opt(ctx, p, "rope_type", file, &type));
        if (strcmp(type, "default") != 0)
            return pfi_fail(ctx, PF_UNSUPPORTED, "%s: %s of type \"%s\" is not supported", file, places[i], type);
        PF_TRY(pfi_json_number_opt(ctx, p, "rope_theta", file, &c->rope_theta));
    }
    if (!(c->rope_theta > 0)) return pfi_fail(ctx, PF_FORMAT, "%s: rope_theta must be above 0", file);
    return PF_OK;
}

static pf_status llama_refuse(pf_ctx *ctx, json_t *json, const char *file, const char *key) {
    bool on = false;
    PF_TRY(pfi_json_bool_opt(ctx, json, key, file, &on));
    return on ? pfi_fail(ctx, PF_UNSUPPORTED, "%s: %s true is not supported", file, key) : PF_OK;
}

static pf_status llama_sizes(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    PF_TRY(pfi_json_int(ctx, json, "vocab_size", file, &c->vocab));
    PF_TRY(pfi_json_int(ctx, json, "hidden_size", file, &c->hidden));
    PF_TRY(pfi_json_int(ctx, json, "intermediate_size", file, &c->ffn));
    PF_TRY(pfi_json_int(ctx, json, "num_hidden_layers", file, &c->layers));
    PF_TRY(pfi_json_int(ctx, json, "num_attention_heads", file, &c->heads));
    c->kv_heads = c->heads;
    PF_TRY(pfi_json_int_opt(ctx, json, "num_key_value_heads", file, &c->kv_heads));
    c->context = 2048;
    PF_TRY(pfi_json_int_opt(ctx, json, "max_position_embeddings", file, &c->context));
    const struct {
        const char *name;
        int64_t value, most;
    } size[] = {{"vocab_size", c->vocab, 1 << 24},
                {"hidden_size", c->hidden, 1 << 20},
                {"intermediate_size", c->ffn, 1 << 22},
                {"num_hidden_layers", c->layers, 1 << 12},
                {"num_attention_heads", c->heads, 1 << 16},
                {"num_key_value_heads", c->kv_heads, 1 << 16},
                {"max_position_embeddings", c->context, 1 << 28}};
    for (int i = 0; i < PFI_COUNT(size); i++)
        if (size[i].value < 1 || size[i].value > size[i].most)
            return pfi_fail(ctx, PF_FORMAT, "%s: %s is %lld, expected 1 to %lld", file, size[i].name,
                            (long long)size[i].value, (long long)size[i].most);
    c->head_dim = c->hidden / c->heads;
    PF_TRY(pfi_json_int_opt(ctx, json, "head_dim", file, &c->head_dim));
    if (c->head_dim < 2 || c->head_dim % 2 || c->head_dim > 1 << 16)
        return pfi_fail(ctx, PF_FORMAT, "%s: head_dim is %lld, expected an even number", file, (long long)c->head_dim);
    if (c->heads % c->kv_heads)
        return pfi_fail(ctx, PF_FORMAT, "%s: num_attention_heads %lld is no multiple of num_key_value_heads %lld", file,
                        (long long)c->heads, (long long)c->kv_heads);
    return PF_OK;
}

static pf_status llama_config(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    PF_TRY(pfi_config_refuse_unknown(ctx, json, file, llama_keys));
    PF_TRY(llama_sizes(ctx, json, file, c));
    PF_TRY(llama_rope(ctx, json, file, c));
    c->norm_eps = 1e-6;
    PF_TRY(pfi_json_number_opt(ctx, json, "rms_norm_eps", file, &c->norm_eps));
    PF_TRY(pfi_json_bool_opt(ctx, json, "tie_word_embeddings", file, &c->tied));
    PF_TRY(llama_refuse(ctx, json, file, "attention_bias"));
    PF_TRY(llama_refuse(ctx, json, file, "mlp_bias"));
    PF_TRY(llama_refuse(ctx, json, file, "rope_interleaved"));
    const char *act = "silu";
    PF_TRY(pfi_json_string_opt(ctx, json, "hidden_act", file, &act));
    if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        return pfi_fail(ctx, PF_UNSUPPORTED, "%s: hidden_act \"%s\" is not supported; expected \"silu\"", file, act);
    return PF_OK;
}

static pf_status llama_layer_slots(const pfi_config *c, pfi_layer *l, int64_t i, pfi_slots *s) {
    int64_t C = c->hidden, q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    const struct {
        pf_tensor **field;
        int64_t rows, cols;
        const char *name;
    } all[] = {{&l->norm_attention.w, C, 0, "input_layernorm"},
               {&l->q.w, q, C, "self_attn.q_proj"},
               {&l->k.w, kv, C, "self_attn.k_proj"},
               {&l->v.w, kv, C, "self_attn.v_proj"},
               {&l->o.w, C, q, "self_attn.o_proj"},
               {&l->norm_ffn.w, C, 0, "post_attention_layernorm"},
               {&l->gate.w, c->ffn, C, "mlp.gate_proj"},
               {&l->up.w, c->ffn, C, "mlp.up_proj"},
               {&l->down.w, C, c->ffn, "mlp.down_proj"}};
    for (int k = 0; k < PFI_COUNT(all); k++)
        PF_TRY(pfi_slot_add(s, all[k].field, all[k].rows, all[k].cols, "model.layers.%lld.%s.weight", (long long)i,
                            all[k].name));
    return PF_OK;
}

pf_status pfi_llama_slots(pf_model *m, pfi_slots *s) {
    const pfi_config *c = &m->config;
    PF_TRY(pfi_slot_add(s, &m->embedding, c->vocab, c->hidden, "model.embed_tokens.weight"));
    for (int64_t i = 0; i < c->layers; i++) PF_TRY(llama_layer_slots(c, &m->layer[i], i, s));
    PF_TRY(pfi_slot_add(s, &m->norm.w, c->hidden, 0, "model.norm.weight"));
    return c->tied ? PF_OK : pfi_slot_add(s, &m->head.w, c->vocab, c->hidden, "lm_head.weight");
}

const pfi_family pfi_family_llama = {.model_type = "llama", .config = llama_config, .slots = pfi_llama_slots};
