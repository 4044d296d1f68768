/* plan: how to train within a limit of memory. Internal. */
#ifndef PFI_PLAN_H
#define PFI_PLAN_H

#include "model/need.h"
#include "train/train.h"

/* What is asked for. largest: at most so much stands in a batch; nodes 0: not known. */
typedef struct pfi_plan_asked {
    size_t memory;  /* bytes of the process at most */
    size_t outside; /* what it holds beside this context and mapped weights */
    pfi_load largest;
    bool gradients; /* an update has several batches: the gradients of the first are there in the second */
} pfi_plan_asked;

/* What is chosen: as pf_trainer_options has it; and what that takes, in bytes. */
typedef struct pfi_plan {
    int64_t recompute, part;
    size_t weights, optimizer, rest; /* the model's, mapped or not; moments; what else is held, outside included */
    size_t gradients, activations;   /* activations: all that a batch or part takes besides */
    size_t total;
} pfi_plan;

/* The cheapest way that fits: batches at once and as few layers computed again as will do, else parts as large as fit.
 * err RANGE (too little: the message says what would do), STATE (no model) */
pf_status pfi_train_plan(pf_trainer *t, const pfi_plan_asked *asked, pfi_plan *out);
/* batches are computed so from now on */
void pfi_train_follow(pf_trainer *t, const pfi_plan *plan);

#endif
