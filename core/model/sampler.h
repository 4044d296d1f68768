/* Drawing one token from logits, and the text of tokens drawn. Internal. */
#ifndef PFI_SAMPLER_H
#define PFI_SAMPLER_H

#include "base/base.h"

/* One candidate while sampling. */
typedef struct pfi_candidate {
    double p;
    int32_t id;
} pfi_candidate;

/* Draw from softmax(logits / temperature) cut by top_k, top_p and min_p, in this order, each on what the one before
 * left; u in [0, 1). *logp: of the token at temperature 1 over the whole vocabulary. work has room for n. */
int32_t pfi_sample_token(const float *logits, int64_t n, const pf_generate_options *o, double u, float *logp,
                         pfi_candidate *work);

/* Bytes of a sample's text that later tokens will not change: without U+FFFD at its end, which may yet become a
 * character, and without an end that one of the stop texts begins with. */
size_t pfi_text_settled(const char *text, size_t len, const char *const *stop, int n_stop);

#endif
