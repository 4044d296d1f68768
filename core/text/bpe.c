/* BPE: merge the best ranked pair, leftmost first, until none is left. A heap of candidates that may have gone stale
 * keeps it at n log n, for words as long as a whole text. */
#include "text/text.h"

#define BPE_CACHE 4096 /* words; a power of two */

typedef struct bpe_symbol {
    int32_t id; /* -1: merged into the one before */
    int32_t prev, next;
} bpe_symbol;

typedef struct bpe_candidate {
    int32_t rank, at, made;
} bpe_candidate;

typedef struct bpe_cached {
    uint8_t len, n; /* len 0: empty */
    char word[22];
    int32_t id[8];
} bpe_cached;

struct bpe_scratch {
    bpe_symbol *sym;
    size_t n, cap;
    bpe_candidate *heap;
    size_t heap_n, heap_cap;
    uint64_t steps;  /* moves in the heap since the beginning: what a test of growth counts */
    pfi_buf affixed; /* a character with prefix and suffix */
    bpe_cached cache[BPE_CACHE];
};

pf_status pfi_bpe_prepare(pf_ctx *ctx, pfi_bpe *m) {
    m->scratch = pfi_calloc(ctx, 1, sizeof *m->scratch);
    return m->scratch ? PF_OK : PF_NOMEM;
}

void pfi_bpe_free(pf_ctx *ctx, pfi_bpe *m) {
    pfi_vocab_free(ctx, &m->vocab);
    pfi_free(ctx, m->merge);
    pfi_buf_free(ctx, &m->prefix);
    pfi_buf_free(ctx, &m->suffix);
    if (m->scratch) {
        pfi_buf_free(ctx, &m->scratch->affixed);
        pfi_free(ctx, m->scratch->sym);
        pfi_free(ctx, m->scratch->heap);
        pfi_free(ctx, m->scratch);
    }
    *m = (pfi_bpe){0};
}

uint64_t pfi_bpe_steps(const pfi_bpe *m) { return m->scratch->steps; }

/* ---- start symbols ---- */

static int32_t bpe_find(const pfi_bpe *m, const char *s, size_t n) {
    int32_t id = pfi_vocab_find(&m->vocab, s, n);
    return id >= 0 && m->vocab.word[id].model ? id : -1;
}

static pf_status bpe_symbol_add(pf_ctx *ctx, struct bpe_scratch *w, int32_t id) {
    if (w->n == w->cap) {
        if (w->cap > (size_t)INT32_MAX / 2) return pfi_fail(ctx, PF_RANGE, "a text is too long for the tokenizer");
        size_t cap = w->cap ? 2 * w->cap : 64;
        bpe_symbol *p = pfi_realloc(ctx, w->sym, cap * sizeof *p);
        if (!p) return PF_NOMEM;
        w->sym = p;
        w->cap = cap;
    }
    w->sym[w->n] = (bpe_symbol){id, (int32_t)w->n - 1, (int32_t)w->n + 1};
    w->n++;
    return PF_OK;
}

static bool bpe_has_bytes(const pfi_bpe *m, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (m->byte[(unsigned char)s[i]] < 0) return false;
    }
    return true;
}

/* *s of *n bytes at i of a word of all bytes: with what marks its place in the word, if the model has such marks */
static pf_status bpe_affix(pf_ctx *ctx, const pfi_bpe *m, size_t i, size_t all, const char **s, size_t *n) {
    const pfi_buf *prefix = i > 0 ? &m->prefix : NULL, *suffix = i + *n == all ? &m->suffix : NULL;
    pfi_buf *b = &m->scratch->affixed;
    if (!(prefix && prefix->len) && !(suffix && suffix->len)) return PF_OK;
    b->len = 0;
    if (prefix) PF_TRY(pfi_buf_add(ctx, b, prefix->data, prefix->len));
    PF_TRY(pfi_buf_add(ctx, b, *s, *n));
    if (suffix) PF_TRY(pfi_buf_add(ctx, b, suffix->data, suffix->len));
    *s = b->data;
    *n = b->len;
    return PF_OK;
}

/* an unknown run is added late, when something known follows: that is where the reference puts it */
static pf_status bpe_start(pf_ctx *ctx, const pfi_bpe *m, const char *s, size_t n) {
    struct bpe_scratch *w = m->scratch;
    bool unknown = false;
    w->n = 0;
    for (size_t i = 0, len; i < n; i += len) {
        pfi_utf8_next(s + i, n - i, &len);
        const char *c = s + i;
        size_t bytes = len;
        PF_TRY(bpe_affix(ctx, m, i, n, &c, &bytes));
        int32_t id = bpe_find(m, c, bytes);
        if (id >= 0) {
            if (unknown) PF_TRY(bpe_symbol_add(ctx, w, m->unk));
            unknown = false;
            PF_TRY(bpe_symbol_add(ctx, w, id));
        } else if (m->byte_fallback && bpe_has_bytes(m, c, bytes)) {
            for (size_t k = 0; k < bytes; k++) PF_TRY(bpe_symbol_add(ctx, w, m->byte[(unsigned char)c[k]]));
        } else if (m->unk >= 0) {
            if (unknown && !m->fuse_unk) PF_TRY(bpe_symbol_add(ctx, w, m->unk));
            unknown = true;
        }
    }
    return unknown ? bpe_symbol_add(ctx, w, m->unk) : PF_OK;
}

/* ---- merging ---- */

static bool bpe_before(const bpe_candidate *x, const bpe_candidate *y) {
    return x->rank != y->rank ? x->rank < y->rank : x->at < y->at;
}

static pf_status bpe_push(pf_ctx *ctx, const pfi_bpe *m, int32_t at) {
    struct bpe_scratch *w = m->scratch;
    int32_t next = w->sym[at].next;
    if (next >= (int32_t)w->n) return PF_OK;
    const pfi_merge *e = pfi_bpe_merge(m, w->sym[at].id, w->sym[next].id);
    if (!e) return PF_OK;
    if (w->heap_n == w->heap_cap) {
        size_t cap = w->heap_cap ? 2 * w->heap_cap : 64;
        bpe_candidate *p = pfi_realloc(ctx, w->heap, cap * sizeof *p);
        if (!p) return PF_NOMEM;
        w->heap = p;
        w->heap_cap = cap;
    }
    bpe_candidate c = {e->rank, at, e->made};
    size_t i = w->heap_n++;
    w->steps++;
    for (size_t up; i && bpe_before(&c, &w->heap[up = (i - 1) / 2]); i = up, w->steps++) w->heap[i] = w->heap[up];
    w->heap[i] = c;
    return PF_OK;
}

static bpe_candidate bpe_pop(struct bpe_scratch *w) {
    bpe_candidate top = w->heap[0], c = w->heap[--w->heap_n];
    size_t i = 0;
    for (size_t down; (down = 2 * i + 1) < w->heap_n; i = down, w->steps++) {
        if (down + 1 < w->heap_n && bpe_before(&w->heap[down + 1], &w->heap[down])) down++;
        if (!bpe_before(&w->heap[down], &c)) break;
        w->heap[i] = w->heap[down];
    }
    w->heap[i] = c;
    return top;
}

static pf_status bpe_merge_all(pf_ctx *ctx, const pfi_bpe *m) {
    struct bpe_scratch *w = m->scratch;
    int32_t n = (int32_t)w->n;
    w->heap_n = 0;
    for (int32_t i = 0; i < n; i++) PF_TRY(bpe_push(ctx, m, i));
    while (w->heap_n) {
        bpe_candidate c = bpe_pop(w);
        bpe_symbol *left = &w->sym[c.at];
        if (left->id < 0 || left->next >= n) continue;
        bpe_symbol *right = &w->sym[left->next];
        const pfi_merge *e = pfi_bpe_merge(m, left->id, right->id);
        if (!e || e->made != c.made) continue; /* stale: a neighbour has changed since */
        left->id = c.made;
        right->id = -1;
        left->next = right->next;
        if (right->next < n) w->sym[right->next].prev = c.at;
        if (left->prev >= 0) PF_TRY(bpe_push(ctx, m, left->prev));
        PF_TRY(bpe_push(ctx, m, c.at));
    }
    return PF_OK;
}

/* ---- words ---- */

static bpe_cached *bpe_cache_of(const pfi_bpe *m, const char *s, size_t n) {
    if (n == 0 || n > sizeof m->scratch->cache[0].word) return NULL;
    return &m->scratch->cache[pfi_hash64(1, s, n) & (BPE_CACHE - 1)];
}

/* a word from its characters, or out of the cache */
static pf_status bpe_part(pf_ctx *ctx, const pfi_bpe *m, const char *s, size_t n, pfi_ints *ids) {
    bpe_cached *c = bpe_cache_of(m, s, n);
    if (c && c->len == n && memcmp(c->word, s, n) == 0) {
        for (int i = 0; i < c->n; i++) PF_TRY(pfi_ints_add(ctx, ids, c->id[i]));
        return PF_OK;
    }
    size_t from = ids->len;
    PF_TRY(bpe_start(ctx, m, s, n));
    PF_TRY(bpe_merge_all(ctx, m));
    const struct bpe_scratch *w = m->scratch;
    for (size_t i = 0; i < w->n; i = (size_t)w->sym[i].next) PF_TRY(pfi_ints_add(ctx, ids, w->sym[i].id));
    if (c && ids->len - from <= (size_t)PFI_COUNT(c->id)) {
        c->len = (uint8_t)n;
        c->n = (uint8_t)(ids->len - from);
        memcpy(c->word, s, n);
        if (c->n) memcpy(c->id, ids->data + from, c->n * sizeof *c->id);
    }
    return PF_OK;
}

/* where the part that begins at i ends: before a "▁" that follows something else, since no merge reaches over it */
static size_t bpe_part_end(const pfi_bpe *m, const char *s, size_t n, size_t i) {
    static const char mark[] = "\xE2\x96\x81";
    bool marked = true;
    if (!m->cut) return n;
    while (i < n) {
        bool here = n - i >= 3 && memcmp(s + i, mark, 3) == 0;
        if (here && !marked) return i;
        marked = here;
        i += here ? 3 : 1;
    }
    return n;
}

pf_status pfi_bpe_word(pf_ctx *ctx, pfi_bpe *m, const char *s, size_t n, pfi_ints *ids) {
    int32_t id = m->ignore_merges ? bpe_find(m, s, n) : -1;
    if (id >= 0) return pfi_ints_add(ctx, ids, id);
    for (size_t i = 0, end; i < n; i = end) {
        end = bpe_part_end(m, s, n, i);
        PF_TRY(bpe_part(ctx, m, s + i, end - i, ids));
    }
    return PF_OK;
}
