/* weights: a tensor in a file, and all tensors of a model, whatever files hold them. Internal. */
#ifndef PFI_WEIGHTS_H
#define PFI_WEIGHTS_H

#include "file/file.h"

#define PFI_WEIGHT_MAX_DIMS 8
#define PFI_WEIGHT_TYPES    "F32, F64, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K" /* that are read */

/* One tensor of a safetensors or GGUF file. */
typedef struct pfi_weight {
    const char *name, *file; /* file: the path or name it was opened with, for messages */
    const char *dtype;       /* as the format calls it: "F32", "BF16", "I64", "Q4_K", ... */
    int pf;                  /* the pf_dtype, or -1 if we have none for it */
    int nd;
    int64_t dim[PFI_WEIGHT_MAX_DIMS]; /* outermost first */
    const unsigned char *data;        /* in the mapped file; may be aligned to a byte only */
    size_t bytes;
    size_t begin; /* offset in the data part of its file */
} pfi_weight;

/* A tensor of the file's type over the file's memory, which it keeps alive; a copy where the data is not aligned to
 * the type. owner: a hold on the file's memory that this call takes over, in any case; release
 * gives it back. NULL: TYPE if we have no such type, SHAPE above PF_MAX_DIMS, NOMEM. Owned by caller. */
pf_tensor *pfi_weight_tensor(pf_ctx *ctx, const pfi_weight *t, void (*release)(void *ud), void *owner);

typedef struct pfi_gguf pfi_gguf;

/* The weights of a model: a Hugging Face directory with model.safetensors, or the shards that
 * model.safetensors.index.json names; or one .safetensors or .gguf file by its path. Everything is mapped and checked;
 * nothing is read into memory. err IO, FORMAT, UNSUPPORTED (a pickle), NOMEM */
typedef struct pfi_weights pfi_weights;
pf_status pfi_weights_open(pf_ctx *ctx, const char *dir_or_file, pfi_weights **out);
void pfi_weights_close(pfi_weights *w); /* tensors made from it live on; NULL is fine */
size_t pfi_weights_count(const pfi_weights *w);
const pfi_weight *pfi_weights_at(const pfi_weights *w, size_t i); /* in the order of file and data; NULL beyond */
const pfi_weight *pfi_weights_find(const pfi_weights *w, const char *name); /* NULL if there is none */
pf_tensor *pfi_weights_tensor(const pfi_weights *w, const pfi_weight *t);   /* pfi_weight_tensor of one of w's */
const char *pfi_weights_name(const pfi_weights *w);                         /* what it was opened as, for messages */
pfi_gguf *pfi_weights_gguf(const pfi_weights *w); /* borrowed, for its metadata; NULL if this is no GGUF file */

/* Write the weights of a directory or file as safetensors into dir: as type F32, F16 or BF16, or, with PF_DTYPES, as
 * they are. shard_bytes: size of a file at most, more than one with an index; 0: one file. Integers stay integers.
 * err UNSUPPORTED (a type, by tensor), RANGE (a value that the type cannot hold, by tensor), IO, FORMAT, NOMEM */
pf_status pfi_weights_convert(pf_ctx *ctx, const char *from, const char *dir, pf_dtype type, size_t shard_bytes);

#endif
