/* need: what a recorded pass over a batch and its backward take, in closed form. Internal. */
#ifndef PFI_NEED_H
#define PFI_NEED_H

#include "model/model.h"

/* The size of a batch. */
typedef struct pfi_load {
    int64_t nodes, entries, longest; /* longest: inputs of the longest sequence */
} pfi_load;

/* Bytes at most, beyond what is there before, while log-probabilities of such a batch are computed and backward runs,
 * the first `recompute` of the layers computed again. gradients: those of the parameters are there already. */
size_t pfi_need(const pf_model *m, pfi_load load, int64_t recompute, bool gradients);
/* what of that is kept from forward to backward */
size_t pfi_need_kept(const pf_model *m, pfi_load load, int64_t recompute);
/* bytes of the gradients of all parameters that collect them */
size_t pfi_need_gradients(const pf_model *m);

#endif
