/* safetensors: reading and writing weight files, one or many. Internal.
 * Format: 8 bytes little-endian header length N, N bytes of JSON, then the data without holes or overlaps
 * (huggingface/safetensors, safetensors/src/tensor.rs). */
#ifndef PFI_SAFETENSORS_H
#define PFI_SAFETENSORS_H

#include "file/weights.h"

#define PFI_ST_MAX_TENSORS 1000000
#define PFI_ST_MAX_NAME    4096

typedef pfi_weight pfi_st_tensor;

typedef struct pfi_st pfi_st;

/* Map a file and check all of it. err IO, NOMEM, FORMAT. *out owned by caller. */
pf_status pfi_st_open(pf_ctx *ctx, const char *path, pfi_st **out);
/* The same from memory, which must stay until release(ud) is called (release may be NULL). On failure release is not
 * called. what: the name for messages. */
pf_status pfi_st_parse(pf_ctx *ctx, const void *data, size_t size, const char *what, void (*release)(void *ud),
                       void *ud, pfi_st **out);
pfi_st *pfi_st_retain(pfi_st *st);
void pfi_st_release(void *st); /* a void pointer, to serve as a release callback; NULL is fine */

size_t pfi_st_count(const pfi_st *st);
const pfi_st_tensor *pfi_st_at(const pfi_st *st, size_t i);           /* in the order of the data */
const pfi_st_tensor *pfi_st_find(const pfi_st *st, const char *name); /* NULL if there is none */
const char *pfi_st_meta(const pfi_st *st, const char *key);           /* of __metadata__, NULL if there is none */
const char *pfi_st_name(const pfi_st *st);                            /* the path or name it was opened with */
/* pfi_weight_tensor of one of st's. Owned by caller. */
pf_tensor *pfi_st_tensor_of(pfi_st *st, const pfi_st_tensor *t);

typedef struct pfi_st_entry {
    const char *name;
    pf_dtype dtype;
    int nd;
    const int64_t *dim;
    const void *data; /* contiguous */
} pfi_st_entry;
/* Write atomically what the reference writer writes: widest types first, then by name; header padded to 8 bytes.
 * metadata: key, value, key, value, ..., NULL, in any order, or NULL. Equal tensors give equal bytes.
 * err IO, NOMEM, NAME (empty, equal or reserved names), SHAPE */
pf_status pfi_st_write(pf_ctx *ctx, const char *path, const pfi_st_entry *e, size_t n, const char *const *metadata);
/* the same bytes to a writer that is open; *bytes: how many there will be, for which w may be NULL */
pf_status pfi_st_write_to(pf_ctx *ctx, const pfi_st_entry *e, size_t n, const char *const *metadata, pfi_writer *w,
                          size_t *bytes);
/* the same bytes appended to out */
pf_status pfi_st_write_buf(pf_ctx *ctx, const pfi_st_entry *e, size_t n, const char *const *metadata, pfi_buf *out);

#endif
