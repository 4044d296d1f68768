/* gguf: the configuration of a model in the metadata of a GGUF file, and back. Internal.
 * Keys as llama.cpp's convert_hf_to_gguf.py writes them and src/llama-model.cpp reads them. */
#ifndef PFI_MODEL_GGUF_H
#define PFI_MODEL_GGUF_H

#include "file/gguf.h"
#include "model/family.h"

/* A size or number under both its names: ARCHITECTURE.key in GGUF, json in config.json. */
typedef struct pfi_gguf_size {
    const char *key, *json;
    bool is_int;
} pfi_gguf_size;

/* A family as llama.cpp knows it: its name there, and the keys that other families do not have or name otherwise. */
typedef struct pfi_gguf_arch {
    const char *name, *model_type;
    const pfi_gguf_size *keys; /* ends with key NULL */
} pfi_gguf_arch;

/* the first with this model_type, or with this name if model_type is NULL; NULL: there is none */
const pfi_gguf_arch *pfi_gguf_arch_find(const char *name, const char *model_type);

/* The text of a config.json that says what a GGUF file's metadata and tensors do, appended to out. err FORMAT (a key,
 * by name), UNSUPPORTED (architecture or key, by name) */
pf_status pfi_gguf_config(pf_ctx *ctx, const pfi_weights *w, pfi_buf *out);

/* Write a model as a GGUF file, weights as type (vectors as F32). err UNSUPPORTED (what llama.cpp would not compute in
 * the same way, by name), STATE (an adapter), IO, NOMEM */
pf_status pfi_model_save_gguf(const pf_model *m, const char *path, pf_dtype type);

#endif
