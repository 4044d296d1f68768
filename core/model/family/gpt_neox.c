/* GPT-NeoX and Pythia: LayerNorm, attention and feed-forward side by side, a quarter of the channels rotary, plain
 * GELU (arXiv 2204.06745, 2304.01373). */
#include "model/family.h"

static const pfi_size_keys gpt_neox_sizes = {.hidden = "hidden_size",
                                             .ffn = "intermediate_size",
                                             .layers = "num_hidden_layers",
                                             .heads = "num_attention_heads",
                                             .context = "max_position_embeddings"};

static const char *const gpt_neox_keys[] = {"vocab_size",
                                            "hidden_size",
                                            "intermediate_size",
                                            "num_hidden_layers",
                                            "num_attention_heads",
                                            "rotary_pct",
                                            "hidden_act",
                                            "rotary_emb_base",
                                            "use_parallel_residual",
                                            "layer_norm_eps",
                                            "rope_scaling",
                                            "rope_parameters",
                                            "attention_bias",
                                            "tie_word_embeddings",
                                            "rope_theta",
                                            "partial_rotary_factor",
                                            NULL};

/* Newer programs write theta and the share a second time, under the names of other families. */
static pf_status gpt_neox_rope(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    pfi_rope_base base = {"rotary_emb_base", "rotary_pct", 10000, 0.25, false, 0};
    double theta = base.theta, partial = base.partial;
    PF_TRY(pfi_json_number_opt(ctx, json, "rotary_emb_base", file, &theta));
    PF_TRY(pfi_json_number_opt(ctx, json, "rotary_pct", file, &partial));
    PF_TRY(pfi_config_only(ctx, json, file, "rope_theta", theta));
    PF_TRY(pfi_config_only(ctx, json, file, "partial_rotary_factor", partial));
    return pfi_config_rope(ctx, json, file, base, c, &c->rope[0]);
}

static pf_status gpt_neox_config(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    PF_TRY(pfi_config_refuse_unknown(ctx, json, file, gpt_neox_keys));
    c->centred = c->fused = c->per_head = c->parallel = true;
    c->qkv_bias = c->ffn_bias = true;
    c->gated = false;
    c->norm_eps = 1e-5;
    c->act = PFI_GELU_EXACT;
    PF_TRY(pfi_config_sizes(ctx, json, file, &gpt_neox_sizes, c));
    PF_TRY(pfi_json_number_opt(ctx, json, "layer_norm_eps", file, &c->norm_eps));
    PF_TRY(pfi_config_act(ctx, json, file, "hidden_act", &c->act));
    PF_TRY(pfi_json_bool_opt(ctx, json, "use_parallel_residual", file, &c->parallel));
    PF_TRY(pfi_json_bool_opt(ctx, json, "attention_bias", file, &c->qkv_bias));
    c->o_bias = c->qkv_bias;
    PF_TRY(pfi_json_bool_opt(ctx, json, "tie_word_embeddings", file, &c->tied));
    return gpt_neox_rope(ctx, json, file, c);
}

static pf_status gpt_neox_layer(pfi_slots *s, const pfi_config *c, pfi_layer *l) {
    const int64_t C = c->hidden;
    const unsigned attention = c->qkv_bias ? PFI_BIAS : 0;
    PF_TRY(pfi_slot_norm(s, &l->norm_attention, "input_layernorm", "attn_norm", C));
    PF_TRY(pfi_slot_norm(s, &l->norm_ffn, "post_attention_layernorm", "ffn_norm", C));
    PF_TRY(pfi_slot_linear(s, &l->qkv, "attention.query_key_value", "attn_qkv", 3 * C, C, attention | PFI_PER_HEAD,
                           c->heads));
    PF_TRY(pfi_slot_linear(s, &l->o, "attention.dense", "attn_output", C, C, attention, 0));
    PF_TRY(pfi_slot_linear(s, &l->up, "mlp.dense_h_to_4h", "ffn_up", c->ffn, C, PFI_BIAS, 0));
    return pfi_slot_linear(s, &l->down, "mlp.dense_4h_to_h", "ffn_down", C, c->ffn, PFI_BIAS, 0);
}

static pf_status gpt_neox_slots(pf_model *m, pfi_slots *s) {
    const pfi_config *c = &m->config;
    pfi_slots_at(s, "", -1);
    PF_TRY(pfi_slot_weight(s, &m->embedding, "embed_in", "token_embd", c->vocab, c->hidden));
    for (int64_t i = 0; i < c->layers; i++) {
        pfi_slots_at(s, "layers", i);
        PF_TRY(gpt_neox_layer(s, c, &m->layer[i]));
    }
    pfi_slots_at(s, "", -1);
    PF_TRY(pfi_slot_norm(s, &m->norm, "final_layer_norm", "output_norm", c->hidden));
    return pfi_slot_head(s);
}

static const pfi_names gpt_neox_names[] = {
    {"gpt_neox.", "embed_out.weight"}, {"gpt_neox.", "lm_head.weight"}, {NULL, NULL}};
static const char *const gpt_neox_derived[] = {".attention.bias", ".attention.masked_bias", NULL};

const pfi_family pfi_family_gpt_neox = {.model_type = "gpt_neox",
                                        .config = gpt_neox_config,
                                        .slots = gpt_neox_slots,
                                        .names = gpt_neox_names,
                                        .embedding = "embed_in.weight",
                                        .derived = gpt_neox_derived};
