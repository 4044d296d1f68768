/* parts: log-probabilities of a batch at once or, where memory is short, part by part. Internal. */
#ifndef PFI_PARTS_H
#define PFI_PARTS_H

#include "model/model.h"

/* pf_model_logp at once; lengths are checked */
pf_tensor *pfi_whole_logp(pf_model *m, const pf_batch *b, pf_tensor **stats);
/* pf_model_logp in parts of at most m->part nodes, or one sequence */
pf_tensor *pfi_parts_logp(pf_model *m, const pf_batch *b, pf_tensor **stats);

#endif
