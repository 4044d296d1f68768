/* A batch as several, when the memory for all of it at once is not there. */
#include <stdlib.h>

#include "forest/forest.h"

/* A sequence of the whole: its entries, and the last of its nodes. */
typedef struct part_item {
    int64_t sequence, entry, entries;
    int32_t last;
} part_item;

typedef struct part_work {
    const pf_batch *b;
    part_item *item; /* in the order of their last nodes */
    int64_t n;
    int32_t *path, *seen; /* [longest]; [nodes]: number of the part, from 1, that a node was seen in */
} part_work;

static int part_order(const void *a, const void *b) {
    const part_item *x = a, *y = b;
    if (x->last != y->last) return x->last < y->last ? -1 : 1;
    return x->sequence < y->sequence ? -1 : 1;
}

/* sequences of which nothing is scored are in no part */
static void part_items(part_work *w) {
    const int32_t *sequence = pfi_i32(w->b->sequence), *node = pfi_i32(w->b->node);
    for (int64_t e = 0; e < w->b->entries; e++) {
        if (e == 0 || sequence[e] != sequence[e - 1])
            w->item[w->n++] = (part_item){.sequence = sequence[e], .entry = e, .last = -1};
        part_item *item = &w->item[w->n - 1];
        item->entries++;
        item->last = PFI_MAX(item->last, node[e]); /* on one path, deeper nodes have larger numbers */
    }
    qsort(w->item, (size_t)w->n, sizeof *w->item, part_order);
}

/* nodes of an item that its part has not seen yet; marked as seen, if said so */
static int64_t part_new_nodes(part_work *w, const part_item *item, int32_t part, bool mark) {
    const int64_t n = pfi_forest_path(w->b, item->last, w->path);
    int64_t fresh = 0;
    for (int64_t t = 0; t < n; t++) {
        fresh += w->seen[w->path[t]] != part;
        if (mark) w->seen[w->path[t]] = part;
    }
    return fresh;
}

/* how many items from `at` on go into a part */
static int64_t part_take(part_work *w, int64_t at, int32_t part, int64_t most) {
    int64_t nodes = 0, n = 0;
    while (at + n < w->n) {
        nodes += part_new_nodes(w, &w->item[at + n], part, false);
        if (n && nodes > most) break;
        part_new_nodes(w, &w->item[at + n], part, true);
        n++;
    }
    return n;
}

/* ids, scores and targets of an item, as pf_batch_new takes them; room: for n tokens each */
static pf_sequence part_sequence(part_work *w, const part_item *item, int32_t *ids, int32_t *target, uint8_t *score) {
    const pf_batch *b = w->b;
    const int64_t n = pfi_forest_path(b, item->last, w->path);
    for (int64_t t = 0; t < n; t++) ids[t] = pfi_i32(b->token)[w->path[t]];
    memset(score, 0, (size_t)n + 1);
    memset(target, 0, (size_t)(n + 1) * sizeof *target);
    ids[n] = 0;
    for (int64_t e = item->entry; e < item->entry + item->entries; e++) {
        const int32_t at = pfi_i32(b->position)[pfi_i32(b->node)[e]] + 1;
        score[at] = 1;
        target[at] = pfi_i32(b->target)[e];
    }
    return (pf_sequence){.ids = ids, .n = (size_t)n + 1, .score = score, .target = target};
}

/* the part of n items; room: ids, targets and scores of them all */
static pf_status part_make(part_work *w, const part_item *item, int64_t n, void *room, pf_sequence *s, pfi_part *out) {
    const size_t each = (size_t)w->b->longest + 1;
    int32_t *ids = room, *target = ids + (size_t)n * each;
    uint8_t *score = (uint8_t *)(target + (size_t)n * each);
    int64_t entries = 0;
    for (int64_t i = 0; i < n; i++, ids += each, target += each, score += each) {
        s[i] = part_sequence(w, &item[i], ids, target, score);
        entries += item[i].entries;
    }
    PF_TRY(pf_batch_new(w->b->ctx, s, (size_t)n, &out->batch));
    if (!(out->from = pfi_alloc(w->b->ctx, (size_t)entries * sizeof *out->from))) return PF_NOMEM;
    int64_t *from = out->from;
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < item[i].entries; k++) *from++ = item[i].entry + k;
    return PF_OK;
}

static pf_status part_all(part_work *w, int64_t most, pfi_part *out, int64_t *n_out) {
    pf_ctx *ctx = w->b->ctx;
    pf_status st = PF_OK;
    for (int64_t at = 0, n; at < w->n && st == PF_OK; at += n) {
        n = part_take(w, at, (int32_t)*n_out + 1, most);
        const size_t values = (size_t)n * ((size_t)w->b->longest + 1);
        void *room = pfi_alloc(ctx, values * (2 * sizeof(int32_t) + 1));
        pf_sequence *s = pfi_calloc(ctx, (size_t)n, sizeof *s);
        st = room && s ? part_make(w, &w->item[at], n, room, s, &out[(*n_out)++]) : PF_NOMEM;
        pfi_free(ctx, room);
        pfi_free(ctx, s);
    }
    return st;
}

pf_status pfi_forest_parts(const pf_batch *b, int64_t most, pfi_part **out, int64_t *n) {
    pf_ctx *ctx = b->ctx;
    part_work w = {.b = b};
    *n = 0;
    *out = pfi_calloc(ctx, (size_t)b->sequences, sizeof **out);
    w.item = pfi_calloc(ctx, (size_t)b->sequences, sizeof *w.item);
    w.path = pfi_calloc(ctx, (size_t)b->longest + 1, sizeof *w.path);
    w.seen = pfi_calloc(ctx, (size_t)b->nodes, sizeof *w.seen);
    pf_status st = *out && w.item && w.path && w.seen ? PF_OK : PF_NOMEM;
    if (st == PF_OK) part_items(&w);
    if (st == PF_OK) st = part_all(&w, most, *out, n);
    pfi_free(ctx, w.item);
    pfi_free(ctx, w.path);
    pfi_free(ctx, w.seen);
    if (st == PF_OK) return PF_OK;
    pfi_forest_parts_free(ctx, *out, *n);
    *out = NULL;
    return st;
}

void pfi_forest_parts_free(pf_ctx *ctx, pfi_part *p, int64_t n) {
    for (int64_t i = 0; p && i < n; i++) {
        pf_batch_free(p[i].batch);
        pfi_free(ctx, p[i].from);
    }
    pfi_free(ctx, p);
}
