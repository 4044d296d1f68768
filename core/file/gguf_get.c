/* What an open GGUF file holds: tensors by name, metadata by key and type. */
#include <stdlib.h>

#include "file/gguf_in.h"

/* ---- tables ---- */

/* ggml's numbers (ggml.h); those without a name were removed from the format */
static const gguf_dtype gguf_dtypes[] = {
    [0] = {"F32", 1, 4, PF_F32},
    [1] = {"F16", 1, 2, PF_F16},
    [2] = {"Q4_0", 32, 18, PF_Q4_0},
    [3] = {"Q4_1", 32, 20, PF_Q4_1},
    [6] = {"Q5_0", 32, 22, PF_Q5_0},
    [7] = {"Q5_1", 32, 24, PF_Q5_1},
    [8] = {"Q8_0", 32, 34, PF_Q8_0},
    [9] = {"Q8_1", 32, 36, -1},
    [10] = {"Q2_K", 256, 84, -1},
    [11] = {"Q3_K", 256, 110, -1},
    [12] = {"Q4_K", 256, 144, PF_Q4_K},
    [13] = {"Q5_K", 256, 176, PF_Q5_K},
    [14] = {"Q6_K", 256, 210, PF_Q6_K},
    [15] = {"Q8_K", 256, 292, -1},
    [16] = {"IQ2_XXS", 256, 66, -1},
    [17] = {"IQ2_XS", 256, 74, -1},
    [18] = {"IQ3_XXS", 256, 98, -1},
    [19] = {"IQ1_S", 256, 50, -1},
    [20] = {"IQ4_NL", 32, 18, -1},
    [21] = {"IQ3_S", 256, 110, -1},
    [22] = {"IQ2_S", 256, 82, -1},
    [23] = {"IQ4_XS", 256, 136, -1},
    [24] = {"I8", 1, 1, -1},
    [25] = {"I16", 1, 2, -1},
    [26] = {"I32", 1, 4, PF_I32},
    [27] = {"I64", 1, 8, -1},
    [28] = {"F64", 1, 8, PF_F64},
    [29] = {"IQ1_M", 256, 56, -1},
    [30] = {"BF16", 1, 2, PF_BF16},
    [34] = {"TQ1_0", 256, 54, -1},
    [35] = {"TQ2_0", 256, 66, -1},
    [39] = {"MXFP4", 32, 17, -1},
    [40] = {"NVFP4", 64, 36, -1},
    [41] = {"Q1_0", 128, 18, -1},
    [42] = {"Q2_0", 64, 18, -1},
};

const gguf_dtype *pfi_gguf_dtype(uint64_t number) {
    return number < (uint64_t)PFI_COUNT(gguf_dtypes) && gguf_dtypes[number].name ? &gguf_dtypes[number] : NULL;
}

int pfi_gguf_dtype_number(pf_dtype d) {
    for (int i = 0; i < PFI_COUNT(gguf_dtypes); i++)
        if (gguf_dtypes[i].name && gguf_dtypes[i].pf == (int)d) return i;
    return -1;
}

static const struct {
    const char *name;
    size_t size;
} gguf_types[PFI_GGUF_TYPES] = {{"a u8", 1},   {"an i8", 1},  {"a u16", 2},     {"an i16", 2},   {"a u32", 4},
                                {"an i32", 4}, {"an f32", 4}, {"a boolean", 1}, {"a string", 0}, {"an array", 0},
                                {"a u64", 8},  {"an i64", 8}, {"an f64", 8}};

size_t pfi_gguf_type_size(pfi_gguf_type t) { return gguf_types[t].size; }

const char *pfi_gguf_type_name(pfi_gguf_type t) { return gguf_types[t].name; }

uint64_t pfi_gguf_le(const unsigned char *p, size_t n) {
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* ---- memory ---- */

enum { GGUF_BLOCK = 16384 };

char *pfi_gguf_keep(pfi_gguf *g, const char *p, size_t n) {
    gguf_block *b = g->blocks;
    if (!b || b->left <= n) {
        size_t room = PFI_MAX(n + 1, (size_t)GGUF_BLOCK);
        b = pfi_alloc(g->ctx, sizeof *b + room);
        if (!b) return NULL;
        *b = (gguf_block){g->blocks, room, (char *)(b + 1)};
        g->blocks = b;
    }
    char *copy = b->at;
    memcpy(copy, p, n);
    copy[n] = 0;
    b->at += n + 1;
    b->left -= n + 1;
    return copy;
}

pfi_gguf *pfi_gguf_retain(pfi_gguf *g) {
    g->refs++;
    return g;
}

void pfi_gguf_release(void *p) {
    pfi_gguf *g = p;
    if (!g || --g->refs > 0) return;
    pf_ctx *ctx = g->ctx;
    for (gguf_block *b = g->blocks, *next; b; b = next) {
        next = b->next;
        pfi_free(ctx, b);
    }
    pfi_free(ctx, g->kv);
    pfi_free(ctx, g->kv_by_key);
    pfi_free(ctx, g->t);
    pfi_free(ctx, g->t_by_name);
    pfi_free(ctx, g->what);
    if (g->release) g->release(g->ud);
    pfi_free(ctx, g);
    pfi_release(ctx);
}

/* ---- tensors ---- */

const char *pfi_gguf_name(const pfi_gguf *g) { return g->what; }

bool pfi_gguf_is(const char *path) {
    size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".gguf") == 0;
}

size_t pfi_gguf_alignment(const pfi_gguf *g) { return g->alignment; }

size_t pfi_gguf_count(const pfi_gguf *g) { return g->n; }

const pfi_weight *pfi_gguf_at(const pfi_gguf *g, size_t i) { return i < g->n ? &g->t[i] : NULL; }

int pfi_gguf_by_name(const void *a, const void *b) {
    return strcmp((*(const pfi_weight *const *)a)->name, (*(const pfi_weight *const *)b)->name);
}

const pfi_weight *pfi_gguf_find(const pfi_gguf *g, const char *name) {
    const pfi_weight key = {.name = name}, *k = &key;
    const pfi_weight **at = bsearch(&k, g->t_by_name, g->n, sizeof *g->t_by_name, pfi_gguf_by_name);
    return at ? *at : NULL;
}

pf_tensor *pfi_gguf_tensor_of(pfi_gguf *g, const pfi_weight *t) {
    return pfi_weight_tensor(g->ctx, t, pfi_gguf_release, pfi_gguf_retain(g));
}

/* ---- metadata ---- */

size_t pfi_gguf_keys(const pfi_gguf *g) { return g->n_kv; }

const char *pfi_gguf_key(const pfi_gguf *g, size_t i, pfi_gguf_type *type) {
    if (i >= g->n_kv) return NULL;
    if (type) *type = g->kv[i].type;
    return g->kv[i].key;
}

int pfi_gguf_by_key(const void *a, const void *b) {
    return strcmp((*(const gguf_pair *const *)a)->key, (*(const gguf_pair *const *)b)->key);
}

const gguf_pair *pfi_gguf_pair(const pfi_gguf *g, const char *key) {
    const gguf_pair want = {.key = key}, *k = &want;
    const gguf_pair **at = bsearch(&k, g->kv_by_key, g->n_kv, sizeof *g->kv_by_key, pfi_gguf_by_key);
    return at ? *at : NULL;
}

bool pfi_gguf_has(const pfi_gguf *g, const char *key) { return pfi_gguf_pair(g, key) != NULL; }

static bool gguf_is_int(pfi_gguf_type t) { return t <= PFI_GGUF_I32 || t == PFI_GGUF_U64 || t == PFI_GGUF_I64; }

static bool gguf_is_number(pfi_gguf_type t) { return gguf_is_int(t) || t == PFI_GGUF_F32 || t == PFI_GGUF_F64; }

/* an integer, sign-extended; a boolean as 0 or 1 */
static int64_t gguf_int_of(pfi_gguf_type t, const unsigned char *p) {
    uint64_t v = pfi_gguf_le(p, gguf_types[t].size);
    switch (t) {
    case PFI_GGUF_I8: return (int8_t)v;
    case PFI_GGUF_I16: return (int16_t)v;
    case PFI_GGUF_I32: return (int32_t)v;
    case PFI_GGUF_BOOL: return v != 0;
    default: return (int64_t)v;
    }
}

static double gguf_number_of(pfi_gguf_type t, const unsigned char *p) {
    uint64_t v = pfi_gguf_le(p, gguf_types[t].size);
    uint32_t low = (uint32_t)v;
    double d;
    float f;
    switch (t) {
    case PFI_GGUF_F32: memcpy(&f, &low, 4); return (double)f;
    case PFI_GGUF_F64: memcpy(&d, &v, 8); return d;
    case PFI_GGUF_U64: return (double)v;
    default: return (double)gguf_int_of(t, p);
    }
}

/* the pair of a required key, or NULL with a message */
static const gguf_pair *gguf_need(const pfi_gguf *g, const char *key) {
    const gguf_pair *kv = pfi_gguf_pair(g, key);
    if (!kv) pfi_fail(g->ctx, PF_FORMAT, "%s: key \"%s\" is missing", g->what, key);
    return kv;
}

static pf_status gguf_wrong(const pfi_gguf *g, const gguf_pair *kv, const char *want) {
    return pfi_fail(g->ctx, PF_FORMAT, "%s: key \"%s\" is %s, expected %s", g->what, kv->key,
                    pfi_gguf_type_name(kv->type), want);
}

pf_status pfi_gguf_int(const pfi_gguf *g, const char *key, int64_t *out) {
    const gguf_pair *kv = gguf_need(g, key);
    if (!kv) return PF_FORMAT;
    if (!gguf_is_int(kv->type)) return gguf_wrong(g, kv, "an integer");
    if (kv->type == PFI_GGUF_U64 && pfi_gguf_le(kv->at, 8) > INT64_MAX)
        return gguf_wrong(g, kv, "an integer below 2^63");
    *out = gguf_int_of(kv->type, kv->at);
    return PF_OK;
}

pf_status pfi_gguf_number(const pfi_gguf *g, const char *key, double *out) {
    const gguf_pair *kv = gguf_need(g, key);
    if (!kv) return PF_FORMAT;
    if (!gguf_is_number(kv->type)) return gguf_wrong(g, kv, "a number");
    *out = gguf_number_of(kv->type, kv->at);
    return PF_OK;
}

pf_status pfi_gguf_bool(const pfi_gguf *g, const char *key, bool *out) {
    const gguf_pair *kv = gguf_need(g, key);
    if (!kv) return PF_FORMAT;
    if (kv->type != PFI_GGUF_BOOL) return gguf_wrong(g, kv, "a boolean");
    *out = kv->at[0] != 0;
    return PF_OK;
}

pf_status pfi_gguf_string(const pfi_gguf *g, const char *key, const char **out, size_t *len) {
    const gguf_pair *kv = gguf_need(g, key);
    if (!kv) return PF_FORMAT;
    if (kv->type != PFI_GGUF_STRING) return gguf_wrong(g, kv, "a string");
    if (!len && strlen(kv->text) != kv->len) return gguf_wrong(g, kv, "one without a zero byte");
    *out = kv->text;
    if (len) *len = kv->len;
    return PF_OK;
}

pf_status pfi_gguf_int_opt(const pfi_gguf *g, const char *key, int64_t *out) {
    return pfi_gguf_has(g, key) ? pfi_gguf_int(g, key, out) : PF_OK;
}

pf_status pfi_gguf_number_opt(const pfi_gguf *g, const char *key, double *out) {
    return pfi_gguf_has(g, key) ? pfi_gguf_number(g, key, out) : PF_OK;
}

pf_status pfi_gguf_bool_opt(const pfi_gguf *g, const char *key, bool *out) {
    return pfi_gguf_has(g, key) ? pfi_gguf_bool(g, key, out) : PF_OK;
}

pf_status pfi_gguf_string_opt(const pfi_gguf *g, const char *key, const char **out, size_t *len) {
    return pfi_gguf_has(g, key) ? pfi_gguf_string(g, key, out, len) : PF_OK;
}

/* ---- arrays ---- */

pf_status pfi_gguf_list(const pfi_gguf *g, const char *key, pfi_gguf_type element, pfi_gguf_array *out) {
    *out = (pfi_gguf_array){element, 0, NULL};
    const gguf_pair *kv = gguf_need(g, key);
    if (!kv) return PF_FORMAT;
    const char *want = element == PFI_GGUF_STRING ? "strings" : element == PFI_GGUF_F64 ? "numbers" : "integers";
    if (kv->type != PFI_GGUF_ARRAY)
        return pfi_fail(g->ctx, PF_FORMAT, "%s: key \"%s\" is %s, expected an array of %s", g->what, key,
                        pfi_gguf_type_name(kv->type), want);
    pfi_gguf_type t = kv->array.type;
    bool ok = element == PFI_GGUF_STRING ? t == PFI_GGUF_STRING
              : element == PFI_GGUF_F64  ? gguf_is_number(t)
                                         : gguf_is_int(t) || t == PFI_GGUF_BOOL;
    if (!ok)
        return pfi_fail(g->ctx, PF_FORMAT, "%s: key \"%s\" is an array whose elements are %s, expected %s", g->what,
                        key, pfi_gguf_type_name(t), want);
    *out = kv->array;
    return PF_OK;
}

pf_status pfi_gguf_list_opt(const pfi_gguf *g, const char *key, pfi_gguf_type element, pfi_gguf_array *out) {
    if (pfi_gguf_has(g, key)) return pfi_gguf_list(g, key, element, out);
    *out = (pfi_gguf_array){element, 0, NULL};
    return PF_OK;
}

const char *pfi_gguf_next_string(pfi_gguf_array *a, size_t *len) {
    const char *p = (const char *)a->at + 8;
    *len = (size_t)pfi_gguf_le(a->at, 8);
    a->at += 8 + *len;
    a->n--;
    return p;
}

/* the next element's place */
static const unsigned char *gguf_step(pfi_gguf_array *a) {
    const unsigned char *p = a->at;
    a->at += gguf_types[a->type].size;
    a->n--;
    return p;
}

int64_t pfi_gguf_next_int(pfi_gguf_array *a) { return gguf_int_of(a->type, gguf_step(a)); }

double pfi_gguf_next_number(pfi_gguf_array *a) { return gguf_number_of(a->type, gguf_step(a)); }
