/* Merges out of the scores of a SentencePiece vocabulary. */
#include <math.h>
#include <stdlib.h>

#include "text/source.h"

typedef struct source_pair {
    float score;
    int32_t made, left, right;
    uint32_t n_left, n_right; /* characters */
} source_pair;

typedef struct source_pairs {
    source_pair *p;
    size_t n, cap;
} source_pairs;

/* best score first; of equal scores the longer left part, as transformers orders them, then the lower id */
static int source_order(const void *a, const void *b) {
    const source_pair *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->n_left != y->n_left) return x->n_left > y->n_left ? -1 : 1;
    if (x->n_right != y->n_right) return x->n_right > y->n_right ? -1 : 1;
    return x->made < y->made ? -1 : x->made > y->made;
}

static pf_status source_pair_add(pf_ctx *ctx, source_pairs *v, source_pair pair) {
    if (v->n == v->cap) {
        size_t cap = v->cap ? 2 * v->cap : 1024;
        source_pair *p = pfi_realloc(ctx, v->p, cap * sizeof *p);
        if (!p) return PF_NOMEM;
        v->p = p;
        v->cap = cap;
    }
    v->p[v->n++] = pair;
    return PF_OK;
}

static uint32_t source_chars(const char *s, size_t n) {
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++) count += ((unsigned char)s[i] & 0xC0) != 0x80;
    return count;
}

/* a normal token's id, or -1 */
static int32_t source_normal(const pfi_vocab_source *v, const pfi_vocab *vocab, const char *s, size_t n) {
    int32_t id = pfi_vocab_find(vocab, s, n);
    return id >= 0 && (!v->type || v->type[id] == PFI_VOCAB_NORMAL) ? id : -1;
}

static pf_status source_cuts(pf_ctx *ctx, const char *name, const pfi_vocab_source *v, const pfi_vocab *vocab, size_t i,
                             source_pairs *out) {
    const char *s = v->token[i];
    size_t n = v->token_len[i];
    if (isnan(v->score[i])) return pfi_fail(ctx, PF_FORMAT, "%s: the score of token %zu is not a number", name, i);
    uint32_t chars = source_chars(s, n), k = 0;
    for (size_t cut = 1; cut < n; cut++) {
        if (((unsigned char)s[cut] & 0xC0) == 0x80) continue;
        k++;
        int32_t left = source_normal(v, vocab, s, cut);
        int32_t right = left < 0 ? -1 : source_normal(v, vocab, s + cut, n - cut);
        if (right < 0) continue;
        PF_TRY(source_pair_add(ctx, out, (source_pair){v->score[i], (int32_t)i, left, right, k, chars - k}));
    }
    return PF_OK;
}

pf_status pfi_source_merges(pf_ctx *ctx, const char *name, const pfi_vocab_source *v, const pfi_vocab *vocab,
                            pfi_buf *out) {
    source_pairs pairs = {0};
    pf_status s = pfi_buf_str(ctx, out, "[");
    for (size_t i = 0; i < v->n && s == PF_OK; i++) {
        if (!v->type || v->type[i] == PFI_VOCAB_NORMAL) s = source_cuts(ctx, name, v, vocab, i, &pairs);
    }
    if (s == PF_OK && pairs.n) qsort(pairs.p, pairs.n, sizeof *pairs.p, source_order);
    for (size_t i = 0; i < pairs.n && s == PF_OK; i++) {
        const source_pair *p = &pairs.p[i];
        s = pfi_buf_str(ctx, out, i ? ",[" : "[");
        if (s == PF_OK) s = pfi_json_quote(ctx, out, v->token[p->left], v->token_len[p->left]);
        if (s == PF_OK) s = pfi_buf_str(ctx, out, ",");
        if (s == PF_OK) s = pfi_json_quote(ctx, out, v->token[p->right], v->token_len[p->right]);
        if (s == PF_OK) s = pfi_buf_str(ctx, out, "]");
    }
    pfi_free(ctx, pairs.p);
    return s == PF_OK ? pfi_buf_str(ctx, out, "]") : s;
}
