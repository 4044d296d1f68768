/* Writing GGUF: metadata and descriptions gather in memory, data streams to the file. */
#include "base/half.h"
#include "file/gguf_in.h"
#include "kernel/kernel.h"
#include "tensor/tensor.h"

enum { GGUF_ALIGNMENT = 32, GGUF_CHUNK = 8192 };

typedef struct gguf_out {
    char *name;
    pf_dtype type;
    size_t count, bytes; /* values, stored bytes */
} gguf_out;

struct pfi_gguf_writer {
    pf_ctx *ctx;
    pfi_writer *file;
    pfi_buf pairs, infos;
    char **keys;
    size_t n_keys, cap_keys;
    gguf_out *t;
    size_t n, cap;
    uint64_t at;           /* offset of the next tensor */
    pfi_gguf_type element; /* of the array that is being filled */
    size_t left;           /* elements that it lacks */
    bool started;          /* data has begun: the header is written */
    size_t turn, done;     /* the tensor whose data comes, and its bytes so far */
};

/* ---- life ---- */

pf_status pfi_gguf_writer_open(pf_ctx *ctx, const char *path, pfi_gguf_writer **out) {
    *out = NULL;
    pfi_gguf_writer *w = pfi_calloc(ctx, 1, sizeof *w);
    if (!w) return PF_NOMEM;
    w->ctx = ctx;
    pf_status s = pfi_writer_open(ctx, path, &w->file);
    if (s == PF_OK)
        *out = w;
    else
        pfi_gguf_writer_abandon(w);
    return s;
}

void pfi_gguf_writer_abandon(pfi_gguf_writer *w) {
    if (!w) return;
    pf_ctx *ctx = w->ctx;
    pfi_writer_abandon(w->file);
    pfi_buf_free(ctx, &w->pairs);
    pfi_buf_free(ctx, &w->infos);
    for (size_t i = 0; i < w->n_keys; i++) pfi_free(ctx, w->keys[i]);
    for (size_t i = 0; i < w->n; i++) pfi_free(ctx, w->t[i].name);
    pfi_free(ctx, w->keys);
    pfi_free(ctx, w->t);
    pfi_free(ctx, w);
}

/* ---- bytes ---- */

static pf_status gguf_add_le(pfi_gguf_writer *w, pfi_buf *b, uint64_t v, size_t n) {
    unsigned char p[8];
    for (size_t i = 0; i < n; i++) p[i] = (unsigned char)(v >> (8 * i));
    return pfi_buf_add(w->ctx, b, p, n);
}

static pf_status gguf_add_text(pfi_gguf_writer *w, pfi_buf *b, const char *text, size_t len) {
    PF_TRY(gguf_add_le(w, b, len, 8));
    return pfi_buf_add(w->ctx, b, text, len);
}

/* room for one more in a list of things */
static pf_status gguf_grow(pfi_gguf_writer *w, void **list, size_t n, size_t *cap, size_t size) {
    if (n < *cap) return PF_OK;
    void *p = pfi_realloc(w->ctx, *list, (2 * *cap + 16) * size);
    if (!p) return PF_NOMEM;
    *list = p;
    *cap = 2 * *cap + 16;
    return PF_OK;
}

/* ---- metadata ---- */

static pf_status gguf_key(pfi_gguf_writer *w, const char *key) {
    size_t n = strlen(key);
    if (w->n || w->started)
        return pfi_fail(w->ctx, PF_STATE, "a GGUF file's metadata comes before its tensors, \"%s\" came after", key);
    if (n == 0 || n > PFI_GGUF_MAX_KEY)
        return pfi_fail(w->ctx, PF_NAME, "a GGUF key has 1 to %d bytes, got %zu", PFI_GGUF_MAX_KEY, n);
    for (size_t i = 0; i < w->n_keys; i++)
        if (strcmp(w->keys[i], key) == 0) return pfi_fail(w->ctx, PF_NAME, "the GGUF key \"%s\" is there already", key);
    void *list = w->keys;
    PF_TRY(gguf_grow(w, &list, w->n_keys, &w->cap_keys, sizeof *w->keys));
    w->keys = list;
    w->keys[w->n_keys] = pfi_strndup(w->ctx, key, n);
    if (!w->keys[w->n_keys]) return PF_NOMEM;
    w->n_keys++;
    return gguf_add_text(w, &w->pairs, key, n);
}

/* before a value: its key and type; or, for an element of an array, nothing. err STATE */
static pf_status gguf_before(pfi_gguf_writer *w, const char *key, pfi_gguf_type type) {
    if (key && w->left)
        return pfi_fail(w->ctx, PF_STATE, "a GGUF array lacks %zu elements, the key \"%s\" came instead", w->left, key);
    if (key) {
        PF_TRY(gguf_key(w, key));
        return gguf_add_le(w, &w->pairs, (uint64_t)type, 4);
    }
    if (w->left == 0 || w->element != type)
        return pfi_fail(w->ctx, PF_STATE, "a GGUF array %s, and an element came that is %s",
                        w->left ? "of another type is open" : "is not open", pfi_gguf_type_name(type));
    w->left--;
    return PF_OK;
}

pf_status pfi_gguf_put_int(pfi_gguf_writer *w, const char *key, pfi_gguf_type type, int64_t x) {
    size_t n = pfi_gguf_type_size(type);
    bool is_signed = type == PFI_GGUF_I8 || type == PFI_GGUF_I16 || type == PFI_GGUF_I32 || type == PFI_GGUF_I64;
    if (!is_signed && type != PFI_GGUF_U8 && type != PFI_GGUF_U16 && type != PFI_GGUF_U32 && type != PFI_GGUF_U64)
        return pfi_fail(w->ctx, PF_TYPE, "an integer cannot be stored as %s", pfi_gguf_type_name(type));
    int64_t top = n == 8 ? INT64_MAX : ((int64_t)1 << (8 * n - (is_signed ? 1 : 0))) - 1;
    if (x > top || x < (is_signed ? -top - 1 : 0))
        return pfi_fail(w->ctx, PF_RANGE, "%lld does not fit %s%s%s", (long long)x, pfi_gguf_type_name(type),
                        key ? " for the key " : "", key ? key : "");
    PF_TRY(gguf_before(w, key, type));
    return gguf_add_le(w, &w->pairs, (uint64_t)x, n);
}

pf_status pfi_gguf_put_number(pfi_gguf_writer *w, const char *key, pfi_gguf_type type, double x) {
    float f = (float)x;
    uint64_t bits;
    memcpy(&bits, &x, 8);
    if (type != PFI_GGUF_F32 && type != PFI_GGUF_F64)
        return pfi_fail(w->ctx, PF_TYPE, "a number cannot be stored as %s", pfi_gguf_type_name(type));
    PF_TRY(gguf_before(w, key, type));
    return gguf_add_le(w, &w->pairs, type == PFI_GGUF_F32 ? pfi_f32_bits(f) : bits, pfi_gguf_type_size(type));
}

pf_status pfi_gguf_put_bool(pfi_gguf_writer *w, const char *key, bool x) {
    PF_TRY(gguf_before(w, key, PFI_GGUF_BOOL));
    return gguf_add_le(w, &w->pairs, x, 1);
}

pf_status pfi_gguf_put_string(pfi_gguf_writer *w, const char *key, const char *text, size_t len) {
    PF_TRY(gguf_before(w, key, PFI_GGUF_STRING));
    return gguf_add_text(w, &w->pairs, text, len);
}

pf_status pfi_gguf_put_array(pfi_gguf_writer *w, const char *key, pfi_gguf_type type, size_t n) {
    if (type >= PFI_GGUF_TYPES || type == PFI_GGUF_ARRAY)
        return pfi_fail(w->ctx, PF_TYPE, "the GGUF key \"%s\" cannot be an array of arrays", key);
    PF_TRY(gguf_before(w, key, PFI_GGUF_ARRAY));
    PF_TRY(gguf_add_le(w, &w->pairs, (uint64_t)type, 4));
    w->element = type;
    w->left = n;
    return gguf_add_le(w, &w->pairs, n, 8);
}

/* ---- tensors ---- */

static pf_status gguf_out_check(pfi_gguf_writer *w, const char *name, pf_dtype type, int nd, const int64_t *dim) {
    if (w->started || w->left)
        return pfi_fail(w->ctx, PF_STATE, "tensor \"%s\" is described too %s", name, w->started ? "late" : "early");
    if (!*name || strlen(name) > PFI_GGUF_MAX_NAME)
        return pfi_fail(w->ctx, PF_NAME, "a tensor's name in a GGUF file has 1 to %d bytes, \"%s\" has %zu",
                        PFI_GGUF_MAX_NAME, name, strlen(name));
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->t[i].name, name) == 0)
            return pfi_fail(w->ctx, PF_NAME, "two tensors for one GGUF file are called \"%s\"", name);
    if ((unsigned)type >= PF_DTYPES) return pfi_fail(w->ctx, PF_TYPE, "tensor \"%s\" has no type", name);
    if (nd < 1 || nd > PFI_GGUF_MAX_DIMS || dim[nd - 1] % pfi_dtype_block(type))
        return pfi_fail(
            w->ctx, PF_SHAPE,
            "tensor \"%s\" of shape %s cannot be stored as %s: 1 to %d dimensions, the last a multiple of %d", name,
            pfi_shape_text((char[96]){0}, 96, PFI_MIN(nd, PFI_GGUF_MAX_DIMS), dim), pfi_dtype_name(type),
            PFI_GGUF_MAX_DIMS, (int)pfi_dtype_block(type));
    return PF_OK;
}

pf_status pfi_gguf_put_tensor(pfi_gguf_writer *w, const char *name, pf_dtype type, int nd, const int64_t *dim) {
    PF_TRY(gguf_out_check(w, name, type, nd, dim));
    size_t count = 1;
    for (int i = 0; i < nd; i++) {
        if (dim[i] < 0 || (dim[i] && count > (size_t)INT64_MAX / 8 / (size_t)dim[i]))
            return pfi_fail(w->ctx, PF_SHAPE, "tensor \"%s\" has the size %lld, which is negative or too large", name,
                            (long long)dim[i]);
        count *= (size_t)dim[i];
    }
    void *list = w->t;
    PF_TRY(gguf_grow(w, &list, w->n, &w->cap, sizeof *w->t));
    w->t = list;
    PF_TRY(gguf_add_text(w, &w->infos, name, strlen(name)));
    PF_TRY(gguf_add_le(w, &w->infos, (uint64_t)nd, 4));
    for (int i = nd - 1; i >= 0; i--) PF_TRY(gguf_add_le(w, &w->infos, (uint64_t)dim[i], 8));
    PF_TRY(gguf_add_le(w, &w->infos, (uint64_t)pfi_gguf_dtype_number(type), 4));
    PF_TRY(gguf_add_le(w, &w->infos, w->at, 8));
    gguf_out *t = &w->t[w->n];
    *t = (gguf_out){pfi_strndup(w->ctx, name, strlen(name)), type, count, pfi_dtype_bytes(type, count)};
    if (!t->name) return PF_NOMEM;
    w->n++;
    w->at = (w->at + t->bytes + GGUF_ALIGNMENT - 1) / GGUF_ALIGNMENT * GGUF_ALIGNMENT;
    return PF_OK;
}

static pf_status gguf_pad(pfi_gguf_writer *w, size_t bytes) {
    static const char zero[GGUF_ALIGNMENT];
    size_t over = bytes % GGUF_ALIGNMENT;
    return over ? pfi_writer_add(w->file, zero, GGUF_ALIGNMENT - over) : PF_OK;
}

/* everything before the data, once */
static pf_status gguf_start(pfi_gguf_writer *w) {
    if (w->started) return PF_OK;
    if (w->left) return pfi_fail(w->ctx, PF_STATE, "a GGUF array lacks %zu elements", w->left);
    pfi_buf head = {0};
    pf_status s = pfi_buf_add(w->ctx, &head, "GGUF", 4);
    if (s == PF_OK) s = gguf_add_le(w, &head, 3, 4);
    if (s == PF_OK) s = gguf_add_le(w, &head, w->n, 8);
    if (s == PF_OK) s = gguf_add_le(w, &head, w->n_keys, 8);
    if (s == PF_OK) s = pfi_writer_add(w->file, head.data, head.len);
    if (s == PF_OK) s = pfi_writer_add(w->file, w->pairs.data, w->pairs.len);
    if (s == PF_OK) s = pfi_writer_add(w->file, w->infos.data, w->infos.len);
    if (s == PF_OK) s = gguf_pad(w, head.len + w->pairs.len + w->infos.len);
    pfi_buf_free(w->ctx, &head);
    w->started = true;
    return s;
}

/* tensors that need no data, or have all of theirs, are done */
static pf_status gguf_next(pfi_gguf_writer *w) {
    while (w->turn < w->n && w->done == w->t[w->turn].bytes) {
        PF_TRY(gguf_pad(w, w->done));
        w->turn++;
        w->done = 0;
    }
    return PF_OK;
}

/* the tensor whose turn it is has room for n values, or stored bytes */
static pf_status gguf_turn(pfi_gguf_writer *w, size_t bytes, const gguf_out **out) {
    PF_TRY(gguf_start(w));
    PF_TRY(gguf_next(w));
    if (w->turn == w->n) return pfi_fail(w->ctx, PF_RANGE, "more data came than the tensors of this GGUF file have");
    *out = &w->t[w->turn];
    if (bytes > (*out)->bytes - w->done)
        return pfi_fail(w->ctx, PF_RANGE, "tensor \"%s\" has room for %zu more bytes, %zu came", (*out)->name,
                        (*out)->bytes - w->done, bytes);
    return PF_OK;
}

/* Q8_0 has no place for what is not finite */
static pf_status gguf_finite(pfi_gguf_writer *w, const gguf_out *t, const float *x, size_t n) {
    for (size_t i = 0; t->type == PF_Q8_0 && i < n; i++)
        if (!(x[i] - x[i] == 0))
            return pfi_fail(w->ctx, PF_NONFINITE,
                            "tensor \"%s\" holds a value that is not finite: q8_0 cannot store it", t->name);
    return PF_OK;
}

pf_status pfi_gguf_put_values(pfi_gguf_writer *w, const float *x, size_t n) {
    const gguf_out *t = NULL;
    PF_TRY(gguf_turn(w, 0, &t));
    if (!pfk_narrows(t->type))
        return pfi_fail(w->ctx, PF_TYPE,
                        "tensor \"%s\": values are not narrowed to %s; float32, float16, bfloat16 and "
                        "q8_0 are written",
                        t->name, pfi_dtype_name(t->type));
    if (n % (size_t)pfi_dtype_block(t->type))
        return pfi_fail(w->ctx, PF_RANGE, "tensor \"%s\" takes multiples of %d values, %zu came", t->name,
                        (int)pfi_dtype_block(t->type), n);
    PF_TRY(gguf_turn(w, pfi_dtype_bytes(t->type, n), &t));
    unsigned char p[GGUF_CHUNK * 4];
    for (size_t k; n; n -= k, x += k) {
        k = PFI_MIN(n, (size_t)GGUF_CHUNK);
        PF_TRY(gguf_finite(w, t, x, k));
        pfk_narrow(t->type, p, x, (int64_t)k);
        PF_TRY(pfi_writer_add(w->file, p, pfi_dtype_bytes(t->type, k)));
        w->done += pfi_dtype_bytes(t->type, k);
    }
    return PF_OK;
}

pf_status pfi_gguf_put_stored(pfi_gguf_writer *w, const void *p, size_t bytes) {
    const gguf_out *t = NULL;
    PF_TRY(gguf_turn(w, bytes, &t));
    if (w->done || bytes != t->bytes)
        return pfi_fail(w->ctx, PF_RANGE, "tensor \"%s\" is stored in %zu bytes, %zu came", t->name, t->bytes, bytes);
    PF_TRY(pfi_writer_add(w->file, p, bytes));
    w->done = bytes;
    return PF_OK;
}

pf_status pfi_gguf_writer_commit(pfi_gguf_writer *w) {
    pf_status s = gguf_start(w);
    if (s == PF_OK) s = gguf_next(w);
    if (s == PF_OK && w->turn < w->n)
        s = pfi_fail(w->ctx, PF_STATE, "tensor \"%s\" lacks %zu bytes of its data", w->t[w->turn].name,
                     w->t[w->turn].bytes - w->done);
    if (s == PF_OK) {
        s = pfi_writer_commit(w->file);
        w->file = NULL;
    }
    pfi_gguf_writer_abandon(w);
    return s;
}
