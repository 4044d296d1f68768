/* Writing safetensors as the reference writer does. */
#include <stdlib.h>

#include "file/json.h"
#include "file/safetensors.h"
#include "tensor/tensor.h"

/* from the reference's order of types: widest first */
static int st_write_rank(pf_dtype d) {
    switch (d) {
    case PF_F64: return 0;
    case PF_F32: return 1;
    case PF_I32: return 2;
    case PF_BF16: return 3;
    default: return 4;
    }
}

static const char *st_write_type(pf_dtype d) {
    switch (d) {
    case PF_F64: return "F64";
    case PF_F32: return "F32";
    case PF_I32: return "I32";
    case PF_BF16: return "BF16";
    default: return "F16";
    }
}

static int st_write_order(const void *a, const void *b) {
    const pfi_st_entry *x = *(const pfi_st_entry *const *)a, *y = *(const pfi_st_entry *const *)b;
    int dx = st_write_rank(x->dtype), dy = st_write_rank(y->dtype);
    return dx != dy ? dx - dy : strcmp(x->name, y->name);
}

static int st_write_by_name(const void *a, const void *b) {
    return strcmp((*(const pfi_st_entry *const *)a)->name, (*(const pfi_st_entry *const *)b)->name);
}

static size_t st_write_bytes(const pfi_st_entry *e) {
    size_t n = 1;
    for (int i = 0; i < e->nd; i++) n *= (size_t)e->dim[i];
    return pfi_dtype_bytes(e->dtype, n);
}

static int st_write_key_order(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static pf_status st_write_meta(pf_ctx *ctx, pfi_buf *b, const char *const *metadata) {
    size_t n = 0;
    while (metadata[2 * n]) n++;
    const char **pair = pfi_alloc(ctx, 2 * n * sizeof *pair + 1);
    if (!pair) return PF_NOMEM;
    memcpy(pair, metadata, 2 * n * sizeof *pair);
    qsort(pair, n, 2 * sizeof *pair, st_write_key_order);
    pf_status s = pfi_buf_str(ctx, b, "\"__metadata__\":{");
    for (size_t i = 0; i < n && s == PF_OK; i++) {
        if (i) s = pfi_buf_str(ctx, b, ",");
        if (s == PF_OK) s = pfi_json_quote(ctx, b, pair[2 * i], strlen(pair[2 * i]));
        if (s == PF_OK) s = pfi_buf_str(ctx, b, ":");
        if (s == PF_OK) s = pfi_json_quote(ctx, b, pair[2 * i + 1], strlen(pair[2 * i + 1]));
    }
    pfi_free(ctx, pair);
    return s == PF_OK ? pfi_buf_str(ctx, b, "}") : s;
}

static pf_status st_write_entry(pf_ctx *ctx, pfi_buf *b, const pfi_st_entry *e, size_t *at) {
    PF_TRY(pfi_json_quote(ctx, b, e->name, strlen(e->name)));
    PF_TRY(pfi_buf_fmt(ctx, b, ":{\"dtype\":\"%s\",\"shape\":[", st_write_type(e->dtype)));
    for (int i = 0; i < e->nd; i++) PF_TRY(pfi_buf_fmt(ctx, b, "%s%lld", i ? "," : "", (long long)e->dim[i]));
    size_t end = *at + st_write_bytes(e);
    PF_TRY(pfi_buf_fmt(ctx, b, "],\"data_offsets\":[%zu,%zu]}", *at, end));
    *at = end;
    return PF_OK;
}

/* length field and header */
static pf_status st_write_header(pf_ctx *ctx, pfi_buf *b, const pfi_st_entry **e, size_t n,
                                 const char *const *metadata) {
    size_t start = b->len, at = 0;
    PF_TRY(pfi_buf_add(ctx, b, "\0\0\0\0\0\0\0\0{", 9));
    if (metadata) PF_TRY(st_write_meta(ctx, b, metadata));
    for (size_t i = 0; i < n; i++) {
        if (i || metadata) PF_TRY(pfi_buf_str(ctx, b, ","));
        PF_TRY(st_write_entry(ctx, b, e[i], &at));
    }
    PF_TRY(pfi_buf_str(ctx, b, "}"));
    while ((b->len - start) % 8) PF_TRY(pfi_buf_str(ctx, b, " "));
    uint64_t len = b->len - start - 8;
    for (int i = 0; i < 8; i++) b->data[start + (size_t)i] = (char)(unsigned char)(len >> (8 * i));
    return PF_OK;
}

static pf_status st_write_names(pf_ctx *ctx, const pfi_st_entry **e, size_t n) {
    qsort(e, n, sizeof *e, st_write_by_name);
    for (size_t i = 0; i < n; i++) {
        const char *name = e[i]->name;
        if (!*name || strcmp(name, "__metadata__") == 0)
            return pfi_fail(ctx, PF_NAME, "\"%s\" cannot be a tensor's name in a safetensors file", name);
        if (i && strcmp(name, e[i - 1]->name) == 0)
            return pfi_fail(ctx, PF_NAME, "two tensors for one safetensors file are called \"%s\"", name);
        if (pfi_dtype_block(e[i]->dtype) > 1)
            return pfi_fail(ctx, PF_TYPE, "tensor \"%s\" is %s, which a safetensors file cannot hold", name,
                            pfi_dtype_name(e[i]->dtype));
        if (pfi_utf8_check(name, strlen(name)) < strlen(name))
            return pfi_fail(ctx, PF_NAME, "a tensor's name for a safetensors file is not valid UTF-8");
    }
    return PF_OK;
}

/* *sorted: the entries in their order in the file, to be freed by the caller in any case */
static pf_status st_write_prepare(pf_ctx *ctx, const pfi_st_entry *e, size_t n, const char *const *metadata,
                                  const pfi_st_entry ***sorted, pfi_buf *header) {
    *sorted = pfi_alloc(ctx, (n + 1) * sizeof **sorted);
    if (!*sorted) return PF_NOMEM;
    for (size_t i = 0; i < n; i++) (*sorted)[i] = &e[i];
    PF_TRY(st_write_names(ctx, *sorted, n));
    qsort(*sorted, n, sizeof **sorted, st_write_order);
    return st_write_header(ctx, header, *sorted, n, metadata);
}

pf_status pfi_st_write_buf(pf_ctx *ctx, const pfi_st_entry *e, size_t n, const char *const *metadata, pfi_buf *out) {
    const pfi_st_entry **sorted;
    pf_status s = st_write_prepare(ctx, e, n, metadata, &sorted, out);
    for (size_t i = 0; i < n && s == PF_OK; i++) s = pfi_buf_add(ctx, out, sorted[i]->data, st_write_bytes(sorted[i]));
    pfi_free(ctx, sorted);
    return s;
}

pf_status pfi_st_write_to(pf_ctx *ctx, const pfi_st_entry *e, size_t n, const char *const *metadata, pfi_writer *w,
                          size_t *bytes) {
    const pfi_st_entry **sorted;
    pfi_buf header = {0};
    pf_status s = st_write_prepare(ctx, e, n, metadata, &sorted, &header);
    *bytes = header.len;
    for (size_t i = 0; i < n && s == PF_OK; i++) *bytes += st_write_bytes(sorted[i]);
    if (s == PF_OK && w) s = pfi_writer_add(w, header.data, header.len);
    for (size_t i = 0; w && i < n && s == PF_OK; i++) s = pfi_writer_add(w, sorted[i]->data, st_write_bytes(sorted[i]));
    pfi_free(ctx, sorted);
    pfi_buf_free(ctx, &header);
    return s;
}

pf_status pfi_st_write(pf_ctx *ctx, const char *path, const pfi_st_entry *e, size_t n, const char *const *metadata) {
    pfi_writer *w = NULL;
    size_t bytes;
    PF_TRY(pfi_st_write_to(ctx, e, n, metadata, NULL, &bytes)); /* what is wrong is found before a file is opened */
    PF_TRY(pfi_writer_open(ctx, path, &w));
    pf_status s = pfi_st_write_to(ctx, e, n, metadata, w, &bytes);
    if (s == PF_OK) return pfi_writer_commit(w);
    pfi_writer_abandon(w);
    return s;
}
