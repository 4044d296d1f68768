/* GGUF: reading and writing weight files of llama.cpp. Internal.
 * Format: "GGUF", version, counts, metadata pairs, tensor descriptions, padding, data (ggml-org/ggml, docs/gguf.md and
 * src/gguf.cpp). Versions 2 and 3, little-endian. */
#ifndef PFI_GGUF_H
#define PFI_GGUF_H

#include "file/weights.h"

#define PFI_GGUF_MAX_DIMS  4
#define PFI_GGUF_MAX_NAME  63                  /* bytes of a tensor's name */
#define PFI_GGUF_MAX_KEY   65535               /* bytes of a key */
#define PFI_GGUF_MAX_COUNT ((uint64_t)1 << 30) /* bytes of a string, elements of an array */

/* type of a metadata value */
typedef enum pfi_gguf_type {
    PFI_GGUF_U8,
    PFI_GGUF_I8,
    PFI_GGUF_U16,
    PFI_GGUF_I16,
    PFI_GGUF_U32,
    PFI_GGUF_I32,
    PFI_GGUF_F32,
    PFI_GGUF_BOOL,
    PFI_GGUF_STRING,
    PFI_GGUF_ARRAY,
    PFI_GGUF_U64,
    PFI_GGUF_I64,
    PFI_GGUF_F64,
    PFI_GGUF_TYPES
} pfi_gguf_type;

/* Map a file and check all of it. err IO, NOMEM, FORMAT (what is wrong, where). *out owned by caller. */
pf_status pfi_gguf_open(pf_ctx *ctx, const char *path, pfi_gguf **out);
/* The same from memory, which must stay until release(ud) is called (release may be NULL). On failure release is not
 * called. what: the name for messages. */
pf_status pfi_gguf_parse(pf_ctx *ctx, const void *data, size_t size, const char *what, void (*release)(void *ud),
                         void *ud, pfi_gguf **out);
pfi_gguf *pfi_gguf_retain(pfi_gguf *g);
void pfi_gguf_release(void *g);               /* a void pointer, to serve as a release callback; NULL is fine */
const char *pfi_gguf_name(const pfi_gguf *g); /* the path or name it was opened with */
bool pfi_gguf_is(const char *path);           /* does the file's name end in .gguf */
size_t pfi_gguf_alignment(const pfi_gguf *g); /* of the data, in bytes */
size_t pfi_gguf_count(const pfi_gguf *g);     /* tensors */
const pfi_weight *pfi_gguf_at(const pfi_gguf *g, size_t i);           /* in the order of the data */
const pfi_weight *pfi_gguf_find(const pfi_gguf *g, const char *name); /* NULL if there is none */
pf_tensor *pfi_gguf_tensor_of(pfi_gguf *g, const pfi_weight *t);      /* pfi_weight_tensor of one of g's */

/* ---- metadata ---- */

size_t pfi_gguf_keys(const pfi_gguf *g);
/* key i in the order of the file; *type: its type */
const char *pfi_gguf_key(const pfi_gguf *g, size_t i, pfi_gguf_type *type);
bool pfi_gguf_has(const pfi_gguf *g, const char *key);

/* Typed values. An absent key is an error (FORMAT) that names file and key; so is another type or a value that does not
 * fit, with what was found and what was expected. The _opt forms leave *out alone if the key is absent.
 * int takes every integer type, number every integer and float type. */
pf_status pfi_gguf_int(const pfi_gguf *g, const char *key, int64_t *out);
pf_status pfi_gguf_number(const pfi_gguf *g, const char *key, double *out);
pf_status pfi_gguf_bool(const pfi_gguf *g, const char *key, bool *out);
/* *out: len bytes and a 0 behind them, borrowed from g; a string that holds a 0 is refused if len is NULL */
pf_status pfi_gguf_string(const pfi_gguf *g, const char *key, const char **out, size_t *len);
pf_status pfi_gguf_int_opt(const pfi_gguf *g, const char *key, int64_t *out);
pf_status pfi_gguf_number_opt(const pfi_gguf *g, const char *key, double *out);
pf_status pfi_gguf_bool_opt(const pfi_gguf *g, const char *key, bool *out);
pf_status pfi_gguf_string_opt(const pfi_gguf *g, const char *key, const char **out, size_t *len);

/* An array, to be walked from its first element to its last; all of it was checked when the file was opened. */
typedef struct pfi_gguf_array {
    pfi_gguf_type type; /* of the elements */
    size_t n;           /* elements that are left: n walks are good */
    const unsigned char *at;
} pfi_gguf_array;
/* element PFI_GGUF_STRING takes strings, PFI_GGUF_I64 every integer type and bool, PFI_GGUF_F64 every number.
 * err FORMAT (absent, no array, other elements) */
pf_status pfi_gguf_list(const pfi_gguf *g, const char *key, pfi_gguf_type element, pfi_gguf_array *out);
/* the same; an absent key gives an empty array */
pf_status pfi_gguf_list_opt(const pfi_gguf *g, const char *key, pfi_gguf_type element, pfi_gguf_array *out);
/* the next element; the array must have one left and be of the kind. A string is borrowed from g and has no final 0. */
const char *pfi_gguf_next_string(pfi_gguf_array *a, size_t *len);
int64_t pfi_gguf_next_int(pfi_gguf_array *a);
double pfi_gguf_next_number(pfi_gguf_array *a);

/* ---- writing ---- */

/* A file is written in one go: metadata, then descriptions of all tensors, then their data in the same order; commit
 * puts it in place of an older one, abandon leaves nothing behind. Version 3; the alignment is 32. Every call may fail
 * with NOMEM, IO, or STATE (out of order); a key or name that is empty, too long or there already: NAME. */
typedef struct pfi_gguf_writer pfi_gguf_writer;
pf_status pfi_gguf_writer_open(pf_ctx *ctx, const char *path, pfi_gguf_writer **out);
pf_status pfi_gguf_writer_commit(pfi_gguf_writer *w); /* frees w, also on failure. err STATE (data is missing) */
void pfi_gguf_writer_abandon(pfi_gguf_writer *w);     /* frees w; NULL is fine */

/* type: one of the integer types, or a float type for number. err RANGE (x does not fit), TYPE */
pf_status pfi_gguf_put_int(pfi_gguf_writer *w, const char *key, pfi_gguf_type type, int64_t x);
pf_status pfi_gguf_put_number(pfi_gguf_writer *w, const char *key, pfi_gguf_type type, double x);
pf_status pfi_gguf_put_bool(pfi_gguf_writer *w, const char *key, bool x);
pf_status pfi_gguf_put_string(pfi_gguf_writer *w, const char *key, const char *text, size_t len);
/* an array of n elements of a type, which the calls of put_ without a key (NULL) that follow fill */
pf_status pfi_gguf_put_array(pfi_gguf_writer *w, const char *key, pfi_gguf_type type, size_t n);

/* one more tensor; dim outermost first. err SHAPE (rows are no multiple of the block; dimensions), TYPE */
pf_status pfi_gguf_put_tensor(pfi_gguf_writer *w, const char *name, pf_dtype type, int nd, const int64_t *dim);
/* n more values of the tensor whose turn it is, narrowed to its type: F32, F16, BF16 or Q8_0; n: a multiple of the
 * block. err NONFINITE (Q8_0), TYPE (a type that is only read), RANGE (more than the tensor has) */
pf_status pfi_gguf_put_values(pfi_gguf_writer *w, const float *x, size_t n);
/* all of the tensor whose turn it is, as stored */
pf_status pfi_gguf_put_stored(pfi_gguf_writer *w, const void *p, size_t bytes);

#endif
