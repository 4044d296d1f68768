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

/* A model family: how its config.json is read and its tensors are named. One file each in family/. */
typedef struct pfi_family {
    const char *model_type; /* of config.json */
    pf_status (*config)(pf_ctx *ctx, json_t *json, const char *file, pfi_config *out);
} pfi_family;

const pfi_family *pfi_family_find(const char *model_type);
const char *pfi_family_list(char *buf, size_t n); /* "llama, ..." */

/* Read config.json's text. err FORMAT, UNSUPPORTED */
pf_status pfi_config_read(pf_ctx *ctx, const char *text, size_t len, const char *file, const pfi_family **family,
                          pfi_config *out);
/* refuse keys of json that are neither in used nor known to leave the mathematics alone; NULL ends used */
pf_status pfi_config_refuse_unknown(pf_ctx *ctx, json_t *json, const char *file, const char *const *used);

typedef struct pfi_layer {
    pf_tensor *norm_attention, *q, *k, *v, *o, *norm_ffn, *gate, *up, *down;
} pfi_layer;

struct pf_model {
    pf_ctx *ctx;
    long refs;
    pf_dtype dtype;
    const pfi_family *family;
    pfi_config config;
    char *config_text; /* config.json as it was read */
    pf_tokenizer *tokenizer;
    pf_tensor *embedding, *norm, *head; /* head: the embedding again if tied */
    pfi_layer *layer;                   /* [config.layers] */
    pf_tensor **parameter;              /* all of the above once, named, in the format's order */
    int n_parameters;
};

pf_status pfi_model_check_length(const pf_model *m, int64_t tokens, const char *what);

/* hidden states [nodes, C] after the last norm, for nodes of a forest (token, position [nodes]; start, parent). */
pf_tensor *pfi_model_hidden(pf_model *m, pf_tensor *token, pf_tensor *position, pf_tensor *start, pf_tensor *parent);

#endif
