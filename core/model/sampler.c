#include "model/sampler.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"

/* One token that may be drawn. */
typedef struct sampler_candidate {
    float p;
    int32_t id;
} sampler_candidate;

static int sampler_order(const void *a, const void *b) {
    const sampler_candidate *x = a, *y = b;
    if (x->p != y->p) return x->p < y->p ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* The likeliest come first in c; how many are kept of them: top_k, then the fewest that reach top_p, then those within
 * min_p of the first; n + 1 when more than these n are needed to tell. total: of all p, if n are all. */
static int64_t sampler_keep(const sampler_candidate *c, int64_t n, bool all, double total,
                            const pf_generate_options *o) {
    int64_t keep = n;
    bool known = all;
    if (o->top_k > 0 && o->top_k <= n) {
        keep = o->top_k;
        known = true;
        total = 0;
        for (int64_t i = 0; i < keep; i++) total += (double)c[i].p;
    }
    if (o->top_p < 1 && (known || o->top_k <= 0)) {
        double reached = 0;
        int64_t i = 0;
        while (i < keep && (i == 0 || reached < o->top_p * total)) reached += (double)c[i++].p;
        known = known || reached >= o->top_p * total;
        keep = i;
    }
    if (o->min_p > 0) {
        const double least = o->min_p * (double)c[0].p;
        known = known || (o->top_k <= 0 && o->top_p >= 1 && (double)c[n - 1].p < least);
        while (keep > 1 && (double)c[keep - 1].p < least) keep--;
    }
    return known ? keep : n + 1;
}

/* the candidates that the cuts leave of p[n], likeliest first: sorts no more of the vocabulary than it must */
static int64_t sampler_cut(sampler_candidate *c, const float *p, int64_t n, double total,
                           const pf_generate_options *o) {
    for (float least = 0.03125f;; least *= 0.03125f) {
        const bool all = least < 1e-12f;
        int64_t m = 0;
        for (int64_t i = 0; i < n; i++)
            if (all || p[i] >= least) c[m++] = (sampler_candidate){p[i], (int32_t)i};
        qsort(c, (size_t)m, sizeof *c, sampler_order);
        const int64_t keep = m ? sampler_keep(c, m, all, total, o) : 1;
        if (keep <= m) return keep;
    }
}

enum { SAMPLER_BLOCK = 256 };

/* where cumulative weight passes u of the whole: first among blocks, then in the one */
static int32_t sampler_pick(const float *p, int64_t n, double total, double u) {
    double at = 0, reached = 0;
    int64_t from = 0;
    for (int64_t b = 0; b < n && u * total >= reached; b += SAMPLER_BLOCK) {
        const double sum = pfk_sum_f32(p + b, PFI_MIN(n - b, SAMPLER_BLOCK));
        if (sum > 0) {
            from = b;
            at = reached;
        }
        reached += sum;
    }
    int64_t pick = from;
    for (int64_t i = from; i < n; i++) {
        if (!(p[i] > 0)) continue;
        pick = i; /* the last possible one, should rounding carry u past the end */
        at += (double)p[i];
        if (u * total < at) break;
    }
    return (int32_t)pick;
}

static int32_t sampler_token(const float *logits, int64_t n, const pf_generate_options *o, double u, float *logp,
                             float *p, sampler_candidate *c) {
    const float top = pfk_max_f32(logits, n);
    const double sum = pfk_exp_sum_f32(p, logits, top, 1, n);
    int32_t id = 0;
    if (o->temperature == 0) {
        while (id + 1 < n && logits[id] != top) id++;
    } else {
        const float scale = (float)fmax(fmin(1 / o->temperature, (double)FLT_MAX), (double)FLT_MIN);
        const double total = o->temperature == 1 ? sum : pfk_exp_sum_f32(p, logits, top, scale, n);
        if (o->top_k > 0 || o->top_p < 1 || o->min_p > 0) {
            const int64_t left = sampler_cut(c, p, n, total, o);
            double kept = 0;
            for (int64_t i = 0; i < left; i++) kept += (double)(p[i] = c[i].p);
            id = c[sampler_pick(p, left, kept, u)].id;
        } else {
            id = sampler_pick(p, n, total, u);
        }
    }
    *logp = (float)((double)logits[id] - (double)top - log(sum));
    return id;
}

static size_t sampler_room(int64_t n) { return (size_t)n * (sizeof(float) + sizeof(sampler_candidate)); }

size_t pfi_sample_room(int threads, int64_t n) { return (size_t)threads * sampler_room(n); }

void pfi_sample_rows(int threads, const float *logits, int64_t rows, int64_t n, const pf_generate_options *o,
                     const double *u, int32_t *id, float *logp, void *work) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (rows > 1)
    for (int64_t r = 0; r < rows; r++) {
        sampler_candidate *c = (sampler_candidate *)((char *)work + (size_t)pfk_thread() * sampler_room(n));
        id[r] = sampler_token(logits + r * n, n, o, u[r], &logp[r], (float *)(c + n), c);
    }
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
