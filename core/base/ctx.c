/* Context, status texts and error messages. */
#include <stdlib.h>

#include "base/base.h"
#include "kernel/kernel.h"

#ifdef _OPENMP
#include <omp.h>
#endif

const char *pf_version(void) {
#define STR_(x) #x
#define STR(x)  STR_(x)
    return STR(PF_VERSION_MAJOR) "." STR(PF_VERSION_MINOR) "." STR(PF_VERSION_PATCH);
#undef STR
#undef STR_
}

const char *pf_strstatus(pf_status s) {
    switch (s) {
#define X(code, text)                                                                                                  \
    case code: return text;
        PF_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

#if defined(__SANITIZE_ADDRESS__)
#define CTX_SANITIZED 1
#elif defined(__has_feature)
#define CTX_SANITIZED __has_feature(address_sanitizer)
#else
#define CTX_SANITIZED 0
#endif

static void *ctx_libc_realloc(void *ud, void *p, size_t old, size_t now) {
    (void)ud;
    (void)old;
    if (now == 0) {
        free(p);
        return NULL;
    }
    return realloc(p, now);
}

/* Whoever looks for use after free must see each block go. */
static bool ctx_reuse(void) { return !CTX_SANITIZED && !getenv("POFIT_VALGRIND"); }

pf_status pf_open(pf_ctx **out, const pf_allocator *a) {
    *out = NULL;
    pf_allocator use = a ? *a : (pf_allocator){ctx_libc_realloc, NULL};
    pf_ctx *ctx = use.realloc_fn(use.ud, NULL, 0, sizeof *ctx);
    if (!ctx) return PF_NOMEM;
    memset(ctx, 0, sizeof *ctx);
    ctx->a = use;
    ctx->used = ctx->peak = ctx->high = sizeof *ctx;
    ctx->holds = 1;
    ctx->reuse = ctx_reuse();
    ctx->recording = true;
    ctx->layer = -1;
#ifdef _OPENMP
    ctx->threads = PFI_MIN(omp_get_max_threads(), 256);
#else
    ctx->threads = 1;
#endif
    pfk_warm_up();
    *out = ctx;
    return PF_OK;
}

void pf_close(pf_ctx *ctx) {
    if (ctx) pfi_release(ctx);
}

void pfi_hold(pf_ctx *ctx) { ctx->holds++; }

void pfi_release(pf_ctx *ctx) {
    if (--ctx->holds > 0) return;
    pfi_trim(ctx);
    pf_allocator a = ctx->a;
    a.realloc_fn(a.ud, ctx, sizeof *ctx, 0);
}

const char *pf_errmsg(const pf_ctx *ctx) { return ctx->message; }

pf_status pf_errcode(const pf_ctx *ctx) { return ctx->code; }

pf_status pf_set_threads(pf_ctx *ctx, int threads) {
    if (threads < 1 || threads > 256) return pfi_fail(ctx, PF_RANGE, "threads must be 1 to 256, got %d", threads);
    ctx->threads = threads;
    return PF_OK;
}

void pf_memory(const pf_ctx *ctx, size_t *used, size_t *peak) {
    if (used) *used = ctx->used;
    if (peak) *peak = ctx->peak;
}

void pf_cancel(pf_ctx *ctx) { ctx->cancelled = 1; }

const pf_metric *pf_metrics(const pf_ctx *ctx, int *n) {
    *n = ctx->n_metrics;
    return ctx->metric;
}

pf_status pfi_fail(pf_ctx *ctx, pf_status s, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(ctx->message, sizeof ctx->message, fmt, ap);
    va_end(ap);
    ctx->code = s;
    return s;
}

pf_status pfi_prefix(pf_ctx *ctx, const char *fmt, ...) {
    char front[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(front, sizeof front - 2, fmt, ap);
    va_end(ap);
    strcat(front, ": ");
    size_t shift = strlen(front), room = sizeof ctx->message - 1 - shift;
    ctx->message[PFI_MIN(strlen(ctx->message), room)] = 0;
    memmove(ctx->message + shift, ctx->message, strlen(ctx->message) + 1);
    memcpy(ctx->message, front, shift);
    return ctx->code;
}
