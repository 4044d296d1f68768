/* Helpers of the tokenizer tests. */
#ifndef TOKENS_H
#define TOKENS_H

#include "support.h"

#include "file/file.h"
#include "file/json.h"
#include "text/text.h"

/* JSON written with ' for ", parsed. The caller decrefs. */
static inline json_t *tokens_json(pf_ctx *ctx, const char *text) {
    char *s = pfi_strndup(ctx, text, strlen(text));
    for (char *p = s; *p; p++)
        if (*p == '\'') *p = '"';
    json_t *v = pfi_json_parse(ctx, s, strlen(s), "test");
    if (!v) fail_msg("%s in %s", pf_errmsg(ctx), s);
    pfi_free(ctx, s);
    return v;
}

/* a tokenizer.json with ' for " in a file */
static inline const char *tokens_file(const char *text) {
    static char s[8192];
    snprintf(s, sizeof s, "%s", text);
    for (char *p = s; *p; p++)
        if (*p == '\'') *p = '"';
    return support_write("tokenizer.json", s, strlen(s));
}

static inline pf_tokenizer *tokens_load(pf_ctx *ctx, const char *text) {
    pf_tokenizer *tok;
    support_ok(ctx, pf_tokenizer_load(ctx, tokens_file(text), &tok));
    return tok;
}

/* ids as "1 2 3" */
static inline const char *tokens_ids(pf_ctx *ctx, pf_tokenizer *tok, const char *text, int flags) {
    static char buf[4096];
    int32_t *ids;
    size_t n, at = 0;
    support_ok(ctx, pfi_tokenizer_encode(tok, text, strlen(text), flags, &ids, &n));
    buf[0] = 0;
    for (size_t i = 0; i < n; i++) at += (size_t)snprintf(buf + at, sizeof buf - at, "%s%d", i ? " " : "", ids[i]);
    pfi_free(ctx, ids);
    return buf;
}

static inline const char *tokens_text(pf_ctx *ctx, pf_tokenizer *tok, const int32_t *ids, size_t n, bool skip_special) {
    static char buf[4096];
    char *text;
    size_t len;
    support_ok(ctx, pf_tokenizer_decode(tok, ids, n, skip_special, &text, &len));
    assert_int_equal(strlen(text), len);
    snprintf(buf, sizeof buf, "%s", text);
    pfi_free(ctx, text);
    return buf;
}

#endif
