/* What an open GGUF file is made of: shared by the files that read it. Internal to core/file. */
#ifndef PFI_GGUF_IN_H
#define PFI_GGUF_IN_H

#include "file/gguf.h"

/* one metadata pair: at for a plain number, text and len for a string, array for an array */
typedef struct gguf_pair {
    const char *key;
    pfi_gguf_type type;
    const unsigned char *at;
    const char *text;
    size_t len;
    pfi_gguf_array array;
} gguf_pair;

/* copies of keys, names and strings, many to a block */
typedef struct gguf_block {
    struct gguf_block *next;
    size_t left;
    char *at;
} gguf_block;

struct pfi_gguf {
    pf_ctx *ctx;
    long refs;
    char *what;
    void (*release)(void *ud);
    void *ud;
    gguf_block *blocks;
    gguf_pair *kv;
    const gguf_pair **kv_by_key;
    size_t n_kv;
    pfi_weight *t;
    const pfi_weight **t_by_name;
    size_t n, alignment;
};

/* a type of tensors: block values in bytes bytes */
typedef struct gguf_dtype {
    const char *name; /* NULL: no such type */
    unsigned block, bytes;
    int pf; /* the pf_dtype, or -1 */
} gguf_dtype;

const gguf_dtype *pfi_gguf_dtype(uint64_t number);         /* NULL if there is none */
int pfi_gguf_dtype_number(pf_dtype d);                     /* -1 if the format has none */
size_t pfi_gguf_type_size(pfi_gguf_type t);                /* bytes of a number; 0 for strings and arrays */
const char *pfi_gguf_type_name(pfi_gguf_type t);           /* "a u32" */
uint64_t pfi_gguf_le(const unsigned char *p, size_t n);    /* a little-endian number of n <= 8 bytes */
char *pfi_gguf_keep(pfi_gguf *g, const char *p, size_t n); /* a copy with a final 0, which lives as long as g */
const gguf_pair *pfi_gguf_pair(const pfi_gguf *g, const char *key); /* NULL if there is none */
int pfi_gguf_by_key(const void *a, const void *b);
int pfi_gguf_by_name(const void *a, const void *b);

#endif
