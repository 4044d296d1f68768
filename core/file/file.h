/* file: whole files, mapped files, atomic writing, zstd, lines of text. Internal. */
#ifndef PFI_FILE_H
#define PFI_FILE_H

#include "base/base.h"

typedef struct pfi_zst pfi_zst;

/* ---- whole files ---- */

/* the bytes of a file into out, which the caller frees in any case. err IO, NOMEM */
pf_status pfi_file_read(pf_ctx *ctx, const char *path, pfi_buf *out);
bool pfi_file_exists(const char *path);
bool pfi_file_is_dir(const char *path);
/* make a directory and those above it; one that is there already is fine. err IO, NOMEM */
pf_status pfi_file_mkdirs(pf_ctx *ctx, const char *path);
/* "dir/name", owned by the caller; NULL: NOMEM */
char *pfi_file_join(pf_ctx *ctx, const char *dir, const char *name);
/* is name usable inside a directory: not empty, no '/', no '\', not "." and without ".." */
bool pfi_file_plain_name(const char *name);

/* Mapping of a file. What is written into its memory is seen here alone; the file stays as it is. */
typedef struct pfi_map {
    pf_ctx *ctx;
    long refs;
    const unsigned char *data; /* never NULL */
    size_t size;
} pfi_map;
/* *out owned by caller. An empty file is fine. err IO, NOMEM */
pf_status pfi_file_map(pf_ctx *ctx, const char *path, pfi_map **out);
pfi_map *pfi_map_retain(pfi_map *m);
void pfi_map_release(void *map); /* a void pointer, to serve as a release callback; NULL is fine */

/* Atomic writing: bytes go to a temporary file beside the path; commit flushes them to the disk and renames. Until
 * then, and after any failure, the old file stands as it was and nothing else is left. */
typedef struct pfi_writer pfi_writer;
pf_status pfi_writer_open(pf_ctx *ctx, const char *path, pfi_writer **out);
pf_status pfi_writer_add(pfi_writer *w, const void *p, size_t n);
/* what comes from now on is compressed as one zstd frame with content checksum. err NOMEM */
pf_status pfi_writer_compress(pfi_writer *w);
pf_status pfi_writer_commit(pfi_writer *w); /* frees w, also on failure */
void pfi_writer_abandon(pfi_writer *w);     /* frees w; NULL is fine */
/* all three at once. err IO (path and reason), NOMEM */
pf_status pfi_file_write_atomic(pf_ctx *ctx, const char *path, const void *p, size_t n);

/* ---- zstd ---- */

/* One frame with content checksum, appended to out. level 1..19, 0: the default. err NOMEM, RANGE */
pf_status pfi_zst_compress(pf_ctx *ctx, const void *p, size_t n, int level, pfi_buf *out);
/* The same as a stream: what is made goes to write. last: the frame ends. err NOMEM, and what write fails with */
typedef pf_status (*pfi_zst_write)(void *ud, const void *p, size_t n);
pf_status pfi_zst_open(pf_ctx *ctx, pfi_zst_write write, void *ud, pfi_zst **out);
pf_status pfi_zst_add(pfi_zst *z, const void *p, size_t n, bool last);
void pfi_zst_close(pfi_zst *z); /* NULL is fine */
/* All frames in p, appended to out. Each must carry a checksum, since a frame without one can be damaged unseen.
 * what: the name of the file, for messages. err FORMAT, NOMEM */
pf_status pfi_zst_decompress(pf_ctx *ctx, const void *p, size_t n, const char *what, pfi_buf *out);

/* ---- lines ---- */

/* Lines of a text file, plain or zstd (by its first bytes or the ending .zst), read as a stream. A UTF-8 byte order
 * mark at the start, CR before LF and blank lines are skipped; a last line without LF counts. */
typedef struct pfi_lines pfi_lines;
pf_status pfi_lines_open(pf_ctx *ctx, const char *path, pfi_lines **out);
/* next line, borrowed until the next call, 0-terminated; *text is NULL at the end. line_no counts from 1, blank lines
 * included. err IO, NOMEM, FORMAT (damaged zstd; invalid UTF-8 with file, line and byte) */
pf_status pfi_lines_next(pfi_lines *l, const char **text, size_t *len, long *line_no);
void pfi_lines_close(pfi_lines *l); /* NULL is fine */

/* ---- UTF-8 ---- */

/* place of the first byte that is not valid UTF-8 (no surrogates, no overlong forms), n if all is valid */
size_t pfi_utf8_check(const char *p, size_t n);
/* the code point at p and its length in bytes (n > 0); invalid: -1 and length 1 */
int32_t pfi_utf8_next(const char *p, size_t n, size_t *len);
pf_status pfi_utf8_add(pf_ctx *ctx, pfi_buf *b, int32_t code_point);

#endif
