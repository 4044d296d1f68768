/* PEFT directories: adapter_config.json and adapter_model.safetensors, in and out. */
#include "file/file.h"
#include "file/safetensors.h"
#include "kernel/kernel.h"
#include "model/adapter.h"
#include "model/family.h"

/* ---- names ---- */

static void file_cut(char *name, const char *part) {
    char *at = strstr(name, part);
    if (at) memmove(at, at + strlen(part), strlen(at + strlen(part)) + 1);
}

/* The parameter that a tensor of a file is: with or without PEFT's prefix, with or without the adapter's name in it,
 * its path beginning in any way that the family knows. */
static pf_tensor *file_find(const pf_model *m, const pfi_adapter *a, const char *given) {
    char name[2 * PF_MAX_NAME], path[PF_MAX_NAME];
    const size_t skip = strncmp(given, PFI_PEFT_PREFIX, strlen(PFI_PEFT_PREFIX)) == 0 ? strlen(PFI_PEFT_PREFIX) : 0;
    if (strlen(given) >= PF_MAX_NAME) return NULL;
    snprintf(path, sizeof path, "%s", given + skip);
    file_cut(path, ".default");
    file_cut(path, ".modules_to_save");
    char *magnitude = strstr(path, ".lora_magnitude_vector.weight");
    if (magnitude) magnitude[strlen(".lora_magnitude_vector")] = 0;
    snprintf(name, sizeof name, PFI_PEFT_PREFIX "%s", path);
    pf_tensor *t = pfi_adapter_find(a, name);
    const pfi_names *names = pfi_family_names(m->family);
    for (int k = 0; !t && names[k].prefix; k++) {
        const char *own = *names[m->names].prefix ? names[m->names].prefix : names[0].prefix;
        if (strncmp(path, names[k].prefix, strlen(names[k].prefix)) != 0) continue;
        snprintf(name, sizeof name, PFI_PEFT_PREFIX "%s%s", own, path + strlen(names[k].prefix));
        t = pfi_adapter_find(a, name);
    }
    return t;
}

/* ---- reading ---- */

static pf_status file_take(pf_ctx *ctx, pfi_weights *w, const pfi_weight *from, pf_tensor *t) {
    bool fits = from->nd == t->nd;
    for (int i = 0; fits && i < t->nd; i++) fits = from->dim[i] == t->dim[i];
    if (!fits)
        return pfi_fail(ctx, PF_SHAPE, "%s: tensor \"%s\" has shape %s, expected %s", from->file, from->name,
                        pfi_shape_text((char[96]){0}, 96, PFI_MIN(from->nd, PF_MAX_DIMS), from->dim),
                        PFI_SHAPE_TEXT(t));
    if (from->pf < 0 || from->pf == PF_I32)
        return pfi_fail(ctx, PF_UNSUPPORTED, "%s: tensor \"%s\" is stored as %s; F64, F32, F16 and BF16 are read",
                        from->file, from->name, from->dtype);
    pf_tensor *src = pfi_weights_tensor(w, from);
    if (!src) return ctx->code;
    if (t->dtype == PF_F32)
        pfk_widen_f32(src->dtype, pfi_data(src), pfi_data(t), (int64_t)pfi_numel(t));
    else
        pfk_widen_f64(src->dtype, pfi_data(src), pfi_data(t), (int64_t)pfi_numel(t));
    pf_tensor_free(src);
    return PF_OK;
}

/* every tensor of the file has its place, every place its tensor */
static pf_status file_fill(const pf_model *m, pfi_adapter *a, pfi_weights *w, const char *path) {
    pf_ctx *ctx = a->ctx;
    for (size_t i = 0; i < pfi_weights_count(w); i++) {
        const pfi_weight *from = pfi_weights_at(w, i);
        pf_tensor *t = file_find(m, a, from->name);
        if (!t)
            return pfi_fail(ctx, PF_UNSUPPORTED,
                            "%s: tensor \"%s\" belongs to nothing that adapter_config.json describes for this model",
                            path, from->name);
        if (t->mark) return pfi_fail(ctx, PF_FORMAT, "%s: \"%s\" is there twice", path, t->name);
        PF_TRY(file_take(ctx, w, from, t));
        t->mark = true;
    }
    for (int i = 0; i < a->n_param; i++)
        if (!a->param[i]->mark)
            return pfi_fail(ctx, PF_FORMAT, "%s has no tensor \"%s\", which adapter_config.json asks for", path,
                            a->param[i]->name);
    return PF_OK;
}

static pf_status file_fill_from(const pf_model *m, pfi_adapter *a, const char *path) {
    pfi_weights *w = NULL;
    PF_TRY(pfi_weights_open(a->ctx, path, &w));
    pf_status s = file_fill(m, a, w, path);
    for (int i = 0; i < a->n_param; i++) a->param[i]->mark = false;
    pfi_weights_close(w);
    return s;
}

static pf_status file_config(pf_model *m, const char *path, uint64_t seed, pfi_adapter **out) {
    pfi_buf text = {0};
    pfi_adapter_config c;
    pf_status s = pfi_file_read(m->ctx, path, &text);
    if (s == PF_OK) s = pfi_adapter_config_read(m, text.data, text.len, path, &c);
    if (s == PF_OK) {
        s = pfi_adapter_build(m, &c, seed, out);
        pfi_adapter_config_free(&c);
    }
    pfi_buf_free(m->ctx, &text);
    return s;
}

static pf_status file_refuse_pickle(pf_ctx *ctx, const char *dir, const char *weights) {
    char *bin = pfi_file_join(ctx, dir, "adapter_model.bin");
    if (!bin) return PF_NOMEM;
    const bool pickle = !pfi_file_exists(weights) && pfi_file_exists(bin);
    pfi_free(ctx, bin);
    if (!pickle) return PF_OK;
    return pfi_fail(ctx, PF_UNSUPPORTED,
                    "%s holds adapter_model.bin, a pickle, which could run code: load it with PEFT and save it again "
                    "(save_pretrained writes adapter_model.safetensors)",
                    dir);
}

pf_status pf_model_load_adapter(pf_model *m, const char *dir, uint64_t seed) {
    pf_ctx *ctx = m->ctx;
    pfi_adapter *a = NULL;
    if (!pfi_file_is_dir(dir))
        return pfi_fail(
            ctx, PF_IO,
            "%s: no such adapter directory (expected adapter_config.json and adapter_model.safetensors in it)", dir);
    char *config = pfi_file_join(ctx, dir, "adapter_config.json");
    char *weights = pfi_file_join(ctx, dir, "adapter_model.safetensors");
    pf_status s = config && weights ? file_refuse_pickle(ctx, dir, weights) : PF_NOMEM;
    if (s == PF_OK) s = file_config(m, config, seed, &a);
    if (s == PF_OK) s = file_fill_from(m, a, weights);
    if (s == PF_OK)
        pfi_adapter_attach(m, a);
    else
        pfi_adapter_drop(a);
    pfi_free(ctx, config);
    pfi_free(ctx, weights);
    return s;
}

/* ---- writing ---- */

static pf_status file_write(const pfi_adapter *a, const char *path) {
    pf_ctx *ctx = a->ctx;
    pfi_st_entry *e = pfi_calloc(ctx, (size_t)a->n_param, sizeof *e);
    if (!e) return PF_NOMEM;
    for (int i = 0; i < a->n_param; i++) {
        pf_tensor *t = a->param[i];
        e[i] = (pfi_st_entry){.name = t->name, .dtype = t->dtype, .nd = t->nd, .dim = t->dim, .data = pfi_data(t)};
    }
    pf_status s = pfi_st_write(ctx, path, e, (size_t)a->n_param, (const char *const[]){"format", "pt", NULL});
    pfi_free(ctx, e);
    return s;
}

static bool file_is_gguf(const char *path) {
    const size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".gguf") == 0;
}

pf_status pf_model_save_adapter(const pf_model *m, const char *path) {
    pf_ctx *ctx = m->ctx;
    if (!m->adapter) return pfi_fail(ctx, PF_STATE, "%s: the model has no adapter to save", path);
    if (file_is_gguf(path)) return pfi_adapter_save_gguf(m, path);
    PF_TRY(pfi_file_mkdirs(ctx, path));
    char *config = pfi_file_join(ctx, path, "adapter_config.json");
    char *weights = pfi_file_join(ctx, path, "adapter_model.safetensors");
    pf_status s = config && weights ? file_write(m->adapter, weights) : PF_NOMEM;
    if (s == PF_OK) s = pfi_file_write_atomic(ctx, config, m->adapter->config, strlen(m->adapter->config));
    pfi_free(ctx, config);
    pfi_free(ctx, weights);
    return s;
}
