/* Weights of any files into safetensors of another type, in one file or in shards of a given size. */
#include <math.h>

#include "file/json.h"
#include "file/safetensors.h"
#include "kernel/kernel.h"
#include "tensor/tensor.h"

enum { CONVERT_TILE = 4096 };

typedef struct convert_run {
    pf_ctx *ctx;
    pfi_weights *w;
    const char *dir;
    pf_dtype type; /* PF_DTYPES: each tensor stays as it is */
    size_t most;   /* bytes a shard; 0: all in one */
    int n_shards;
    json_t *map; /* tensor -> file, of the index */
    size_t total;
    pfi_st_entry *e; /* of the present shard */
    char **made;     /* the values that were converted, or NULL */
    size_t n;
} convert_run;

static size_t convert_numel(const pfi_weight *t) {
    size_t n = 1;
    for (int i = 0; i < t->nd; i++) n *= (size_t)t->dim[i];
    return n;
}

/* integers stay what they are */
static pf_dtype convert_type(const convert_run *r, const pfi_weight *t) {
    return r->type == PF_DTYPES || t->pf == PF_I32 ? (pf_dtype)t->pf : r->type;
}

static size_t convert_bytes(const convert_run *r, const pfi_weight *t) {
    return convert_numel(t) * pfi_dtype_size(convert_type(r, t));
}

static pf_status convert_check(const convert_run *r, const pfi_weight *t) {
    if (t->nd > PF_MAX_DIMS)
        return pfi_fail(r->ctx, PF_UNSUPPORTED, "%s: tensor \"%s\" has %d dimensions, at most %d are written", t->file,
                        t->name, t->nd, PF_MAX_DIMS);
    if (t->pf < 0)
        return pfi_fail(r->ctx, PF_UNSUPPORTED, "%s: tensor \"%s\" is stored as %s, which is not read as weights",
                        t->file, t->name, t->dtype);
    if (pfi_dtype_size(convert_type(r, t)) == 0)
        return pfi_fail(r->ctx, PF_UNSUPPORTED,
                        "%s: tensor \"%s\" is stored as %s, which safetensors does not have; name another type",
                        t->file, t->name, t->dtype);
    return PF_OK;
}

/* n values to the type, a tile at a time; one that becomes infinite is refused */
static pf_status convert_values(const convert_run *r, const pfi_weight *t, const pf_tensor *src, char *out) {
    float x[CONVERT_TILE], y[CONVERT_TILE];
    const size_t n = convert_numel(t), tile = CONVERT_TILE;
    for (size_t at = 0; at < n; at += tile) {
        const size_t k = PFI_MIN(tile, n - at);
        char *to = out + pfi_dtype_bytes(r->type, at);
        pfk_widen_f32(src->dtype, (const char *)pfi_data(src) + pfi_dtype_bytes(src->dtype, at), x, (int64_t)k);
        pfk_narrow(r->type, to, x, (int64_t)k);
        pfk_widen_f32(r->type, to, y, (int64_t)k);
        for (size_t i = 0; i < k; i++)
            if (isinf(y[i]) && !isinf(x[i]))
                return pfi_fail(r->ctx, PF_RANGE, "%s: tensor \"%s\" holds %g, which %s cannot hold", t->file, t->name,
                                (double)x[i], pfi_dtype_name(r->type));
    }
    return PF_OK;
}

/* one more entry of the shard */
static pf_status convert_add(convert_run *r, const pfi_weight *t) {
    const pf_dtype type = convert_type(r, t);
    const size_t i = r->n++;
    r->e[i] = (pfi_st_entry){.name = t->name, .dtype = type, .nd = t->nd, .dim = t->dim, .data = t->data};
    if (t->pf == (int)type) return PF_OK;
    r->e[i].data = r->made[i] = pfi_alloc_data(r->ctx, convert_bytes(r, t) + 1);
    pf_tensor *src = r->made[i] ? pfi_weights_tensor(r->w, t) : NULL;
    pf_status s = src ? convert_values(r, t, src, r->made[i]) : pf_errcode(r->ctx);
    pf_tensor_free(src);
    return s;
}

static void convert_name(const convert_run *r, int shard, char *out, size_t room) {
    if (r->n_shards == 1)
        snprintf(out, room, "model.safetensors");
    else
        snprintf(out, room, "model-%05d-of-%05d.safetensors", shard + 1, r->n_shards);
}

/* write the tensors first..end-1 as one file */
static pf_status convert_shard(convert_run *r, int shard, size_t first, size_t end) {
    char name[64];
    pf_status s = PF_OK;
    convert_name(r, shard, name, sizeof name);
    r->n = 0;
    for (size_t i = first; s == PF_OK && i < end; i++) {
        const pfi_weight *t = pfi_weights_at(r->w, i);
        s = convert_add(r, t);
        if (s == PF_OK && json_object_set_new(r->map, t->name, json_string(name)) != 0)
            s = pfi_fail(r->ctx, PF_NOMEM, "not enough memory for the index");
        r->total += convert_bytes(r, t);
    }
    char *path = s == PF_OK ? pfi_file_join(r->ctx, r->dir, name) : NULL;
    if (s == PF_OK)
        s = path ? pfi_st_write(r->ctx, path, r->e, r->n, (const char *const[]){"format", "pt", NULL}) : PF_NOMEM;
    pfi_free(r->ctx, path);
    for (size_t i = 0; i < r->n; i++) {
        pfi_free(r->ctx, r->made[i]);
        r->made[i] = NULL;
    }
    return s;
}

/* the first tensor that no longer fits into a shard that begins with `first` */
static size_t convert_end(const convert_run *r, size_t first) {
    size_t n = pfi_weights_count(r->w), i = first, bytes = 0;
    for (; i < n; i++) {
        bytes += convert_bytes(r, pfi_weights_at(r->w, i));
        if (i > first && r->most && bytes > r->most) break;
    }
    return i;
}

static pf_status convert_index(convert_run *r) {
    json_t *json = json_pack("{s{sI}sO}", "metadata", "total_size", (json_int_t)r->total, "weight_map", r->map);
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    char *path = pfi_file_join(r->ctx, r->dir, "model.safetensors.index.json");
    pf_status s = !path ? PF_NOMEM : text ? PF_OK : pfi_fail(r->ctx, PF_NOMEM, "not enough memory for the index");
    if (s == PF_OK) s = pfi_file_write_atomic(r->ctx, path, text, strlen(text));
    pfi_free(r->ctx, path);
    free(text);
    json_decref(json);
    return s;
}

/* shards 0..n-1 are of no use without the others */
static void convert_remove(const convert_run *r, int n) {
    for (int k = 0; k < n; k++) {
        char name[64];
        convert_name(r, k, name, sizeof name);
        char *path = pfi_file_join(r->ctx, r->dir, name);
        if (path) remove(path);
        pfi_free(r->ctx, path);
    }
}

static pf_status convert_shards(convert_run *r, size_t n) {
    pf_status s = PF_OK;
    int k = 0;
    for (size_t i = 0, end; s == PF_OK && i < n; i = end, k++) {
        end = convert_end(r, i);
        s = convert_shard(r, k, i, end);
    }
    if (s == PF_OK && r->n_shards > 1) s = convert_index(r);
    if (s != PF_OK) convert_remove(r, k);
    return s;
}

static pf_status convert_all(convert_run *r) {
    const size_t n = pfi_weights_count(r->w);
    for (size_t i = 0; i < n; i++) PF_TRY(convert_check(r, pfi_weights_at(r->w, i)));
    PF_TRY(pfi_file_mkdirs(r->ctx, r->dir));
    r->e = pfi_calloc(r->ctx, n + 1, sizeof *r->e);
    r->made = pfi_calloc(r->ctx, n + 1, sizeof *r->made);
    r->map = json_object();
    if (!r->e || !r->made || !r->map) return pfi_fail(r->ctx, PF_NOMEM, "not enough memory for the list of tensors");
    for (size_t i = 0; i < n; i = convert_end(r, i)) r->n_shards++;
    return convert_shards(r, n);
}

pf_status pfi_weights_convert(pf_ctx *ctx, const char *from, const char *dir, pf_dtype type, size_t shard_bytes) {
    convert_run r = {.ctx = ctx, .dir = dir, .type = type, .most = shard_bytes};
    if (type != PF_DTYPES && type != PF_F32 && type != PF_F16 && type != PF_BF16)
        return pfi_fail(ctx, PF_UNSUPPORTED, "safetensors holds no %s; expected float32, float16 or bfloat16",
                        pfi_dtype_name(type));
    pfi_step *open = ctx->step;
    ctx->step = NULL;
    pf_status s = pfi_weights_open(ctx, from, &r.w);
    if (s == PF_OK) s = convert_all(&r);
    ctx->step = open;
    pfi_free(ctx, r.e);
    pfi_free(ctx, r.made);
    json_decref(r.map);
    pfi_weights_close(r.w);
    return s;
}
