/* What the fuzz targets share. A target is a file with an LLVMFuzzerTestOneInput: libFuzzer drives it in `make fuzz`,
 * and tests/unit/test_corpus.c replays corpus/NAME in `make test`. It must end every input without a leak and note with
 * fuzz_accepted whether the input was taken. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"

static bool fuzz_accepted;

/* Memory up to a limit: an input that asks for much more than it holds is refused like any other lack of memory. */
typedef struct fuzz_memory {
    size_t used;
} fuzz_memory;

static inline void *fuzz_realloc(void *ud, void *p, size_t old, size_t now) {
    fuzz_memory *m = ud;
    if (now > old && m->used + (now - old) > (size_t)64 << 20) return NULL;
    m->used += now - old;
    if (now) return realloc(p, now);
    free(p);
    return NULL;
}

static inline void fuzz_check(bool good, const char *what) {
    if (good) return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

static inline pf_ctx *fuzz_open(fuzz_memory *m) {
    pf_ctx *ctx = NULL;
    *m = (fuzz_memory){0};
    pf_open(&ctx, &(pf_allocator){fuzz_realloc, m});
    fuzz_check(ctx != NULL, "no context");
    pf_set_threads(ctx, 1);
    fuzz_accepted = false;
    return ctx;
}

static inline void fuzz_close(pf_ctx *ctx, const fuzz_memory *m) {
    pf_close(ctx);
    fuzz_check(m->used == 0, "memory is left");
}

/* a file that holds the bytes: its path into path, its descriptor returned */
static inline int fuzz_file(const void *p, size_t n, char path[64]) {
    int fd = memfd_create("fuzz", 0);
    fuzz_check(fd >= 0 && write(fd, p, n) == (ssize_t)n, "no file");
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

#endif
