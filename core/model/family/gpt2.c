/* GPT-2: LayerNorm, learned positions, plain GELU; its linear layers are stored [in, out] (Radford et al. 2019). */
#include "model/family.h"

static const pfi_size_keys gpt2_sizes = {
    .hidden = "n_embd", .ffn = "n_inner", .layers = "n_layer", .heads = "n_head", .context = "n_positions"};

static const char *const gpt2_refused[] = {"scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn",
                                           "add_cross_attention", NULL};

static const char *const gpt2_keys[] = {"vocab_size",
                                        "n_embd",
                                        "n_inner",
                                        "n_layer",
                                        "n_head",
                                        "n_positions",
                                        "n_ctx",
                                        "activation_function",
                                        "layer_norm_epsilon",
                                        "scale_attn_weights",
                                        "summary_type",
                                        "summary_use_proj",
                                        "summary_activation",
                                        "summary_proj_to_labels",
                                        "tie_word_embeddings",
                                        "scale_attn_by_inverse_layer_idx",
                                        "reorder_and_upcast_attn",
                                        "add_cross_attention",
                                        NULL};

static pf_status gpt2_config(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    bool scaled = true;
    PF_TRY(pfi_config_refuse_unknown(ctx, json, file, gpt2_keys));
    for (int i = 0; gpt2_refused[i]; i++) PF_TRY(pfi_config_only(ctx, json, file, gpt2_refused[i], 0));
    int64_t hidden = 0;
    PF_TRY(pfi_json_int(ctx, json, "n_embd", file, &hidden));
    c->ffn = hidden > 0 && hidden < 1 << 20 ? 4 * hidden : 1;
    c->context = 1024;
    c->tied = c->centred = c->learned = c->fused = true;
    c->qkv_bias = c->o_bias = c->ffn_bias = true;
    c->gated = false;
    c->norm_eps = 1e-5;
    c->act = PFI_GELU_TANH;
    PF_TRY(pfi_config_sizes(ctx, json, file, &gpt2_sizes, c));
    PF_TRY(pfi_json_number_opt(ctx, json, "layer_norm_epsilon", file, &c->norm_eps));
    PF_TRY(pfi_config_act(ctx, json, file, "activation_function", &c->act));
    PF_TRY(pfi_json_bool_opt(ctx, json, "scale_attn_weights", file, &scaled));
    if (!scaled) c->attention_scale = 1;
    return pfi_json_bool_opt(ctx, json, "tie_word_embeddings", file, &c->tied);
}

static pf_status gpt2_layer(pfi_slots *s, const pfi_config *c, pfi_layer *l) {
    const int64_t C = c->hidden;
    const unsigned flags = PFI_BIAS | PFI_TURNED;
    PF_TRY(pfi_slot_norm(s, &l->norm_attention, "ln_1", "attn_norm", C));
    PF_TRY(pfi_slot_linear(s, &l->qkv, "attn.c_attn", "attn_qkv", 3 * C, C, flags, 0));
    PF_TRY(pfi_slot_linear(s, &l->o, "attn.c_proj", "attn_output", C, C, flags, 0));
    PF_TRY(pfi_slot_norm(s, &l->norm_ffn, "ln_2", "ffn_norm", C));
    PF_TRY(pfi_slot_linear(s, &l->up, "mlp.c_fc", "ffn_up", c->ffn, C, flags, 0));
    return pfi_slot_linear(s, &l->down, "mlp.c_proj", "ffn_down", C, c->ffn, flags, 0);
}

static pf_status gpt2_slots(pf_model *m, pfi_slots *s) {
    const pfi_config *c = &m->config;
    pfi_slots_at(s, "", -1);
    PF_TRY(pfi_slot_weight(s, &m->embedding, "wte", "token_embd", c->vocab, c->hidden));
    PF_TRY(pfi_slot_weight(s, &m->position, "wpe", "position_embd", c->context, c->hidden));
    for (int64_t i = 0; i < c->layers; i++) {
        pfi_slots_at(s, "h", i);
        PF_TRY(gpt2_layer(s, c, &m->layer[i]));
    }
    pfi_slots_at(s, "", -1);
    PF_TRY(pfi_slot_norm(s, &m->norm, "ln_f", "output_norm", c->hidden));
    return pfi_slot_head(s);
}

static const pfi_names gpt2_names[] = {{"transformer.", "lm_head.weight"}, {"", "lm_head.weight"}, {NULL, NULL}};
static const char *const gpt2_derived[] = {".attn.bias", ".attn.masked_bias", NULL};

const pfi_family pfi_family_gpt2 = {.model_type = "gpt2",
                                    .config = gpt2_config,
                                    .slots = gpt2_slots,
                                    .names = gpt2_names,
                                    .embedding = "wte.weight",
                                    .derived = gpt2_derived};
