/* Lines of a plain or zstd text file, as a stream. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <zstd.h>

#include "file/file.h"

#define LINES_CHUNK (1u << 16)

struct pfi_lines {
    pf_ctx *ctx;
    char *path;
    int fd;
    ZSTD_DCtx *z; /* NULL: plain text */
    char *raw;    /* compressed bytes: [at, n) are still to be used */
    size_t at, n;
    bool in_frame; /* a frame has begun and not ended */
    bool full;     /* the last call filled its output */
    bool end;      /* no more bytes will come */
    pfi_buf text;  /* decoded bytes: [start, scanned) hold no LF */
    size_t start, scanned;
    long line;
};

static pf_status lines_read(pfi_lines *l, char *p, size_t room, size_t *got) {
    ssize_t n;
    do n = read(l->fd, p, room);
    while (n < 0 && errno == EINTR);
    if (n < 0) return pfi_fail(l->ctx, PF_IO, "cannot read %s: %s", l->path, strerror(errno));
    *got = (size_t)n;
    return PF_OK;
}

static pf_status lines_damaged(pfi_lines *l, const char *why) {
    return pfi_fail(l->ctx, PF_FORMAT, "%s:%ld: the zstd data is damaged here: %s", l->path, l->line + 1, why);
}

static pf_status lines_more_zst(pfi_lines *l) {
    if (l->at == l->n && !l->full) {
        l->at = 0;
        PF_TRY(lines_read(l, l->raw, LINES_CHUNK, &l->n));
        if (l->n == 0 && l->in_frame) return lines_damaged(l, "the file is cut short");
        if (l->n == 0) {
            l->end = true;
            return PF_OK;
        }
    }
    ZSTD_inBuffer in = {l->raw, l->n, l->at};
    ZSTD_outBuffer out = {l->text.data + l->text.len, LINES_CHUNK, 0};
    size_t left = ZSTD_decompressStream(l->z, &out, &in);
    if (ZSTD_isError(left)) return lines_damaged(l, ZSTD_getErrorName(left));
    l->full = out.pos == out.size; /* zstd may hold more, which comes before any new input */
    l->in_frame = left != 0;
    l->at = in.pos;
    l->text.len += out.pos;
    return PF_OK;
}

/* moves what is left to the front and appends some decoded bytes */
static pf_status lines_more(pfi_lines *l) {
    if (l->start) {
        memmove(l->text.data, l->text.data + l->start, l->text.len - l->start);
        l->text.len -= l->start;
        l->scanned -= l->start;
        l->start = 0;
    }
    PF_TRY(pfi_buf_reserve(l->ctx, &l->text, LINES_CHUNK));
    if (l->z) return lines_more_zst(l);
    size_t got = 0;
    PF_TRY(lines_read(l, l->text.data + l->text.len, LINES_CHUNK, &got));
    l->text.len += got;
    l->end = got == 0;
    return PF_OK;
}

/* the first bytes tell what the file is */
static pf_status lines_begin(pfi_lines *l) {
    static const unsigned char magic[4] = {0x28, 0xB5, 0x2F, 0xFD};
    size_t n = strlen(l->path), got = 1;
    while (l->n < 4 && got) {
        PF_TRY(lines_read(l, l->raw + l->n, LINES_CHUNK - l->n, &got));
        l->n += got;
    }
    bool named = n > 4 && strcmp(l->path + n - 4, ".zst") == 0;
    if (named || (l->n >= 4 && memcmp(l->raw, magic, 4) == 0)) {
        l->z = ZSTD_createDCtx();
        if (!l->z) return pfi_fail(l->ctx, PF_NOMEM, "not enough memory for zstd");
        l->in_frame = true; /* an empty file is no frame */
        if (l->n == 0) return lines_damaged(l, "the file is empty");
        return PF_OK;
    }
    PF_TRY(pfi_buf_add(l->ctx, &l->text, l->raw, l->n));
    l->n = 0;
    return PF_OK;
}

static pf_status lines_skip_mark(pfi_lines *l) {
    while (!l->end && l->text.len < 3) PF_TRY(lines_more(l));
    if (l->text.len >= 3 && memcmp(l->text.data, "\xEF\xBB\xBF", 3) == 0) l->start = l->scanned = 3;
    return PF_OK;
}

pf_status pfi_lines_open(pf_ctx *ctx, const char *path, pfi_lines **out) {
    *out = NULL;
    pfi_lines *l = pfi_calloc(ctx, 1, sizeof *l);
    if (!l) return PF_NOMEM;
    l->ctx = ctx;
    pfi_hold(ctx);
    l->fd = -1;
    l->path = pfi_strndup(ctx, path, strlen(path));
    l->raw = l->path ? pfi_alloc(ctx, LINES_CHUNK) : NULL;
    pf_status s = l->raw ? pfi_buf_reserve(ctx, &l->text, LINES_CHUNK) : PF_NOMEM;
    if (s == PF_OK) {
        l->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (l->fd < 0) s = pfi_fail(ctx, PF_IO, "cannot open %s: %s", path, strerror(errno));
    }
    if (s == PF_OK) s = lines_begin(l);
    if (s == PF_OK) s = lines_skip_mark(l);
    if (s != PF_OK) {
        pfi_lines_close(l);
        return s;
    }
    *out = l;
    return PF_OK;
}

void pfi_lines_close(pfi_lines *l) {
    if (!l) return;
    pf_ctx *ctx = l->ctx;
    if (l->fd >= 0) close(l->fd);
    ZSTD_freeDCtx(l->z);
    pfi_buf_free(ctx, &l->text);
    pfi_free(ctx, l->raw);
    pfi_free(ctx, l->path);
    pfi_free(ctx, l);
    pfi_release(ctx);
}

/* [*from, *to) of the next line without its LF, whatever is in it; *to < *from at the end */
static pf_status lines_cut(pfi_lines *l, size_t *from, size_t *to, bool *any) {
    for (;;) {
        char *lf = memchr(l->text.data + l->scanned, '\n', l->text.len - l->scanned);
        *from = l->start;
        *any = true;
        if (lf) {
            *to = (size_t)(lf - l->text.data);
            l->start = l->scanned = *to + 1;
            return PF_OK;
        }
        l->scanned = l->text.len;
        if (l->end) {
            *to = l->text.len;
            *any = l->start < l->text.len;
            l->start = l->text.len;
            return PF_OK;
        }
        PF_TRY(lines_more(l));
    }
}

static bool lines_blank(const char *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r') return false;
    }
    return true;
}

pf_status pfi_lines_next(pfi_lines *l, const char **text, size_t *len, long *line_no) {
    *text = NULL;
    *len = 0;
    for (;;) {
        size_t from, to;
        bool any;
        PF_TRY(lines_cut(l, &from, &to, &any));
        if (!any) return PF_OK;
        l->line++;
        if (line_no) *line_no = l->line;
        if (to > from && l->text.data[to - 1] == '\r') to--;
        const char *p = l->text.data + from;
        if (lines_blank(p, to - from)) continue;
        size_t bad = pfi_utf8_check(p, to - from);
        if (bad < to - from)
            return pfi_fail(l->ctx, PF_FORMAT, "%s:%ld: byte %zu of the line (0x%02X) is not valid UTF-8", l->path,
                            l->line, bad + 1, (unsigned char)p[bad]);
        l->text.data[to] = 0; /* on its LF, its CR, or the byte kept free behind the end */
        *text = p;
        *len = to - from;
        return PF_OK;
    }
}
