/* Pieces of a text, patterns, character classes, lists of stages. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <utf8proc.h>

#include "text/text.h"

/* ---- pieces ---- */

pf_status pfi_pieces_end(pf_ctx *ctx, pfi_pieces *v, int32_t id, bool first) {
    size_t from = v->n ? v->p[v->n - 1].end : 0;
    if (id < 0 && v->text.len == from) return PF_OK;
    if (v->n == v->cap) {
        size_t cap = v->cap ? 2 * v->cap : 32;
        pfi_piece *p = pfi_realloc(ctx, v->p, cap * sizeof *p);
        if (!p) return PF_NOMEM;
        v->p = p;
        v->cap = cap;
    }
    v->p[v->n++] = (pfi_piece){v->text.len, id, first};
    return PF_OK;
}

pf_status pfi_pieces_add(pf_ctx *ctx, pfi_pieces *v, const char *s, size_t n, int32_t id, bool first) {
    PF_TRY(pfi_buf_add(ctx, &v->text, s, n));
    return pfi_pieces_end(ctx, v, id, first);
}

void pfi_pieces_clear(pfi_pieces *v) { v->n = v->text.len = 0; }

void pfi_pieces_free(pf_ctx *ctx, pfi_pieces *v) {
    pfi_buf_free(ctx, &v->text);
    pfi_free(ctx, v->p);
    *v = (pfi_pieces){0};
}

/* ---- patterns ---- */

#define PATTERN_STEPS 10000000 /* PCRE2's own default */

/* PCRE2's \s counts U+180E, which Unicode and Oniguruma do not: \s and \S are spelled out */
static pf_status pattern_translate(pf_ctx *ctx, const char *s, pfi_buf *out) {
    static const char space[] = "\\p{Z}\\t-\\r\\x{85}";
    bool class = false;
    PF_TRY(pfi_buf_reserve(ctx, out, strlen(s)));
    for (; *s; s++) {
        if (*s == '\\' && s[1]) {
            s++;
            if (*s == 's' && class)
                PF_TRY(pfi_buf_str(ctx, out, space));
            else if (*s == 's' || (*s == 'S' && !class))
                PF_TRY(pfi_buf_fmt(ctx, out, "[%s%s]", *s == 'S' ? "^" : "", space));
            else
                PF_TRY(pfi_buf_fmt(ctx, out, "\\%c", *s));
            continue;
        }
        if (*s == '[') class = true;
        if (*s == ']') class = false;
        PF_TRY(pfi_buf_add(ctx, out, s, 1));
    }
    return PF_OK;
}

pf_status pfi_pattern_regex(pf_ctx *ctx, const char *text, const char *what, pfi_pattern *out) {
    pfi_buf b = {0};
    pf_status s = pattern_translate(ctx, text, &b);
    if (s == PF_OK) {
        int code;
        PCRE2_SIZE at;
        out->re = pcre2_compile((PCRE2_SPTR)b.data, b.len, PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
        if (out->re) {
            pcre2_jit_compile(out->re, PCRE2_JIT_COMPLETE); /* without it matching is only slower */
            out->place = pcre2_match_data_create(1, NULL);
            out->limit = pcre2_match_context_create(NULL);
            if (!out->place || !out->limit) s = pfi_fail(ctx, PF_NOMEM, "not enough memory for a regular expression");
        } else if (code == PCRE2_ERROR_HEAP_FAILED) {
            s = pfi_fail(ctx, PF_NOMEM, "not enough memory for a regular expression");
        } else {
            PCRE2_UCHAR why[128] = {0};
            pcre2_get_error_message(code, why, sizeof why);
            s = pfi_fail(ctx, PF_UNSUPPORTED, "%s: the regular expression \"%.300s\" cannot be used: %s", what, text,
                         (const char *)why);
        }
    }
    pfi_buf_free(ctx, &b);
    return s;
}

pf_status pfi_pattern_parse(pf_ctx *ctx, const json_t *obj, const char *what, pfi_pattern *out) {
    json_t *p;
    PF_TRY(pfi_json_object(ctx, obj, "pattern", what, &p));
    const char *re = json_string_value(json_object_get(p, "Regex"));
    if (re) return pfi_pattern_regex(ctx, re, what, out);
    json_t *lit = json_object_get(p, "String");
    if (!json_is_string(lit) || json_string_length(lit) == 0)
        return pfi_fail(ctx, PF_FORMAT, "%s: the key \"pattern\" must hold {\"String\": text} or {\"Regex\": text}",
                        what);
    out->len = json_string_length(lit);
    out->literal = pfi_strndup(ctx, json_string_value(lit), out->len);
    return out->literal ? PF_OK : PF_NOMEM;
}

bool pfi_pattern_matches_nothing(const pfi_pattern *p) {
    uint32_t empty = 0;
    return p->re && pcre2_pattern_info(p->re, PCRE2_INFO_MATCHEMPTY, &empty) == 0 && empty;
}

void pfi_pattern_free(pf_ctx *ctx, pfi_pattern *p) {
    pfi_free(ctx, p->literal);
    pcre2_match_data_free(p->place);
    pcre2_match_context_free(p->limit);
    pcre2_code_free(p->re);
    *p = (pfi_pattern){0};
}

static pf_status pattern_regex_next(pf_ctx *ctx, const pfi_pattern *p, const char *s, size_t n, size_t from,
                                    size_t *start, size_t *end, bool *found) {
    pcre2_match_data *m = p->place;
    int r = 0;
    /* a pattern that goes back and forth without end is stopped, one that goes back over a long run is not */
    pcre2_set_match_limit(p->limit, (uint32_t)PFI_MIN(PATTERN_STEPS + 8 * (uint64_t)n, UINT32_MAX));
    *found = false;
    while (from < n) {
        r = pcre2_match(p->re, (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, m, p->limit);
        if (r == PCRE2_ERROR_JIT_STACKLIMIT)
            r = pcre2_match(p->re, (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY | PCRE2_NO_JIT, m,
                            p->limit);
        if (r < 0) break;
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m);
        *start = at[0];
        *end = at[1];
        *found = at[1] > at[0]; /* \K can make it otherwise */
        if (*found) break;
        size_t len;
        pfi_utf8_next(s + from, n - from, &len);
        from += len;
    }
    if (r >= 0 || r == PCRE2_ERROR_NOMATCH) return PF_OK;
    if (r == PCRE2_ERROR_NOMEMORY || r == PCRE2_ERROR_HEAPLIMIT)
        return pfi_fail(ctx, PF_NOMEM, "not enough memory to match a regular expression");
    return pfi_fail(ctx, PF_RANGE, "a regular expression of the tokenizer gave up on the text (PCRE2 error %d)", r);
}

pf_status pfi_pattern_next(pf_ctx *ctx, const pfi_pattern *p, const char *s, size_t n, size_t from, size_t *start,
                           size_t *end, bool *found) {
    if (!p->literal) return pattern_regex_next(ctx, p, s, n, from, start, end, found);
    const char *at = from < n ? memmem(s + from, n - from, p->literal, p->len) : NULL;
    *found = at != NULL;
    if (at) {
        *start = (size_t)(at - s);
        *end = *start + p->len;
    }
    return PF_OK;
}

/* ---- characters ---- */

bool pfi_char_space(int32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    if (c == 0x85) return true;
    utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_ZS || k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP;
}

bool pfi_char_numeric(int32_t c) {
    utf8proc_category_t k = utf8proc_category(pfi_char_older(c));
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

bool pfi_char_mark(int32_t c) {
    utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ME;
}

/* Alphabetic of Unicode's Other_Alphabetic that is neither letter nor mark: circled and squared letters */
static bool char_enclosed(int32_t c) {
    return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189);
}

bool pfi_char_word(int32_t c) {
    switch (utf8proc_category(pfi_char_older(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: return c == 0x200C || c == 0x200D || char_enclosed(c);
    }
}

/* Printable Latin-1 bytes stand for themselves, the other 68 for U+0100 on, in ascending order (GPT-2). */
int32_t pfi_byte_char(unsigned char b) {
    if (b <= 32) return 256 + b;
    if (b <= 126) return b;
    if (b <= 160) return 256 + 33 + (b - 127);
    return b == 173 ? 256 + 67 : b;
}

int pfi_char_byte(int32_t c) {
    if (c >= 33 && c <= 255) return (c >= 127 && c <= 160) || c == 173 ? -1 : c;
    if (c < 256 || c > 256 + 67) return -1;
    c -= 256;
    return c <= 32 ? c : c < 67 ? c - 33 + 127 : 173;
}

/* ---- stages ---- */

pf_status pfi_stage_text(pf_ctx *ctx, const json_t *obj, const char *key, const char *what, pfi_stage *out) {
    const char *s;
    PF_TRY(pfi_json_string(ctx, obj, key, what, &s));
    out->len = json_string_length(json_object_get(obj, key));
    out->text = pfi_strndup(ctx, s, out->len);
    return out->text ? PF_OK : PF_NOMEM;
}

static pf_status stage_replace(pf_ctx *ctx, const pfi_stage *st, const char *seen, const char *s, size_t n,
                               pfi_buf *out) {
    size_t at = 0, start, end;
    bool found;
    for (;;) {
        PF_TRY(pfi_pattern_next(ctx, &st->pattern, seen, n, at, &start, &end, &found));
        if (!found) return pfi_buf_add(ctx, out, s + at, n - at);
        PF_TRY(pfi_buf_add(ctx, out, s + at, start - at));
        PF_TRY(pfi_buf_add(ctx, out, st->text, st->len));
        at = end;
    }
}

pf_status pfi_stage_replace(pf_ctx *ctx, const pfi_stage *st, const char *s, size_t n, pfi_buf *out) {
    pfi_buf own = {0};
    const char *seen = s;
    pf_status r = st->pattern.literal ? PF_OK : pfi_text_older(ctx, s, n, &own, &seen);
    if (r == PF_OK) r = stage_replace(ctx, st, seen, s, n, out);
    pfi_buf_free(ctx, &own);
    return r;
}

static pf_status stages_one(pf_ctx *ctx, const json_t *obj, const char *what, const char *type,
                            const pfi_stage_type *types, int n_types, pfi_stages *out) {
    const pfi_stage_type *t = NULL;
    for (int i = 0; i < n_types && !t; i++) {
        if (strcmp(type, types[i].name) == 0) t = &types[i];
    }
    if (!t) return pfi_fail(ctx, PF_UNSUPPORTED, "%s: the type \"%.60s\" is not supported", what, type);
    pfi_stage *s = pfi_realloc(ctx, out->s, (size_t)(out->n + 1) * sizeof *s);
    if (!s) return PF_NOMEM;
    out->s = s;
    s += out->n++;
    *s = (pfi_stage){.kind = t->kind};
    return t->parse ? t->parse(ctx, obj, what, s) : PF_OK;
}

static pf_status stages_parse(pf_ctx *ctx, const json_t *obj, const char *what, const char *list, int depth,
                              const pfi_stage_type *types, int n_types, pfi_stages *out) {
    const char *type;
    PF_TRY(pfi_json_string(ctx, obj, "type", what, &type));
    if (strcmp(type, "Sequence") != 0) return stages_one(ctx, obj, what, type, types, n_types, out);
    if (depth > 8) return pfi_fail(ctx, PF_FORMAT, "%s: sequences are nested more than 8 deep", what);
    json_t *items, *v;
    size_t i;
    PF_TRY(pfi_json_array(ctx, obj, list, what, &items));
    json_array_foreach(items, i, v) PF_TRY(stages_parse(ctx, v, what, list, depth + 1, types, n_types, out));
    return PF_OK;
}

pf_status pfi_stages_parse(pf_ctx *ctx, const json_t *obj, const char *what, const char *list,
                           const pfi_stage_type *types, int n_types, pfi_stages *out) {
    if (!obj || json_is_null(obj)) return PF_OK;
    return stages_parse(ctx, obj, what, list, 0, types, n_types, out);
}

void pfi_stages_free(pf_ctx *ctx, pfi_stages *v) {
    for (int i = 0; i < v->n; i++) {
        pfi_pattern_free(ctx, &v->s[i].pattern);
        pfi_free(ctx, v->s[i].text);
    }
    pfi_free(ctx, v->s);
    *v = (pfi_stages){0};
}
