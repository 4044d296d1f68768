/* The weight files of a model directory: one, or the shards that an index names. */
#include "file/json.h"
#include "file/safetensors.h"

#define WEIGHTS_INDEX "model.safetensors.index.json"

struct pfi_weights {
    pf_ctx *ctx;
    pfi_st **st;
    size_t n, count; /* shards, tensors */
};

static pf_status weights_add(pfi_weights *w, const char *path) {
    pfi_st **st = pfi_realloc(w->ctx, w->st, (w->n + 1) * sizeof *st);
    if (!st) return PF_NOMEM;
    w->st = st;
    PF_TRY(pfi_st_open(w->ctx, path, &st[w->n]));
    w->count += pfi_st_count(st[w->n++]);
    return PF_OK;
}

static bool weights_seen(const pfi_weights *w, const char *path) {
    for (size_t i = 0; i < w->n; i++) {
        if (strcmp(pfi_st_name(w->st[i]), path) == 0) return true;
    }
    return false;
}

/* every name of the map must be in the shard it is said to be in */
static pf_status weights_check_map(pfi_weights *w, const char *index, const json_t *map) {
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)map, name, v) {
        pfi_st *st;
        const pfi_st_tensor *t = pfi_weights_find(w, name, &st);
        if (!t)
            return pfi_fail(w->ctx, PF_FORMAT, "%s: tensor \"%s\" should be in %s, which does not hold it", index, name,
                            json_string_value(v));
    }
    return PF_OK;
}

static pf_status weights_shards(pfi_weights *w, const char *dir, const char *index, const json_t *map) {
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)map, name, v) {
        const char *file = json_string_value(v);
        if (!file || !pfi_file_plain_name(file))
            return pfi_fail(w->ctx, PF_FORMAT,
                            "%s: weight_map gives %s for \"%s\", expected the name of a file in the same directory",
                            index, PFI_JSON_FOUND(v), name);
        char *path = pfi_file_join(w->ctx, dir, file);
        if (!path) return PF_NOMEM;
        pf_status s = weights_seen(w, path) ? PF_OK : weights_add(w, path);
        pfi_free(w->ctx, path);
        PF_TRY(s);
    }
    return weights_check_map(w, index, map);
}

static pf_status weights_index(pfi_weights *w, const char *dir, const char *index) {
    json_t *map, *v = pfi_json_load(w->ctx, index);
    if (!v) return w->ctx->code;
    pf_status s = pfi_json_object(w->ctx, v, "weight_map", index, &map);
    if (s == PF_OK) s = weights_shards(w, dir, index, map);
    json_decref(v);
    return s;
}

static pf_status weights_none(pfi_weights *w, const char *dir) {
    char *bin = pfi_file_join(w->ctx, dir, "pytorch_model.bin");
    if (!bin) return PF_NOMEM;
    bool pickle = pfi_file_exists(bin);
    pfi_free(w->ctx, bin);
    if (pickle)
        return pfi_fail(w->ctx, PF_UNSUPPORTED,
                        "%s holds pytorch_model.bin, which is not read because a pickle can run code: convert it with "
                        "save_pretrained(dir, safe_serialization=True) of transformers",
                        dir);
    if (!pfi_file_exists(dir)) return pfi_fail(w->ctx, PF_IO, "no such model: %s does not exist", dir);
    return pfi_fail(w->ctx, PF_IO, "%s holds no weights: expected model.safetensors or " WEIGHTS_INDEX, dir);
}

static pf_status weights_dir(pfi_weights *w, const char *dir) {
    char *one = pfi_file_join(w->ctx, dir, "model.safetensors");
    char *index = one ? pfi_file_join(w->ctx, dir, WEIGHTS_INDEX) : NULL;
    pf_status s;
    if (!index)
        s = PF_NOMEM;
    else if (pfi_file_exists(one))
        s = weights_add(w, one);
    else if (pfi_file_exists(index))
        s = weights_index(w, dir, index);
    else
        s = weights_none(w, dir);
    pfi_free(w->ctx, one);
    pfi_free(w->ctx, index);
    return s;
}

pf_status pfi_weights_open(pf_ctx *ctx, const char *path, pfi_weights **out) {
    *out = NULL;
    pfi_weights *w = pfi_calloc(ctx, 1, sizeof *w);
    if (!w) return PF_NOMEM;
    w->ctx = ctx;
    pfi_hold(ctx);
    size_t n = strlen(path);
    bool file = n > 12 && strcmp(path + n - 12, ".safetensors") == 0 && !pfi_file_is_dir(path);
    pf_status s = file ? weights_add(w, path) : weights_dir(w, path);
    if (s == PF_OK) {
        *out = w;
        return s;
    }
    pfi_weights_close(w);
    return s;
}

void pfi_weights_close(pfi_weights *w) {
    if (!w) return;
    pf_ctx *ctx = w->ctx;
    for (size_t i = 0; i < w->n; i++) pfi_st_release(w->st[i]);
    pfi_free(ctx, w->st);
    pfi_free(ctx, w);
    pfi_release(ctx);
}

size_t pfi_weights_count(const pfi_weights *w) { return w->count; }

const pfi_st_tensor *pfi_weights_at(const pfi_weights *w, size_t i, pfi_st **st) {
    for (size_t k = 0; k < w->n; k++) {
        if (i < pfi_st_count(w->st[k])) {
            if (st) *st = w->st[k];
            return pfi_st_at(w->st[k], i);
        }
        i -= pfi_st_count(w->st[k]);
    }
    return NULL;
}

const pfi_st_tensor *pfi_weights_find(const pfi_weights *w, const char *name, pfi_st **st) {
    for (size_t k = 0; k < w->n; k++) {
        const pfi_st_tensor *t = pfi_st_find(w->st[k], name);
        if (!t) continue;
        if (st) *st = w->st[k];
        return t;
    }
    return NULL;
}
