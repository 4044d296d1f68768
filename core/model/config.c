/* config.json: which family, which sizes, and nothing unknown. */
#include "model/family.h"

#define X(id) extern const pfi_family pfi_family_##id;
#include "pf_families.inc"
#undef X

static const pfi_family *const config_families[] = {
#define X(id) &pfi_family_##id,
#include "pf_families.inc"
#undef X
};

const pfi_family *pfi_family_find(const char *model_type) {
    for (int i = 0; i < PFI_COUNT(config_families); i++)
        if (strcmp(config_families[i]->model_type, model_type) == 0) return config_families[i];
    return NULL;
}

const char *pfi_family_list(char *buf, size_t n) {
    size_t at = 0;
    buf[0] = 0;
    for (int i = 0; i < PFI_COUNT(config_families) && at < n; i++)
        at += (size_t)snprintf(buf + at, n - at, "%s%s", i ? ", " : "", config_families[i]->model_type);
    return buf;
}

static const pfi_names config_names[] = {{"model.", "lm_head.weight"}, {NULL, NULL}};

const pfi_names *pfi_family_names(const pfi_family *f) { return f->names ? f->names : config_names; }

/* Keys that say nothing about the forward pass without dropout, whatever their value. */
/* clang-format off */
static const char *const config_harmless[] = {
    "_name_or_path", "architectures", "auto_map", "bos_token_id", "dtype", "eos_token_id", "id2label",
    "initializer_range", "is_encoder_decoder", "label2id", "language", "license", "max_position_embeddings",
    "model_type", "output_attentions", "output_hidden_states", "pad_token_id", "return_dict", "sep_token_id",
    "tokenizer_class", "torch_dtype", "transformers_version", "unsloth_version", "use_cache", "attention_dropout",
    "hidden_dropout", "embd_pdrop", "resid_pdrop", "attn_pdrop", "classifier_dropout", "summary_first_dropout",
    "_attn_implementation_autoset", "_flash_attn_2_enabled", "is_llama_config", "transformers.js_config",
    "unsloth_fixed", "cache_implementation", "is_decoder", "gradient_checkpointing", "task_specific_params",
    "chunk_size_feed_forward", "problem_type", "pruned_heads", "_commit_hash", "do_sample", "temperature", "top_k",
    "top_p", "max_length", "min_length", "num_beams", "num_return_sequences", "repetition_penalty", "pretraining_tp",
};
/* clang-format on */

static bool config_listed(const char *key, const char *const *list) {
    for (; *list; list++)
        if (strcmp(key, *list) == 0) return true;
    return false;
}

pf_status pfi_config_refuse_unknown(pf_ctx *ctx, json_t *json, const char *file, const char *const *used) {
    const char *key;
    json_t *value;
    json_object_foreach(json, key, value) {
        bool known = config_listed(key, used) || json_is_null(value);
        for (int i = 0; !known && i < PFI_COUNT(config_harmless); i++) known = strcmp(key, config_harmless[i]) == 0;
        if (!known)
            return pfi_fail(ctx, PF_UNSUPPORTED,
                            "%s: key \"%s\" is not known for this family and may change the mathematics; pofit refuses "
                            "it rather than ignore it",
                            file, key);
    }
    return PF_OK;
}

pf_status pfi_config_eos(pf_ctx *ctx, json_t *json, const char *file, pfi_config *out) {
    json_t *v = json_object_get(json, "eos_token_id");
    if (!v || json_is_null(v)) return PF_OK;
    out->n_eos = 0;
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (n > PFI_MAX_EOS)
        return pfi_fail(ctx, PF_UNSUPPORTED, "%s: eos_token_id lists %zu ids, at most %d", file, n, PFI_MAX_EOS);
    for (size_t i = 0; i < n; i++) {
        json_t *id = json_is_array(v) ? json_array_get(v, i) : v;
        json_int_t x = json_is_integer(id) ? json_integer_value(id) : -1;
        if (x < 0 || x >= out->vocab)
            return pfi_fail(ctx, PF_FORMAT, "%s: eos_token_id has %s, expected ids below vocab_size %lld", file,
                            PFI_JSON_FOUND(id), (long long)out->vocab);
        out->eos[out->n_eos++] = (int32_t)x;
    }
    return PF_OK;
}

static pf_status config_parse(pf_ctx *ctx, json_t *json, const char *file, const pfi_family **family, pfi_config *out) {
    const char *type = NULL;
    PF_TRY(pfi_json_string(ctx, json, "model_type", file, &type));
    *family = pfi_family_find(type);
    if (!*family)
        return pfi_fail(ctx, PF_UNSUPPORTED, "%s: model_type \"%s\" is not supported; supported: %s", file, type,
                        pfi_family_list((char[256]){0}, 256));
    *out = (pfi_config){.bos = -1, .init_range = 0.02, .norm_eps = 1e-6, .embedding_scale = 1, .gated = true};
    int64_t bos = -1;
    PF_TRY((*family)->config(ctx, json, file, out));
    PF_TRY(pfi_json_int_opt(ctx, json, "bos_token_id", file, &bos));
    PF_TRY(pfi_json_number_opt(ctx, json, "initializer_range", file, &out->init_range));
    if (out->norm_eps < 0)
        return pfi_fail(ctx, PF_FORMAT, "%s: the epsilon of the norms is %g, expected at least 0", file, out->norm_eps);
    out->bos = bos >= 0 && bos < out->vocab ? (int32_t)bos : -1;
    return pfi_config_eos(ctx, json, file, out);
}

pf_status pfi_config_read(pf_ctx *ctx, const char *text, size_t len, const char *file, const pfi_family **family,
                          pfi_config *out) {
    json_t *json = pfi_json_parse(ctx, text, len, file);
    if (!json) return pf_errcode(ctx);
    pf_status s = json_is_object(json) ? config_parse(ctx, json, file, family, out)
                                       : pfi_fail(ctx, PF_FORMAT, "%s: expected a JSON object", file);
    json_decref(json);
    return s;
}
