/* One item of a dpo batch: from the call's tensors to a link and back. Internal to loss/dpo.c. */
#ifndef PFI_DPO_ITEM_H
#define PFI_DPO_ITEM_H

#include <stdlib.h>

#include "loss/dpo_links.h"

enum { DPO_PC, DPO_PR, DPO_RC, DPO_RR, DPO_NC, DPO_NR, DPO_WEIGHT };         /* tensors */
enum { DPO_BETA, DPO_VARIANT, DPO_EPS, DPO_TAU, DPO_DIVERGENCE, DPO_ALPHA }; /* numbers */

typedef struct dpo_variant {
    const char *name;
    double (*link)(dpo_pair *p);
    unsigned flags;
} dpo_variant;

#define X(name, link, flags) {#name, dpo_##link, flags},
static const dpo_variant dpo_variants[] = {DPO_VARIANTS(X)};
#undef X
#define X(name, link, flags) dpo_is_##name,
enum { DPO_VARIANTS(X) };
#undef X

static const dpo_variant *dpo_variant_of(const pfi_call *c) { return &dpo_variants[(int)c->num[DPO_VARIANT]]; }
static bool dpo_is(const pfi_call *c, int variant) { return (int)c->num[DPO_VARIANT] == variant; }
static bool dpo_sorts(const pfi_call *c) { return dpo_is(c, dpo_is_aot) || dpo_is(c, dpo_is_aot_unpaired); }

/* ---- sorting, for aot ---- */

typedef struct dpo_slot {
    double key;
    int64_t place;
} dpo_slot;

static int dpo_by_key(const void *a, const void *b) {
    const dpo_slot *x = a, *y = b;
    if (x->key < y->key || x->key > y->key) return x->key < y->key ? -1 : 1;
    return x->place < y->place ? -1 : 1; /* ties keep their order */
}

/* order[i]: the place of the i-th smallest in[a] - in[b] */
static void dpo_sort(pfi_call *c, int a, int b, int64_t *order) {
    dpo_slot *slot = c->scratch;
    for (int64_t i = 0; i < c->dim[0]; i++) {
        double key = loss_at(c, a, i) - loss_at(c, b, i);
        slot[i] = (dpo_slot){isnan(key) ? HUGE_VAL : key, i};
    }
    qsort(slot, (size_t)c->dim[0], sizeof *slot, dpo_by_key);
    for (int64_t i = 0; i < c->dim[0]; i++) order[i] = slot[i].place;
}

/* saved[0]: the order of policy and of reference log-ratios (aot), or of chosen and of rejected ones (aot_unpaired) */
static void dpo_sort_batch(pfi_call *c) {
    int64_t *order = c->saved[0], n = c->dim[0];
    bool aot = dpo_is(c, dpo_is_aot);
    dpo_sort(c, DPO_PC, aot ? DPO_PR : DPO_RC, order);
    dpo_sort(c, aot ? DPO_RC : DPO_PR, DPO_RR, order + n);
}

/* ---- one item ---- */

/* where the item's gradients go: d[0] to place[0] of policy_chosen, d[1] to place[1] of policy_rejected */
typedef struct dpo_slope {
    double d[2];
    int64_t place[2];
} dpo_slope;

static double dpo_sorted_item(const pfi_call *c, int64_t i, dpo_pair *p, dpo_slope *to) {
    const int64_t *order = c->saved[0];
    int64_t a = order[i], b = order[c->dim[0] + i];
    bool aot = dpo_is(c, dpo_is_aot);
    p->sc = loss_at(c, DPO_PC, a) - loss_at(c, aot ? DPO_PR : DPO_RC, a);
    p->sr = loss_at(c, aot ? DPO_RC : DPO_PR, b) - loss_at(c, DPO_RR, b);
    double value = dpo_variant_of(c)->link(p);
    *to = aot ? (dpo_slope){{p->d_sc, -p->d_sc}, {a, a}} : (dpo_slope){{p->d_sc, p->d_sr}, {a, b}};
    return value;
}

/* len_c_mean: tokens of a chosen completion, averaged over the batch */
static double dpo_item(const pfi_call *c, int64_t i, double len_c_mean, dpo_slope *to) {
    const double *num = c->num;
    dpo_pair p = {.beta = num[DPO_BETA], .eps = num[DPO_EPS], .tau = num[DPO_TAU], .len_c_mean = len_c_mean};
    if (dpo_sorts(c)) return dpo_sorted_item(c, i, &p, to);
    p.pc = loss_at(c, DPO_PC, i);
    p.lc = p.pc - loss_at(c, DPO_RC, i);
    p.lr = loss_at(c, DPO_PR, i) - loss_at(c, DPO_RR, i);
    p.len_c = loss_at(c, DPO_NC, i);
    p.len_r = loss_at(c, DPO_NR, i);
    double slope_c, slope_r, weight = loss_value(c, DPO_WEIGHT, i, 1);
    p.sc = dpo_score(p.lc, (int)num[DPO_DIVERGENCE], num[DPO_ALPHA], &slope_c);
    p.sr = dpo_score(p.lr, (int)num[DPO_DIVERGENCE], num[DPO_ALPHA], &slope_r);
    double value = dpo_variant_of(c)->link(&p);
    *to = (dpo_slope){{weight * (p.d_sc * slope_c + p.d_lc), weight * (p.d_sr * slope_r + p.d_lr)}, {i, i}};
    return weight * value;
}

#endif
