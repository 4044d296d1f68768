/* Added tokens: found in the text before anything else touches it, longest first. */
#include <stdlib.h>

#include "text/text.h"

/* raw ones first, then by the bytes of match */
static int added_order(const void *a, const void *b) {
    const pfi_added *x = a, *y = b;
    if (x->normalized != y->normalized) return x->normalized ? 1 : -1;
    int c = memcmp(x->match, y->match, PFI_MIN(x->len, y->len));
    if (c) return c;
    if (x->len != y->len) return x->len < y->len ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* what the token is found by */
static pf_status added_match(pf_ctx *ctx, const pfi_stages *normalizers, pfi_added *t, size_t len) {
    pfi_buf a = {0}, b = {0};
    pf_status s = pfi_buf_add(ctx, &a, t->text, len);
    for (int i = 0; t->normalized && i < normalizers->n && s == PF_OK; i++) {
        b.len = 0;
        s = pfi_normalize(ctx, &normalizers->s[i], a.data, a.len, &b);
        pfi_buf swap = a;
        a = b;
        b = swap;
    }
    pfi_buf_free(ctx, &b);
    if (s != PF_OK || a.len == 0) { /* normalised away: never found */
        pfi_buf_free(ctx, &a);
        return s;
    }
    t->match = a.data;
    t->len = a.len;
    return PF_OK;
}

/* What the next token that the model's vocabulary does not have gets as its id: the reference counts on, whatever the
 * file says. Today it counts from the size of the vocabulary; before 0.23 it went on behind the largest id of an added
 * token, which is the same unless the vocabulary has holes. A file that says neither means one token here and another
 * there. */
typedef struct added_next {
    int32_t counted, largest, size;
} added_next;

static pf_status added_count(pf_ctx *ctx, const char *text, int32_t id, const char *what, added_next *next) {
    const int32_t now = next->counted++, before = PFI_MAX(next->largest + 1, next->size);
    if (id == now || id == before) return PF_OK;
    return pfi_fail(ctx, PF_UNSUPPORTED,
                    "%s: the token \"%.60s\" has the id %d, but its place in the list gives it %d (as tokenizers of "
                    "Hugging Face count): which is meant?",
                    what, text, id, now);
}

static pf_status added_one(pf_ctx *ctx, const json_t *v, const char *what, const pfi_stages *normalizers,
                           added_next *next, pfi_vocab *vocab, pfi_added_set *out) {
    const char *text;
    int64_t id;
    PF_TRY(pfi_json_string(ctx, v, "content", what, &text));
    PF_TRY(pfi_json_int(ctx, v, "id", what, &id));
    size_t len = json_string_length(json_object_get(v, "content"));
    if (len == 0) return PF_OK; /* can never be found */
    pfi_added t = {.id = pfi_vocab_find(vocab, text, len)};
    if (t.id < 0) {
        t.id = (int32_t)id; /* in range: the size of the vocabulary comes from it */
        PF_TRY(pfi_vocab_add(ctx, vocab, text, len, t.id, what));
        PF_TRY(added_count(ctx, text, t.id, what, next));
    }
    next->largest = PFI_MAX(next->largest, t.id);
    PF_TRY(pfi_json_bool_opt(ctx, v, "single_word", what, &t.single_word));
    PF_TRY(pfi_json_bool_opt(ctx, v, "lstrip", what, &t.lstrip));
    PF_TRY(pfi_json_bool_opt(ctx, v, "rstrip", what, &t.rstrip));
    PF_TRY(pfi_json_bool_opt(ctx, v, "special", what, &t.special));
    t.normalized = !t.special;
    PF_TRY(pfi_json_bool_opt(ctx, v, "normalized", what, &t.normalized));
    pfi_word *w = &vocab->word[t.id];
    w->added = -1;
    w->special = t.special;
    t.text = w->text;
    PF_TRY(added_match(ctx, normalizers, &t, len));
    if (t.match) out->t[out->n++] = t;
    return PF_OK;
}

pf_status pfi_added_parse(pf_ctx *ctx, const json_t *list, const char *what, const pfi_stages *normalizers,
                          pfi_vocab *vocab, pfi_added_set *out) {
    size_t i;
    json_t *v;
    const int32_t size = (int32_t)vocab->n_model;
    added_next next = {size, -1, size};
    out->t = pfi_calloc(ctx, json_array_size(list) + 1, sizeof *out->t);
    if (!out->t) return PF_NOMEM;
    json_array_foreach(list, i, v) PF_TRY(added_one(ctx, v, what, normalizers, &next, vocab, out));
    qsort(out->t, out->n, sizeof *out->t, added_order);
    for (i = 0; i < out->n; i++) vocab->word[out->t[i].id].added = (int32_t)i + 1;
    size_t at = 0;
    for (int k = 0; k < 2; k++) {
        for (int c = 0; c <= 256; c++) {
            out->bucket[k][c] = at;
            while (at < out->n && out->t[at].normalized == (k == 1) && (unsigned char)out->t[at].match[0] == c) at++;
        }
    }
    return PF_OK;
}

void pfi_added_free(pf_ctx *ctx, pfi_added_set *v) {
    for (size_t i = 0; i < v->n; i++) pfi_free(ctx, v->t[i].match);
    pfi_free(ctx, v->t);
    *v = (pfi_added_set){0};
}

/* first token of [lo, hi) whose byte at d is not below c; all of them are longer than d and equal before it */
static size_t added_bound(const pfi_added *t, size_t lo, size_t hi, size_t d, int c) {
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if ((unsigned char)t[mid].match[d] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* the longest token at s, or NULL: the tokens that begin as s does are a range, which every further byte narrows */
static const pfi_added *added_at(const pfi_added_set *v, bool normalized, const char *s, size_t n) {
    const size_t *b = &v->bucket[normalized][(unsigned char)*s];
    const pfi_added *best = NULL;
    for (size_t d = 1, lo = b[0], hi = b[1]; lo < hi; d++) {
        if (v->t[lo].len == d) best = &v->t[lo];
        while (lo < hi && v->t[lo].len == d) lo++;
        if (d == n) break;
        int c = (unsigned char)s[d];
        lo = added_bound(v->t, lo, hi, d, c);
        hi = added_bound(v->t, lo, hi, d, c + 1);
    }
    return best;
}

/* start of the character that ends at end > 0 */
static size_t added_back(const char *s, size_t end) {
    size_t i = end - 1;
    while (i > 0 && ((unsigned char)s[i] & 0xC0) == 0x80) i--;
    return i;
}

static bool added_alone(const char *s, size_t n, size_t start, size_t end) {
    size_t len;
    if (start > 0) {
        size_t before = added_back(s, start);
        if (pfi_char_word(pfi_utf8_next(s + before, start - before, &len))) return false;
    }
    return end == n || !pfi_char_word(pfi_utf8_next(s + end, n - end, &len));
}

static size_t added_space_left(const char *s, size_t start, size_t least) {
    size_t len;
    while (start > least) {
        size_t before = added_back(s, start);
        if (!pfi_char_space(pfi_utf8_next(s + before, start - before, &len))) break;
        start = before;
    }
    return PFI_MAX(start, least);
}

static size_t added_space_right(const char *s, size_t n, size_t end) {
    size_t len;
    while (end < n && pfi_char_space(pfi_utf8_next(s + end, n - end, &len))) end += len;
    return end;
}

pf_status pfi_added_split(pf_ctx *ctx, const pfi_added_set *v, bool normalized, bool literal, const char *s, size_t n,
                          bool first, pfi_pieces *out) {
    size_t done = 0; /* everything before is in out */
    for (size_t i = 0; i < n;) {
        const pfi_added *t = added_at(v, normalized, s + i, n - i);
        if (!t) {
            i++;
            continue;
        }
        size_t start = i, end = i + t->len;
        i = end;
        if ((literal && t->special) || (t->single_word && !added_alone(s, n, start, end))) continue;
        if (t->lstrip) start = added_space_left(s, start, PFI_MIN(done, start));
        if (t->rstrip) end = added_space_right(s, n, end);
        if (start > done) PF_TRY(pfi_pieces_add(ctx, out, s + done, start - done, -1, first && done == 0));
        PF_TRY(pfi_pieces_end(ctx, out, t->id, first && start == 0));
        done = end;
    }
    return n > done ? pfi_pieces_add(ctx, out, s + done, n - done, -1, first && done == 0) : PF_OK;
}
