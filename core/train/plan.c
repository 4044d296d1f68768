/* Planning memory. What is in use and mapped is known, what a batch takes says need.c. The plan must be the same in
 * every run of the same options, for parts round in their own way: what is measured is rounded up, parts are whole
 * steps. */
#include "train/plan.h"

#include <math.h>

enum { PLAN_ROUND = 4 << 20, PLAN_STEP = 64, PLAN_LEAST = 256, PLAN_MOST = 1 << 20 };

typedef struct plan_work {
    const pf_model *m;
    const pfi_plan_asked *asked;
    size_t base; /* bytes that are there between updates */
    pfi_load largest;
} plan_work;

static size_t plan_round(size_t bytes) { return (bytes + PLAN_ROUND - 1) / PLAN_ROUND * PLAN_ROUND; }

/* bytes of tensors: of those that are mapped from a file, or of the others */
static size_t plan_weights(const pf_model *m, bool mapped) {
    size_t sum = 0;
    for (int i = 0; i < pf_model_parameter_count(m); i++) {
        const pf_tensor *w = pf_model_parameter(m, i);
        if ((w->st->release != NULL) == mapped) sum += pfi_dtype_bytes(w->dtype, pfi_numel(w));
    }
    return sum;
}

static size_t plan_optimizer(const pf_trainer *t) {
    size_t sum = 0;
    for (int i = 0; i < t->n; i++) {
        const pfi_train_item *item = &t->item[i];
        const pf_tensor *state[] = {item->m, item->v, item->m_scale, item->v_scale};
        for (int k = 0; k < PFI_COUNT(state); k++) sum += state[k] ? state[k]->st->bytes : 0;
    }
    return sum;
}

/* a part of so many nodes: every one may be scored */
static pfi_load plan_load(const plan_work *w, int64_t nodes) {
    return (pfi_load){nodes, PFI_MIN(nodes, w->largest.entries), w->largest.longest};
}

static size_t plan_whole(const plan_work *w, int64_t recompute) {
    return w->base + pfi_need(w->m, w->largest, recompute, w->asked->gradients);
}

static size_t plan_part(const plan_work *w, int64_t nodes, int64_t recompute) {
    return w->base + pfi_need(w->m, plan_load(w, nodes), recompute, true);
}

/* the largest part that fits, whole steps unless it is the least; 0: none */
static int64_t plan_largest(const plan_work *w, int64_t least, int64_t recompute) {
    if (plan_part(w, least, recompute) > w->asked->memory) return 0;
    int64_t low = 0, high = w->largest.nodes / PLAN_STEP + 1; /* steps: low fits, high is not needed */
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        if (plan_part(w, middle * PLAN_STEP, recompute) <= w->asked->memory)
            low = middle;
        else
            high = middle;
    }
    return PFI_MAX(least, low * PLAN_STEP);
}

static bool plan_choose(const plan_work *w, pfi_plan *p) {
    const int64_t layers = w->m->config.layers;
    const bool known = w->asked->largest.nodes > 0;
    for (int64_t k = 0; known && k <= layers; k++)
        if (plan_whole(w, k) <= w->asked->memory) {
            *p = (pfi_plan){.recompute = k, .total = plan_whole(w, k)};
            return true;
        }
    /* parts of fewer than PLAN_LEAST nodes are slow: rather compute more layers again */
    const int64_t least = PFI_MIN(PFI_MAX(w->largest.longest, PLAN_LEAST), w->largest.nodes);
    for (int64_t k = 0; k <= layers; k++) {
        const int64_t nodes = plan_largest(w, k < layers ? least : w->largest.longest, k);
        if (!nodes) continue;
        *p = (pfi_plan){.recompute = k, .part = nodes, .total = plan_part(w, nodes, k)};
        return true;
    }
    return false;
}

static double plan_mib(size_t bytes) { return (double)bytes / (1 << 20); }

pf_status pfi_train_plan(pf_trainer *t, const pfi_plan_asked *asked, pfi_plan *out) {
    pf_ctx *ctx = t->ctx;
    *out = (pfi_plan){0};
    if (!t->model)
        return pfi_fail(ctx, PF_STATE, "memory is planned for a model; this trainer has a list of parameters");
    const size_t mapped = plan_weights(t->model, true), owned = plan_weights(t->model, false), o = plan_optimizer(t);
    const size_t base = plan_round(mapped + ctx->used + asked->outside), gradients = pfi_need_gradients(t->model);
    plan_work w = {.m = t->model, .asked = asked, .base = base, .largest = asked->largest};
    if (asked->largest.nodes <= 0)
        w.largest = (pfi_load){PLAN_MOST, PLAN_MOST, PFI_MAX(asked->largest.longest, PLAN_LEAST)};
    if (!plan_choose(&w, out))
        return pfi_fail(
            ctx, PF_RANGE,
            "%.0f MiB of memory are too little: training takes %.0f MiB at least, with all layers computed "
            "again and sequences one by one (weights %.0f, optimizer %.0f, gradients %.0f MiB, the program and what it "
            "holds beside them %.0f MiB)",
            plan_mib(asked->memory), ceil(plan_mib(plan_part(&w, w.largest.longest, t->model->config.layers))),
            plan_mib(mapped + owned), plan_mib(o), plan_mib(gradients), plan_mib(base - mapped - owned - o));
    out->weights = mapped + owned;
    out->optimizer = o;
    out->rest = base - mapped - owned - o;
    out->gradients = gradients;
    out->activations = out->total - base - PFI_MIN(gradients, out->total - base);
    return PF_OK;
}

void pfi_train_follow(pf_trainer *t, const pfi_plan *plan) {
    if (!t->model) return;
    t->model->recompute = plan->recompute;
    t->model->part = plan->part;
}
