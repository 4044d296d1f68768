/* Saving a model: a Hugging Face directory, or a GGUF file.
 *
 * A weight is written in the type it has in memory: float32 if it was widened to be trained, as rounding it to the
 * type it came in would undo steps that are smaller than half a unit there, and the type of the file if it stayed as
 * it was. config.json says so. Files beside the weights are copied as they are. */
#include <strings.h>

#include "file/file.h"
#include "file/safetensors.h"
#include "model/adapter.h"
#include "model/gguf.h"
#include "text/tokenizer.h"

/* ---- weights ---- */

/* the values of a parameter in the order of the file, if that is not the order in memory: owned by the caller */
static pf_status save_turned(const pf_model *m, const pfi_slot *slot, const pf_tensor *t, char **out) {
    const size_t size = pfi_dtype_size(t->dtype);
    *out = pfi_alloc_data(m->ctx, pfi_numel(t) * size);
    if (!*out) return PF_NOMEM;
    for (int64_t i = 0; i < (int64_t)pfi_numel(t); i++)
        memcpy(*out + (size_t)pfi_slot_place(slot, false, i / slot->dim[1], i % slot->dim[1]) * size,
               (const char *)pfi_data(t) + (size_t)i * size, size);
    return PF_OK;
}

static pf_status save_weights(const pf_model *m, const char *path) {
    pf_ctx *ctx = m->ctx;
    const size_t n = (size_t)(m->n_parameters + m->n_aside);
    pfi_st_entry *e = pfi_calloc(ctx, n, sizeof *e);
    char **turned = pfi_calloc(ctx, n, sizeof *turned);
    int64_t(*dim)[2] = pfi_calloc(ctx, n, sizeof *dim);
    pf_status s = e && turned && dim ? PF_OK : PF_NOMEM;
    for (size_t i = 0; s == PF_OK && i < n; i++) {
        const size_t k = (size_t)m->n_parameters;
        pf_tensor *t = i < k ? m->parameter[i] : m->aside[i - k];
        e[i] = (pfi_st_entry){.name = t->name, .dtype = t->dtype, .nd = t->nd, .dim = t->dim, .data = pfi_data(t)};
        if (i >= k || !(m->slots.slot[i].flags & PFI_TURNED)) continue;
        s = save_turned(m, &m->slots.slot[i], t, &turned[i]);
        dim[i][0] = t->dim[1];
        dim[i][1] = t->dim[0];
        e[i].dim = dim[i];
        e[i].data = turned[i];
    }
    if (s == PF_OK) s = pfi_st_write(ctx, path, e, n, (const char *const[]){"format", "pt", NULL});
    for (size_t i = 0; turned && i < n; i++) pfi_free(ctx, turned[i]);
    pfi_free(ctx, e);
    pfi_free(ctx, turned);
    pfi_free(ctx, dim);
    return s;
}

/* ---- config.json ---- */

/* The type of the weights, where config.json names it; the text as it was read if it says the right thing. */
static pf_status save_config(const pf_model *m, const char *path) {
    pf_ctx *ctx = m->ctx;
    json_t *json = pfi_json_parse(ctx, m->config_text, strlen(m->config_text), "config.json");
    if (!json) return pf_errcode(ctx);
    const char *const keys[] = {"dtype", "torch_dtype"}, *type = pfi_dtype_name(m->embedding->dtype);
    bool differs = false;
    pf_status s = PF_OK;
    for (int i = 0; s == PF_OK && i < 2; i++) {
        const char *now = json_string_value(json_object_get(json, keys[i]));
        if (!now || strcmp(now, type) == 0) continue;
        differs = true;
        if (json_object_set_new(json, keys[i], json_string(type)) != 0) s = PF_NOMEM;
    }
    if (s == PF_OK && differs) {
        char *text = json_dumps(json, JSON_INDENT(2));
        s = text ? pfi_file_write_atomic(ctx, path, text, strlen(text))
                 : pfi_fail(ctx, PF_NOMEM, "out of memory while writing %s", path);
        free(text);
    } else if (s == PF_OK) {
        s = pfi_file_write_atomic(ctx, path, m->config_text, strlen(m->config_text));
    }
    json_decref(json);
    return s;
}

/* ---- the rest of the directory ---- */

static const char *const save_beside[] = {"generation_config.json",
                                          "vocab.json",
                                          "merges.txt",
                                          "tokenizer.model",
                                          "added_tokens.json",
                                          "chat_template.json",
                                          "processor_config.json",
                                          "preprocessor_config.json"};

/* a file of the directory that the model came from, if it is there */
static pf_status save_copy(const pf_model *m, const char *dir, const char *name) {
    pf_ctx *ctx = m->ctx;
    char *from = pfi_file_join(ctx, m->dir, name), *to = pfi_file_join(ctx, dir, name);
    pfi_buf text = {0};
    pf_status s = from && to ? PF_OK : PF_NOMEM;
    if (s == PF_OK && strcmp(m->dir, dir) != 0 && pfi_file_exists(from)) {
        s = pfi_file_read(ctx, from, &text);
        if (s == PF_OK) s = pfi_file_write_atomic(ctx, to, text.data, text.len);
    }
    pfi_buf_free(ctx, &text);
    pfi_free(ctx, from);
    pfi_free(ctx, to);
    return s;
}

/* ---- GGUF ---- */

/* The type stands before .gguf in the name, as llama.cpp's own files have it: NAME-q8_0.gguf; f32 if there is none. */
static pf_dtype save_type_of(const char *path) {
    static const struct {
        const char *name;
        pf_dtype type;
    } types[] = {{"f16", PF_F16}, {"bf16", PF_BF16}, {"q8_0", PF_Q8_0}};
    const size_t n = strlen(path) - strlen(".gguf");
    for (int i = 0; i < PFI_COUNT(types); i++) {
        const size_t k = strlen(types[i].name);
        if (n > k && strncasecmp(path + n - k, types[i].name, k) == 0 && strchr("-._", path[n - k - 1]))
            return types[i].type;
    }
    return PF_F32;
}

pf_status pf_model_save(const pf_model *m, const char *path) {
    pf_ctx *ctx = m->ctx;
    if (m->adapter)
        return pfi_fail(ctx, PF_STATE,
                        "%s: the model has an adapter: save that by itself, or merge it into the base first", path);
    if (pfi_gguf_is(path)) return pfi_model_save_gguf(m, path, save_type_of(path));
    PF_TRY(pfi_file_mkdirs(ctx, path));
    char *config = pfi_file_join(ctx, path, "config.json"), *weights = pfi_file_join(ctx, path, "model.safetensors");
    pf_status s = config && weights ? PF_OK : PF_NOMEM;
    if (s == PF_OK) s = save_weights(m, weights);
    if (s == PF_OK && m->tokenizer) s = pfi_tokenizer_save(m->tokenizer, path);
    for (int i = 0; s == PF_OK && m->dir && i < PFI_COUNT(save_beside); i++) s = save_copy(m, path, save_beside[i]);
    if (s == PF_OK) s = save_config(m, config);
    pfi_free(ctx, config);
    pfi_free(ctx, weights);
    return s;
}
