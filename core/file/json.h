/* json: jansson with messages that name file, place and key. Internal. */
#ifndef PFI_JSON_H
#define PFI_JSON_H

#include <jansson.h>

#include "base/base.h"

/* Parse a whole text; any value may stand at the top. what: the file or thing it came from, for messages. Of equal keys
 * the last counts. NULL on failure: FORMAT with line and column, UNSUPPORTED for a key that holds U+0000, which jansson
 * has not, NOMEM. Owned by caller (json_decref). */
json_t *pfi_json_parse(pf_ctx *ctx, const char *text, size_t len, const char *what);
/* the same, keys with U+0000 too, of a text that begins in this line of its file (1: it is all of it). *hidden: all
 * keys and strings are to be read through pfi_json_reveal */
json_t *pfi_json_parse_hidden(pf_ctx *ctx, const char *text, size_t len, const char *what, long line, bool *hidden);
/* a key or string as it stood in the file, into out (len bytes at most); returns its length */
size_t pfi_json_reveal(char *out, const char *text, size_t len);
/* the same, but equal keys in one object are refused */
json_t *pfi_json_parse_unique(pf_ctx *ctx, const char *text, size_t len, const char *what);
/* parse a file. err IO as well */
json_t *pfi_json_load(pf_ctx *ctx, const char *path);

/* Typed values of an object's keys. Required: absent or null is an error (FORMAT) that names file, key, what was found
 * and what was expected. The _opt forms leave *out alone instead. Strings and containers are borrowed from obj. */
pf_status pfi_json_int(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, int64_t *out);
pf_status pfi_json_number(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, double *out);
pf_status pfi_json_bool(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, bool *out);
pf_status pfi_json_string(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, const char **out);
pf_status pfi_json_array(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, json_t **out);
pf_status pfi_json_object(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, json_t **out);
pf_status pfi_json_int_opt(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, int64_t *out);
pf_status pfi_json_number_opt(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, double *out);
pf_status pfi_json_bool_opt(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, bool *out);
pf_status pfi_json_string_opt(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, const char **out);
pf_status pfi_json_array_opt(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, json_t **out);
pf_status pfi_json_object_opt(pf_ctx *ctx, const json_t *obj, const char *key, const char *file, json_t **out);

/* "the string \"abc\"", "the number 3.5", "an array of 3": a value as found, into buf */
const char *pfi_json_found(char *buf, size_t n, const json_t *v);
#define PFI_JSON_FOUND(v) pfi_json_found((char[96]){0}, 96, (v))

/* text as a JSON string with its quotes, appended to b; only what must be escaped is */
pf_status pfi_json_quote(pf_ctx *ctx, pfi_buf *b, const char *text, size_t len);

#endif
