/* What a recorded pass takes. The formulas follow block.c, operation by operation: a result is kept if the backward
 * of an operation with a history reads it. Test: what they say against what is measured, in every
 * family. */
#include "model/need.h"

#include "kernel/kernel.h"
#include "model/adapter.h"

/* as token_logp.h cuts its work */
enum { NEED_STRIP_BYTES = 8 << 20, NEED_ROWS = 1024, NEED_COLS = 256 };

/* Backward comes to the parameters of a layer in this order. */
enum { NEED_DOWN, NEED_MIDDLE, NEED_FIRST, NEED_PLACES };

typedef struct need {
    const pf_model *m;
    pfi_load load;
    int64_t lowest; /* the first layer that has a history; config.layers: none */
    bool embedded;  /* the embeddings have one */
    /* bytes of the parameters' gradients: of a layer; of the embeddings, if the head has a weight of its own; all */
    size_t gradient[PFI_MAX_LAYERS][NEED_PLACES], below, all;
} need;

/* ---- values a token ---- */

/* what a product and its adapter keep; read: backward of what comes next reads the result. made: what they make, of
 * which a layer lets go at its end */
static int64_t need_linear(const pf_model *m, const pfi_linear *l, bool read, bool made) {
    const int64_t out = l->w->dim[0], in = l->w->dim[1];
    int64_t n = read || made ? out : 0;
    if (!l->lora) return n;
    return n + l->lora->rank + (m->adapter->dropout > 0 ? in : 0) + (l->lora->magnitude ? out : 0);
}

static int64_t need_turned(const pfi_config *c, int64_t layer) {
    const int flags = c->layer[layer];
    return flags & PFI_LAYER_STILL ? 0 : c->rope[flags & PFI_LAYER_LOCAL ? 1 : 0].channels;
}

static int64_t need_out(const pf_model *m, const pfi_layer *l, bool made) {
    return need_linear(m, &l->o, l->norm_attention_out.w, made);
}

static int64_t need_down(const pf_model *m, const pfi_layer *l, bool made) {
    return need_linear(m, &l->down, l->norm_ffn_out.w, made);
}

static int64_t need_attention(const pf_model *m, const pfi_layer *l, int64_t layer, bool made) {
    const pfi_config *c = &m->config;
    const int64_t A = c->heads * c->head_dim, K = c->kv_heads * c->head_dim, turned = need_turned(c, layer);
    const bool normed = l->q_norm.w, read = made || normed || !turned; /* q and k as they come */
    int64_t n = c->fused ? need_linear(m, &l->qkv, false, made) + K + (read ? A + K : 0)
                         : need_linear(m, &l->q, read, made) + need_linear(m, &l->k, read, made) +
                               need_linear(m, &l->v, true, made);
    if (normed) n += c->heads + c->kv_heads + (made ? A + K : 0);
    if (turned) n += A + K;
    return n + A + c->heads + need_out(m, l, made);
}

/* does backward of a product read its input? That of an adapter reads what dropout left of it. */
static bool need_reads(const pf_model *m, const pfi_linear *l) {
    return l->w->needs_grad || (l->lora && m->adapter->dropout == 0);
}

static int64_t need_ffn(const pf_model *m, const pfi_layer *l, bool made) {
    const pfi_config *c = &m->config;
    int64_t n = need_down(m, l, made) + (made && c->gated ? c->ffn : 0);
    if (!c->gated) return n + need_linear(m, &l->up, true, made) + (made || need_reads(m, &l->down) ? c->ffn : 0);
    if (c->act != PFI_SILU) n += c->ffn;
    if (c->fused) return n + need_linear(m, &l->gate_up, false, made) + 2 * c->ffn;
    return n + need_linear(m, &l->gate, true, made) + need_linear(m, &l->up, true, made);
}

/* a layer's history, its result included */
static int64_t need_layer(const pf_model *m, int64_t layer, bool made) {
    const pfi_config *c = &m->config;
    const pfi_layer *l = &m->layer[layer];
    const pfi_norm *norm[] = {&l->norm_attention, &l->norm_attention_out, &l->norm_ffn, &l->norm_ffn_out};
    int64_t n = (made || !c->parallel ? 2 : 1) * c->hidden; /* the sum before the feed-forward, and the result */
    for (int i = 0; i < PFI_COUNT(norm); i++) n += norm[i]->w ? (made ? c->hidden : 0) + 1 + c->centred : 0;
    return n + need_attention(m, l, layer, made) + need_ffn(m, l, made);
}

/* What the gradients within a layer take at two moments, less what is let go of until then: at the feed-forward's
 * activation, where its gradient and those of what it came from are there at once (or at the sum before, if that is
 * more), and at attention. */
static int64_t need_at_act(const pf_model *m, const pfi_layer *l) {
    const pfi_config *c = &m->config;
    const int rows = c->gated ? 3 : need_reads(m, &l->down) ? 1 : 2; /* 1: the activation itself is gone by then */
    return PFI_MAX(rows * c->ffn - need_down(m, l, false), 3 * c->hidden);
}

static int64_t need_at_attention(const pf_model *m, const pfi_layer *l) {
    const pfi_config *c = &m->config;
    return 2 * (c->heads + c->kv_heads) * c->head_dim - need_ffn(m, l, false) - need_out(m, l, false);
}

/* ---- bytes ---- */

static size_t need_real(const need *n) { return pfi_dtype_size(n->m->dtype); }

/* part of a matrix in a storage type, widened */
static size_t need_panel(const pf_tensor *w) { return pfk_linear_scratch_f32(w->dtype, w->dim[0], w->dim[1]); }

/* a strip of the head: its logits (with their slopes under a cap), the rows it takes, and a panel of the head widened
 */
static size_t need_strip(const need *n) {
    const pfi_config *c = &n->m->config;
    const size_t real = need_real(n);
    const int64_t rows = PFI_MIN(n->load.entries, (int64_t)NEED_ROWS);
    const int64_t fit = NEED_STRIP_BYTES / (int64_t)real / PFI_MAX(rows, 1) / NEED_COLS * NEED_COLS;
    const int64_t width = PFI_MIN(fit, c->vocab);
    return (size_t)(rows * (width * (c->head_cap > 0 ? 2 : 1) + c->hidden + 4)) * real + need_panel(n->m->head.w);
}

static size_t need_scratch(const need *n) {
    const pfi_config *c = &n->m->config;
    const pfk_attention_f32 a = {
        .H = c->heads, .G = c->kv_heads, .D = c->head_dim, .longest = n->load.longest, .threads = n->m->ctx->threads};
    return pfk_attention_scratch_f32(&a) / sizeof(float) * need_real(n);
}

/* where a place in the model is: layer from 0, -1 outside of them */
static int64_t need_layer_of(const pf_model *m, const void *place) {
    const char *p = place, *first = (const char *)m->layer;
    const char *end = (const char *)(m->layer + m->config.layers);
    return p >= first && p < end ? (p - first) / (int64_t)sizeof *m->layer : -1;
}

/* backward of the largest adapter of a layer */
static size_t need_lora(const need *n, int64_t layer) {
    size_t most = 0;
    for (int i = 0; n->m->adapter && i < n->m->adapter->n_lora; i++) {
        const pfi_lora *l = &n->m->adapter->lora[i];
        const pfk_lora_f32 shape = {.rows = n->load.nodes, .r = l->rank, .in = l->on->w->dim[1], .out = l->out};
        if (need_layer_of(n->m, l->on) == layer) most = PFI_MAX(most, pfk_lora_scratch_f32(&shape));
    }
    return most / sizeof(float) * need_real(n);
}

/* when backward comes to a place in a layer */
static int need_place_of(const pf_model *m, const void *place, int64_t layer) {
    const size_t at = (size_t)((const char *)place - (const char *)&m->layer[layer]);
    return at >= offsetof(pfi_layer, down) ? NEED_DOWN : at >= offsetof(pfi_layer, o) ? NEED_MIDDLE : NEED_FIRST;
}

/* place: the parameter's in the model */
static void need_trained(need *n, const pf_tensor *w, const void *place, bool below) {
    if (!w || !w->needs_grad) return;
    const int64_t layer = need_layer_of(n->m, place);
    const size_t bytes = pfi_dtype_bytes(w->dtype, pfi_numel(w));
    n->all += bytes;
    if (layer >= 0) n->gradient[layer][need_place_of(n->m, place, layer)] += bytes;
    if (below && w != n->m->head.w) n->below += bytes;
    n->lowest = PFI_MIN(n->lowest, layer >= 0 ? layer : below ? 0 : n->lowest);
    n->embedded = n->embedded || below;
}

static void need_open(need *n, const pf_model *m, pfi_load load) {
    *n = (need){.m = m, .load = load, .lowest = m->config.layers};
    for (int i = 0; i < m->slots.n; i++) {
        pf_tensor *const *field = m->slots.slot[i].field;
        need_trained(n, *field, field, *field == m->embedding || *field == m->position);
    }
    for (int i = 0; m->adapter && i < m->adapter->n_lora; i++) {
        const pfi_lora *l = &m->adapter->lora[i];
        const pf_tensor *own[] = {l->a, l->b, l->magnitude};
        for (int k = 0; k < PFI_COUNT(own); k++) need_trained(n, own[k], l->on, false);
    }
}

/* what a layer keeps until backward comes to it */
static size_t need_held(const need *n, int64_t layer, int64_t recompute) {
    if (layer < n->lowest) return 0;
    const int64_t values = layer < recompute ? n->m->config.hidden : need_layer(n->m, layer, false);
    return (size_t)(values * n->load.nodes) * need_real(n);
}

/* ... and the head: of its norm a number a node, and of every entry the mean row of the head and a number */
static size_t need_head(const need *n) {
    return (size_t)(n->load.nodes + n->load.entries * (n->m->config.hidden + 2)) * need_real(n);
}

/* What goes into the first layer that has a history, and what that was made of. Where nothing below has one, what its
 * norms make of it, unless dropout is all that takes it. */
static size_t need_input(const need *n, int64_t recompute) {
    const pf_model *m = n->m;
    int64_t rows = 1 + (m->config.parallel && m->layer[0].norm_ffn.w);
    if (n->embedded)
        rows = 1 + (m->scale != NULL);
    else if (n->lowest < recompute)
        rows = 1;
    else if (m->adapter && m->adapter->dropout > 0)
        rows = 0;
    return (size_t)(rows * n->load.nodes * m->config.hidden) * need_real(n);
}

/* the angles that layers turn by, of both kinds */
static size_t need_angles(const need *n) {
    int64_t turned[2] = {0};
    for (int64_t i = 0; i < n->m->config.layers; i++) {
        int64_t *kind = &turned[n->m->config.layer[i] & PFI_LAYER_LOCAL ? 1 : 0];
        *kind = PFI_MAX(*kind, need_turned(&n->m->config, i)); /* 0 in layers that do not turn */
    }
    return (size_t)((turned[0] + turned[1]) * n->load.nodes) * need_real(n);
}

static size_t need_kept(const need *n, int64_t recompute) {
    size_t sum = need_input(n, recompute) + need_angles(n);
    for (int64_t i = 0; i < n->m->config.layers; i++) sum += need_held(n, i, recompute);
    return sum;
}

size_t pfi_need_kept(const pf_model *m, pfi_load load, int64_t recompute) {
    need n;
    need_open(&n, m, load);
    return need_kept(&n, recompute) + need_head(&n);
}

size_t pfi_need_gradients(const pf_model *m) {
    need n;
    need_open(&n, m, (pfi_load){0});
    return n.all;
}

/* the largest that backward of a layer takes. held: what all layers keep up to this one; grads: gradients so far, to
 * which the layer's are added unless they are all there */
static size_t need_backward(const need *n, int64_t layer, size_t held, size_t *grads, bool all) {
    const pfi_layer *l = &n->m->layer[layer];
    const int64_t nodes = n->load.nodes * (int64_t)need_real(n);
    const size_t *own = n->gradient[layer];
    const size_t down = all ? 0 : own[NEED_DOWN], middle = all ? 0 : own[NEED_MIDDLE],
                 first = all ? 0 : own[NEED_FIRST];
    const int64_t begun = (int64_t)(held + *grads + down);
    *grads += down + middle + first;
    const int64_t lora = (int64_t)need_lora(n, layer);
    const int64_t act = begun + need_at_act(n->m, l) * nodes + PFI_MAX((int64_t)need_panel(l->down.w), lora);
    const int64_t attention =
        begun + (int64_t)middle + need_at_attention(n->m, l) * nodes + PFI_MAX((int64_t)need_scratch(n), lora);
    return (size_t)PFI_MAX(act, attention);
}

/* what a layer makes, until it lets go of what nobody reads; and what goes into it */
static size_t need_made(const need *n, int64_t layer) {
    return (size_t)((need_layer(n->m, layer, true) + n->m->config.hidden) * n->load.nodes) * need_real(n);
}

/* The largest of: a layer without history; the last layer; the end of forward, with the head; making a layer again, and
 * backward in each, from the last to the first; and its end, when all gradients are there. */
size_t pfi_need(const pf_model *m, pfi_load load, int64_t recompute, bool gradients) {
    need n;
    need_open(&n, m, load);
    const int64_t L = m->config.layers, C = m->config.hidden;
    const size_t nodes = (size_t)load.nodes * need_real(&n);
    size_t held = need_kept(&n, recompute), grads = n.all;
    for (int64_t i = 0; i < L && !gradients; i++) /* the head's come first */
        for (int k = 0; k < NEED_PLACES; k++) grads -= n.gradient[i][k];
    if (!gradients) grads -= n.below;
    size_t most = held + need_head(&n) + need_strip(&n) + 2 * nodes * (size_t)C + grads;
    if (n.lowest > 0) most = PFI_MAX(most, need_made(&n, 0) + need_scratch(&n));
    const size_t others = held - need_held(&n, L - 1, recompute) - (n.lowest == L - 1 ? need_input(&n, recompute) : 0);
    most = PFI_MAX(most, others + need_made(&n, L - 1) + (gradients ? n.all : 0));
    for (int64_t i = L - 1; i >= n.lowest; i--) {
        const bool again = i < recompute;
        const size_t own = again ? (size_t)need_layer(m, i, false) * nodes : 0;
        if (again) most = PFI_MAX(most, held + need_made(&n, i) + grads);
        const size_t here = need_backward(&n, i, held + own, &grads, gradients);
        most = PFI_MAX(most, here);
        held -= need_held(&n, i, recompute);
    }
    return PFI_MAX(most, held + nodes * (size_t)C + n.all);
}
