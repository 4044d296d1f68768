/* Gemma 3 with eyes: its language model, text_config. What belongs to the eyes is kept and saved, but not used. */
#include "model/family.h"

static const char *const gemma3_keys[] = {
    "text_config",       "vision_config",       "boi_token_index",     "eoi_token_index",
    "image_token_index", "mm_tokens_per_image", "tie_word_embeddings", NULL};

static pf_status gemma3_config(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c) {
    PF_TRY(pfi_config_refuse_unknown(ctx, json, file, gemma3_keys));
    json_t *text = NULL;
    PF_TRY(pfi_json_object(ctx, json, "text_config", file, &text));
    char place[288];
    snprintf(place, sizeof place, "%s: text_config", file);
    PF_TRY(pfi_family_find("gemma3_text")->config(ctx, text, place, c));
    PF_TRY(pfi_config_only(ctx, text, place, "final_logit_softcapping", 0)); /* which the model with eyes does not do */
    return pfi_json_bool_opt(ctx, json, "tie_word_embeddings", file, &c->tied);
}

static const pfi_names gemma3_names[] = {{"language_model.model.", "language_model.lm_head.weight"},
                                         {"model.language_model.", "lm_head.weight"},
                                         {NULL, NULL}};
static const char *const gemma3_aside[] = {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
                                           "model.multi_modal_projector.", NULL};

const pfi_family pfi_family_gemma3 = {.model_type = "gemma3",
                                      .config = gemma3_config,
                                      .slots = pfi_slots_straight,
                                      .names = gemma3_names,
                                      .aside = gemma3_aside};
