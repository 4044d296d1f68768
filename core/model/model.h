/* model: configuration, weights and forward pass of decoder-only transformers. Internal. */
#ifndef PFI_MODEL_H
#define PFI_MODEL_H

#include "file/json.h"
#include "forest/forest.h"

enum { PFI_MAX_EOS = 8 };

typedef struct pfi_config {
    int64_t vocab, hidden, ffn, layers, heads, kv_heads, head_dim, context;
    double norm_eps, rope_theta, init_range;
    bool tied; /* the output head is the embedding */
    int32_t bos, eos[PFI_MAX_EOS];
    int n_eos;
} pfi_config;

/* The place of one weight: its field, its name and its shape. */
typedef struct pfi_slot {
    pf_tensor **field;
    char name[PF_MAX_NAME];
    int nd;
    int64_t dim[2];
} pfi_slot;

typedef struct pfi_slots {
    pf_ctx *ctx;
    pfi_slot *slot;
    int n, cap;
} pfi_slots;

/* A model family: how its config.json is read and its tensors are named. One file each in family/. */
typedef struct pfi_family {
    const char *model_type; /* of config.json */
    pf_status (*config)(pf_ctx *ctx, json_t *json, const char *file, pfi_config *out);
    pf_status (*slots)(pf_model *m, pfi_slots *s); /* every weight, in the order of the file format */
} pfi_family;

const pfi_family *pfi_family_find(const char *model_type);
const char *pfi_family_list(char *buf, size_t n); /* "llama, ..." */

/* Read config.json's text. err FORMAT, UNSUPPORTED */
pf_status pfi_config_read(pf_ctx *ctx, const char *text, size_t len, const char *file, const pfi_family **family,
                          pfi_config *out);
/* refuse keys of json that are neither in used nor known to leave the mathematics alone; NULL ends used */
pf_status pfi_config_refuse_unknown(pf_ctx *ctx, json_t *json, const char *file, const char *const *used);

/* One matrix product, x[T, in] w[out, in]^T (+ b[out]): whatever is multiplied by a weight goes through it. */
typedef struct pfi_lora pfi_lora;       /* adapter.h */
typedef struct pfi_adapter pfi_adapter; /* adapter.h */
typedef struct pfi_linear {
    pf_tensor *w, *b; /* b may be NULL */
    pfi_lora *lora;   /* what an adapter adds; NULL: nothing */
} pfi_linear;

/* One normalisation over channels. */
typedef struct pfi_norm {
    pf_tensor *w;
} pfi_norm;

typedef struct pfi_layer {
    pfi_norm norm_attention, norm_ffn;
    pfi_linear q, k, v, o, gate, up, down;
} pfi_layer;

struct pf_model {
    pf_ctx *ctx;
    long refs;
    pf_dtype dtype;
    const pfi_family *family;
    pfi_config config;
    char *config_text; /* config.json as it was read */
    pf_tokenizer *tokenizer;
    pf_tensor *embedding;
    pfi_norm norm;
    pfi_linear head;       /* w is the embedding again if tied */
    pfi_layer *layer;      /* [config.layers] */
    pfi_slots slots;       /* all of the above once, in the format's order */
    pf_tensor **parameter; /* what stands in slot i, named */
    int n_parameters;      /* so far made */
    pfi_adapter *adapter;  /* NULL: none */
};

/* one more weight [rows, cols], or [rows] with cols 0, called fmt; for pfi_family.slots. err NOMEM */
pf_status pfi_slot_add(pfi_slots *s, pf_tensor **field, int64_t rows, int64_t cols, const char *fmt, ...)
    PF_FORMAT_ATTR(5, 6);
/* the weights of the Llama shape under Llama's names */
pf_status pfi_llama_slots(pf_model *m, pfi_slots *s);

pf_status pfi_model_check_length(const pf_model *m, int64_t tokens, const char *what);

#endif
