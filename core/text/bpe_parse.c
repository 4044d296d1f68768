/* The model part of tokenizer.json: vocabulary, merges, flags. */
#include "text/text.h"

/* ids 0 .. PFI_TEXT_MAX_ID - 1 only: a table by id is made */
static pf_status bpe_id(pf_ctx *ctx, const char *token, const json_t *v, const char *what, int32_t *id) {
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= PFI_TEXT_MAX_ID)
        return pfi_fail(ctx, PF_FORMAT, "%s: the token \"%.60s\" has %s as its id, expected an integer from 0 to %d",
                        what, token, PFI_JSON_FOUND(v), PFI_TEXT_MAX_ID - 1);
    *id = (int32_t)json_integer_value(v);
    return PF_OK;
}

static pf_status bpe_vocab(pf_ctx *ctx, json_t *vocab, const json_t *added, const char *what, pfi_vocab *out) {
    size_t words = json_object_size(vocab) + json_array_size(added), bytes = 0, i;
    int32_t id = 0, ids = 0;
    const char *key;
    json_t *v;
    json_object_foreach(vocab, key, v) {
        PF_TRY(bpe_id(ctx, key, v, what, &id));
        bytes += strlen(key) + 1;
        ids = PFI_MAX(ids, id + 1);
    }
    json_array_foreach(added, i, v) {
        json_t *text = json_object_get(v, "content");
        if (!json_is_string(text)) continue; /* reported when the added tokens are read */
        bytes += json_string_length(text) + 1;
        PF_TRY(bpe_id(ctx, json_string_value(text), json_object_get(v, "id"), what, &id));
        ids = PFI_MAX(ids, id + 1);
    }
    PF_TRY(pfi_vocab_init(ctx, out, words, (size_t)ids, bytes));
    json_object_foreach(vocab, key, v) {
        id = (int32_t)json_integer_value(v);
        PF_TRY(pfi_vocab_add(ctx, out, key, strlen(key), id, what));
        out->word[id].model = true;
        out->n_model++;
    }
    return PF_OK;
}

/* the two parts of a merge: "a b", or ["a", "b"] */
static bool bpe_parts(const json_t *v, const char *part[2], size_t len[2]) {
    if (json_is_array(v) && json_array_size(v) == 2) {
        for (size_t k = 0; k < 2; k++) {
            json_t *p = json_array_get(v, k);
            part[k] = json_string_value(p);
            len[k] = json_string_length(p);
        }
        return part[0] && part[1];
    }
    const char *s = json_string_value(v), *space = s ? strchr(s, ' ') : NULL;
    if (!space || strchr(space + 1, ' ')) return false;
    part[0] = s;
    len[0] = (size_t)(space - s);
    part[1] = space + 1;
    len[1] = json_string_length(v) - len[0] - 1;
    return true;
}

static pf_status bpe_merge_token(pf_ctx *ctx, const pfi_vocab *v, const char *s, size_t n, size_t rank,
                                 const char *what, int32_t *id) {
    *id = pfi_vocab_find(v, s, n);
    if (*id >= 0) return PF_OK;
    return pfi_fail(ctx, PF_FORMAT, "%s: merge %zu needs the token \"%.*s\", which is not in the vocabulary", what,
                    rank + 1, (int)PFI_MIN(n, 60), s);
}

static size_t bpe_merge_slot(const pfi_bpe *m, int32_t a, int32_t b) {
    size_t i = (size_t)(((uint64_t)(uint32_t)a << 32 | (uint32_t)b) * 0x9E3779B97F4A7C15u >> 20) & m->mask;
    while (m->merge[i].a >= 0 && (m->merge[i].a != a || m->merge[i].b != b)) i = (i + 1) & m->mask;
    return i;
}

const pfi_merge *pfi_bpe_merge(const pfi_bpe *m, int32_t a, int32_t b) {
    const pfi_merge *e = &m->merge[bpe_merge_slot(m, a, b)];
    return e->a < 0 ? NULL : e;
}

static pf_status bpe_merge(pf_ctx *ctx, pfi_bpe *m, const json_t *v, size_t rank, const char *what, pfi_buf *joint) {
    const char *part[2];
    size_t len[2];
    pfi_merge e = {.rank = (int32_t)rank};
    if (!bpe_parts(v, part, len))
        return pfi_fail(ctx, PF_FORMAT, "%s: merge %zu is %s, expected \"a b\" or [\"a\", \"b\"]", what, rank + 1,
                        PFI_JSON_FOUND(v));
    joint->len = 0;
    size_t drop = m->prefix.len; /* the second part goes on with the word: its mark of that is dropped */
    if (len[1] < drop || memcmp(part[1], m->prefix.data, drop) != 0)
        return pfi_fail(ctx, PF_FORMAT, "%s: the second part of merge %zu does not begin with \"%.40s\"", what,
                        rank + 1, m->prefix.data);
    PF_TRY(pfi_buf_add(ctx, joint, part[0], len[0]));
    PF_TRY(pfi_buf_add(ctx, joint, part[1] + drop, len[1] - drop));
    PF_TRY(bpe_merge_token(ctx, &m->vocab, part[0], len[0], rank, what, &e.a));
    PF_TRY(bpe_merge_token(ctx, &m->vocab, part[1], len[1], rank, what, &e.b));
    PF_TRY(bpe_merge_token(ctx, &m->vocab, joint->data, joint->len, rank, what, &e.made));
    m->merge[bpe_merge_slot(m, e.a, e.b)] = e;
    return PF_OK;
}

static pf_status bpe_merges(pf_ctx *ctx, pfi_bpe *m, const json_t *merges, const char *what) {
    size_t slots = 16, i;
    while (slots < 2 * json_array_size(merges)) slots *= 2;
    m->merge = pfi_alloc(ctx, slots * sizeof *m->merge);
    if (!m->merge) return PF_NOMEM;
    memset(m->merge, 0xFF, slots * sizeof *m->merge);
    m->mask = slots - 1;
    pfi_buf joint = {0};
    pf_status s = PF_OK;
    json_t *v;
    json_array_foreach(merges, i, v) {
        s = bpe_merge(ctx, m, v, i, what, &joint);
        if (s != PF_OK) break;
    }
    pfi_buf_free(ctx, &joint);
    return s;
}

static pf_status bpe_affix(pf_ctx *ctx, const json_t *model, const char *key, const char *what, pfi_buf *out) {
    const char *s = "";
    PF_TRY(pfi_json_string_opt(ctx, model, key, what, &s));
    return pfi_buf_add(ctx, out, s, strlen(s));
}

/* words of a SentencePiece vocabulary begin with "▁": does a token reach from one word into the next? */
static bool bpe_cut(const pfi_bpe *m) {
    static const char mark[] = "\xE2\x96\x81";
    int32_t id = pfi_vocab_find(&m->vocab, mark, 3);
    if (id < 0 || m->prefix.len || m->suffix.len) return false;
    for (size_t i = 0; i <= m->mask; i++) {
        if (m->merge[i].a < 0) continue;
        const pfi_word *w = &m->vocab.word[m->merge[i].made];
        for (size_t k = 1; k + 3 <= w->len; k++) {
            bool marked = k >= 3 && memcmp(w->text + k - 3, mark, 3) == 0;
            if (!marked && memcmp(w->text + k, mark, 3) == 0) return false;
        }
    }
    return true;
}

static pf_status bpe_refuse(pf_ctx *ctx, const json_t *model, const char *what) {
    double dropout = 0;
    PF_TRY(pfi_json_number_opt(ctx, model, "dropout", what, &dropout));
    if (dropout != 0)
        return pfi_fail(ctx, PF_UNSUPPORTED, "%s: the key \"dropout\" holds %g, only null or 0 is supported", what,
                        dropout);
    return PF_OK;
}

static pf_status bpe_flags(pf_ctx *ctx, const json_t *model, const char *what, pfi_bpe *m) {
    const char *unk = NULL;
    PF_TRY(bpe_affix(ctx, model, "continuing_subword_prefix", what, &m->prefix));
    PF_TRY(bpe_affix(ctx, model, "end_of_word_suffix", what, &m->suffix));
    PF_TRY(pfi_json_bool_opt(ctx, model, "fuse_unk", what, &m->fuse_unk));
    PF_TRY(pfi_json_bool_opt(ctx, model, "byte_fallback", what, &m->byte_fallback));
    PF_TRY(pfi_json_bool_opt(ctx, model, "ignore_merges", what, &m->ignore_merges));
    PF_TRY(pfi_json_string_opt(ctx, model, "unk_token", what, &unk));
    m->unk = unk ? pfi_vocab_find(&m->vocab, unk, strlen(unk)) : -1;
    if (unk && m->unk < 0)
        return pfi_fail(ctx, PF_FORMAT, "%s: the unk_token \"%.60s\" is not in the vocabulary", what, unk);
    for (int b = 0; b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)b);
        m->byte[b] = pfi_vocab_find(&m->vocab, text, 6);
    }
    return PF_OK;
}

pf_status pfi_bpe_parse(pf_ctx *ctx, const json_t *model, const json_t *added, const char *what, pfi_bpe *out) {
    const char *type = json_object_get(model, "merges") ? "BPE" : "of a missing name";
    json_t *vocab, *merges;
    PF_TRY(pfi_json_string_opt(ctx, model, "type", what, &type));
    if (strcmp(type, "BPE") != 0)
        return pfi_fail(ctx, PF_UNSUPPORTED, "%s: the type \"%.60s\" is not supported, only \"BPE\" is", what, type);
    PF_TRY(pfi_json_object(ctx, model, "vocab", what, &vocab));
    PF_TRY(pfi_json_array(ctx, model, "merges", what, &merges));
    PF_TRY(bpe_refuse(ctx, model, what));
    PF_TRY(bpe_vocab(ctx, vocab, added, what, &out->vocab));
    PF_TRY(bpe_flags(ctx, model, what, out));
    PF_TRY(bpe_merges(ctx, out, merges, what));
    out->cut = bpe_cut(out);
    return pfi_bpe_prepare(ctx, out);
}
