/* Memory through the context's allocator, with sizes kept in front of each block so that freeing needs none. A training
 * step frees and asks for the same large blocks again and again: they wait here, so that the system does not have to
 * clear the pages of each anew. Where none of those that wait fits, all go back: kept beside the new sizes they would
 * leave gaps that nothing fills, unless large blocks come from the system one by one. What is in use and what waits are
 * together never more than was in use at the peak since the last pfi_trim. */
#include "base/base.h"

/* Stands right before the pointer handed out. raw: distance back to the allocator's own pointer. */
typedef struct alloc_head {
    size_t total;
    size_t raw;
} alloc_head;

_Static_assert(sizeof(alloc_head) == 16, "the head must keep 16-byte alignment");

static alloc_head *alloc_head_of(void *p) { return (alloc_head *)p - 1; }

/* ---- blocks that wait ---- */

enum { ALLOC_LARGE = 1 << 16, ALLOC_ALIGN = 64 }; /* blocks from this size on wait, all of them aligned for data */

/* a block that waits begins with the link to the next of its class */
static void **alloc_next(void *p) { return p; }

/* The class of a size, eight to each power of two: a block of its class or of the next is at most a quarter too long.
 */
static int alloc_class(size_t total) {
    int power = 0;
    while (total >> power >= 2 * (size_t)ALLOC_LARGE) power++;
    return PFI_MIN(8 * power + (int)((total >> power) * 8 / ALLOC_LARGE) - 8, PFI_CLASSES - 1);
}

static void alloc_give_back(pf_ctx *ctx, void *p) {
    alloc_head h = *alloc_head_of(p);
    ctx->a.realloc_fn(ctx->a.ud, (char *)p - h.raw, h.total, 0);
}

/* a waiting block of at least total bytes, or NULL */
static void *alloc_waiting(pf_ctx *ctx, size_t total) {
    const int own = alloc_class(total), last = PFI_MIN(own + 1, PFI_CLASSES - 1);
    for (int k = own; ctx->waiting && k <= last; k++)
        for (void **at = &ctx->waits[k]; *at; at = alloc_next(*at)) {
            void *p = *at;
            const size_t has = alloc_head_of(p)->total;
            if (has < total || has - total > total / 4) continue;
            *at = *alloc_next(p);
            ctx->waiting -= has;
            return p;
        }
    return NULL;
}

/* give back the largest that wait until they are at most keep bytes */
static void alloc_shrink(pf_ctx *ctx, size_t keep) {
    for (int k = PFI_CLASSES - 1; k >= 0; k--)
        while (ctx->waiting > keep && ctx->waits[k]) {
            void *p = ctx->waits[k];
            ctx->waits[k] = *alloc_next(p);
            ctx->waiting -= alloc_head_of(p)->total;
            alloc_give_back(ctx, p);
        }
}

void pfi_trim(pf_ctx *ctx) {
    alloc_shrink(ctx, 0);
    ctx->high = ctx->used;
}

/* ---- blocks ---- */

static void *alloc_new(pf_ctx *ctx, size_t total, size_t align) {
    const size_t high = PFI_MAX(ctx->high, ctx->used + total);
    alloc_shrink(ctx, total < ALLOC_LARGE || ctx->mapped ? high - ctx->used - total : 0);
    char *raw = ctx->a.realloc_fn(ctx->a.ud, NULL, 0, total);
    if (!raw && ctx->waiting) {
        alloc_shrink(ctx, 0);
        raw = ctx->a.realloc_fn(ctx->a.ud, NULL, 0, total);
    }
    if (!raw) return NULL;
    uintptr_t at = ((uintptr_t)raw + sizeof(alloc_head) + align - 1) / align * align;
    char *p = raw + (at - (uintptr_t)raw);
    *alloc_head_of(p) = (alloc_head){total, (size_t)(p - raw)};
    return p;
}

static void *alloc_aligned(pf_ctx *ctx, size_t size, size_t align) {
    if (size >= ALLOC_LARGE) align = ALLOC_ALIGN;
    size_t total = size + sizeof(alloc_head) + align;
    if (total < size) {
        pfi_fail(ctx, PF_NOMEM, "not enough memory: a block of %zu bytes was asked for", size);
        return NULL;
    }
    void *p = size >= ALLOC_LARGE ? alloc_waiting(ctx, total) : NULL;
    if (!p) p = alloc_new(ctx, total, align);
    if (!p) {
        pfi_fail(ctx, PF_NOMEM, "not enough memory: a block of %zu bytes was asked for, %zu are in use", size,
                 ctx->used);
        return NULL;
    }
    ctx->used += alloc_head_of(p)->total;
    ctx->high = PFI_MAX(ctx->high, ctx->used);
    ctx->peak = PFI_MAX(ctx->peak, ctx->high);
    return p;
}

void *pfi_alloc(pf_ctx *ctx, size_t size) { return alloc_aligned(ctx, size, 16); }

void *pfi_alloc_data(pf_ctx *ctx, size_t size) { return alloc_aligned(ctx, size, ALLOC_ALIGN); }

void *pfi_calloc(pf_ctx *ctx, size_t n, size_t size) {
    if (size && n > SIZE_MAX / size) {
        pfi_fail(ctx, PF_NOMEM, "not enough memory: %zu items of %zu bytes were asked for", n, size);
        return NULL;
    }
    void *p = pfi_alloc(ctx, n * size);
    if (p) memset(p, 0, n * size);
    return p;
}

static size_t alloc_size_of(void *p) {
    const alloc_head *h = alloc_head_of(p);
    return h->total - h->raw;
}

void *pfi_realloc(pf_ctx *ctx, void *p, size_t size) {
    void *q = pfi_alloc(ctx, size);
    if (!q || !p) return q;
    memcpy(q, p, PFI_MIN(size, alloc_size_of(p)));
    pfi_free(ctx, p);
    return q;
}

void pfi_free(pf_ctx *ctx, void *p) {
    if (!p) return;
    const size_t total = alloc_head_of(p)->total;
    ctx->used -= total;
    if (!ctx->reuse || total < ALLOC_LARGE + sizeof(alloc_head) + ALLOC_ALIGN) {
        alloc_give_back(ctx, p);
        return;
    }
    void **first = &ctx->waits[alloc_class(total)];
    *alloc_next(p) = *first;
    *first = p;
    ctx->waiting += total;
}

char *pfi_strndup(pf_ctx *ctx, const char *s, size_t n) {
    char *p = pfi_alloc(ctx, n + 1);
    if (!p) return NULL;
    memcpy(p, s, n);
    p[n] = 0;
    return p;
}

static pf_status buf_vfmt(pf_ctx *ctx, pfi_buf *b, const char *fmt, va_list ap) {
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    pf_status s = n < 0 ? pfi_fail(ctx, PF_RANGE, "text could not be formatted") : pfi_buf_reserve(ctx, b, (size_t)n);
    if (s == PF_OK) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return s;
}

char *pfi_format(pf_ctx *ctx, const char *fmt, ...) {
    pfi_buf b = {0};
    va_list ap;
    va_start(ap, fmt);
    pf_status s = buf_vfmt(ctx, &b, fmt, ap);
    va_end(ap);
    if (s == PF_OK) return b.data;
    pfi_buf_free(ctx, &b);
    return NULL;
}

pf_status pfi_buf_fmt(pf_ctx *ctx, pfi_buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    pf_status s = buf_vfmt(ctx, b, fmt, ap);
    va_end(ap);
    return s;
}

pf_status pfi_buf_reserve(pf_ctx *ctx, pfi_buf *b, size_t extra) {
    if (extra > SIZE_MAX / 4 || b->len > SIZE_MAX / 4)
        return pfi_fail(ctx, PF_NOMEM, "not enough memory: text too long");
    if (b->data && b->len + extra + 1 <= b->cap) return PF_OK;
    size_t cap = PFI_MAX(2 * b->cap, b->len + extra + 64);
    char *p = pfi_realloc(ctx, b->data, cap);
    if (!p) return PF_NOMEM;
    b->data = p;
    b->cap = cap;
    b->data[b->len] = 0;
    return PF_OK;
}

pf_status pfi_buf_add(pf_ctx *ctx, pfi_buf *b, const void *p, size_t n) {
    PF_TRY(pfi_buf_reserve(ctx, b, n));
    if (n) memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = 0;
    return PF_OK;
}

pf_status pfi_buf_str(pf_ctx *ctx, pfi_buf *b, const char *s) { return pfi_buf_add(ctx, b, s, strlen(s)); }

void pfi_buf_free(pf_ctx *ctx, pfi_buf *b) {
    pfi_free(ctx, b->data);
    *b = (pfi_buf){0};
}

pf_status pfi_ints_add(pf_ctx *ctx, pfi_ints *v, int32_t x) {
    if (v->len == v->cap) {
        size_t cap = v->cap ? 2 * v->cap : 32;
        int32_t *p = pfi_realloc(ctx, v->data, cap * sizeof *p);
        if (!p) return PF_NOMEM;
        v->data = p;
        v->cap = cap;
    }
    v->data[v->len++] = x;
    return PF_OK;
}

void pfi_ints_free(pf_ctx *ctx, pfi_ints *v) {
    pfi_free(ctx, v->data);
    *v = (pfi_ints){0};
}
