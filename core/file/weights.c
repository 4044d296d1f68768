/* The weights of a model: one file, or the shards that an index names. */
#include "file/weights.h"

#include "file/gguf.h"
#include "file/json.h"
#include "file/safetensors.h"
#include "tensor/tensor.h"

#define WEIGHTS_INDEX "model.safetensors.index.json"

struct pfi_weights {
    pf_ctx *ctx;
    char *name;
    pfi_st **st;
    size_t n, count; /* shards, tensors */
    pfi_gguf *gguf;  /* instead of shards */
};

/* ---- one tensor ---- */

static pf_tensor *weight_tensor(pf_ctx *ctx, const pfi_weight *t, void (*release)(void *ud), void *owner) {
    if (t->pf < 0) {
        pfi_fail(ctx, PF_TYPE,
                 "%s: tensor \"%s\" is stored as %s, which is not read; " PFI_WEIGHT_TYPES " are, and I32 for indices",
                 t->file, t->name, t->dtype);
        return NULL;
    }
    if (t->nd > PF_MAX_DIMS) {
        pfi_fail(ctx, PF_SHAPE, "%s: tensor \"%s\" has %d dimensions, at most %d can be used", t->file, t->name, t->nd,
                 PF_MAX_DIMS);
        return NULL;
    }
    pf_dtype type = (pf_dtype)t->pf;
    size_t align = pfi_dtype_size(type);
    if (align == 0 || (uintptr_t)t->data % align == 0)
        return pfi_tensor_wrap(ctx, type, t->nd, t->dim, (void *)(uintptr_t)t->data, release, owner);
    pf_tensor *r = pf_tensor_new(ctx, type, t->nd, t->dim);
    if (r) {
        memcpy(pfi_data(r), t->data, t->bytes);
        release(owner);
    }
    return r;
}

pf_tensor *pfi_weight_tensor(pf_ctx *ctx, const pfi_weight *t, void (*release)(void *ud), void *owner) {
    pf_tensor *r = weight_tensor(ctx, t, release, owner);
    if (!r) release(owner);
    return r;
}

/* ---- the files of a model ---- */

static pf_status weights_add(pfi_weights *w, const char *path) {
    pfi_st **st = pfi_realloc(w->ctx, w->st, (w->n + 1) * sizeof *st);
    if (!st) return PF_NOMEM;
    w->st = st;
    PF_TRY(pfi_st_open(w->ctx, path, &st[w->n]));
    w->count += pfi_st_count(st[w->n++]);
    return PF_OK;
}

static pf_status weights_gguf(pfi_weights *w, const char *path) {
    PF_TRY(pfi_gguf_open(w->ctx, path, &w->gguf));
    w->count = pfi_gguf_count(w->gguf);
    return PF_OK;
}

static bool weights_seen(const pfi_weights *w, const char *path) {
    for (size_t i = 0; i < w->n; i++) {
        if (strcmp(pfi_st_name(w->st[i]), path) == 0) return true;
    }
    return false;
}

/* every name of the map must be in the shard it is said to be in */
static bool weights_in(const pfi_weights *w, const char *dir, const char *file, const char *name) {
    size_t n = strlen(dir);
    if (n && dir[n - 1] == '/') n--;
    for (size_t i = 0; i < w->n; i++) {
        const char *path = pfi_st_name(w->st[i]);
        if (strcmp(path + n + 1, file) == 0) return pfi_st_find(w->st[i], name) != NULL;
    }
    return false;
}

static pf_status weights_check_map(pfi_weights *w, const char *dir, const char *index, const json_t *map) {
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)map, name, v) {
        if (!weights_in(w, dir, json_string_value(v), name))
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
    PF_TRY(weights_check_map(w, dir, index, map));
    for (size_t i = 0; i < w->count; i++) {
        const pfi_weight *t = pfi_weights_at(w, i), *first = pfi_weights_find(w, t->name);
        if (t != first)
            return pfi_fail(w->ctx, PF_FORMAT, "tensor \"%s\" is in %s and in %s, expected it once", t->name,
                            first->file, t->file);
    }
    return PF_OK;
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

static bool weights_ends(const char *path, const char *end) {
    size_t n = strlen(path), k = strlen(end);
    return n > k && strcmp(path + n - k, end) == 0;
}

pf_status pfi_weights_open(pf_ctx *ctx, const char *path, pfi_weights **out) {
    *out = NULL;
    pfi_weights *w = pfi_calloc(ctx, 1, sizeof *w);
    if (!w) return PF_NOMEM;
    w->ctx = ctx;
    pfi_hold(ctx);
    bool dir = pfi_file_is_dir(path);
    w->name = pfi_strndup(ctx, path, strlen(path));
    pf_status s = !w->name                                     ? PF_NOMEM
                  : !dir && weights_ends(path, ".safetensors") ? weights_add(w, path)
                  : !dir && pfi_gguf_is(path)                  ? weights_gguf(w, path)
                                                               : weights_dir(w, path);
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
    pfi_gguf_release(w->gguf);
    pfi_free(ctx, w->st);
    pfi_free(ctx, w->name);
    pfi_free(ctx, w);
    pfi_release(ctx);
}

size_t pfi_weights_count(const pfi_weights *w) { return w->count; }

const char *pfi_weights_name(const pfi_weights *w) { return w->name; }

const pfi_weight *pfi_weights_at(const pfi_weights *w, size_t i) {
    if (w->gguf) return pfi_gguf_at(w->gguf, i);
    for (size_t k = 0; k < w->n; k++) {
        if (i < pfi_st_count(w->st[k])) return pfi_st_at(w->st[k], i);
        i -= pfi_st_count(w->st[k]);
    }
    return NULL;
}

const pfi_weight *pfi_weights_find(const pfi_weights *w, const char *name) {
    if (w->gguf) return pfi_gguf_find(w->gguf, name);
    for (size_t k = 0; k < w->n; k++) {
        const pfi_weight *t = pfi_st_find(w->st[k], name);
        if (t) return t;
    }
    return NULL;
}

pf_tensor *pfi_weights_tensor(const pfi_weights *w, const pfi_weight *t) {
    if (w->gguf) return pfi_gguf_tensor_of(w->gguf, t);
    size_t k = 0;
    while (k + 1 < w->n && strcmp(pfi_st_name(w->st[k]), t->file) != 0) k++;
    return pfi_st_tensor_of(w->st[k], t);
}

pfi_gguf *pfi_weights_gguf(const pfi_weights *w) { return w->gguf; }
