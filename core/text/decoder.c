/* Decoders of tokenizer.json: from tokens back to text. */
#include "text/text.h"

enum { DEC_BYTE_LEVEL, DEC_REPLACE, DEC_BYTE_FALLBACK, DEC_FUSE, DEC_STRIP, DEC_METASPACE };

static pf_status dec_parse_replace(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stage *out) {
    PF_TRY(pfi_pattern_parse(ctx, obj, what, &out->pattern));
    return pfi_stage_text(ctx, obj, "content", what, out);
}

static pf_status dec_parse_strip(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stage *out) {
    int64_t start, stop;
    PF_TRY(pfi_stage_text(ctx, obj, "content", what, out));
    PF_TRY(pfi_json_int(ctx, obj, "start", what, &start));
    PF_TRY(pfi_json_int(ctx, obj, "stop", what, &stop));
    if (start < 0 || stop < 0 || start > 1000 || stop > 1000 || out->len == 0)
        return pfi_fail(ctx, PF_FORMAT, "%s: a Strip needs a content and start and stop from 0 to 1000", what);
    out->mode = (int)start;
    out->stop = (int)stop;
    return PF_OK;
}

static pf_status dec_parse_metaspace(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stage *out) {
    bool prefix = true;
    const char *scheme = NULL;
    PF_TRY(pfi_stage_text(ctx, obj, "replacement", what, out));
    if (out->len == 0) return pfi_fail(ctx, PF_FORMAT, "%s: the key \"replacement\" is empty", what);
    PF_TRY(pfi_json_bool_opt(ctx, obj, "add_prefix_space", what, &prefix));
    PF_TRY(pfi_json_string_opt(ctx, obj, "prepend_scheme", what, &scheme));
    out->a = scheme ? strcmp(scheme, "never") != 0 : prefix;
    return PF_OK;
}

static const pfi_stage_type dec_types[] = {
    {"ByteLevel", DEC_BYTE_LEVEL, NULL},       {"Replace", DEC_REPLACE, dec_parse_replace},
    {"ByteFallback", DEC_BYTE_FALLBACK, NULL}, {"Fuse", DEC_FUSE, NULL},
    {"Strip", DEC_STRIP, dec_parse_strip},     {"Metaspace", DEC_METASPACE, dec_parse_metaspace},
};

pf_status pfi_decoders_parse(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stages *out) {
    return pfi_stages_parse(ctx, obj, what, "decoders", dec_types, PFI_COUNT(dec_types), out);
}

/* ---- one token ---- */

/* the replacement becomes a space, or nothing in the first token of a text that got it prepended */
static pf_status dec_metaspace(pf_ctx *ctx, const pfi_stage *st, const char *s, size_t n, bool drop, pfi_buf *out) {
    for (size_t i = 0; i < n;) {
        if (n - i >= st->len && memcmp(s + i, st->text, st->len) == 0) {
            if (!drop) PF_TRY(pfi_buf_add(ctx, out, " ", 1));
            i += st->len;
        } else {
            PF_TRY(pfi_buf_add(ctx, out, s + i++, 1));
        }
    }
    return PF_OK;
}

/* stand-ins back to bytes; a token with any other character is taken as it is written */
static pf_status dec_bytes(pf_ctx *ctx, const char *s, size_t n, bool added, pfi_buf *out) {
    size_t from = out->len;
    for (size_t i = 0, len; i < n && !added; i += len) {
        int b = pfi_char_byte(pfi_utf8_next(s + i, n - i, &len));
        char c = (char)(unsigned char)b;
        if (b >= 0) {
            PF_TRY(pfi_buf_add(ctx, out, &c, 1));
            continue;
        }
        out->len = from;
        added = true;
    }
    return added ? pfi_buf_add(ctx, out, s, n) : PF_OK;
}

/* "<0x0A>" is the byte 10; -1 for anything else */
static int dec_byte_token(const char *s, size_t n) {
    static const char hex[] = "0123456789ABCDEF0123456789abcdef";
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || !s[3] || !s[4]) return -1;
    const char *hi = strchr(hex, s[3]), *lo = strchr(hex, s[4]);
    return hi && lo ? (int)((hi - hex) % 16 * 16 + (lo - hex) % 16) : -1;
}

static pf_status dec_strip(pf_ctx *ctx, const pfi_stage *st, const char *s, size_t n, pfi_buf *out) {
    for (int i = 0; i < st->mode && n >= st->len && memcmp(s, st->text, st->len) == 0; i++) {
        s += st->len;
        n -= st->len;
    }
    for (int i = 0; i < st->stop && n >= st->len && memcmp(s + n - st->len, st->text, st->len) == 0; i++) n -= st->len;
    return pfi_buf_add(ctx, out, s, n);
}

/* ---- whole lists ---- */

/* s with U+FFFD for what is not UTF-8; a broken sequence gives one for its longest beginning that could be valid */
static pf_status dec_lossy(pf_ctx *ctx, const char *s, size_t n, pfi_buf *out) {
    for (size_t i = 0, len; i < n; i += len) {
        if (pfi_utf8_next(s + i, n - i, &len) >= 0) {
            PF_TRY(pfi_buf_add(ctx, out, s + i, len));
            continue;
        }
        PF_TRY(pfi_buf_str(ctx, out, "\xEF\xBF\xBD"));
        unsigned char c = (unsigned char)s[i];
        size_t want = c >= 0xF0 && c <= 0xF4 ? 4 : c >= 0xE0 && c < 0xF0 ? 3 : 1;
        for (; len < want && len < n - i; len++) {
            unsigned char d = (unsigned char)s[i + len], lo = 0x80, hi = 0xBF;
            if (len == 1) {
                lo = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
                hi = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
            }
            if (d < lo || d > hi) break;
        }
    }
    return PF_OK;
}

static pf_status dec_byte_level(pf_ctx *ctx, const pfi_pieces *in, pfi_pieces *out) {
    pfi_buf raw = {0};
    pf_status s = PF_OK;
    for (size_t i = 0; i < in->n && s == PF_OK; i++) {
        size_t from = pfi_piece_start(in, i);
        s = dec_bytes(ctx, in->text.data + from, in->p[i].end - from, in->p[i].id >= 0, &raw);
    }
    if (s == PF_OK) s = dec_lossy(ctx, raw.data, raw.len, &out->text);
    if (s == PF_OK) s = pfi_pieces_end(ctx, out, -1, true);
    pfi_buf_free(ctx, &raw);
    return s;
}

/* the bytes collected since from become one piece, or one U+FFFD each */
static pf_status dec_byte_run(pf_ctx *ctx, pfi_pieces *out, size_t from) {
    size_t n = out->text.len - from;
    if (n == 0) return PF_OK;
    if (pfi_utf8_check(out->text.data + from, n) < n) {
        out->text.len = from;
        for (; n; n--) PF_TRY(pfi_buf_str(ctx, &out->text, "\xEF\xBF\xBD"));
    }
    return pfi_pieces_end(ctx, out, -1, false);
}

static pf_status dec_byte_fallback(pf_ctx *ctx, const pfi_pieces *in, pfi_pieces *out) {
    size_t run = out->text.len;
    for (size_t i = 0; i < in->n; i++) {
        size_t from = pfi_piece_start(in, i), n = in->p[i].end - from;
        int b = dec_byte_token(in->text.data + from, n);
        char c = (char)(unsigned char)b;
        if (b >= 0) {
            PF_TRY(pfi_buf_add(ctx, &out->text, &c, 1));
            continue;
        }
        PF_TRY(dec_byte_run(ctx, out, run));
        PF_TRY(pfi_pieces_add(ctx, out, in->text.data + from, n, in->p[i].id, false));
        run = out->text.len;
    }
    return dec_byte_run(ctx, out, run);
}

pf_status pfi_decode_stage(pf_ctx *ctx, const pfi_stage *st, const pfi_pieces *in, pfi_pieces *out) {
    if (st->kind == DEC_BYTE_LEVEL) return dec_byte_level(ctx, in, out);
    if (st->kind == DEC_BYTE_FALLBACK) return dec_byte_fallback(ctx, in, out);
    if (st->kind == DEC_FUSE) return pfi_pieces_add(ctx, out, in->text.data, in->text.len, -1, true);
    for (size_t i = 0; i < in->n; i++) {
        size_t from = pfi_piece_start(in, i), n = in->p[i].end - from;
        const char *s = in->text.data + from;
        if (st->kind == DEC_REPLACE)
            PF_TRY(pfi_stage_replace(ctx, st, s, n, &out->text));
        else if (st->kind == DEC_STRIP)
            PF_TRY(dec_strip(ctx, st, s, n, &out->text));
        else
            PF_TRY(dec_metaspace(ctx, st, s, n, st->a && i == 0, &out->text));
        PF_TRY(pfi_pieces_end(ctx, out, in->p[i].id, i == 0));
    }
    return PF_OK;
}

pf_status pfi_decode_piece(pf_ctx *ctx, const pfi_stages *st, const char *s, size_t n, bool added, pfi_buf *out) {
    pfi_buf a = {0}, b = {0};
    pf_status r = pfi_buf_add(ctx, &a, s, n);
    for (int i = 0; i < st->n && r == PF_OK; i++) {
        int kind = st->s[i].kind, byte;
        if (kind == DEC_FUSE || kind == DEC_STRIP) continue;
        b.len = 0;
        if (kind == DEC_BYTE_FALLBACK && (byte = dec_byte_token(a.data, a.len)) >= 0)
            r = pfi_buf_add(ctx, &b, (char[]){(char)(unsigned char)byte}, 1);
        else if (kind == DEC_BYTE_LEVEL)
            r = dec_bytes(ctx, a.data, a.len, added, &b);
        else if (kind == DEC_REPLACE)
            r = pfi_stage_replace(ctx, &st->s[i], a.data, a.len, &b);
        else if (kind == DEC_METASPACE)
            r = dec_metaspace(ctx, &st->s[i], a.data, a.len, false, &b);
        else
            r = pfi_buf_add(ctx, &b, a.data, a.len);
        pfi_buf swap = a;
        a = b;
        b = swap;
    }
    if (r == PF_OK) r = pfi_buf_add(ctx, out, a.data, a.len);
    pfi_buf_free(ctx, &a);
    pfi_buf_free(ctx, &b);
    return r;
}
