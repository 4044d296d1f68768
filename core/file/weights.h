/* weights: a tensor in a file, and all tensors of a model, whatever files hold them. Internal. */
#ifndef PFI_WEIGHTS_H
#define PFI_WEIGHTS_H

#include "file/file.h"

#define PFI_WEIGHT_MAX_DIMS 8

/* One tensor of a safetensors or GGUF file. */
typedef struct pfi_weight {
    const char *name;
    const char *dtype; /* as the format calls it: "F32", "BF16", "I64", "Q4_K", ... */
    int pf;            /* the pf_dtype, or -1 if we have none for it */
    int nd;
    int64_t dim[PFI_WEIGHT_MAX_DIMS]; /* outermost first */
    const unsigned char *data;        /* in the mapped file; may be aligned to a byte only */
    size_t bytes;
    size_t begin; /* offset in the data part of its file */
} pfi_weight;

#endif
