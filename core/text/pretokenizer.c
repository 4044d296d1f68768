/* Pre-tokenizers of tokenizer.json: cut a text into words. */
#include "text/text.h"

enum { PRE_BYTE_LEVEL, PRE_SPLIT, PRE_DIGITS, PRE_METASPACE };
enum { SPLIT_REMOVED, SPLIT_ISOLATED, SPLIT_PREVIOUS, SPLIT_NEXT, SPLIT_CONTIGUOUS };
enum { SCHEME_ALWAYS, SCHEME_FIRST, SCHEME_NEVER };

/* Radford et al. 2019; the pattern of GPT-2's encoder.py */
static const char pre_gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static pf_status pre_word(pf_ctx *ctx, const char *s, const char *key, const char *what, const char *const *words,
                          int n, int *out) {
    for (int i = 0; i < n; i++) {
        if (strcmp(s, words[i]) == 0) {
            *out = i;
            return PF_OK;
        }
    }
    return pfi_fail(ctx, PF_UNSUPPORTED, "%s: the key \"%s\" holds \"%.40s\", which is not known", what, key, s);
}

static pf_status pre_parse_byte_level(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stage *out) {
    out->a = out->b = true;
    PF_TRY(pfi_json_bool_opt(ctx, obj, "add_prefix_space", what, &out->a));
    PF_TRY(pfi_json_bool_opt(ctx, obj, "use_regex", what, &out->b));
    return out->b ? pfi_pattern_regex(ctx, pre_gpt2, what, &out->pattern) : PF_OK;
}

static pf_status pre_parse_split(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stage *out) {
    static const char *const words[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *behavior;
    PF_TRY(pfi_json_string(ctx, obj, "behavior", what, &behavior));
    PF_TRY(pre_word(ctx, behavior, "behavior", what, words, PFI_COUNT(words), &out->mode));
    PF_TRY(pfi_json_bool_opt(ctx, obj, "invert", what, &out->a));
    PF_TRY(pfi_pattern_parse(ctx, obj, what, &out->pattern));
    if (!pfi_pattern_matches_nothing(&out->pattern)) return PF_OK;
    const char *regex = json_string_value(json_object_get(json_object_get(obj, "pattern"), "Regex"));
    return pfi_fail(ctx, PF_UNSUPPORTED,
                    "%s: the regular expression \"%.60s\" also matches nothing, and would split there", what, regex);
}

static pf_status pre_parse_digits(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stage *out) {
    PF_TRY(pfi_json_bool_opt(ctx, obj, "individual_digits", what, &out->a));
    out->mode = out->a ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
    return PF_OK;
}

static pf_status pre_parse_metaspace(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stage *out) {
    static const char *const words[] = {"always", "first", "never"};
    const char *scheme = NULL;
    bool prefix = true;
    out->b = true;
    PF_TRY(pfi_stage_text(ctx, obj, "replacement", what, out));
    if (out->len == 0) return pfi_fail(ctx, PF_FORMAT, "%s: the key \"replacement\" is empty", what);
    out->pattern.literal = pfi_strndup(ctx, out->text, out->len);
    if (!out->pattern.literal) return PF_NOMEM;
    out->pattern.len = out->len;
    PF_TRY(pfi_json_bool_opt(ctx, obj, "split", what, &out->b));
    PF_TRY(pfi_json_bool_opt(ctx, obj, "add_prefix_space", what, &prefix));
    PF_TRY(pfi_json_string_opt(ctx, obj, "prepend_scheme", what, &scheme));
    out->mode = prefix ? SCHEME_ALWAYS : SCHEME_NEVER;
    return scheme ? pre_word(ctx, scheme, "prepend_scheme", what, words, PFI_COUNT(words), &out->mode) : PF_OK;
}

static const pfi_stage_type pre_types[] = {
    {"ByteLevel", PRE_BYTE_LEVEL, pre_parse_byte_level},
    {"Split", PRE_SPLIT, pre_parse_split},
    {"Digits", PRE_DIGITS, pre_parse_digits},
    {"Metaspace", PRE_METASPACE, pre_parse_metaspace},
};

pf_status pfi_pretokenizers_parse(pf_ctx *ctx, const json_t *obj, const char *what, pfi_stages *out) {
    return pfi_stages_parse(ctx, obj, what, "pretokenizers", pre_types, PFI_COUNT(pre_types), out);
}

/* ---- splitting ---- */

/* collects alternating matches and gaps into pieces by a behaviour */
typedef struct split_state {
    pf_ctx *ctx;
    pfi_pieces *out;
    int mode;
    bool first;       /* the next piece stands at the start of the original text */
    bool open;        /* text was added that no piece ends yet */
    bool after_match; /* the part before was a match */
} split_state;

static pf_status split_end(split_state *w) {
    if (!w->open) return PF_OK;
    w->open = false;
    bool first = w->first;
    w->first = false;
    return pfi_pieces_end(w->ctx, w->out, -1, first);
}

/* one part, match or not. A part that merges with the next one (next) is left open, all else ends the open one. */
static pf_status split_part(split_state *w, const char *s, size_t n, bool match) {
    bool join = false;
    switch (w->mode) {
    case SPLIT_CONTIGUOUS: join = match == w->after_match; break;
    case SPLIT_PREVIOUS: join = match && !w->after_match; break;
    case SPLIT_NEXT: join = !match && w->after_match; break;
    default: break;
    }
    if (!join) PF_TRY(split_end(w));
    w->after_match = match;
    if (w->mode == SPLIT_REMOVED && match) {
        w->first = false;
        return PF_OK;
    }
    w->open = true;
    return pfi_buf_add(w->ctx, &w->out->text, s, n);
}

/* the next match at or after from; to the end of the text if there is none */
static pf_status split_find(pf_ctx *ctx, const pfi_stage *st, const char *s, size_t n, size_t from, size_t *start,
                            size_t *end) {
    bool found = false;
    if (st->kind != PRE_DIGITS) {
        PF_TRY(pfi_pattern_next(ctx, &st->pattern, s, n, from, start, end, &found));
    } else {
        for (size_t i = from, len; i < n && !found; i += len) {
            if (!pfi_char_numeric(pfi_utf8_next(s + i, n - i, &len))) continue;
            found = true;
            *start = i;
            *end = i + len;
        }
    }
    if (!found) *start = *end = n;
    return PF_OK;
}

/* seen: s as the pattern is to see it */
static pf_status split_parts(split_state *w, const pfi_stage *st, bool invert, const char *seen, const char *s,
                             size_t n) {
    for (size_t at = 0, start = 0, end = 0; at < n; at = end) {
        PF_TRY(split_find(w->ctx, st, seen, n, at, &start, &end));
        if (start > at) PF_TRY(split_part(w, s + at, start - at, invert));
        if (end > start) PF_TRY(split_part(w, s + start, end - start, !invert));
    }
    return split_end(w);
}

static pf_status split_all(pf_ctx *ctx, const pfi_stage *st, int mode, bool invert, const char *s, size_t n, bool first,
                           pfi_pieces *out) {
    /* nothing precedes: MergedWithNext must not join to it, Contiguous may */
    split_state w = {ctx, out, mode, first, false, false};
    pfi_buf own = {0};
    const char *seen = s;
    pf_status r = st->pattern.re ? pfi_text_older(ctx, s, n, &own, &seen) : PF_OK;
    if (r == PF_OK) r = split_parts(&w, st, invert, seen, s, n);
    pfi_buf_free(ctx, &own);
    return r;
}

/* ---- ByteLevel and Metaspace ---- */

static pf_status pre_bytes(pf_ctx *ctx, const char *s, size_t n, bool first, pfi_pieces *out) {
    for (size_t i = 0; i < n; i++) PF_TRY(pfi_utf8_add(ctx, &out->text, pfi_byte_char((unsigned char)s[i])));
    return pfi_pieces_end(ctx, out, -1, first);
}

static pf_status pre_byte_words(pf_ctx *ctx, const pfi_stage *st, const char *seen, const char *s, size_t n, bool first,
                                pfi_pieces *out) {
    for (size_t at = 0, start = 0, end = 0; at < n; at = end) {
        PF_TRY(split_find(ctx, st, seen, n, at, &start, &end));
        PF_TRY(pre_bytes(ctx, s + at, start - at, first && at == 0, out));
        PF_TRY(pre_bytes(ctx, s + start, end - start, first && start == 0, out));
    }
    return PF_OK;
}

static pf_status pre_byte_level(pf_ctx *ctx, const pfi_stage *st, const char *s, size_t n, bool first,
                                pfi_pieces *out) {
    pfi_buf own = {0}, older = {0};
    const char *seen = s;
    pf_status r = PF_OK;
    if (st->a && n && s[0] != ' ') {
        r = pfi_buf_add(ctx, &own, " ", 1);
        if (r == PF_OK) r = pfi_buf_add(ctx, &own, s, n);
        s = own.data;
        n = own.len;
    }
    if (r == PF_OK && st->b) r = pfi_text_older(ctx, s, n, &older, &seen);
    if (r == PF_OK) r = st->b ? pre_byte_words(ctx, st, seen, s, n, first, out) : pre_bytes(ctx, s, n, first, out);
    pfi_buf_free(ctx, &own);
    pfi_buf_free(ctx, &older);
    return r;
}

static pf_status pre_metaspace(pf_ctx *ctx, const pfi_stage *st, const char *s, size_t n, bool first, pfi_pieces *out) {
    pfi_buf own = {0};
    pf_status r = PF_OK;
    bool marked = n && (s[0] == ' ' || (n >= st->len && memcmp(s, st->text, st->len) == 0));
    if (!marked && n && (st->mode == SCHEME_ALWAYS || (st->mode == SCHEME_FIRST && first)))
        r = pfi_buf_add(ctx, &own, st->text, st->len);
    for (size_t i = 0; i < n && r == PF_OK; i++)
        r = s[i] == ' ' ? pfi_buf_add(ctx, &own, st->text, st->len) : pfi_buf_add(ctx, &own, s + i, 1);
    if (r == PF_OK && own.len)
        r = st->b ? split_all(ctx, st, SPLIT_NEXT, false, own.data, own.len, first, out)
                  : pfi_pieces_add(ctx, out, own.data, own.len, -1, first);
    pfi_buf_free(ctx, &own);
    return r;
}

pf_status pfi_pretokenize(pf_ctx *ctx, const pfi_stage *st, const char *s, size_t n, bool first, pfi_pieces *out) {
    switch (st->kind) {
    case PRE_BYTE_LEVEL: return pre_byte_level(ctx, st, s, n, first, out);
    case PRE_METASPACE: return pre_metaspace(ctx, st, s, n, first, out);
    case PRE_DIGITS: return split_all(ctx, st, st->mode, false, s, n, first, out);
    default: return split_all(ctx, st, st->mode, st->a, s, n, first, out);
    }
}
