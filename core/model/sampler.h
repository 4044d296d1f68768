/* Drawing one token from logits, and the text of tokens drawn. Internal. */
#ifndef PFI_SAMPLER_H
#define PFI_SAMPLER_H

#include "base/base.h"

/* One token for each row of logits[rows, n] from softmax(logits / temperature) cut by top_k, top_p and min_p, in this
 * order, each on what the one before left. u[rows] in [0, 1) decides. logp[rows]: of the tokens at temperature 1 over
 * the whole vocabulary. work: as many bytes as pfi_sample_room says. */
void pfi_sample_rows(int threads, const float *logits, int64_t rows, int64_t n, const pf_generate_options *o,
                     const double *u, int32_t *id, float *logp, void *work);
size_t pfi_sample_room(int threads, int64_t n);

/* Bytes of a sample's text that later tokens will not change: without U+FFFD at its end, which may yet become a
 * character, and without an end that one of the stop texts begins with. */
size_t pfi_text_settled(const char *text, size_t len, const char *const *stop, int n_stop);

#endif
