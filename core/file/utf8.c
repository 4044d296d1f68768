/* UTF-8, checked by utf8proc. */
#include <utf8proc.h>

#include "file/file.h"

int32_t pfi_utf8_next(const char *p, size_t n, size_t *len) {
    unsigned char c = (unsigned char)*p;
    *len = 1;
    if (c < 0x80) return c;
    utf8proc_int32_t cp;
    utf8proc_ssize_t k = utf8proc_iterate((const utf8proc_uint8_t *)p, (utf8proc_ssize_t)PFI_MIN(n, 4), &cp);
    if (k <= 0) return -1;
    *len = (size_t)k;
    return cp;
}

size_t pfi_utf8_check(const char *p, size_t n) {
    for (size_t at = 0, len; at < n; at += len) {
        if (pfi_utf8_next(p + at, n - at, &len) < 0) return at;
    }
    return n;
}

pf_status pfi_utf8_add(pf_ctx *ctx, pfi_buf *b, int32_t code_point) {
    utf8proc_uint8_t t[4];
    utf8proc_ssize_t n = utf8proc_encode_char(code_point, t);
    return pfi_buf_add(ctx, b, t, (size_t)n);
}
