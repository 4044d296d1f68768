#include "model/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int sampler_order(const void *a, const void *b) {
    const pfi_candidate *x = a, *y = b;
    if (x->p != y->p) return x->p < y->p ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* keep the likeliest: top_k of them, then the fewest that reach top_p, then those within min_p of the first */
static int64_t sampler_cut(pfi_candidate *c, int64_t n, const pf_generate_options *o) {
    qsort(c, (size_t)n, sizeof *c, sampler_order);
    if (o->top_k > 0) n = PFI_MIN(n, o->top_k);
    double sum = 0, reached = 0;
    for (int64_t i = 0; i < n; i++) sum += c[i].p;
    if (o->top_p < 1) {
        int64_t keep = 0;
        while (keep < n && (keep == 0 || reached < o->top_p * sum)) reached += c[keep++].p;
        n = keep;
    }
    if (o->min_p > 0)
        while (n > 1 && c[n - 1].p < o->min_p * c[0].p) n--;
    return n;
}

static int64_t sampler_largest(const float *logits, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

int32_t pfi_sample_token(const float *logits, int64_t n, const pf_generate_options *o, double u, float *logp,
                         pfi_candidate *work) {
    int64_t best = sampler_largest(logits, n);
    double top = (double)logits[best], sum = 0;
    for (int64_t i = 0; i < n; i++) sum += exp((double)logits[i] - top);
    int32_t id = (int32_t)best;
    if (o->temperature > 0) {
        double total = 0, at = 0;
        for (int64_t i = 0; i < n; i++)
            work[i] = (pfi_candidate){exp(((double)logits[i] - top) / o->temperature), (int32_t)i};
        int64_t left = o->top_k > 0 || o->top_p < 1 || o->min_p > 0 ? sampler_cut(work, n, o) : n;
        for (int64_t i = 0; i < left; i++) total += work[i].p;
        int64_t pick = 0;
        for (int64_t i = 0; i < left; i++) {
            if (work[i].p <= 0) continue;
            pick = i; /* the last possible one, should rounding carry u past the end */
            at += work[i].p;
            if (u * total < at) break;
        }
        id = work[pick].id;
    }
    *logp = (float)((double)logits[id] - top - log(sum));
    return id;
}

size_t pfi_text_settled(const char *text, size_t len, const char *const *stop, int n_stop) {
    while (len >= 3 && memcmp(text + len - 3, "\xEF\xBF\xBD", 3) == 0) len -= 3;
    size_t settled = len;
    for (int i = 0; i < n_stop; i++) {
        size_t n = PFI_MIN(strlen(stop[i]), len + 1) - 1; /* the whole stop text would have ended the sample */
        while (n > 0 && memcmp(text + len - n, stop[i], n) != 0) n--;
        settled = PFI_MIN(settled, len - n);
    }
    return settled;
}
