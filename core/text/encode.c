/* From text to ids and back: the order of the stages. */
#include "text/text.h"

/* ---- encoding ---- */

typedef enum encode_step { ENCODE_RAW, ENCODE_NORMALIZE, ENCODE_NORMALIZED, ENCODE_CUT } encode_step;

/* every piece that is not a token yet goes through one step, from in to out */
static pf_status encode_pieces(const pf_tokenizer *tok, encode_step step, const pfi_stage *st, bool literal,
                               const pfi_pieces *in, pfi_pieces *out) {
    pf_ctx *ctx = tok->ctx;
    pfi_pieces_clear(out);
    for (size_t i = 0; i < in->n; i++) {
        size_t from = pfi_piece_start(in, i), n = in->p[i].end - from;
        const char *s = in->text.data ? in->text.data + from : ""; /* tokens alone leave no text */
        bool first = in->p[i].first;
        if (in->p[i].id >= 0) {
            PF_TRY(pfi_pieces_end(ctx, out, in->p[i].id, first));
        } else if (step == ENCODE_NORMALIZE) {
            PF_TRY(pfi_normalize(ctx, st, s, n, &out->text));
            PF_TRY(pfi_pieces_end(ctx, out, -1, first));
        } else if (step == ENCODE_CUT) {
            PF_TRY(pfi_pretokenize(ctx, st, s, n, first, out));
        } else {
            PF_TRY(pfi_added_split(ctx, &tok->added, step == ENCODE_NORMALIZED, literal, s, n, first, out));
        }
    }
    return PF_OK;
}

/* v[0]: the text as one piece; on return the words */
static pf_status encode_words(const pf_tokenizer *tok, bool literal, pfi_pieces v[2]) {
    int total = tok->normalizers.n + tok->pretokenizers.n + 2;
    for (int i = 0; i < total; i++) {
        int norm = i - 1, cut = i - 2 - tok->normalizers.n;
        encode_step step = i == 0                       ? ENCODE_RAW
                           : norm < tok->normalizers.n  ? ENCODE_NORMALIZE
                           : norm == tok->normalizers.n ? ENCODE_NORMALIZED
                                                        : ENCODE_CUT;
        const pfi_stage *st = step == ENCODE_NORMALIZE ? &tok->normalizers.s[norm]
                              : step == ENCODE_CUT     ? &tok->pretokenizers.s[cut]
                                                       : NULL;
        PF_TRY(encode_pieces(tok, step, st, literal, &v[0], &v[1]));
        pfi_pieces swap = v[0];
        v[0] = v[1];
        v[1] = swap;
    }
    return PF_OK;
}

static pf_status encode_ids(pf_tokenizer *tok, const pfi_pieces *v, bool special, pfi_ints *ids) {
    pf_ctx *ctx = tok->ctx;
    for (size_t i = 0; special && i < tok->before.len; i++) PF_TRY(pfi_ints_add(ctx, ids, tok->before.data[i]));
    for (size_t i = 0; i < v->n; i++) {
        size_t from = pfi_piece_start(v, i);
        if (v->p[i].id >= 0)
            PF_TRY(pfi_ints_add(ctx, ids, v->p[i].id));
        else
            PF_TRY(pfi_bpe_word(ctx, &tok->bpe, v->text.data + from, v->p[i].end - from, ids));
    }
    for (size_t i = 0; special && i < tok->after.len; i++) PF_TRY(pfi_ints_add(ctx, ids, tok->after.data[i]));
    return PF_OK;
}

pf_status pfi_tokenizer_encode(pf_tokenizer *tok, const char *text, size_t len, int flags, int32_t **ids, size_t *n) {
    pf_ctx *ctx = tok->ctx;
    *ids = NULL;
    *n = 0;
    size_t bad = pfi_utf8_check(text, len);
    if (bad < len)
        return pfi_fail(ctx, PF_FORMAT, "byte %zu of the text (0x%02X) is not valid UTF-8", bad + 1,
                        (unsigned char)text[bad]);
    pfi_pieces v[2] = {{{0}, NULL, 0, 0}, {{0}, NULL, 0, 0}};
    pfi_ints out = {0};
    pf_status s = pfi_pieces_add(ctx, &v[0], text, len, -1, true);
    if (s == PF_OK) s = encode_words(tok, flags & PFI_TOK_LITERAL, v);
    if (s == PF_OK) s = encode_ids(tok, &v[0], flags & PFI_TOK_SPECIAL, &out);
    if (s == PF_OK && !out.data) { /* no ids still need a pointer to give */
        out.data = pfi_alloc(ctx, sizeof *out.data);
        if (!out.data) s = PF_NOMEM;
    }
    pfi_pieces_free(ctx, &v[0]);
    pfi_pieces_free(ctx, &v[1]);
    if (s != PF_OK) {
        pfi_ints_free(ctx, &out);
        return s;
    }
    *ids = out.data;
    *n = out.len;
    return PF_OK;
}

pf_status pf_tokenizer_encode(pf_tokenizer *tok, const char *text, size_t len, bool special, int32_t **ids, size_t *n) {
    return pfi_tokenizer_encode(tok, text, len, special ? PFI_TOK_SPECIAL : 0, ids, n);
}

/* ---- decoding ---- */

/* NULL with a message if no token has the id */
static const pfi_word *decode_word(const pf_tokenizer *tok, int32_t id) {
    const pfi_vocab *v = &tok->bpe.vocab;
    if (id >= 0 && (size_t)id < v->n && v->word[id].text) return &v->word[id];
    pfi_fail(tok->ctx, PF_RANGE, "no token has the id %d; there are ids from 0 to %zu", id, v->n - 1);
    return NULL;
}

/* what a token stands for before the decoders: an added one as it is found, so normalised if it says so */
static const char *decode_text(const pf_tokenizer *tok, const pfi_word *w, size_t *len) {
    const pfi_added *t = w->added > 0 ? &tok->added.t[w->added - 1] : NULL;
    *len = t ? t->len : w->len;
    return t ? t->match : w->text;
}

static pf_status decode_tokens(const pf_tokenizer *tok, const int32_t *ids, size_t n, bool skip_special,
                               pfi_pieces *out) {
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        const pfi_word *w = decode_word(tok, ids[i]);
        if (!w) return PF_RANGE;
        if (skip_special && w->special) continue;
        if (any && !tok->has_decoder) PF_TRY(pfi_buf_str(tok->ctx, &out->text, " ")); /* as the reference joins */
        size_t len;
        const char *text = decode_text(tok, w, &len);
        PF_TRY(pfi_pieces_add(tok->ctx, out, text, len, w->added ? ids[i] : -1, !any));
        any = true;
    }
    return PF_OK;
}

pf_status pf_tokenizer_decode(pf_tokenizer *tok, const int32_t *ids, size_t n, bool skip_special, char **text,
                              size_t *len) {
    pf_ctx *ctx = tok->ctx;
    pfi_pieces v[2] = {{{0}, NULL, 0, 0}, {{0}, NULL, 0, 0}};
    *text = NULL;
    *len = 0;
    pf_status s = decode_tokens(tok, ids, n, skip_special, &v[0]);
    for (int i = 0; i < tok->decoders.n && s == PF_OK; i++) {
        pfi_pieces_clear(&v[1]);
        s = pfi_decode_stage(ctx, &tok->decoders.s[i], &v[0], &v[1]);
        pfi_pieces swap = v[0];
        v[0] = v[1];
        v[1] = swap;
    }
    if (s == PF_OK) s = pfi_buf_add(ctx, &v[0].text, "", 0); /* a final 0 even for no text */
    if (s == PF_OK) {
        *text = v[0].text.data;
        *len = v[0].text.len;
        v[0].text = (pfi_buf){0};
    }
    pfi_pieces_free(ctx, &v[0]);
    pfi_pieces_free(ctx, &v[1]);
    return s;
}

pf_status pfi_tokenizer_piece(pf_tokenizer *tok, int32_t id, pfi_buf *out) {
    const pfi_word *w = decode_word(tok, id);
    if (!w) return PF_RANGE;
    size_t len;
    const char *text = decode_text(tok, w, &len);
    return pfi_decode_piece(tok->ctx, &tok->decoders, text, len, w->added, out);
}
