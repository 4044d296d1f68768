/* base: context, status, allocation, random numbers. Internal. */
#ifndef PFI_BASE_H
#define PFI_BASE_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pofit.h"

#define PFI_COUNT(a)  ((int)(sizeof(a) / sizeof((a)[0])))
#define PFI_MIN(a, b) ((a) < (b) ? (a) : (b))
#define PFI_MAX(a, b) ((a) > (b) ? (a) : (b))

/* forward a failure */
#define PF_TRY(call)                                                                                                   \
    do {                                                                                                               \
        pf_status pf_try_status_ = (call);                                                                             \
        if (pf_try_status_ != PF_OK) return pf_try_status_;                                                            \
    } while (0)

enum { PFI_MAX_METRICS = 16, PFI_CLASSES = 8 * 24 };

typedef struct pfi_step pfi_step; /* tensor/tape.c */

struct pf_ctx {
    pf_allocator a;
    size_t used, peak; /* bytes in use now, and at most so far */
    size_t high;       /* at most since pfi_trim */
    bool reuse;        /* large blocks that are freed wait to be used again */
    bool mapped;       /* they come from the system one by one, and leave no gaps */
    size_t waiting;    /* bytes of those */
    void *waits[PFI_CLASSES];
    long holds; /* the caller's one and one per living object */
    int threads;
    volatile int cancelled;
    bool recording;
    bool again;       /* backward is making a history again that was not kept */
    uint64_t seq;     /* next node number: nodes run backward in decreasing order */
    pfi_step *step;   /* innermost open step */
    pf_tensor *dying; /* tensors that are being freed */
    bool freeing;
    pf_status code;
    char message[2048];
    int layer; /* of the model that is being computed; -1 outside */
    pf_observer observer;
    void *observer_ud;
    pf_metric metric[PFI_MAX_METRICS];
    int n_metrics;
};

/* set the message and return the status; the first failure of a chain is kept by callers that pass NULL on */
pf_status pfi_fail(pf_ctx *ctx, pf_status s, const char *fmt, ...) PF_FORMAT_ATTR(3, 4);
/* put "prefix: " before the present message, for a caller that knows the file or key; returns the present status */
pf_status pfi_prefix(pf_ctx *ctx, const char *fmt, ...) PF_FORMAT_ATTR(2, 3);

/* Memory through the context's allocator. A failure sets PF_NOMEM. size 0 gives a valid pointer. */
void *pfi_alloc(pf_ctx *ctx, size_t size);            /* 16-byte aligned, not cleared */
void *pfi_calloc(pf_ctx *ctx, size_t n, size_t size); /* cleared; checks n * size */
void *pfi_realloc(pf_ctx *ctx, void *p, size_t size); /* p as it was on failure */
void *pfi_alloc_data(pf_ctx *ctx, size_t size);       /* 64-byte aligned, not cleared */
void pfi_free(pf_ctx *ctx, void *p);                  /* any of the above; NULL is fine */
void pfi_trim(pf_ctx *ctx); /* gives the blocks that wait back to the allocator; high begins anew */
char *pfi_strndup(pf_ctx *ctx, const char *s, size_t n);
char *pfi_format(pf_ctx *ctx, const char *fmt, ...) PF_FORMAT_ATTR(2, 3); /* owned text */

void pfi_hold(pf_ctx *ctx);    /* one more living object */
void pfi_release(pf_ctx *ctx); /* one less; frees the context with the last */

/* What is computed is told to the observer: begin says when (0 if nobody observes), end completes e with its start and
 * seconds and tells it. */
double pfi_observe_begin(const pf_ctx *ctx);
void pfi_observe_end(const pf_ctx *ctx, double start, pf_event e);

/* growable bytes; zero-initialise with {0}; data is 0-terminated after every pfi_buf_* call that succeeded */
typedef struct pfi_buf {
    char *data;
    size_t len, cap;
} pfi_buf;
pf_status pfi_buf_reserve(pf_ctx *ctx, pfi_buf *b, size_t extra);
pf_status pfi_buf_add(pf_ctx *ctx, pfi_buf *b, const void *p, size_t n);
pf_status pfi_buf_str(pf_ctx *ctx, pfi_buf *b, const char *s);
pf_status pfi_buf_fmt(pf_ctx *ctx, pfi_buf *b, const char *fmt, ...) PF_FORMAT_ATTR(3, 4);
void pfi_buf_free(pf_ctx *ctx, pfi_buf *b);

/* growable int32 list, for token ids */
typedef struct pfi_ints {
    int32_t *data;
    size_t len, cap;
} pfi_ints;
pf_status pfi_ints_add(pf_ctx *ctx, pfi_ints *v, int32_t x);
void pfi_ints_free(pf_ctx *ctx, pfi_ints *v);

/* nearest of n names to a mistyped one (edit distance at most 3 and below its length), or NULL */
const char *pfi_nearest(const char *wrong, const char *const *names, int n);

/* Counter-based random numbers, Philox4x32-10 (Salmon et al. 2011): a pure function of seed, stream and index. */
void pfi_random_u32x4(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]);
double pfi_random_uniform(uint64_t seed, uint64_t stream, uint64_t index); /* [0, 1), 53 bits */
double pfi_random_normal(uint64_t seed, uint64_t stream, uint64_t index);
uint64_t pfi_hash64(uint64_t h, const void *p, size_t n); /* fingerprint step: 64 bits, not for security */

#endif
