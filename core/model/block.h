/* block: the layers of a transformer as operations, the same for training and for sampling. Internal. */
#ifndef PFI_BLOCK_H
#define PFI_BLOCK_H

#include "model/model.h"

/* A forward pass over rows of tokens: what training (rows of a forest, recorded) and sampling (rows over a pool of keys
 * and values) do each in their own way. Results are owned by the caller, NULL on failure; a NULL tensor gives NULL. */
typedef struct pfi_run pfi_run;
struct pfi_run {
    pf_model *m;
    pf_tensor *position;  /* [T] */
    pf_tensor *angles[2]; /* that a layer of each kind of config.rope turned by; NULL so far */
    bool is_long;         /* the sequences turn by the frequencies for long ones */
    /* x[T, in] to [T, out] */
    pf_tensor *(*linear)(pfi_run *r, pf_tensor *x, const pfi_linear *l);
    /* q[T, H, D], k and v[T, G, D] of a layer to [T, H, D] */
    pf_tensor *(*attention)(pfi_run *r, int64_t layer, pf_tensor *q, pf_tensor *k, pf_tensor *v);
    /* The first of the layers, this many, keep their input alone and are computed again in backward, if the pass can
     * live as long: hold is one hold more on it, begin comes before a layer is computed again. */
    int64_t recompute;
    void (*hold)(pfi_run *r);
    void (*drop)(pfi_run *r);
    void (*begin)(pfi_run *r);
};

/* hidden states [T, C] after the last norm for token[T]. Owned by caller. err NOMEM, RANGE */
pf_tensor *pfi_run_hidden(pfi_run *r, pf_tensor *token);

void pfi_run_close(pfi_run *r); /* gives up its tensors */

/* what attention in a layer does besides: the scale of its scores, and its window (0: none) */
double pfi_attention_scale(const pfi_config *c);
int64_t pfi_attention_window(const pfi_config *c, int64_t layer);

#endif
