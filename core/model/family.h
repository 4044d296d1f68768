/* family: what the files in family/ are made of: reading config.json, naming weights. Internal. */
#ifndef PFI_FAMILY_H
#define PFI_FAMILY_H

#include "model/model.h"

/* One way to name the tensors of a family: what all but the head begin with, and the head. */
typedef struct pfi_names {
    const char *prefix, *head;
} pfi_names;

/* A model family. One file each in family/. */
struct pfi_family {
    const char *model_type; /* of config.json */
    pf_status (*config)(pf_ctx *ctx, json_t *json, const char *file, pfi_config *out);
    pf_status (*slots)(pf_model *m, pfi_slots *s); /* every weight, in the order of the file format */
    const pfi_names *names;                        /* ends with prefix NULL; the first for new models. NULL: usual */
    const char *embedding;                         /* name of the embedding behind the prefix. NULL: usual */
    const char *const *derived; /* ends of the names of tensors that follow from the configuration; NULL ends */
    const char *const *aside;   /* beginnings of the names of tensors that are kept but not used; NULL ends */
};

const pfi_family *pfi_family_find(const char *model_type);
const char *pfi_family_list(char *buf, size_t n); /* "gemma, gpt2, llama, ..." */
const pfi_names *pfi_family_names(const pfi_family *f);

/* ---- config.json ---- */

/* refuse keys of json that are neither in used nor known to leave the mathematics alone; NULL ends used */
pf_status pfi_config_refuse_unknown(pf_ctx *ctx, json_t *json, const char *file, const char *const *used);
/* refuse a key that is there with another value than no, null, or (numbers) usual. err UNSUPPORTED */
pf_status pfi_config_only(pf_ctx *ctx, json_t *json, const char *file, const char *key, double usual);

/* names of the sizes; NULL: there is no such key */
typedef struct pfi_size_keys {
    const char *hidden, *ffn, *layers, *heads, *kv_heads, *head_dim, *context;
} pfi_size_keys;
extern const pfi_size_keys pfi_usual_sizes;
/* Sizes into *c. What is 0 in *c must be in the file; head_dim 0: hidden / heads, kv_heads 0: heads. */
pf_status pfi_config_sizes(pf_ctx *ctx, json_t *json, const char *file, const pfi_size_keys *keys, pfi_config *c);
/* keys, sizes, rope and whatever else most families share; *c holds the defaults of the family */
pf_status pfi_config_usual(pf_ctx *ctx, json_t *json, const char *file, const char *const *more, pfi_config *c);
/* an activation by its Hugging Face name; *out stays if the key is absent. err UNSUPPORTED */
pf_status pfi_config_act(pf_ctx *ctx, json_t *json, const char *file, const char *key, pfi_act *out);
/* a window's size; null: 0, absent: *out stays */
pf_status pfi_config_window(pf_ctx *ctx, json_t *json, const char *file, const char *key, int64_t *out);
/* a number; null: 0, absent: *out stays */
pf_status pfi_config_cap(pf_ctx *ctx, json_t *json, const char *file, const char *key, double *out);
/* scores are divided by the root of this number; scalar: its default */
pf_status pfi_config_scale(pf_ctx *ctx, json_t *json, const char *file, const char *key, double scalar, pfi_config *c);
/* layer_types, if it is there: layers of "sliding_attention" get the flags, others lose them */
pf_status pfi_config_layer_types(pf_ctx *ctx, json_t *json, const char *file, uint8_t flags, pfi_config *c);
/* Qwen's sliding_window, use_sliding_window, max_window_layers (layers from this one on) and layer_types */
pf_status pfi_config_late_windows(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c);
/* attention_bias (q, k, v and o) and mlp_bias */
pf_status pfi_config_biases(pf_ctx *ctx, json_t *json, const char *file, pfi_config *c);

/* Where rotary embeddings begin: base and share of the channels, their keys and (in the place of a value that is not in
 * the file) their defaults. partial_key NULL: all channels turn, another share is refused. */
typedef struct pfi_rope_base {
    const char *theta_key, *partial_key; /* at the top of the file */
    double theta, partial;
    bool yarn_is_longrope; /* old Phi-3 files */
    double original;       /* context before it was stretched, where the top of the file names none; 0: the model's */
} pfi_rope_base;
/* rope_parameters (newer files) or rope_scaling, and what the base names, into *out. err FORMAT, UNSUPPORTED */
pf_status pfi_config_rope(pf_ctx *ctx, json_t *json, const char *file, pfi_rope_base base, pfi_config *c,
                          pfi_rope *out);
/* the same from one object of parameters, or NULL; place: its name */
pf_status pfi_rope_set(pf_ctx *ctx, json_t *json, json_t *params, const char *file, const char *place,
                       pfi_rope_base base, pfi_config *c, pfi_rope *out);

/* ---- weights ---- */

/* begin the names that follow: "<prefix><part>", or with layer >= 0 "<prefix><part>.<layer>." and "blk.<layer>." */
void pfi_slots_at(pfi_slots *s, const char *part, int64_t layer);
/* One more weight [rows, cols], or [rows] with cols 0: "<begin><name>.weight". err NOMEM */
pf_status pfi_slot_weight(pfi_slots *s, pf_tensor **field, const char *name, const char *gguf, int64_t rows,
                          int64_t cols);
/* weight and, with PFI_BIAS, bias of a product. heads: of its rows, if the flags ask for them */
pf_status pfi_slot_linear(pfi_slots *s, pfi_linear *l, const char *name, const char *gguf, int64_t out, int64_t in,
                          unsigned flags, int64_t heads);
pf_status pfi_slot_norm(pfi_slots *s, pfi_norm *n, const char *name, const char *gguf, int64_t channels);
/* the output head, unless it is tied */
pf_status pfi_slot_head(pfi_slots *s);
/* the weights of the Llama shape, with whatever the configuration adds; interleaved: GGUF has q and k so */
pf_status pfi_slots_usual(pf_model *m, pfi_slots *s, bool interleaved);
pf_status pfi_slots_straight(pf_model *m, pfi_slots *s); /* ... not interleaved */

#endif
