/* Building the forest of a batch. */
#include "forest/forest.h"

#include <stdlib.h>

/* One sequence while the forest is built: the first `inputs` ids are fed to the model. */
typedef struct forest_item {
    const pf_sequence *s;
    int64_t at, inputs, entry; /* place in the batch; input tokens; first entry */
} forest_item;

static bool forest_scored(const pf_sequence *s, size_t t) { return s->score ? s->score[t] != 0 : t >= s->scored_from; }

static pf_status forest_check(pf_ctx *ctx, const pf_sequence *s, size_t i, forest_item *item, int64_t *entries) {
    if (s->n == 0 || !s->ids) return pfi_fail(ctx, PF_RANGE, "sequence %zu is empty", i + 1);
    if (s->n > INT32_MAX / 2) return pfi_fail(ctx, PF_RANGE, "sequence %zu has %zu tokens: too long", i + 1, s->n);
    if (forest_scored(s, 0))
        return pfi_fail(ctx, PF_RANGE,
                        "sequence %zu: its first token cannot be scored, nothing stands before it (a prompt needs at "
                        "least one token)",
                        i + 1);
    *item = (forest_item){s, (int64_t)i, 0, *entries};
    for (size_t t = 1; t < s->n; t++)
        if (forest_scored(s, t)) {
            item->inputs = (int64_t)t;
            ++*entries;
        }
    return PF_OK;
}

static int forest_order(const void *a, const void *b) {
    const forest_item *x = a, *y = b;
    int64_t n = PFI_MIN(x->inputs, y->inputs);
    for (int64_t t = 0; t < n; t++)
        if (x->s->ids[t] != y->s->ids[t]) return x->s->ids[t] < y->s->ids[t] ? -1 : 1;
    if (x->inputs != y->inputs) return x->inputs < y->inputs ? -1 : 1;
    return x->at < y->at ? -1 : 1;
}

static int64_t forest_common(const forest_item *a, const forest_item *b) {
    int64_t n = PFI_MIN(a->inputs, b->inputs), t = 0;
    while (t < n && a->s->ids[t] == b->s->ids[t]) t++;
    return t;
}

static pf_tensor *forest_ints(pf_ctx *ctx, int64_t n) { return pf_tensor_new(ctx, PF_I32, 1, &n); }

/* Entry tensors of one sequence; path[t] is the node of its token t. */
static void forest_entries(pf_batch *b, const forest_item *item, const int32_t *path) {
    const pf_sequence *s = item->s;
    int64_t e = item->entry;
    for (size_t t = 1; t < s->n; t++) {
        if (!forest_scored(s, t)) continue;
        pfi_i32(b->node)[e] = path[t - 1];
        pfi_i32(b->target)[e] = s->target ? s->target[t] : s->ids[t];
        pfi_i32(b->sequence)[e] = (int32_t)item->at;
        pfi_i32(b->step)[e] = s->step ? s->step[t] : 0;
        e++;
    }
    pfi_f32(b->length)[item->at] = (float)(e - item->entry);
}

/* A branch ends where a fork follows or the next node is not its child. above[i]: parent of node i; forks: children. */
static pf_status forest_branches(pf_batch *b, const int32_t *above, const int32_t *children) {
    pf_ctx *ctx = b->ctx;
    for (int64_t i = 0; i < b->nodes; i++) b->branches += i == 0 || above[i] != i - 1 || children[i - 1] > 1;
    b->start = forest_ints(ctx, b->branches + 1);
    b->parent = forest_ints(ctx, b->branches);
    int32_t *of = pfi_alloc(ctx, (size_t)b->nodes * sizeof *of); /* branch of each node */
    if (!b->start || !b->parent || !of) {
        pfi_free(ctx, of);
        return PF_NOMEM;
    }
    int32_t at = -1;
    for (int64_t i = 0; i < b->nodes; i++) {
        if (i == 0 || above[i] != i - 1 || children[i - 1] > 1) {
            at++;
            pfi_i32(b->start)[at] = (int32_t)i;
            pfi_i32(b->parent)[at] = above[i] < 0 ? -1 : of[above[i]];
        }
        of[i] = at;
    }
    pfi_i32(b->start)[b->branches] = (int32_t)b->nodes;
    pfi_free(ctx, of);
    return PF_OK;
}

/* Walk the sorted sequences: what a sequence shares with the one before it is there already. */
static pf_status forest_nodes(pf_batch *b, const forest_item *item, int32_t *path, int32_t *above, int32_t *children) {
    int32_t node = 0;
    for (int64_t k = 0; k < b->sequences; k++) {
        int64_t t = k ? forest_common(&item[k - 1], &item[k]) : 0;
        for (; t < item[k].inputs; t++, node++) {
            pfi_i32(b->token)[node] = item[k].s->ids[t];
            pfi_i32(b->position)[node] = (int32_t)t;
            above[node] = t ? path[t - 1] : -1;
            children[node] = 0;
            if (t) children[path[t - 1]]++;
            path[t] = node;
        }
        forest_entries(b, &item[k], path);
    }
    return forest_branches(b, above, children);
}

static pf_status forest_build(pf_batch *b, forest_item *item) {
    pf_ctx *ctx = b->ctx;
    qsort(item, (size_t)b->sequences, sizeof *item, forest_order);
    for (int64_t k = 0; k < b->sequences; k++) {
        b->nodes += item[k].inputs - (k ? forest_common(&item[k - 1], &item[k]) : 0);
        b->longest = PFI_MAX(b->longest, item[k].inputs);
        b->shortest = k ? PFI_MIN(b->shortest, item[k].inputs) : item[k].inputs;
        b->tokens += (int64_t)item[k].s->n;
    }
    if (b->nodes > INT32_MAX)
        return pfi_fail(ctx, PF_RANGE, "a batch of %lld tokens is too large", (long long)b->nodes);
    b->token = forest_ints(ctx, b->nodes);
    b->position = forest_ints(ctx, b->nodes);
    b->node = forest_ints(ctx, b->entries);
    b->target = forest_ints(ctx, b->entries);
    b->sequence = forest_ints(ctx, b->entries);
    b->step = forest_ints(ctx, b->entries);
    b->length = pf_tensor_new(ctx, PF_F32, 1, &b->sequences);
    if (!b->token || !b->position || !b->node || !b->target || !b->sequence || !b->step || !b->length) return PF_NOMEM;
    size_t n = (size_t)b->nodes, longest = (size_t)b->longest;
    int32_t *work = pfi_alloc(ctx, (2 * n + longest + 1) * sizeof *work);
    if (!work) return PF_NOMEM;
    pf_status s = forest_nodes(b, item, work + 2 * n, work, work + n);
    pfi_free(ctx, work);
    return s;
}

pf_status pf_batch_new(pf_ctx *ctx, const pf_sequence *s, size_t n, pf_batch **out) {
    *out = NULL;
    if (n == 0) return pfi_fail(ctx, PF_RANGE, "a batch needs at least one sequence");
    if (n > INT32_MAX) return pfi_fail(ctx, PF_RANGE, "a batch of %zu sequences is too large", n);
    pf_batch *b = pfi_calloc(ctx, 1, sizeof *b);
    if (!b) return PF_NOMEM;
    b->ctx = ctx;
    pfi_hold(ctx);
    b->sequences = (int64_t)n;
    pfi_step *open = ctx->step;
    ctx->step = NULL; /* a batch has an owner of its own and may outlive the step */
    forest_item *item = pfi_calloc(ctx, n, sizeof *item);
    pf_status st = item ? PF_OK : PF_NOMEM;
    for (size_t i = 0; st == PF_OK && i < n; i++) st = forest_check(ctx, &s[i], i, &item[i], &b->entries);
    if (st == PF_OK && b->entries == 0)
        st = pfi_fail(ctx, PF_RANGE, "no token of the batch is scored (an answer needs at least one token)");
    if (st == PF_OK) st = forest_build(b, item);
    ctx->step = open;
    pfi_free(ctx, item);
    if (st == PF_OK)
        *out = b;
    else
        pf_batch_free(b);
    return st;
}

void pf_batch_free(pf_batch *b) {
    if (!b) return;
    pf_ctx *ctx = b->ctx;
    pf_tensor *all[] = {b->token,  b->position, b->start, b->parent, b->node,
                        b->target, b->sequence, b->step,  b->length};
    for (int i = 0; i < PFI_COUNT(all); i++) pf_tensor_free(all[i]);
    pfi_free(ctx, b);
    pfi_release(ctx);
}

pf_tensor *pf_batch_tensor(const pf_batch *b, const char *name) {
    if (strcmp(name, "sequence") == 0) return b->sequence;
    if (strcmp(name, "step") == 0) return b->step;
    if (strcmp(name, "target") == 0) return b->target;
    if (strcmp(name, "length") == 0) return b->length;
    return NULL;
}

int64_t pf_batch_size(const pf_batch *b, const char *name) {
    if (strcmp(name, "sequences") == 0) return b->sequences;
    if (strcmp(name, "entries") == 0) return b->entries;
    if (strcmp(name, "tokens") == 0) return b->tokens;
    if (strcmp(name, "nodes") == 0) return b->nodes;
    if (strcmp(name, "longest") == 0) return b->longest;
    return -1;
}

int64_t pfi_forest_path(const pf_batch *b, int32_t node, int32_t *path) {
    const int32_t *start = pfi_i32(b->start), *parent = pfi_i32(b->parent);
    int64_t depth = pfi_i32(b->position)[node], lo = 0, hi = b->branches; /* start[lo] <= node < start[hi] */
    while (hi - lo > 1) {
        int64_t mid = (lo + hi) / 2;
        if (start[mid] <= node)
            lo = mid;
        else
            hi = mid;
    }
    for (int64_t at = depth; at >= 0;) {
        while (node >= start[lo]) path[at--] = node--;
        if (at < 0) break;
        lo = parent[lo]; /* on at the last node of the branch above */
        node = start[lo + 1] - 1;
    }
    return depth + 1;
}
