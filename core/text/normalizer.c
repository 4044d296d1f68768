/* Normalizers of tokenizer.json. */
#include <stdlib.h>
#include <utf8proc.h>

#include "text/text.h"

enum {
    NORM_NFC,
    NORM_NFD,
    NORM_NFKC,
    NORM_NFKD,
    NORM_LOWERCASE,
    NORM_STRIP,
    NORM_STRIP_ACCENTS,
    NORM_PREPEND,
    NORM_REPLACE,
    NORM_BYTE_LEVEL
};

static pf_status norm_parse_strip(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stage *out) {
    PF_TRY(pfi_json_bool(ctx, obj, "strip_left", what, &out->a));
    return pfi_json_bool(ctx, obj, "strip_right", what, &out->b);
}

static pf_status norm_parse_prepend(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stage *out) {
    return pfi_stage_text(ctx, obj, "prepend", what, out);
}

static pf_status norm_parse_replace(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stage *out) {
    PF_TRY(pfi_pattern_parse(ctx, obj, what, &out->pattern));
    return pfi_stage_text(ctx, obj, "content", what, out);
}

static const pfi_stage_type norm_types[] = {
    {"NFC", NORM_NFC, NULL},
    {"NFD", NORM_NFD, NULL},
    {"NFKC", NORM_NFKC, NULL},
    {"NFKD", NORM_NFKD, NULL},
    {"Lowercase", NORM_LOWERCASE, NULL},
    {"Strip", NORM_STRIP, norm_parse_strip},
    {"StripAccents", NORM_STRIP_ACCENTS, NULL},
    {"Prepend", NORM_PREPEND, norm_parse_prepend},
    {"Replace", NORM_REPLACE, norm_parse_replace},
    {"ByteLevel", NORM_BYTE_LEVEL, NULL},
};

pf_status pfi_normalizers_parse(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stages *out) {
    return pfi_stages_parse(ctx, obj, what, "normalizers", norm_types, PFI_COUNT(norm_types), out);
}

static bool norm_ascii(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)s[i] >= 0x80) return false;
    }
    return true;
}

static pf_status norm_part(pf_ctx *ctx, int kind, const char *s, size_t n, pfi_buf *out) {
    static const int options[] = {[NORM_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
                                  [NORM_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
                                  [NORM_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
                                  [NORM_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT};
    if (norm_ascii(s, n)) return pfi_buf_add(ctx, out, s, n);
    utf8proc_uint8_t *r;
    utf8proc_ssize_t len =
        utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &r, (utf8proc_option_t)options[kind]);
    if (len < 0) {
        pf_status why = len == UTF8PROC_ERROR_NOMEM ? PF_NOMEM : PF_FORMAT;
        return pfi_fail(ctx, why, "text cannot be normalised: %s", utf8proc_errmsg(len));
    }
    pf_status st = pfi_buf_add(ctx, out, r, (size_t)len);
    free(r); /* utf8proc's own */
    return st;
}

/* characters unknown to the reference stay, and part the text: to it they are no marks of what stands before them */
static pf_status norm_unicode(pf_ctx *ctx, int kind, const char *s, size_t n, pfi_buf *out) {
    size_t from = 0;
    for (size_t i = 0, len = 1; i < n; i += len, len = 1) {
        if ((unsigned char)s[i] < 0xDF) continue; /* none of them begins so: bytes one by one will do */
        if (!pfi_char_unknown(pfi_utf8_next(s + i, n - i, &len))) continue;
        PF_TRY(norm_part(ctx, kind, s + from, i - from, out));
        PF_TRY(pfi_buf_add(ctx, out, s + i, len));
        from = i + len;
    }
    return norm_part(ctx, kind, s + from, n - from, out);
}

static pf_status norm_lowercase(pf_ctx *ctx, const char *s, size_t n, pfi_buf *out) {
    for (size_t i = 0, len; i < n; i += len) {
        int32_t c = pfi_utf8_next(s + i, n - i, &len);
        if (c == 0x130) /* the one letter whose small form is two characters */
            PF_TRY(pfi_buf_str(ctx, out, "i\xCC\x87"));
        else
            PF_TRY(pfi_utf8_add(ctx, out, utf8proc_tolower(c)));
    }
    return PF_OK;
}

static pf_status norm_strip_accents(pf_ctx *ctx, const char *s, size_t n, pfi_buf *out) {
    for (size_t i = 0, len; i < n; i += len) {
        const int32_t c = pfi_utf8_next(s + i, n - i, &len);
        const bool mark = (pfi_char_mark(c) && !pfi_char_unknown(c)) || c == 0x1CF2 || c == 0x1CF3; /* once marks */
        if (!mark) PF_TRY(pfi_buf_add(ctx, out, s + i, len));
    }
    return PF_OK;
}

static pf_status norm_strip(pf_ctx *ctx, const pfi_stage *st, const char *s, size_t n, pfi_buf *out) {
    size_t from = 0, to = 0, len;
    while (st->a && from < n && pfi_char_space(pfi_utf8_next(s + from, n - from, &len))) from += len;
    for (size_t i = from; i < n; i += len) {
        if (!pfi_char_space(pfi_utf8_next(s + i, n - i, &len)) || !st->b) to = i + len;
    }
    return pfi_buf_add(ctx, out, s + from, to > from ? to - from : 0);
}

pf_status pfi_normalize(pf_ctx *ctx, const pfi_stage *st, const char *s, size_t n, pfi_buf *out) {
    switch (st->kind) {
    case NORM_LOWERCASE: return norm_lowercase(ctx, s, n, out);
    case NORM_STRIP: return norm_strip(ctx, st, s, n, out);
    case NORM_STRIP_ACCENTS: return norm_strip_accents(ctx, s, n, out);
    case NORM_PREPEND:
        if (n) PF_TRY(pfi_buf_add(ctx, out, st->text, st->len));
        return pfi_buf_add(ctx, out, s, n);
    case NORM_REPLACE: return pfi_stage_replace(ctx, st, s, n, out);
    case NORM_BYTE_LEVEL:
        for (size_t i = 0; i < n; i++) PF_TRY(pfi_utf8_add(ctx, out, pfi_byte_char((unsigned char)s[i])));
        return PF_OK;
    default: return norm_unicode(ctx, st->kind, s, n, out);
    }
}
