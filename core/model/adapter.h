/* adapter: low-rank changes to a model's matrix products (LoRA, rsLoRA, DoRA) and modules trained as a whole beside
 * them, as Hugging Face PEFT describes and stores them. Internal.
 *
 * LoRA:   y = W x + scale B A x, scale = alpha / r (Hu et al. 2021, arXiv 2106.09685)
 * rsLoRA: scale = alpha / sqrt(r) (Kalajdzievski 2023, arXiv 2312.03732)
 * DoRA:   rows of W + scale B A rescaled to learned magnitudes (Liu et al. 2024, arXiv 2402.09353, eq. 5); their norms
 *         are constants for the gradient (section 4.3) */
#ifndef PFI_ADAPTER_H
#define PFI_ADAPTER_H

#include "model/model.h"

#define PFI_PEFT_PREFIX "base_model.model."

/* What is added to one matrix product. */
struct pfi_lora {
    pfi_linear *on;
    int slot;                 /* of its weight */
    char module[PF_MAX_NAME]; /* its path: "model.layers.0.self_attn.q_proj" */
    int64_t rank, in, out;
    double alpha, scale;
    pf_tensor *a, *b, *magnitude; /* [r, in], [out, r]; [out] with DoRA, else NULL */
    double *squares;              /* [out] with DoRA: squared norms of the rows of W */
    float *gain;                  /* [out] with DoRA: magnitude over norm, as sampling uses it */
};

/* A weight that is trained as a whole: its own copy stands in the model, the base's is kept for the reference. */
typedef struct pfi_kept {
    int slot;
    pf_tensor *own;
} pfi_kept;

struct pfi_adapter {
    pf_ctx *ctx;
    pfi_lora *lora;
    int n_lora;
    pfi_kept *kept;
    int n_kept;
    pf_tensor **param; /* all that is trained, named as the file names it */
    int n_param;
    char *config; /* adapter_config.json as it will be written */
    bool fresh;   /* made here: the base is where its training began */
    double dropout;
    uint64_t seed, step, part, stream; /* of dropout: part counts the recorded passes of a step */
};

/* One of PEFT's ways to name modules: a list of names (whole paths or their ends), or a regular expression for whole
 * paths. Borrowed from the configuration. */
typedef struct pfi_adapter_config {
    json_t *json; /* checked, with every default filled in; owned */
    const char *what;
    int64_t rank;
    double alpha, dropout;
    bool rslora, dora;
    const char *init; /* "gaussian", "eva", ... or NULL: uniform */
    bool zero_b;      /* a new B is 0 */
} pfi_adapter_config;

/* peft.c: read and check the text of an adapter_config.json. what: for messages. err FORMAT, UNSUPPORTED, NOMEM */
pf_status pfi_adapter_config_read(const pf_model *m, const char *text, size_t len, const char *what,
                                  pfi_adapter_config *out);
void pfi_adapter_config_free(pfi_adapter_config *c);

/* JSON text appended to out; pretty: as PEFT writes it. err NOMEM */
pf_status pfi_adapter_json(pf_ctx *ctx, const json_t *v, bool pretty, pfi_buf *out);
/* target_modules null or "all-linear" becomes a list of names. err NOMEM */
pf_status pfi_adapter_complete(const pf_model *m, pfi_adapter_config *c);

/* peft_match.c: is a module (its path) adapted, as PEFT decides it? err FORMAT (a regular expression), NOMEM */
pf_status pfi_adapter_targets(pf_ctx *ctx, const pfi_adapter_config *c, const char *module, bool *hit);
/* is a weight part of a module to save? */
bool pfi_adapter_saves(const pfi_adapter_config *c, const char *weight);
/* every entry of target_modules and modules_to_save must fit something. err NAME */
pf_status pfi_adapter_check_targets(const pf_model *m, const pfi_adapter_config *c);
/* rank and alpha of a module by rank_pattern and alpha_pattern */
pf_status pfi_adapter_sizes(pf_ctx *ctx, const pfi_adapter_config *c, const char *module, int64_t *rank, double *alpha);
/* The name of the weight at slot i as the model's own class has it: files may leave its first part out. */
void pfi_adapter_path(const pf_model *m, int i, char name[PF_MAX_NAME]);
/* the matrix product whose weight stands at slot i, or NULL; module: its path */
pfi_linear *pfi_adapter_linear(const pf_model *m, int i, char module[PF_MAX_NAME]);

/* adapter.c: an adapter for a model with its first values, not attached yet: nothing of the model changes. err NAME
 * (nothing matches), UNSUPPORTED, STATE (there is one already), NOMEM. *out owned by caller */
pf_status pfi_adapter_build(pf_model *m, const pfi_adapter_config *c, uint64_t seed, pfi_adapter **out);
void pfi_adapter_drop(pfi_adapter *a); /* one that is not attached; NULL is fine */
/* the model takes the adapter over; the base's own parameters are frozen */
void pfi_adapter_attach(pf_model *m, pfi_adapter *a);
/* take it off and free it: the model is its base, still frozen */
void pfi_adapter_free(pf_model *m);
/* the same adapter on another model of the same base, with values of its own that collect no gradients */
pf_status pfi_adapter_copy(const pf_model *from, pf_model *to);
/* a parameter by its name in the file, NULL if there is none */
pf_tensor *pfi_adapter_find(const pfi_adapter *a, const char *name);

/* adapter_run.c: a forward pass begins: draws the stream of its dropout, unless it is one that is computed again */
void pfi_adapter_begin(pf_model *m);
/* step number step of training begins: dropout draws what it would have drawn without an interruption */
void pfi_adapter_at(pf_model *m, int64_t step);
/* x[T, in] to [T, out] with the adapter. Owned by caller, NULL on failure or for NULL */
pf_tensor *pfi_adapter_forward(pf_model *m, pf_tensor *x, const pfi_linear *l);
/* before a pass of sampling: the gains of this moment. err NOMEM */
pf_status pfi_adapter_prepare(pf_model *m);
/* squared norms of the rows of W, with DoRA. err NOMEM */
pf_status pfi_adapter_measure(pfi_lora *l);
/* 1 / norm of the rows of W + scale B A, a constant [out] in the type of A. Owned by caller, NULL on failure */
pf_tensor *pfi_adapter_inverse(const pfi_lora *l);

/* adapter_gguf.c: can a LoRA file for llama.cpp hold it? err UNSUPPORTED, with what stands in the way */
pf_status pfi_adapter_check_gguf(const pf_model *m);
/* write it as one. err UNSUPPORTED, IO, NOMEM */
pf_status pfi_adapter_save_gguf(const pf_model *m, const char *path);

#endif
