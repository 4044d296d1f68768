/* Parsing through jansson, typed values, quoting. */
#include "file/json.h"

#include <strings.h>

#include "file/file.h"

#define JSON_MARK "\xEF\xB7\x90" /* U+FDD0, a noncharacter */

static json_t *json_bad_utf8(pf_ctx *ctx, const char *text, size_t bad, const char *what, long line) {
    size_t from = 0;
    for (size_t i = 0; i < bad; i++) {
        if (text[i] != '\n') continue;
        line++;
        from = i + 1;
    }
    pfi_fail(ctx, PF_FORMAT, "%s:%ld: byte %zu of the line (0x%02X) is not valid UTF-8", what, line, bad - from + 1,
             (unsigned char)text[bad]);
    return NULL;
}

/* does the run of n digits exceed 2^63 - 1? */
static bool json_too_big(const char *digits, size_t n) {
    static const char most[] = "9223372036854775807";
    return n > 19 || (n == 19 && memcmp(digits, most, 19) > 0);
}

/* Copy the escape at text[0] or the character at text[0] == JSON_MARK[0] with what jansson cannot hold hidden behind
 * the mark. *n: what was read. */
static pf_status json_hide(pf_ctx *ctx, pfi_buf *out, const char *text, size_t len, size_t *n) {
    bool mark = false, nul = false;
    *n = *text == '\\' && len > 1 ? 2 : 1;
    if (len >= 6 && text[0] == '\\' && text[1] == 'u') {
        nul = memcmp(text + 2, "0000", 4) == 0;
        mark = strncasecmp(text + 2, "fdd0", 4) == 0;
        if (nul || mark) *n = 6;
    } else if (len >= 3 && memcmp(text, JSON_MARK, 3) == 0) {
        mark = true;
        *n = 3;
    }
    if (!nul && !mark) return pfi_buf_add(ctx, out, text, *n);
    return pfi_buf_str(ctx, out, nul ? JSON_MARK "0" : JSON_MARK "1");
}

/* A copy that jansson can hold. An integer beyond 64 bits is written as a real number: configurations are in use that
 * give int(1e30) for "no limit". With hide, U+0000 in strings, which it does not take in a key, becomes a mark and "0",
 * the mark itself a mark and "1". */
static pf_status json_rewrite(pf_ctx *ctx, const char *text, size_t len, bool hide, pfi_buf *out) {
    bool string = false;
    PF_TRY(pfi_buf_reserve(ctx, out, len + len / 8));
    for (size_t i = 0, n; i < len; i += n) {
        n = 0;
        if (hide && string && text[i] != '"') {
            PF_TRY(json_hide(ctx, out, text + i, len - i, &n));
            continue;
        }
        while (!string && i + n < len && text[i + n] >= '0' && text[i + n] <= '9') n++;
        bool real = n && ((i && strchr(".eE+", text[i - 1])) || (i + n < len && strchr(".eE", text[i + n])));
        bool big = n && !real && json_too_big(text + i, n);
        if (text[i] == '"') string = !string;
        if (n == 0) n = string && text[i] == '\\' && i + 1 < len ? 2 : 1;
        PF_TRY(pfi_buf_add(ctx, out, text + i, n));
        if (big) PF_TRY(pfi_buf_add(ctx, out, "e0", 2));
    }
    return PF_OK;
}

size_t pfi_json_reveal(char *out, const char *text, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len; n++) {
        bool mark = len - i >= 4 && memcmp(text + i, JSON_MARK, 3) == 0;
        if (mark && text[i + 3] == '1') { /* a mark that was one already */
            memcpy(out + n, JSON_MARK, 3);
            n += 2;
        } else {
            out[n] = mark ? 0 : text[i];
        }
        i += mark ? 4 : 1;
    }
    return n;
}

/* hidden: NULL, or where U+0000 in keys may be hidden, and whether it was. *s: PF_NOMEM if our own memory ran out */
static json_t *json_load(pf_ctx *ctx, const char *text, size_t len, size_t flags, json_error_t *e, bool *hidden,
                         pf_status *s) {
    *s = PF_OK;
    flags |= JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *v = json_loadb(text, len, flags, e);
    bool big = !v && json_error_code(e) == json_error_numeric_overflow && strncmp(e->text, "too big", 7) == 0;
    bool nul = !v && json_error_code(e) == json_error_null_byte_in_key;
    if (hidden) *hidden = big || nul;
    if (!big && !(nul && hidden)) return v;
    pfi_buf copy = {0};
    *s = json_rewrite(ctx, text, len, hidden != NULL, &copy);
    if (*s == PF_OK) v = json_loadb(copy.data, copy.len, flags, e);
    pfi_buf_free(ctx, &copy);
    return v;
}

/* line: number of the text's first line in the file */
static json_t *json_parse(pf_ctx *ctx, const char *text, size_t len, const char *what, long line, size_t flags,
                          bool *hidden) {
    json_error_t e;
    const char *nul = memchr(text, 0, len); /* jansson takes it for the end */
    if (nul) {
        pfi_fail(ctx, PF_FORMAT, "%s:%ld: not valid JSON: a zero byte at byte %zu", what, line,
                 (size_t)(nul - text) + 1);
        return NULL;
    }
    if (len == 0) {
        pfi_fail(ctx, PF_FORMAT, "%s is empty, a JSON value was expected", what);
        return NULL;
    }
    size_t bad = pfi_utf8_check(text, len);
    if (bad < len) return json_bad_utf8(ctx, text, bad, what, line);
    pf_status s;
    json_t *v = json_load(ctx, text, len, flags, &e, hidden, &s);
    if (v || s != PF_OK) return v;
    line += e.line - 1;
    if (json_error_code(&e) == json_error_out_of_memory)
        pfi_fail(ctx, PF_NOMEM, "%s: not enough memory to parse it", what);
    else if (json_error_code(&e) == json_error_null_byte_in_key)
        pfi_fail(ctx, PF_UNSUPPORTED, "%s:%ld:%d: a key with U+0000 is supported in data only", what, line, e.column);
    else
        pfi_fail(ctx, PF_FORMAT, "%s:%ld:%d: not valid JSON: %s", what, line, e.column, e.text);
    return NULL;
}

json_t *pfi_json_parse_hidden(pf_ctx *ctx, const char *text, size_t len, const char *what, long line, bool *hidden) {
    return json_parse(ctx, text, len, what, line, 0, hidden);
}

json_t *pfi_json_parse(pf_ctx *ctx, const char *text, size_t len, const char *what) {
    return json_parse(ctx, text, len, what, 1, 0, NULL);
}

json_t *pfi_json_parse_unique(pf_ctx *ctx, const char *text, size_t len, const char *what) {
    return json_parse(ctx, text, len, what, 1, JSON_REJECT_DUPLICATES, NULL);
}

json_t *pfi_json_load(pf_ctx *ctx, const char *path) {
    pfi_buf b = {0};
    json_t *v = NULL;
    if (pfi_file_read(ctx, path, &b) == PF_OK) v = pfi_json_parse(ctx, b.data, b.len, path);
    pfi_buf_free(ctx, &b);
    return v;
}

const char *pfi_json_found(char *buf, size_t n, const json_t *v) {
    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_OBJECT: snprintf(buf, n, "an object of %zu", json_object_size(v)); break;
    case JSON_ARRAY: snprintf(buf, n, "an array of %zu", json_array_size(v)); break;
    case JSON_STRING:
        snprintf(buf, n, "the string \"%.40s%s\"", json_string_value(v), json_string_length(v) > 40 ? "..." : "");
        break;
    case JSON_INTEGER: snprintf(buf, n, "the number %lld", (long long)json_integer_value(v)); break;
    case JSON_REAL: snprintf(buf, n, "the number %g", json_real_value(v)); break;
    case JSON_TRUE: snprintf(buf, n, "true"); break;
    case JSON_FALSE: snprintf(buf, n, "false"); break;
    case JSON_NULL: snprintf(buf, n, v ? "null" : "nothing"); break;
    }
    return buf;
}

/* *out: the value, or NULL if it is optional and not there */
static pf_status json_pick(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, bool required,
                           const char *expected, json_t **out) {
    *out = NULL;
    if (!json_is_object(obj))
        return pfi_fail(ctx, PF_FORMAT, "%s: an object with the key \"%s\" was expected, found %s", file, key,
                        PFI_JSON_FOUND(obj));
    json_t *v = json_object_get(obj, key);
    if (v && !json_is_null(v)) {
        *out = v;
        return PF_OK;
    }
    if (!required) return PF_OK;
    return pfi_fail(ctx, PF_FORMAT, "%s: the key \"%s\" is %s, expected %s", file, key, v ? "null" : "missing",
                    expected);
}

static pf_status json_wrong(pf_ctx *ctx, const char *key, const char *file, const json_t *v, const char *expected) {
    return pfi_fail(ctx, PF_FORMAT, "%s: the key \"%s\" holds %s, expected %s", file, key, PFI_JSON_FOUND(v), expected);
}

static pf_status json_int(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, bool need, int64_t *out) {
    json_t *v;
    PF_TRY(json_pick(ctx, obj, key, file, need, "an integer", &v));
    if (!v) return PF_OK;
    if (!json_is_integer(v)) return json_wrong(ctx, key, file, v, "an integer");
    *out = json_integer_value(v);
    return PF_OK;
}

static pf_status json_num(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, bool need, double *out) {
    json_t *v;
    PF_TRY(json_pick(ctx, obj, key, file, need, "a number", &v));
    if (!v) return PF_OK;
    if (!json_is_number(v)) return json_wrong(ctx, key, file, v, "a number");
    *out = json_number_value(v);
    return PF_OK;
}

static pf_status json_flag(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, bool need, bool *out) {
    json_t *v;
    PF_TRY(json_pick(ctx, obj, key, file, need, "true or false", &v));
    if (!v) return PF_OK;
    if (!json_is_boolean(v)) return json_wrong(ctx, key, file, v, "true or false");
    *out = json_is_true(v);
    return PF_OK;
}

static pf_status json_text(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, bool need,
                           const char **out) {
    json_t *v;
    PF_TRY(json_pick(ctx, obj, key, file, need, "a string", &v));
    if (!v) return PF_OK;
    if (!json_is_string(v)) return json_wrong(ctx, key, file, v, "a string");
    *out = json_string_value(v);
    return PF_OK;
}

static pf_status json_list(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, bool need, json_t **out) {
    json_t *v;
    PF_TRY(json_pick(ctx, obj, key, file, need, "an array", &v));
    if (!v) return PF_OK;
    if (!json_is_array(v)) return json_wrong(ctx, key, file, v, "an array");
    *out = v;
    return PF_OK;
}

static pf_status json_dict(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, bool need, json_t **out) {
    json_t *v;
    PF_TRY(json_pick(ctx, obj, key, file, need, "an object", &v));
    if (!v) return PF_OK;
    if (!json_is_object(v)) return json_wrong(ctx, key, file, v, "an object");
    *out = v;
    return PF_OK;
}

#define JSON_BOTH(name, get, type)                                                                                     \
    pf_status pfi_json_##name(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, type *out) {          \
        return get(ctx, obj, key, file, true, out);                                                                    \
    }                                                                                                                  \
    pf_status pfi_json_##name##_opt(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, type *out) {    \
        return get(ctx, obj, key, file, false, out);                                                                   \
    }

JSON_BOTH(int, json_int, int64_t)
JSON_BOTH(number, json_num, double)
JSON_BOTH(bool, json_flag, bool)
JSON_BOTH(string, json_text, const char *)
JSON_BOTH(array, json_list, json_t *)
JSON_BOTH(object, json_dict, json_t *)

pf_status pfi_json_quote(pf_ctx *ctx, pfi_buf *b, const char *text, size_t len) {
    static const char named[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    PF_TRY(pfi_buf_add(ctx, b, "\"", 1));
    size_t from = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        PF_TRY(pfi_buf_add(ctx, b, text + from, i - from));
        from = i + 1;
        const char *at = c ? strchr(named, c) : NULL;
        if (at)
            PF_TRY(pfi_buf_fmt(ctx, b, "\\%c", letter[at - named]));
        else
            PF_TRY(pfi_buf_fmt(ctx, b, "\\u%04x", c));
    }
    PF_TRY(pfi_buf_add(ctx, b, text + from, len - from));
    return pfi_buf_add(ctx, b, "\"", 1);
}
