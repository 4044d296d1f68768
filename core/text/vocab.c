/* The vocabulary: tokens by id and by text. */
#include "text/text.h"

static size_t vocab_hash(const char *s, size_t n) { return (size_t)pfi_hash64(0, s, n); }

pf_status pfi_vocab_init(pf_ctx *ctx, pfi_vocab *v, size_t words, size_t ids, size_t bytes) {
    size_t slots = 16;
    while (slots < 2 * words) slots *= 2;
    v->word = pfi_calloc(ctx, ids + 1, sizeof *v->word);
    v->slot = pfi_alloc(ctx, slots * sizeof *v->slot);
    v->arena = pfi_alloc(ctx, bytes + 1);
    if (!v->word || !v->slot || !v->arena) return PF_NOMEM;
    memset(v->slot, 0xFF, slots * sizeof *v->slot);
    v->n = ids;
    v->mask = slots - 1;
    return PF_OK;
}

static size_t vocab_slot(const pfi_vocab *v, const char *text, size_t len) {
    size_t i = vocab_hash(text, len) & v->mask;
    for (; v->slot[i] >= 0; i = (i + 1) & v->mask) {
        const pfi_word *w = &v->word[v->slot[i]];
        if (w->len == len && memcmp(w->text, text, len) == 0) break;
    }
    return i;
}

int32_t pfi_vocab_find(const pfi_vocab *v, const char *text, size_t len) {
    return v->slot ? v->slot[vocab_slot(v, text, len)] : -1;
}

pf_status pfi_vocab_add(pf_ctx *ctx, pfi_vocab *v, const char *text, size_t len, int32_t id, const char *what) {
    pfi_word *w = &v->word[id];
    if (w->text)
        return pfi_fail(ctx, PF_FORMAT, "%s: the tokens \"%.60s\" and \"%.60s\" have the same id %d", what, w->text,
                        text, id);
    memcpy(v->arena + v->used, text, len);
    v->arena[v->used + len] = 0;
    w->text = v->arena + v->used;
    w->len = (uint32_t)len;
    v->used += len + 1;
    v->slot[vocab_slot(v, text, len)] = id;
    return PF_OK;
}

void pfi_vocab_free(pf_ctx *ctx, pfi_vocab *v) {
    pfi_free(ctx, v->word);
    pfi_free(ctx, v->slot);
    pfi_free(ctx, v->arena);
    *v = (pfi_vocab){0};
}
