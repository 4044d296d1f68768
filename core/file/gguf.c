/* Reading GGUF: every rule of the reference reader, and limits of our own. */
#include "file/gguf.h"

#include <stdlib.h>

#include "file/gguf_in.h"

#define GGUF_BAD(r, ...) pfi_fail((r)->g->ctx, PF_FORMAT, __VA_ARGS__)

/* where the reader stands; every read is checked against what is left */
typedef struct gguf_reader {
    pfi_gguf *g;
    const unsigned char *p;
    size_t size, at;
} gguf_reader;

/* a little-endian number of n bytes */
static pf_status gguf_u(gguf_reader *r, size_t n, const char *what, uint64_t *out) {
    *out = 0;
    if (r->size - r->at < n)
        return GGUF_BAD(r, "%s: the file ends at byte %zu, in the middle of %s", r->g->what, r->size, what);
    *out = pfi_gguf_le(r->p + r->at, n);
    r->at += n;
    return PF_OK;
}

/* a string in place */
static pf_status gguf_text(gguf_reader *r, const char *what, uint64_t most, const char **out, size_t *len) {
    uint64_t n;
    *out = NULL;
    *len = 0;
    PF_TRY(gguf_u(r, 8, what, &n));
    if (n > most)
        return GGUF_BAD(r, "%s: %s at byte %zu claims %llu bytes, at most %llu are allowed", r->g->what, what,
                        r->at - 8, (unsigned long long)n, (unsigned long long)most);
    if (n > r->size - r->at)
        return GGUF_BAD(r, "%s: %s at byte %zu claims %llu bytes, the file has %zu left", r->g->what, what, r->at - 8,
                        (unsigned long long)n, r->size - r->at);
    *out = (const char *)r->p + r->at;
    *len = (size_t)n;
    r->at += (size_t)n;
    return PF_OK;
}

/* a name that must serve as a C string, copied */
static pf_status gguf_word(gguf_reader *r, const char *what, uint64_t most, const char **out) {
    const char *p;
    size_t n, at = r->at;
    PF_TRY(gguf_text(r, what, most, &p, &n));
    if (memchr(p, 0, n)) return GGUF_BAD(r, "%s: %s at byte %zu holds a zero byte", r->g->what, what, at);
    if (pfi_utf8_check(p, n) < n) return GGUF_BAD(r, "%s: %s at byte %zu is not valid UTF-8", r->g->what, what, at);
    char *copy = pfi_gguf_keep(r->g, p, n);
    *out = copy;
    return copy ? PF_OK : PF_NOMEM;
}

/* ---- metadata ---- */

static pf_status gguf_array(gguf_reader *r, gguf_pair *kv) {
    uint64_t type, n;
    PF_TRY(gguf_u(r, 4, "an array's type", &type));
    PF_TRY(gguf_u(r, 8, "an array's length", &n));
    if (type >= PFI_GGUF_TYPES || type == PFI_GGUF_ARRAY)
        return GGUF_BAD(r, "%s: key \"%s\" is an array of elements of type %llu, expected 0 to 8 or 10 to 12",
                        r->g->what, kv->key, (unsigned long long)type);
    size_t each = type == PFI_GGUF_STRING ? 8 : pfi_gguf_type_size((pfi_gguf_type)type);
    if (n > PFI_GGUF_MAX_COUNT || n > (r->size - r->at) / each)
        return GGUF_BAD(r, "%s: key \"%s\" claims %llu elements, which the %zu bytes that follow cannot hold",
                        r->g->what, kv->key, (unsigned long long)n, r->size - r->at);
    kv->array = (pfi_gguf_array){(pfi_gguf_type)type, (size_t)n, r->p + r->at};
    if (type != PFI_GGUF_STRING) {
        r->at += (size_t)n * each;
        return PF_OK;
    }
    for (uint64_t i = 0; i < n; i++) {
        const char *p;
        size_t len;
        if (gguf_text(r, "a string", PFI_GGUF_MAX_COUNT, &p, &len) != PF_OK)
            return pfi_prefix(r->g->ctx, "key \"%s\", element %llu", kv->key, (unsigned long long)i + 1);
    }
    return PF_OK;
}

static pf_status gguf_pair_read(gguf_reader *r, gguf_pair *kv) {
    uint64_t type;
    PF_TRY(gguf_word(r, "a key", PFI_GGUF_MAX_KEY, &kv->key));
    if (!*kv->key) return GGUF_BAD(r, "%s: a key is empty", r->g->what);
    PF_TRY(gguf_u(r, 4, "a value's type", &type));
    if (type >= PFI_GGUF_TYPES)
        return GGUF_BAD(r, "%s: key \"%s\" has a value of type %llu, expected 0 to %d", r->g->what, kv->key,
                        (unsigned long long)type, PFI_GGUF_TYPES - 1);
    kv->type = (pfi_gguf_type)type;
    if (kv->type == PFI_GGUF_ARRAY) return gguf_array(r, kv);
    kv->at = r->p + r->at;
    if (kv->type != PFI_GGUF_STRING) return gguf_u(r, pfi_gguf_type_size(kv->type), kv->key, &(uint64_t){0});
    const char *p;
    PF_TRY(gguf_text(r, kv->key, PFI_GGUF_MAX_COUNT, &p, &kv->len));
    kv->text = pfi_gguf_keep(r->g, p, kv->len);
    return kv->text ? PF_OK : PF_NOMEM;
}

static pf_status gguf_pairs(gguf_reader *r, uint64_t n) {
    pfi_gguf *g = r->g;
    if (n > (r->size - r->at) / 13) /* a key of no bytes and a value of one */
        return GGUF_BAD(r, "%s: the header claims %llu metadata pairs, which %zu bytes cannot hold", g->what,
                        (unsigned long long)n, r->size - r->at);
    g->kv = pfi_calloc(g->ctx, (size_t)n + 1, sizeof *g->kv);
    g->kv_by_key = pfi_calloc(g->ctx, (size_t)n + 1, sizeof *g->kv_by_key);
    if (!g->kv || !g->kv_by_key) return PF_NOMEM;
    for (; g->n_kv < n; g->n_kv++) {
        PF_TRY(gguf_pair_read(r, &g->kv[g->n_kv]));
        g->kv_by_key[g->n_kv] = &g->kv[g->n_kv];
    }
    qsort(g->kv_by_key, g->n_kv, sizeof *g->kv_by_key, pfi_gguf_by_key);
    for (size_t i = 1; i < g->n_kv; i++)
        if (strcmp(g->kv_by_key[i - 1]->key, g->kv_by_key[i]->key) == 0)
            return GGUF_BAD(r, "%s: the key \"%s\" is there twice", g->what, g->kv_by_key[i]->key);
    return PF_OK;
}

static pf_status gguf_align(gguf_reader *r) {
    pfi_gguf *g = r->g;
    const gguf_pair *kv = pfi_gguf_pair(g, "general.alignment");
    g->alignment = 32;
    if (!kv) return PF_OK;
    if (kv->type != PFI_GGUF_U32)
        return GGUF_BAD(r, "%s: general.alignment is %s, expected a u32", g->what, pfi_gguf_type_name(kv->type));
    g->alignment = (size_t)pfi_gguf_le(kv->at, 4);
    if (g->alignment == 0 || g->alignment & (g->alignment - 1))
        return GGUF_BAD(r, "%s: general.alignment is %zu, expected a power of two", g->what, g->alignment);
    return PF_OK;
}

/* ---- tensors ---- */

static pf_status gguf_shape(gguf_reader *r, pfi_weight *t, uint64_t *inner) {
    uint64_t nd, count = 1;
    PF_TRY(gguf_u(r, 4, "a tensor's shape", &nd));
    if (nd > PFI_GGUF_MAX_DIMS)
        return GGUF_BAD(r, "%s: tensor \"%s\" has %llu dimensions, at most %d are allowed", r->g->what, t->name,
                        (unsigned long long)nd, PFI_GGUF_MAX_DIMS);
    t->nd = (int)nd;
    for (uint64_t i = 0; i < nd; i++) { /* the innermost comes first in the file */
        uint64_t d;
        PF_TRY(gguf_u(r, 8, "a tensor's shape", &d));
        if (d > INT64_MAX)
            return GGUF_BAD(r, "%s: tensor \"%s\" has %llu as size %llu of its shape, above 2^63 - 1", r->g->what,
                            t->name, (unsigned long long)d, (unsigned long long)i + 1);
        if (d && count > (uint64_t)INT64_MAX / d)
            return GGUF_BAD(r, "%s: tensor \"%s\" has a shape whose product overflows", r->g->what, t->name);
        if (d) count *= d; /* sizes beside a 0 must be countable too */
        if (i == 0) *inner = d;
        t->dim[nd - 1 - i] = (int64_t)d;
    }
    return PF_OK;
}

static pf_status gguf_tensor_read(gguf_reader *r, pfi_weight *t) {
    uint64_t inner = 1, type, begin, blocks = 1;
    PF_TRY(gguf_word(r, "a tensor's name", PFI_GGUF_MAX_NAME, &t->name));
    PF_TRY(gguf_shape(r, t, &inner));
    PF_TRY(gguf_u(r, 4, "a tensor's type", &type));
    PF_TRY(gguf_u(r, 8, "a tensor's offset", &begin));
    const gguf_dtype *k = pfi_gguf_dtype(type);
    if (!k)
        return GGUF_BAD(r, "%s: tensor \"%s\" has the unknown type %llu", r->g->what, t->name,
                        (unsigned long long)type);
    t->file = r->g->what;
    t->dtype = k->name;
    t->pf = k->pf;
    t->begin = (size_t)begin;
    if (inner % k->block)
        return GGUF_BAD(r, "%s: tensor \"%s\" has rows of %llu values, %s needs a multiple of %u", r->g->what, t->name,
                        (unsigned long long)inner, k->name, k->block);
    for (int i = 0; i < t->nd; i++) blocks *= (uint64_t)t->dim[i]; /* no overflow: checked with the shape */
    blocks /= k->block;
    if (blocks > (uint64_t)INT64_MAX / k->bytes)
        return GGUF_BAD(r, "%s: tensor \"%s\" has a size in bytes that overflows", r->g->what, t->name);
    t->bytes = (size_t)(blocks * k->bytes);
    return PF_OK;
}

static pf_status gguf_tensors(gguf_reader *r, uint64_t n) {
    pfi_gguf *g = r->g;
    if (n > (r->size - r->at) / 24) /* no name and no dimensions */
        return GGUF_BAD(r, "%s: the header claims %llu tensors, which %zu bytes cannot hold", g->what,
                        (unsigned long long)n, r->size - r->at);
    g->t = pfi_calloc(g->ctx, (size_t)n + 1, sizeof *g->t);
    g->t_by_name = pfi_calloc(g->ctx, (size_t)n + 1, sizeof *g->t_by_name);
    if (!g->t || !g->t_by_name) return PF_NOMEM;
    for (; g->n < n; g->n++) {
        PF_TRY(gguf_tensor_read(r, &g->t[g->n]));
        g->t_by_name[g->n] = &g->t[g->n];
    }
    qsort(g->t_by_name, g->n, sizeof *g->t_by_name, pfi_gguf_by_name);
    for (size_t i = 1; i < g->n; i++)
        if (strcmp(g->t_by_name[i - 1]->name, g->t_by_name[i]->name) == 0)
            return GGUF_BAD(r, "%s: two tensors are called \"%s\"", g->what, g->t_by_name[i]->name);
    return PF_OK;
}

/* each tensor begins where the one before it ends, padded; the file holds them all */
static pf_status gguf_place(gguf_reader *r) {
    pfi_gguf *g = r->g;
    size_t pad = g->alignment - 1, most = (size_t)INT64_MAX - pad, at = 0, end = 0;
    for (size_t i = 0; i < g->n; i++) {
        const pfi_weight *t = &g->t[i];
        if (t->begin != at)
            return GGUF_BAD(r, "%s: tensor \"%s\" has the offset %zu, expected %zu", g->what, t->name, t->begin, at);
        if (at > most || t->bytes > most - at)
            return GGUF_BAD(r, "%s: the tensors up to \"%s\" have a size in bytes that overflows", g->what, t->name);
        end = at + t->bytes;
        at = (end + pad) & ~pad;
    }
    size_t start = (r->at + pad) & ~pad;
    if (g->n && (start > r->size || end > r->size - start))
        return GGUF_BAD(r, "%s: the tensors need %zu bytes from byte %zu on, the file has %zu: it is cut short",
                        g->what, end, start, r->size);
    for (size_t i = 0; i < g->n; i++) g->t[i].data = r->p + start + g->t[i].begin;
    return PF_OK;
}

static pf_status gguf_check(gguf_reader *r) {
    uint64_t version, tensors, pairs;
    if (r->size < 4 || memcmp(r->p, "GGUF", 4) != 0)
        return GGUF_BAD(r, "%s: this is no GGUF file: it does not begin with \"GGUF\"", r->g->what);
    r->at = 4;
    PF_TRY(gguf_u(r, 4, "the header", &version));
    if (version && (version & 0xffff) == 0)
        return GGUF_BAD(r, "%s: this GGUF file was written for big-endian machines, expected little-endian",
                        r->g->what);
    if (version != 2 && version != 3)
        return GGUF_BAD(r, "%s: this GGUF file has version %llu, expected 2 or 3", r->g->what,
                        (unsigned long long)version);
    PF_TRY(gguf_u(r, 8, "the header", &tensors));
    PF_TRY(gguf_u(r, 8, "the header", &pairs));
    PF_TRY(gguf_pairs(r, pairs));
    PF_TRY(gguf_align(r));
    PF_TRY(gguf_tensors(r, tensors));
    return gguf_place(r);
}

/* ---- opening ---- */

pf_status pfi_gguf_parse(pf_ctx *ctx, const void *data, size_t size, const char *what, void (*release)(void *ud),
                         void *ud, pfi_gguf **out) {
    *out = NULL;
    pfi_gguf *g = pfi_calloc(ctx, 1, sizeof *g);
    if (!g) return PF_NOMEM;
    g->ctx = ctx;
    pfi_hold(ctx);
    g->refs = 1;
    g->what = pfi_strndup(ctx, what, strlen(what));
    pf_status s = g->what ? gguf_check(&(gguf_reader){g, data, size, 0}) : PF_NOMEM;
    if (s != PF_OK) {
        pfi_gguf_release(g);
        return s;
    }
    g->release = release;
    g->ud = ud;
    *out = g;
    return PF_OK;
}

pf_status pfi_gguf_open(pf_ctx *ctx, const char *path, pfi_gguf **out) {
    pfi_map *m;
    *out = NULL;
    PF_TRY(pfi_file_map(ctx, path, &m));
    pf_status s = pfi_gguf_parse(ctx, m->data, m->size, path, pfi_map_release, m, out);
    if (s != PF_OK) pfi_map_release(m);
    return s;
}
