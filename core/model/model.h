/* model: configuration, weights and forward pass of decoder-only transformers. Internal. */
#ifndef PFI_MODEL_H
#define PFI_MODEL_H

#include "file/json.h"
#include "forest/forest.h"

enum { PFI_MAX_EOS = 8, PFI_MAX_LAYERS = 1024, PFI_MAX_ROTARY = 512 };

/* Rotary position embedding, scaling and all: pair j of a head turns by position * freq[j]. */
typedef struct pfi_rope {
    int64_t channels; /* of a head that turn, from the first on; 0: none */
    double theta;     /* base of the frequencies before scaling */
    double factor;    /* on cosines and sines */
    int64_t original; /* above 0 (longrope): sequences of more tokens than this turn by freq[1], others by freq[0] */
    double freq[2][PFI_MAX_ROTARY / 2];
} pfi_rope;

typedef enum pfi_act { PFI_SILU, PFI_GELU_TANH, PFI_GELU_EXACT } pfi_act;

/* what is particular about a layer */
enum {
    PFI_LAYER_WINDOW = 1, /* a token sees config.window tokens, itself included */
    PFI_LAYER_LOCAL = 2,  /* turns by rope[1] */
    PFI_LAYER_STILL = 4   /* does not turn at all */
};

typedef struct pfi_config {
    int64_t vocab, hidden, ffn, layers, heads, kv_heads, head_dim, context, window;
    double norm_eps, init_range;
    double norm_offset;     /* added to the weights of norms */
    double embedding_scale; /* on embeddings */
    double attention_scale; /* on scores; 0: 1 / sqrt(head_dim) */
    double attention_cap;   /* scores and logits held softly within +- a cap; 0: none */
    double head_cap;
    pfi_act act;
    bool tied;      /* the output head is the embedding */
    bool centred;   /* norms take the mean away and have a bias: layer_norm, not rms_norm */
    bool parallel;  /* attention and feed-forward both read the layer's input */
    bool gated;     /* feed-forward: act(gate) up, not act(up) */
    bool fused;     /* q, k and v are one product, gate and up too */
    bool per_head;  /* ... whose rows are q, k, v of head 1, then of head 2, ... */
    bool qk_norm;   /* q and k are normalised a head */
    bool out_norms; /* what attention and feed-forward give is normalised before it is added */
    bool learned;   /* positions have embeddings */
    bool qkv_bias, o_bias, ffn_bias;
    pfi_rope rope[2];
    uint8_t layer[PFI_MAX_LAYERS]; /* PFI_LAYER_* */
    int32_t bos, eos[PFI_MAX_EOS];
    int n_eos;
} pfi_config;

/* how a weight lies in files */
enum {
    PFI_BIAS = 1,        /* of a linear or norm: there is one */
    PFI_TURNED = 2,      /* safetensors hold it [in, out] */
    PFI_INTERLEAVED = 4, /* GGUF holds the rows j and j + D/2 of a head side by side */
    PFI_PER_HEAD = 8     /* the rows are [heads, 3, D]; GGUF holds them [3, heads, D] */
};

/* The place of one weight: its field, its names and its shape. */
typedef struct pfi_slot {
    pf_tensor **field;
    char name[PF_MAX_NAME], gguf[64];
    int nd;
    int64_t dim[2];
    unsigned flags;
    int64_t heads; /* of rows, for PFI_INTERLEAVED and PFI_PER_HEAD */
    double fill;   /* value in a new model; NaN: random */
    double offset; /* GGUF holds it with this added */
} pfi_slot;

typedef struct pfi_slots {
    pf_model *m;
    pfi_slot *slot;
    int n, cap;
    char at[64], gguf_at[32]; /* how the names that are added begin */
} pfi_slots;

typedef struct pfi_family pfi_family; /* family.h */

/* Read config.json's text. err FORMAT, UNSUPPORTED */
pf_status pfi_config_read(pf_ctx *ctx, const char *text, size_t len, const char *file, const pfi_family **family,
                          pfi_config *out);
/* put the eos_token_id of json, if it has one, in the place of those that out has. err FORMAT, UNSUPPORTED */
pf_status pfi_config_eos(pf_ctx *ctx, json_t *json, const char *file, pfi_config *out);

/* One matrix product, x[T, in] w[out, in]^T (+ b[out]): whatever is multiplied by a weight goes through it. */
typedef struct pfi_lora pfi_lora;       /* adapter.h */
typedef struct pfi_adapter pfi_adapter; /* adapter.h */
typedef struct pfi_linear {
    pf_tensor *w, *b; /* b may be NULL */
    pfi_lora *lora;   /* what an adapter adds; NULL: nothing */
} pfi_linear;

/* One normalisation over channels. */
typedef struct pfi_norm {
    pf_tensor *w, *b; /* w NULL: none here */
} pfi_norm;

/* norm_attention and norm_ffn read the residual stream, the *_out ones what is added to it. Of q, k, v and qkv, and of
 * gate, up and gate_up, those are there that the family has. */
typedef struct pfi_layer {
    pfi_norm norm_attention, norm_attention_out, norm_ffn, norm_ffn_out, q_norm, k_norm;
    pfi_linear q, k, v, qkv, o, gate, up, gate_up, down;
} pfi_layer;

struct pf_model {
    pf_ctx *ctx;
    long refs;
    pf_dtype dtype; /* what it computes in */
    pf_dtype keep;  /* what matrices are held in: dtype, or as pf_model_load was told */
    const pfi_family *family;
    int names; /* which of the family's ways to name tensors */
    pfi_config config;
    char *config_text; /* config.json as it was read */
    char *dir;         /* where it was loaded from, or NULL */
    pf_tokenizer *tokenizer;
    pf_tensor *embedding, *position; /* position: NULL unless positions have embeddings */
    pfi_norm norm;
    pfi_linear head;       /* w is the embedding again if tied */
    pfi_layer *layer;      /* [config.layers] */
    pfi_slots slots;       /* all of the above once, in the format's order */
    pf_tensor **parameter; /* what stands in slot i, named */
    int n_parameters;      /* so far made */
    pfi_adapter *adapter;  /* NULL: none */
    /* set by a trainer: the first of the layers, this many, are computed again in backward; a batch of more nodes than
     * part (0: any) is computed in parts */
    int64_t recompute, part;
    pf_tensor *freq[2][2]; /* of config.rope: which, and for short or long sequences; NULL if not used */
    pf_tensor *scale;      /* config.embedding_scale as a tensor */
    pf_tensor **aside;     /* tensors of the files that take no part but are saved again, named */
    int n_aside;
};

/* In this order: a model without weights from the text of a config.json, err as pfi_config_read; the places of the
 * weights and constants, once m->names is chosen; the tensor of every slot, which make gives: an owned leaf, NULL
 * on failure. */
pf_status pfi_model_shell(pf_ctx *ctx, const char *text, size_t len, const char *file, pf_dtype dtype, pf_model **out);
pf_status pfi_model_prepare(pf_model *m);
typedef pf_tensor *(*pfi_make)(pf_model *m, const pfi_slot *slot, void *ud);
pf_status pfi_model_fill(pf_model *m, pfi_make make, void *ud);
/* hand m over if s is PF_OK, else free it */
pf_status pfi_model_done(pf_status s, pf_model *m, pf_model **out);
/* where element [row, col] of a weight lies in a file, counted in elements */
int64_t pfi_slot_place(const pfi_slot *s, bool gguf, int64_t row, int64_t col);

/* keep.c: can weights be held so? err TYPE */
pf_status pfi_keep_check(pf_ctx *ctx, pf_dtype keep);
/* The matrix src[rows, cols] of a file held as keep (PF_STORED: as it is): src itself where it is that already, a copy
 * otherwise. row: which row of src stands in each row of the result, NULL if all stay. Owned by caller. NULL: NOMEM,
 * SHAPE (rows are no multiple of the block), NONFINITE */
pf_tensor *pfi_keep(pf_tensor *src, pf_dtype keep, const int64_t *row);

pf_status pfi_model_check_length(const pf_model *m, int64_t tokens, const char *what);
/* logits after the cap that the model has on them, if it has one; takes logits over. Owned by caller. */
pf_tensor *pfi_model_cap(const pf_model *m, pf_tensor *logits);
/* Do sequences of shortest to longest tokens turn by the frequencies for long ones? All must agree. err RANGE */
pf_status pfi_model_is_long(const pf_model *m, int64_t shortest, int64_t longest, const char *what, bool *is_long);

#endif
