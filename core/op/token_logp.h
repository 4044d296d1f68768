/* What token_logp and token_stats share: entries grouped by node, logits computed a chunk of nodes at a time. */
#ifndef PFI_TOKEN_LOGP_H
#define PFI_TOKEN_LOGP_H

#include "op/zip.h"

enum { LOGP_CHUNK_BYTES = 4 << 20, LOGP_ROWS_MIN = 16, LOGP_ROWS_MAX = 256 };

/* Entries sorted by node: row r is node row_node[r] with the entries order[row_first[r] .. row_first[r+1]). */
typedef struct logp_rows {
    int64_t rows, entries;
    const int32_t *order, *row_first, *row_node;
} logp_rows;

static inline int64_t logp_chunk(const pfi_call *c) {
    int64_t rows = (int64_t)(LOGP_CHUNK_BYTES / sizeof(pf_real)) / PFI_MAX(c->in[1]->dim[0], 1);
    return PFI_MIN(PFI_MAX(rows, LOGP_ROWS_MIN), LOGP_ROWS_MAX);
}

/* bytes at the start of the scratch for widening w; the logits stand behind them */
static inline size_t logp_wide(const pfi_call *c) {
    const pf_tensor *w = c->in[1];
    return PFK(linear_scratch)(c->ctx->threads, w->dtype, w->dim[0], w->dim[1]);
}

static inline pf_real *logp_space(const pfi_call *c) { return (pf_real *)((char *)c->scratch + logp_wide(c)); }

/* inputs h[T,C] w[V,C] node[E] target[E] */
static inline pf_status logp_shape(pfi_call *c) {
    const pf_tensor *h = c->in[0], *w = c->in[1];
    PF_TRY(pfi_need_ndim(c, 0, 2));
    PF_TRY(pfi_need_shape(c, 1, 2, (int64_t[]){w->dim[0], h->dim[1]}));
    PF_TRY(pfi_need_ndim(c, 2, 1));
    PF_TRY(pfi_need_shape(c, 3, 1, c->in[2]->dim));
    const int32_t *node = pfi_data(c->in[2]), *target = pfi_data(c->in[3]);
    int64_t E = c->in[2]->dim[0], chunk = logp_chunk(c);
    for (int64_t e = 0; e < E; e++) {
        if (node[e] < 0 || node[e] >= h->dim[0])
            return pfi_call_fail(c, PF_RANGE, "entry %lld is at node %d of %lld", (long long)e + 1, node[e] + 1,
                                 (long long)h->dim[0]);
        if (target[e] < 0 || target[e] >= w->dim[0])
            return pfi_call_fail(c, PF_RANGE, "entry %lld has token id %d, the vocabulary has %lld", (long long)e + 1,
                                 target[e], (long long)w->dim[0]);
    }
    /* order, row_first, row_node, and a counter for each node while sorting */
    c->saved_bytes[0] = (size_t)(3 * E + 2 + h->dim[0] + 1) * sizeof(int32_t);
    c->saved_bytes[1] = (size_t)PFI_MAX(E, 1) * sizeof(pf_real); /* logsumexp of each row */
    if (!(c->num[0] >= 0)) return pfi_call_fail(c, PF_RANGE, "softcap must not be below 0, got %g", c->num[0]);
    /* logits, gathered nodes and their gradient; with a cap, backward also keeps its slope */
    c->scratch_bytes = (size_t)(chunk * (w->dim[0] + 2 * h->dim[1])) * sizeof(pf_real) + logp_wide(c);
    c->scratch_back_bytes = c->scratch_bytes + (c->num[0] > 0 ? (size_t)(chunk * w->dim[0]) * sizeof(pf_real) : 0);
    return PF_OK;
}

/* counting sort by node; stable, so entries of a node keep their order */
static inline void logp_sort(pfi_call *c) {
    int64_t E = c->in[2]->dim[0], T = c->in[0]->dim[0];
    const int32_t *node = c->x[2];
    int32_t *order = c->saved[0], *first = order + E, *rnode = first + E + 1, *place = rnode + E;
    memset(place, 0, (size_t)(T + 1) * sizeof *place);
    for (int64_t e = 0; e < E; e++) place[node[e] + 1]++;
    int32_t rows = 0;
    for (int64_t t = 0; t < T; t++) {
        if (place[t + 1]) {
            first[rows] = place[t];
            rnode[rows++] = (int32_t)t;
        }
        place[t + 1] += place[t];
    }
    first[rows] = (int32_t)E;
    for (int64_t e = 0; e < E; e++) order[place[node[e]]++] = (int32_t)e;
    place[0] = rows; /* kept here for backward */
}

static inline logp_rows logp_rows_of(const pfi_call *c) {
    int64_t E = c->in[2]->dim[0];
    const int32_t *order = c->saved[0];
    return (logp_rows){order[3 * E + 1], E, order, order + E, order + 2 * E + 1};
}

/* logits of rows r..r+n-1 into logits[n,V]; the gathered nodes into gathered[n,C] */
static inline void logp_logits(const pfi_call *c, const logp_rows *l, int64_t r, int64_t n, pf_real *logits,
                               pf_real *gathered) {
    int64_t C = c->in[0]->dim[1], V = c->in[1]->dim[0];
    const pf_real *h = c->x[0];
    for (int64_t i = 0; i < n; i++) memcpy(gathered + i * C, h + l->row_node[r + i] * C, (size_t)C * sizeof *gathered);
    PFK(linear)(c->ctx->threads, logits, gathered, c->in[1]->dtype, c->x[1], n, V, C, 0, c->scratch);
    const pf_real cap = (pf_real)c->num[0];
    if (cap > 0) PFI_EACH_OF(c, n * V, 8, logits[i] = cap * pfr_tanh(logits[i] / cap));
}

#define PFI_LOGP_PARAMS                                                                                                \
    {                                                                                                                  \
        {.name = "h", .kind = PF_KIND_TENSOR}, {.name = "w", .kind = PF_KIND_TENSOR},                                  \
            {.name = "node", .kind = PF_KIND_INDEX}, {.name = "target", .kind = PF_KIND_TOKEN},                        \
            {.name = "softcap", .kind = PF_KIND_NUMBER, .optional = true},                                             \
    }

#endif
