/* Reading safetensors: every rule of the reference reader, and limits of our own. */
#include "file/safetensors.h"

#include <stdlib.h>

#include "file/json.h"

#define ST_MAX_HEADER 100000000u

struct pfi_st {
    pf_ctx *ctx;
    long refs;
    char *what;
    void (*release)(void *ud);
    void *ud;
    json_t *header; /* owns the names */
    pfi_st_tensor *t;
    size_t n;
    const pfi_st_tensor **by_name;
};

static const struct {
    const char *name;
    int bits, pf;
} st_types[] = {
    {"F64", 64, PF_F64}, {"F32", 32, PF_F32}, {"F16", 16, PF_F16},    {"BF16", 16, PF_BF16},  {"I32", 32, PF_I32},
    {"I64", 64, -1},     {"I16", 16, -1},     {"I8", 8, -1},          {"U64", 64, -1},        {"U32", 32, -1},
    {"U16", 16, -1},     {"U8", 8, -1},       {"BOOL", 8, -1},        {"C64", 64, -1},        {"F8_E4M3", 8, -1},
    {"F8_E5M2", 8, -1},  {"F8_E8M0", 8, -1},  {"F8_E4M3FNUZ", 8, -1}, {"F8_E5M2FNUZ", 8, -1}, {"F6_E2M3", 6, -1},
    {"F6_E3M2", 6, -1},  {"F4", 4, -1},
};

#define ST_BAD(st, ...) pfi_fail((st)->ctx, PF_FORMAT, __VA_ARGS__)

/* a count or size: an integer that is not negative */
static bool st_size(const json_t *v, uint64_t *out) {
    if (!json_is_integer(v) || json_integer_value(v) < 0) return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static pf_status st_type(pfi_st *st, pfi_st_tensor *t, const char *dtype, int *bits) {
    for (int i = 0; i < PFI_COUNT(st_types); i++) {
        if (strcmp(dtype, st_types[i].name) != 0) continue;
        t->dtype = st_types[i].name;
        t->pf = st_types[i].pf;
        *bits = st_types[i].bits;
        return PF_OK;
    }
    return ST_BAD(st, "%s: tensor \"%s\" has the unknown dtype \"%.40s\"", st->what, t->name, dtype);
}

static pf_status st_shape(pfi_st *st, pfi_st_tensor *t, const json_t *shape, uint64_t *count) {
    size_t nd = json_array_size(shape);
    if (nd > PFI_WEIGHT_MAX_DIMS)
        return ST_BAD(st, "%s: tensor \"%s\" has %zu dimensions, at most %d are allowed", st->what, t->name, nd,
                      PFI_WEIGHT_MAX_DIMS);
    t->nd = (int)nd;
    *count = 1;
    for (size_t i = 0; i < nd; i++) {
        uint64_t d;
        json_t *v = json_array_get(shape, i);
        if (!st_size(v, &d))
            return ST_BAD(st, "%s: tensor \"%s\" has %s as size %zu of its shape, expected an integer from 0", st->what,
                          t->name, PFI_JSON_FOUND(v), i + 1);
        if (d && *count > (uint64_t)INT64_MAX / d)
            return ST_BAD(st, "%s: tensor \"%s\" has a shape whose product overflows", st->what, t->name);
        *count *= d;
        t->dim[i] = (int64_t)d;
    }
    return PF_OK;
}

/* one entry of the header; its place in the file is checked later */
static pf_status st_entry(pfi_st *st, const char *name, const json_t *v, pfi_st_tensor *t) {
    t->name = name;
    t->file = st->what;
    if (strlen(name) > PFI_ST_MAX_NAME)
        return ST_BAD(st, "%s: a tensor's name has %zu bytes, at most %d are allowed", st->what, strlen(name),
                      PFI_ST_MAX_NAME);
    const char *dtype;
    json_t *shape, *at;
    int bits = 0;
    uint64_t begin, end, count = 0;
    if (pfi_json_string(st->ctx, v, "dtype", st->what, &dtype) != PF_OK ||
        pfi_json_array(st->ctx, v, "shape", st->what, &shape) != PF_OK ||
        pfi_json_array(st->ctx, v, "data_offsets", st->what, &at) != PF_OK)
        return pfi_prefix(st->ctx, "tensor \"%s\"", name);
    PF_TRY(st_type(st, t, dtype, &bits));
    PF_TRY(st_shape(st, t, shape, &count));
    if (json_array_size(at) != 2 || !st_size(json_array_get(at, 0), &begin) || !st_size(json_array_get(at, 1), &end) ||
        end < begin)
        return ST_BAD(st, "%s: tensor \"%s\" needs data_offsets [begin, end] with 0 <= begin <= end", st->what, name);
    if (count > UINT64_MAX / (uint64_t)bits)
        return ST_BAD(st, "%s: tensor \"%s\" has a size in bits that overflows", st->what, name);
    if (count * (uint64_t)bits % 8) return ST_BAD(st, "%s: tensor \"%s\" does not end at a whole byte", st->what, name);
    if (count * (uint64_t)bits / 8 != end - begin)
        return ST_BAD(st, "%s: tensor \"%s\" needs %llu bytes for its shape and dtype, its data_offsets give %llu",
                      st->what, name, (unsigned long long)(count * (uint64_t)bits / 8),
                      (unsigned long long)(end - begin));
    t->begin = (size_t)begin;
    t->bytes = (size_t)(end - begin);
    return PF_OK;
}

static pf_status st_metadata(pfi_st *st, json_t *meta) {
    const char *key;
    json_t *v;
    if (!json_is_object(meta))
        return ST_BAD(st, "%s: __metadata__ is %s, expected an object", st->what, PFI_JSON_FOUND(meta));
    json_object_foreach(meta, key, v) {
        if (!json_is_string(v))
            return ST_BAD(st, "%s: __metadata__ holds %s under \"%s\", expected a string", st->what, PFI_JSON_FOUND(v),
                          key);
    }
    return PF_OK;
}

static int st_by_place(const void *a, const void *b) {
    const pfi_st_tensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1; /* empty ones first */
    return strcmp(x->name, y->name);
}

static int st_by_name(const void *a, const void *b) {
    return strcmp((*(const pfi_st_tensor *const *)a)->name, (*(const pfi_st_tensor *const *)b)->name);
}

/* in order of place: no hole, no overlap, and the whole file covered */
static pf_status st_place(pfi_st *st, const unsigned char *data, size_t size) {
    size_t at = 0;
    qsort(st->t, st->n, sizeof *st->t, st_by_place);
    for (size_t i = 0; i < st->n; i++) {
        pfi_st_tensor *t = &st->t[i];
        if (t->begin != at)
            return ST_BAD(st, "%s: tensor \"%s\" begins at offset %zu, expected %zu: there is %s", st->what, t->name,
                          t->begin, at, t->begin < at ? "an overlap" : "a hole");
        at += t->bytes; /* the end that the header gives: no overflow */
        st->by_name[i] = t;
    }
    if (at != size)
        return ST_BAD(st, "%s: the tensors end at byte %zu of the data, the file holds %zu%s", st->what, at, size,
                      at > size ? ": it is cut short" : "");
    for (size_t i = 0; i < st->n; i++) st->t[i].data = data + st->t[i].begin;
    qsort(st->by_name, st->n, sizeof *st->by_name, st_by_name);
    return PF_OK;
}

static pf_status st_entries(pfi_st *st) {
    size_t n = json_object_size(st->header);
    if (n > PFI_ST_MAX_TENSORS)
        return ST_BAD(st, "%s: %zu tensors, at most %d are allowed", st->what, n, PFI_ST_MAX_TENSORS);
    st->t = pfi_calloc(st->ctx, n + 1, sizeof *st->t);
    st->by_name = pfi_calloc(st->ctx, n + 1, sizeof *st->by_name);
    if (!st->t || !st->by_name) return PF_NOMEM;
    const char *key;
    json_t *v;
    json_object_foreach(st->header, key, v) {
        if (strcmp(key, "__metadata__") == 0)
            PF_TRY(st_metadata(st, v));
        else
            PF_TRY(st_entry(st, key, v, &st->t[st->n++]));
    }
    return PF_OK;
}

static pf_status st_check(pfi_st *st, const unsigned char *p, size_t size) {
    if (size < 8)
        return ST_BAD(st, "%s: %zu bytes are too few for a safetensors file, 8 or more were expected", st->what, size);
    uint64_t n = 0;
    for (int i = 0; i < 8; i++) n |= (uint64_t)p[i] << (8 * i);
    if (n > ST_MAX_HEADER)
        return ST_BAD(st, "%s: the header claims %llu bytes, at most %u are allowed", st->what, (unsigned long long)n,
                      ST_MAX_HEADER);
    if (n > size - 8)
        return ST_BAD(st, "%s: the header claims %llu bytes, the file has %zu after its length field", st->what,
                      (unsigned long long)n, size - 8);
    const char *text = (const char *)p + 8;
    size_t bad = pfi_utf8_check(text, (size_t)n);
    if (bad < n) return ST_BAD(st, "%s: byte %zu of the header is not valid UTF-8", st->what, bad + 1);
    st->header = pfi_json_parse_unique(st->ctx, text, (size_t)n, st->what);
    if (!st->header) return st->ctx->code;
    if (!json_is_object(st->header))
        return ST_BAD(st, "%s: the header is %s, expected an object", st->what, PFI_JSON_FOUND(st->header));
    PF_TRY(st_entries(st));
    return st_place(st, p + 8 + n, size - 8 - (size_t)n);
}

pf_status pfi_st_parse(pf_ctx *ctx, const void *data, size_t size, const char *what, void (*release)(void *ud),
                       void *ud, pfi_st **out) {
    *out = NULL;
    pfi_st *st = pfi_calloc(ctx, 1, sizeof *st);
    if (!st) return PF_NOMEM;
    st->ctx = ctx;
    pfi_hold(ctx);
    st->refs = 1;
    st->what = pfi_strndup(ctx, what, strlen(what));
    pf_status s = st->what ? st_check(st, data, size) : PF_NOMEM;
    if (s != PF_OK) {
        pfi_st_release(st);
        return s;
    }
    st->release = release;
    st->ud = ud;
    *out = st;
    return PF_OK;
}

pf_status pfi_st_open(pf_ctx *ctx, const char *path, pfi_st **out) {
    pfi_map *m;
    *out = NULL;
    PF_TRY(pfi_file_map(ctx, path, &m));
    pf_status s = pfi_st_parse(ctx, m->data, m->size, path, pfi_map_release, m, out);
    if (s != PF_OK) pfi_map_release(m);
    return s;
}

pfi_st *pfi_st_retain(pfi_st *st) {
    st->refs++;
    return st;
}

void pfi_st_release(void *p) {
    pfi_st *st = p;
    if (!st || --st->refs > 0) return;
    pf_ctx *ctx = st->ctx;
    json_decref(st->header);
    pfi_free(ctx, st->t);
    pfi_free(ctx, st->by_name);
    pfi_free(ctx, st->what);
    if (st->release) st->release(st->ud);
    pfi_free(ctx, st);
    pfi_release(ctx);
}

size_t pfi_st_count(const pfi_st *st) { return st->n; }

const pfi_st_tensor *pfi_st_at(const pfi_st *st, size_t i) { return i < st->n ? &st->t[i] : NULL; }

const pfi_st_tensor *pfi_st_find(const pfi_st *st, const char *name) {
    pfi_st_tensor key = {.name = name};
    const pfi_st_tensor *k = &key;
    const pfi_st_tensor **at = bsearch(&k, st->by_name, st->n, sizeof *st->by_name, st_by_name);
    return at ? *at : NULL;
}

const char *pfi_st_meta(const pfi_st *st, const char *key) {
    return json_string_value(json_object_get(json_object_get(st->header, "__metadata__"), key));
}

const char *pfi_st_name(const pfi_st *st) { return st->what; }

pf_tensor *pfi_st_tensor_of(pfi_st *st, const pfi_st_tensor *t) {
    return pfi_weight_tensor(st->ctx, t, pfi_st_release, pfi_st_retain(st));
}
