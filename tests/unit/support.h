/* What the unit tests share: an allocator that fails on request, reference data, files in a scratch directory. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "tensor/tensor.h"

/* counts allocations and bytes; allocation number fail_at (from 0) fails, and those after it if persistent */
typedef struct support_memory {
    long calls, fail_at;
    bool persistent, failed;
    long blocks;
    size_t bytes;
} support_memory;

static inline void *support_realloc(void *ud, void *p, size_t old, size_t now) {
    support_memory *m = ud;
    if (now == 0) {
        if (p) {
            m->blocks--;
            m->bytes -= old;
        }
        free(p);
        return NULL;
    }
    long k = m->calls++;
    if (m->fail_at >= 0 && (k == m->fail_at || (m->persistent && k > m->fail_at))) {
        m->failed = true;
        return NULL;
    }
    void *q = realloc(p, now);
    if (!q) return NULL;
    if (!p) m->blocks++;
    m->bytes += now - old;
    return q;
}

/* run(ctx, ud) with every allocation failing in turn, once alone and once with all that follow: each run must report
 * the memory status, leave the context usable and give every byte back. step > 1 looks at every step-th only, unless
 * POFIT_LONG is set; under valgrind a tenth of that must do. */
static inline void support_sweep(pf_status (*run)(pf_ctx *ctx, void *ud), void *ud, long step) {
    if (getenv("POFIT_LONG")) step = 1;
    if (getenv("POFIT_VALGRIND")) step = 10 * step + 1;
    for (int persistent = 0; persistent <= 1; persistent++) {
        for (long k = 0;; k += step) {
            support_memory m = {.fail_at = -1, .persistent = persistent};
            pf_allocator a = {support_realloc, &m};
            pf_ctx *ctx;
            assert_int_equal(pf_open(&ctx, &a), PF_OK);
            ctx->reuse = false; /* what waits would save a call that is to fail */
            m.calls = 0;
            m.fail_at = k;
            pf_status s = run(ctx, ud);
            if (m.failed && (s != PF_NOMEM || pf_errcode(ctx) != PF_NOMEM))
                fail_msg("allocation %ld: status %d (%s)", k, s, pf_errmsg(ctx));
            if (!m.failed && s != PF_OK) fail_msg("without a failure: %s", pf_errmsg(ctx));
            pf_close(ctx);
            if (m.blocks || m.bytes) fail_msg("allocation %ld: %ld blocks, %zu bytes left", k, m.blocks, m.bytes);
            if (!m.failed) break;
        }
    }
}

static inline pf_ctx *support_open(void) {
    pf_ctx *ctx;
    assert_int_equal(pf_open(&ctx, NULL), PF_OK);
    return ctx;
}

/* closes and checks that nothing is left but the context itself */
static inline void support_close(pf_ctx *ctx) {
    assert_int_equal(ctx->holds, 1);
    assert_int_equal(ctx->used, sizeof *ctx);
    pf_close(ctx);
}

#define support_ok(ctx, call)                                                                                          \
    do {                                                                                                               \
        if ((call) != PF_OK) fail_msg("%s: %s", #call, pf_errmsg(ctx));                                                \
    } while (0)

/* the status is s and the message holds text */
#define support_fails(ctx, call, s, text)                                                                              \
    do {                                                                                                               \
        assert_int_equal((call), (s));                                                                                 \
        if (!strstr(pf_errmsg(ctx), (text))) fail_msg("\"%s\" is not in: %s", (text), pf_errmsg(ctx));                 \
    } while (0)

/* sum(c * y), backward */
static inline void support_backward(pf_ctx *ctx, pf_tensor *y, const double *weight) {
    pf_tensor *w = pf_tensor_from(ctx, y->dtype, y->nd, y->dim, weight, pf_tensor_numel(y));
    pf_tensor *z = pf_call(ctx, "mul", PF_T("x", y), PF_T("y", w)), *s = pf_call(ctx, "sum", PF_T("x", z));
    support_ok(ctx, pf_backward(s));
    pf_tensor_free(w);
    pf_tensor_free(z);
    pf_tensor_free(s);
}

/* $POFIT_TESTDATA/data/rel into buf, or false after a line that says that the test is skipped */
static inline bool support_data(char *buf, size_t n, const char *test, const char *rel) {
    const char *root = getenv("POFIT_TESTDATA");
    if (root && *root) {
        snprintf(buf, n, "%s/data/%s", root, rel);
        return true;
    }
    printf("SKIP %s: POFIT_TESTDATA is not set\n", test);
    return false;
}

/* a scratch directory of this process under $TMPDIR or /tmp */
static inline const char *support_dir(void) {
    static char dir[256];
    if (*dir) return dir;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/pofit-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    return dir;
}

static inline int support_cleanup(void **state) {
    (void)state;
    char cmd[300];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", support_dir());
    return system(cmd);
}

/* dir/name in one of 64 rotating buffers */
static inline const char *support_path(const char *name) {
    static char buf[64][512];
    static int k;
    k = (k + 1) % 64;
    snprintf(buf[k], sizeof buf[k], "%s/%s", support_dir(), name);
    return buf[k];
}

/* writes bytes without going through the library */
static inline const char *support_write(const char *name, const void *p, size_t n) {
    const char *path = support_path(name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

#endif
