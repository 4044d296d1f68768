/* What token_logp and token_stats share: entries grouped by node; logits of a chunk of nodes, a strip of the vocabulary
 * at a time, so that the head is read once for many nodes and tokens x vocabulary is never held. */
#ifndef PFI_TOKEN_LOGP_H
#define PFI_TOKEN_LOGP_H

#include "op/zip.h"

enum { LOGP_STRIP_BYTES = 8 << 20, LOGP_ROWS = 1024, LOGP_COLS_MIN = 256 };

/* Entries sorted by node: row r is node row_node[r] with the entries order[row_first[r] .. row_first[r+1]). */
typedef struct logp_rows {
    int64_t rows, entries;
    const int32_t *order, *row_first, *row_node;
} logp_rows;

/* rows of a chunk, at most, and columns of a strip: of the shapes alone */
static inline int64_t logp_chunk(const pfi_call *c) {
    return PFI_MAX(PFI_MIN(c->in[2]->dim[0], (int64_t)LOGP_ROWS), 1);
}

static inline int64_t logp_width(const pfi_call *c) {
    const int64_t fit = (int64_t)(LOGP_STRIP_BYTES / sizeof(pf_real)) / logp_chunk(c) / LOGP_COLS_MIN * LOGP_COLS_MIN;
    return PFI_MAX(PFI_MIN(fit, c->in[1]->dim[0]), 1);
}

/* bytes at the start of the scratch for widening w; the logits stand behind them, then what logp_gather fills */
static inline size_t logp_wide(const pfi_call *c) {
    const pf_tensor *w = c->in[1];
    return PFK(linear_scratch)(w->dtype, w->dim[0], w->dim[1]);
}

/* One chunk: rows r..r+n-1, of which the strip of columns j..j+s-1 stands in logits[n,s]. */
typedef struct logp_strip {
    int64_t r, n, j, s;
    pf_real *logits, *gathered; /* [chunk, width], [chunk, C] */
    pf_real *slope;             /* [chunk, width]: of the cap; NULL without one */
} logp_strip;

static inline logp_strip logp_strip_of(const pfi_call *c) {
    const int64_t chunk = logp_chunk(c), width = logp_width(c), C = c->in[0]->dim[1];
    pf_real *logits = (pf_real *)((char *)c->scratch + logp_wide(c)), *gathered = logits + chunk * width;
    return (logp_strip){.logits = logits, .gathered = gathered, .slope = c->num[0] > 0 ? gathered + chunk * C : NULL};
}

/* first byte of the scratch that logp_strip does not use, aligned for doubles */
static inline size_t logp_scratch(const pfi_call *c) {
    const int64_t chunk = logp_chunk(c), width = logp_width(c);
    const int64_t reals = chunk * (width * (c->num[0] > 0 ? 2 : 1) + c->in[0]->dim[1]);
    return logp_wide(c) + ((size_t)reals * sizeof(pf_real) + 63) / 64 * 64;
}

/* inputs h[T,C] w[V,C] node[E] target[E] */
static inline pf_status logp_shape(pfi_call *c) {
    const pf_tensor *h = c->in[0], *w = c->in[1];
    PF_TRY(pfi_need_ndim(c, 0, 2));
    PF_TRY(pfi_need_shape(c, 1, 2, (int64_t[]){w->dim[0], h->dim[1]}));
    PF_TRY(pfi_need_ndim(c, 2, 1));
    PF_TRY(pfi_need_shape(c, 3, 1, c->in[2]->dim));
    const int32_t *node = pfi_data(c->in[2]), *target = pfi_data(c->in[3]);
    int64_t E = c->in[2]->dim[0];
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
    if (!(c->num[0] >= 0)) return pfi_call_fail(c, PF_RANGE, "softcap must not be below 0, got %g", c->num[0]);
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

/* the chunk that begins at row r */
static inline void logp_gather(const pfi_call *c, const logp_rows *l, logp_strip *p, int64_t r) {
    const int64_t C = c->in[0]->dim[1];
    const pf_real *h = c->x[0];
    p->r = r;
    p->n = PFI_MIN(logp_chunk(c), l->rows - r);
    for (int64_t i = 0; i < p->n; i++) memcpy(p->gathered + i * C, h + l->row_node[r + i] * C, (size_t)C * sizeof *h);
}

/* where row j of w is stored */
static inline const char *logp_head(const pfi_call *c, int64_t j) {
    const pf_tensor *w = c->in[1];
    return (const char *)c->x[1] + pfi_dtype_bytes(w->dtype, (size_t)(j * w->dim[1]));
}

/* logits of the strip that begins at column j, capped */
static inline void logp_logits(const pfi_call *c, logp_strip *p, int64_t j) {
    const int64_t C = c->in[0]->dim[1];
    p->j = j;
    p->s = PFI_MIN(logp_width(c), c->in[1]->dim[0] - j);
    PFK(linear)
    (c->ctx->threads, p->logits, p->gathered, c->in[1]->dtype, logp_head(c, j), p->n, p->s, C, 0, c->scratch);
    const pf_real cap = (pf_real)c->num[0];
    pf_real *z = p->logits, *slope = p->slope;
    if (cap > 0)
        PFI_EACH_OF(c, p->n * p->s, 8, const pf_real t = pfr_tanh(z[i] / cap); z[i] = cap * t; slope[i] = 1 - t * t);
}

#define PFI_LOGP_PARAMS                                                                                                \
    {                                                                                                                  \
        {.name = "h", .kind = PF_KIND_TENSOR}, {.name = "w", .kind = PF_KIND_TENSOR},                                  \
            {.name = "node", .kind = PF_KIND_INDEX}, {.name = "target", .kind = PF_KIND_TOKEN},                        \
            {.name = "softcap", .kind = PF_KIND_NUMBER, .optional = true},                                             \
    }

#endif
