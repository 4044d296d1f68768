/* The history of results: steps that free it at once, and backward through it. */
#include "op/op.h"

#include <stdlib.h>

#include "kernel/kernel.h"

struct pfi_step {
    pfi_step *outer;
    pf_tensor *first;
};

void pfi_step_link(pf_tensor *t) {
    pfi_step *s = t->ctx->step;
    if (!s) return;
    t->step = s;
    t->prev = NULL;
    t->next = s->first;
    if (s->first) s->first->prev = t;
    s->first = t;
}

void pfi_step_unlink(pf_tensor *t) {
    if (!t->step) return;
    if (t->prev)
        t->prev->next = t->next;
    else
        t->step->first = t->next;
    if (t->next) t->next->prev = t->prev;
    t->step = NULL;
    t->prev = t->next = NULL;
}

pf_status pf_step_begin(pf_ctx *ctx) {
    pfi_step *s = pfi_calloc(ctx, 1, sizeof *s);
    if (!s) return PF_NOMEM;
    s->outer = ctx->step;
    ctx->step = s;
    pfi_hold(ctx);
    return PF_OK;
}

void pf_step_end(pf_ctx *ctx) {
    pfi_step *s = ctx->step;
    if (!s) return;
    while (s->first) pfi_tensor_kill(s->first);
    ctx->step = s->outer;
    pfi_free(ctx, s);
    pfi_release(ctx);
}

bool pf_set_recording(pf_ctx *ctx, bool on) {
    bool was = ctx->recording;
    ctx->recording = on;
    return was;
}

/* ---- backward ---- */

/* Tensors with history below the root. A retained reference each, so that freeing history as we go is safe. */
typedef struct tape_list {
    pf_tensor **at;
    size_t len, cap;
} tape_list;

static pf_status tape_push(pf_ctx *ctx, tape_list *l, pf_tensor *t) {
    if (t->mark || !t->node) return PF_OK;
    if (l->len == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        pf_tensor **p = pfi_realloc(ctx, l->at, cap * sizeof *p);
        if (!p) return PF_NOMEM;
        l->at = p;
        l->cap = cap;
    }
    t->mark = true;
    l->at[l->len++] = pf_tensor_retain(t);
    return PF_OK;
}

static pf_status tape_collect(pf_ctx *ctx, tape_list *l, pf_tensor *root) {
    PF_TRY(tape_push(ctx, l, root));
    for (size_t i = 0; i < l->len; i++) {
        pfi_call *c = l->at[i]->node;
        for (int k = 0; k < c->n_in; k++) {
            if (!c->wants[k]) continue;
            if (!c->in[k]->needs_grad)
                return pfi_fail(ctx, PF_STATE,
                                "backward: the history below %s is gone; an earlier backward used it (add the results "
                                "and call backward once), or keep() cut it",
                                c->op->info.name);
            PF_TRY(tape_push(ctx, l, c->in[k]));
        }
    }
    return PF_OK;
}

static int tape_newest_first(const void *a, const void *b) {
    uint64_t x = (*(pf_tensor *const *)a)->node->seq, y = (*(pf_tensor *const *)b)->node->seq;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* A view's gradient goes to the places of in[0] that it shows; dimensions that show one place many times are summed. */
static void tape_view_backward(pfi_call *c, pf_tensor *dy) {
    pf_tensor *dx = c->in[0]->grad;
    int64_t dim[PF_MAX_DIMS], repeat[PF_MAX_DIMS], to[PF_MAX_DIMS], from[PF_MAX_DIMS];
    bool once = true;
    for (int d = PF_MAX_DIMS - 1, i = c->nd - 1; d >= 0; d--, i--) {
        bool many = i >= 0 && c->stride[i] == 0 && c->dim[i] != 1;
        once = once && !many;
        dim[d] = i >= 0 && !many ? c->dim[i] : 1;
        repeat[d] = many ? c->dim[i] : 1;
        to[d] = i >= 0 ? c->stride[i] : 0;
        from[d] = i >= 0 ? dy->stride[i] : 0;
    }
    const int threads = c->ctx->threads;
    if (dx->dtype == PF_F32) {
        float *y = pfi_f32(dx) + c->offset;
        if (once)
            pfk_add_strided_f32(threads, y, to, pfi_f32(dy), from, dim);
        else
            pfk_sum_strided_f32(threads, y, to, pfi_f32(dy), from, dim, from, repeat);
    } else {
        double *y = (double *)pfi_data(dx) + c->offset;
        if (once)
            pfk_add_strided_f64(threads, y, to, pfi_data(dy), from, dim);
        else
            pfk_sum_strided_f64(threads, y, to, pfi_data(dy), from, dim, from, repeat);
    }
}

/* the first gradient of a tensor, if no other input is the same tensor */
static bool tape_first(const pfi_call *c, int i) {
    bool first = !c->in[i]->grad;
    for (int k = 0; k < c->n_in; k++) first = first && (k == i || c->in[k] != c->in[i]);
    return first;
}

/* a view of all of in[0] in its order */
static bool tape_whole(const pfi_call *c) {
    pf_tensor view = {.nd = c->nd};
    memcpy(view.dim, c->dim, sizeof view.dim);
    memcpy(view.stride, c->stride, sizeof view.stride);
    return c->offset == 0 && pfi_contiguous(&view) && pfi_numel(&view) == pfi_numel(c->in[0]);
}

/* the input that gets the gradient of the result as it is; -1: none */
static int tape_heir(const pfi_call *c, const pf_tensor *dy) {
    const bool view = c->op->flags & PFI_VIEW;
    for (int i = 0; i < c->n_in && dy->refs == 1; i++) {
        if (!c->wants[i] || !tape_first(c, i)) continue;
        if (view ? tape_whole(c) : c->op->passes >> i & 1 && pfi_same_shape(c->in[i], dy)) return i;
    }
    return -1;
}

static void tape_inherit(pf_tensor *x, pf_tensor *t) {
    x->grad = t->grad;
    t->grad = NULL;
    x->grad->nd = x->nd;
    memcpy(x->grad->dim, x->dim, sizeof x->dim);
    pfi_strides(x->nd, x->dim, x->grad->stride);
}

/* where backward puts the gradients of the inputs; heir: the one that gets the result's */
static pf_status tape_places(pfi_call *c, int heir) {
    for (int i = 0; i < c->n_in; i++) {
        c->dx[i] = NULL;
        c->x[i] = NULL;
        c->fresh[i] = false;
        if (!c->in[i]) continue;
        if (!(c->unread >> i & 1)) {
            PF_TRY(pfi_call_read(c, i));
            c->x[i] = pfi_data(c->in[i]);
        }
        if (!c->wants[i] || i == heir) continue;
        c->fresh[i] = c->op->writes >> i & 1 && tape_first(c, i);
        pf_tensor *g = c->fresh[i] ? pfi_grad_fresh(c->in[i]) : pfi_grad_of(c->in[i]);
        if (!g) return PF_NOMEM;
        c->dx[i] = pfi_data(g);
    }
    return PF_OK;
}

static pf_status tape_compute(pf_tensor *t) {
    pfi_call *c = t->node;
    c->y = c->unread >> PFI_RESULT & 1 ? NULL : pfi_data(t);
    c->dy = pfi_data(t->grad);
    c->scratch = NULL;
    size_t scratch = PFI_MAX(c->scratch_bytes, c->scratch_back_bytes);
    if (scratch && !(c->scratch = pfi_alloc_data(c->ctx, scratch))) return PF_NOMEM;
    pf_status s = c->op->backward(c);
    pfi_free(c->ctx, c->scratch);
    c->scratch = NULL;
    return s;
}

static pf_status tape_node_backward(pf_tensor *t) {
    pfi_call *c = t->node;
    const int heir = tape_heir(c, t->grad);
    pf_status s = tape_places(c, heir);
    const double start = pfi_observe_begin(c->ctx);
    if (s == PF_OK && !(c->op->flags & PFI_VIEW))
        s = tape_compute(t);
    else if (s == PF_OK && heir < 0)
        tape_view_backward(c, t->grad);
    if (s == PF_OK && heir >= 0) tape_inherit(c->in[heir], t);
    if (s == PF_OK) pfi_call_observed(c, t, true, start);
    for (int i = 0; s != PF_OK && i < c->n_in; i++)
        if (c->fresh[i]) pf_tensor_zero_grad(c->in[i]); /* nothing was written there */
    return s;
}

/* History is used once, and t is let go of with it: activations go as soon as they can. */
static void tape_cut(pf_tensor *t) {
    pf_tensor_zero_grad(t);
    pfi_call_free(t->node);
    t->node = NULL;
    t->needs_grad = false;
    pf_tensor_free(t);
}

/* A leaf stands for the input, with the gradient that it has so far. */
static pf_status tape_again_from(pfi_call *c, pf_tensor *dy) {
    pf_tensor *x = c->in[0], *leaf = x ? pf_tensor_detach(x) : NULL;
    if (x && !leaf) {
        pf_tensor_free(dy);
        return c->ctx->code;
    }
    if (leaf) {
        leaf->needs_grad = x->needs_grad;
        leaf->grad = x->grad;
        x->grad = NULL;
    }
    pf_status s = c->again->run(c->again, leaf, dy);
    if (leaf) {
        x->grad = leaf->grad;
        leaf->grad = NULL;
    }
    pf_tensor_free(leaf);
    return s;
}

/* t goes before its history is made: that computes its values a second time */
static pf_status tape_again(pf_tensor *t) {
    pf_ctx *ctx = t->ctx;
    pfi_call *c = t->node;
    pf_tensor *dy = t->grad;
    const bool recording = pf_set_recording(ctx, true), again = ctx->again;
    t->node = NULL;
    t->grad = NULL;
    tape_cut(t);
    ctx->again = true;
    pf_status s = tape_again_from(c, dy);
    ctx->again = again;
    pf_set_recording(ctx, recording);
    pfi_call_free(c);
    return s;
}

static pf_status tape_run(tape_list *l) {
    qsort(l->at, l->len, sizeof *l->at, tape_newest_first);
    for (size_t i = 0; i < l->len; i++) {
        pf_tensor *t = l->at[i];
        const bool again = t->node->again && t->grad;
        if (t->refs == 1) pfi_tensor_empty(t); /* all that read its values are done */
        if (t->grad && !again) PF_TRY(tape_node_backward(t));
        l->at[i] = NULL;
        if (again)
            PF_TRY(tape_again(t));
        else
            tape_cut(t);
    }
    return PF_OK;
}

/* backward from a root that has its gradient */
static pf_status tape_from(pf_tensor *root) {
    pf_ctx *ctx = root->ctx;
    tape_list l = {0};
    pf_status s = tape_collect(ctx, &l, root);
    for (size_t i = 0; i < l.len; i++) l.at[i]->mark = false;
    if (s == PF_OK) s = tape_run(&l);
    for (size_t i = 0; i < l.len; i++) pf_tensor_free(l.at[i]);
    pfi_free(ctx, l.at);
    return s;
}

pf_status pfi_backward_from(pf_tensor *y, pf_tensor *dy) {
    pf_status s = PF_OK;
    if (y->node) {
        y->grad = dy;
        dy = NULL;
        s = tape_from(y);
    }
    pf_tensor_free(dy);
    pf_tensor_free(y);
    return s;
}

/* ---- histories that are made again ---- */

static const pfi_op tape_op = {.info.name = "again"};

pf_status pfi_again_set(pf_tensor *y, pf_tensor *x, pfi_again *a) {
    pf_ctx *ctx = y->ctx;
    pfi_call *c = pfi_calloc(ctx, 1, sizeof *c);
    if (!c) {
        a->drop(a);
        return PF_NOMEM;
    }
    c->op = &tape_op;
    c->ctx = ctx;
    c->layer = ctx->layer;
    c->seq = ctx->seq++;
    c->again = a;
    c->in[0] = pf_tensor_retain(x);
    c->n_in = x != NULL;
    c->wants[0] = x && x->needs_grad;
    pfi_call_free(y->node);
    y->node = c;
    y->needs_grad = true;
    return PF_OK;
}

/* ---- the door ---- */

pf_status pf_backward(pf_tensor *root) {
    if (!root) return PF_STATE; /* the message of the failure that made it NULL stays */
    pf_ctx *ctx = root->ctx;
    PF_TRY(pfi_alive(root));
    if (pfi_numel(root) != 1)
        return pfi_fail(ctx, PF_SHAPE, "backward starts from a single value, got shape %s; take the mean or sum first",
                        PFI_SHAPE_TEXT(root));
    if (!root->node)
        return pfi_fail(ctx, PF_STATE,
                        "backward: no history; nothing below needs a gradient, recording was off, or backward already "
                        "ran");
    pf_tensor *g = pfi_grad_of(root);
    if (!g) return PF_NOMEM;
    pfi_set(g, 0, 1);
    pf_status s = tape_from(root);
    if (s != PF_OK) pf_tensor_zero_grad(root);
    return s;
}
