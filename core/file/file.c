/* Whole files, directories, mappings, atomic writing. */
#include "file/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_CHUNK (1u << 20)

static pf_status file_fail(pf_ctx *ctx, const char *verb, const char *path) {
    return pfi_fail(ctx, PF_IO, "cannot %s %s: %s", verb, path, strerror(errno));
}

bool pfi_file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

bool pfi_file_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *pfi_file_join(pf_ctx *ctx, const char *dir, const char *name) {
    size_t n = strlen(dir);
    return pfi_format(ctx, "%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
}

bool pfi_file_plain_name(const char *name) {
    return *name && !strchr(name, '/') && !strchr(name, '\\') && !strstr(name, "..") && strcmp(name, ".") != 0;
}

pf_status pfi_file_mkdirs(pf_ctx *ctx, const char *path) {
    if (!*path) return pfi_fail(ctx, PF_IO, "the name of a directory is empty");
    char *p = pfi_strndup(ctx, path, strlen(path));
    if (!p) return PF_NOMEM;
    pf_status s = PF_OK;
    for (char *at = p + 1; s == PF_OK; at++) {
        char c = *at;
        if (c && c != '/') continue;
        *at = 0;
        if (mkdir(p, 0777) != 0 && !(errno == EEXIST && pfi_file_is_dir(p))) s = file_fail(ctx, "make directory", p);
        if (!c) break;
        *at = c;
    }
    pfi_free(ctx, p);
    return s;
}

static int file_open_read(const char *path) {
    int fd;
    do fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static pf_status file_slurp(pf_ctx *ctx, int fd, const char *path, pfi_buf *out) {
    for (;;) {
        size_t room = out->cap > out->len + 1 ? out->cap - out->len - 1 : 0;
        if (room == 0) {
            PF_TRY(pfi_buf_reserve(ctx, out, FILE_CHUNK));
            continue;
        }
        ssize_t n = read(fd, out->data + out->len, room);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return file_fail(ctx, "read", path);
        if (n == 0) break;
        out->len += (size_t)n;
    }
    out->data[out->len] = 0;
    return PF_OK;
}

pf_status pfi_file_read(pf_ctx *ctx, const char *path, pfi_buf *out) {
    int fd = file_open_read(path);
    if (fd < 0) return file_fail(ctx, "open", path);
    struct stat st;
    pf_status s = PF_OK;
    if (fstat(fd, &st) != 0) s = file_fail(ctx, "read", path);
    if (s == PF_OK) s = pfi_buf_reserve(ctx, out, S_ISREG(st.st_mode) ? (size_t)st.st_size + 1 : FILE_CHUNK);
    if (s == PF_OK) s = file_slurp(ctx, fd, path, out);
    close(fd);
    return s;
}

/* ---- mapping ---- */

static pf_status map_fd(pf_ctx *ctx, int fd, const char *path, pfi_map *m) {
    struct stat st;
    if (fstat(fd, &st) != 0) return file_fail(ctx, "read", path);
    if (S_ISDIR(st.st_mode)) return pfi_fail(ctx, PF_IO, "cannot read %s: it is a directory", path);
    m->size = (size_t)st.st_size;
    m->data = (const unsigned char *)"";
    if (m->size == 0) return PF_OK;
    /* copy on write: a weight that is changed in memory leaves the file alone, and takes memory for its own pages only
     */
    void *p = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    if (p == MAP_FAILED) return file_fail(ctx, "map", path);
    (void)posix_madvise(p, m->size, POSIX_MADV_WILLNEED); /* read ahead: all of it is wanted soon */
    m->data = p;
    return PF_OK;
}

pf_status pfi_file_map(pf_ctx *ctx, const char *path, pfi_map **out) {
    *out = NULL;
    pfi_map *m = pfi_calloc(ctx, 1, sizeof *m);
    if (!m) return PF_NOMEM;
    m->ctx = ctx;
    m->refs = 1;
    int fd = file_open_read(path);
    pf_status s = fd < 0 ? file_fail(ctx, "open", path) : map_fd(ctx, fd, path, m);
    if (fd >= 0) close(fd);
    if (s != PF_OK) {
        pfi_free(ctx, m);
        return s;
    }
    pfi_hold(ctx);
    *out = m;
    return PF_OK;
}

pfi_map *pfi_map_retain(pfi_map *m) {
    m->refs++;
    return m;
}

void pfi_map_release(void *map) {
    pfi_map *m = map;
    if (!m || --m->refs > 0) return;
    pf_ctx *ctx = m->ctx;
    if (m->size) munmap((void *)(uintptr_t)m->data, m->size);
    pfi_free(ctx, m);
    pfi_release(ctx);
}

/* ---- atomic writing ---- */

struct pfi_writer {
    pf_ctx *ctx;
    int fd; /* -1: no temporary file is there */
    char *path, *temp;
    pfi_zst *zst; /* NULL: bytes are written as they come */
};

pf_status pfi_writer_open(pf_ctx *ctx, const char *path, pfi_writer **out) {
    *out = NULL;
    pfi_writer *w = pfi_calloc(ctx, 1, sizeof *w);
    if (!w) return PF_NOMEM;
    w->ctx = ctx;
    w->fd = -1;
    w->path = pfi_strndup(ctx, path, strlen(path));
    pf_status s = w->path ? PF_OK : PF_NOMEM;
    for (int i = 0; s == PF_OK && w->fd < 0; i++) {
        pfi_free(ctx, w->temp);
        w->temp = pfi_format(ctx, "%s.%ld.%d.tmp", path, (long)getpid(), i);
        if (!w->temp) s = PF_NOMEM;
        if (s == PF_OK) w->fd = open(w->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (s == PF_OK && w->fd < 0 && errno != EEXIST && errno != EINTR) s = file_fail(ctx, "write", path);
    }
    if (s != PF_OK) {
        pfi_writer_abandon(w);
        return s;
    }
    *out = w;
    return PF_OK;
}

static pf_status writer_write(void *ud, const void *p, size_t n) {
    pfi_writer *w = ud;
    const char *at = p;
    while (n) {
        ssize_t done = write(w->fd, at, PFI_MIN(n, (size_t)1 << 30));
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return file_fail(w->ctx, "write", w->path);
        at += done;
        n -= (size_t)done;
    }
    return PF_OK;
}

pf_status pfi_writer_compress(pfi_writer *w) { return pfi_zst_open(w->ctx, writer_write, w, &w->zst); }

pf_status pfi_writer_add(pfi_writer *w, const void *p, size_t n) {
    return w->zst ? pfi_zst_add(w->zst, p, n, false) : writer_write(w, p, n);
}

/* makes the rename itself durable; some file systems cannot and need not */
static pf_status writer_sync_dir(pfi_writer *w) {
    char *slash = strrchr(w->temp, '/');
    const char *dir = slash == w->temp ? "/" : slash ? w->temp : ".";
    if (slash) *slash = 0;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return PF_OK;
    int bad = fsync(fd) != 0 && errno == EIO;
    close(fd);
    return bad ? file_fail(w->ctx, "write", w->path) : PF_OK;
}

pf_status pfi_writer_commit(pfi_writer *w) {
    pf_status s = w->zst ? pfi_zst_add(w->zst, NULL, 0, true) : PF_OK;
    if (s == PF_OK && fsync(w->fd) != 0 && errno != EINVAL && errno != ENOTSUP) s = file_fail(w->ctx, "write", w->path);
    if (s == PF_OK && close(w->fd) != 0) {
        s = file_fail(w->ctx, "write", w->path);
        unlink(w->temp);
        w->fd = -1;
    }
    if (s == PF_OK) {
        w->fd = -1;
        if (rename(w->temp, w->path) == 0) {
            s = writer_sync_dir(w);
        } else {
            s = file_fail(w->ctx, "write", w->path);
            unlink(w->temp);
        }
    }
    pfi_writer_abandon(w);
    return s;
}

void pfi_writer_abandon(pfi_writer *w) {
    if (!w) return;
    pf_ctx *ctx = w->ctx;
    if (w->fd >= 0) {
        close(w->fd);
        unlink(w->temp);
    }
    pfi_zst_close(w->zst);
    pfi_free(ctx, w->path);
    pfi_free(ctx, w->temp);
    pfi_free(ctx, w);
}

pf_status pfi_file_write_atomic(pf_ctx *ctx, const char *path, const void *p, size_t n) {
    pfi_writer *w;
    PF_TRY(pfi_writer_open(ctx, path, &w));
    pf_status s = pfi_writer_add(w, p, n);
    if (s == PF_OK) return pfi_writer_commit(w);
    pfi_writer_abandon(w);
    return s;
}
