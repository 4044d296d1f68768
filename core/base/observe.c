/* Telling an observer what was computed and how long it took. */
#include <time.h>

#include "base/base.h"

void pf_observe(pf_ctx *ctx, pf_observer f, void *ud) {
    ctx->observer = f;
    ctx->observer_ud = ud;
}

static double observe_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double pfi_observe_begin(const pf_ctx *ctx) { return ctx->observer ? observe_now() : 0; }

void pfi_observe_end(const pf_ctx *ctx, double start, pf_event e) {
    if (!ctx->observer) return;
    e.start = start;
    e.seconds = observe_now() - start;
    ctx->observer(ctx->observer_ud, &e);
}
