/* Adapters in the forward pass: recorded on a forest, and row by row while sampling. */
#include <math.h>

#include "kernel/kernel.h"
#include "model/adapter.h"
#include "model/pass.h"
#include "op/op.h"

/* ---- which numbers dropout draws ---- */

void pfi_adapter_at(pf_model *m, int64_t step) {
    if (!m->adapter) return;
    m->adapter->step = (uint64_t)step;
    m->adapter->part = 0;
}

void pfi_adapter_begin(pf_model *m) {
    pfi_adapter *a = m->adapter;
    if (!a || !m->ctx->recording || m->ctx->again || a->dropout == 0) return;
    const uint64_t place[] = {a->step, a->part++};
    a->stream = pfi_hash64(0, place, sizeof place);
}

/* dropout is for training: where history is recorded. The mask belongs to the node and the product. */
static pf_tensor *run_dropped(const pf_model *m, pf_tensor *x, const pfi_lora *l) {
    const pfi_adapter *a = m->adapter;
    if (!m->ctx->recording || a->dropout == 0) return x ? pf_tensor_retain(x) : NULL;
    const int64_t number = l - a->lora;
    const uint64_t stream = pfi_hash64(a->stream, &number, sizeof number);
    const double num[] = {a->dropout, (double)(a->seed & 0xffffffff), (double)(stream >> 11)};
    return pfi_apply(m->ctx, "dropout", &x, num, NULL, 0);
}

/* ---- DoRA's norms ---- */

enum { RUN_ROWS = 256 };

pf_status pfi_adapter_measure(pfi_lora *l) {
    pf_ctx *ctx = l->a->ctx;
    bool recording = pf_set_recording(ctx, false);
    pf_status s = PF_OK;
    for (int64_t at = 0; s == PF_OK && at < l->out; at += RUN_ROWS) {
        const int64_t n = PFI_MIN(RUN_ROWS, l->out - at);
        pf_tensor *ids = pf_tensor_new(ctx, PF_I32, 1, &n);
        for (int64_t i = 0; ids && i < n; i++) pfi_i32(ids)[i] = (int32_t)(at + i);
        pf_tensor *rows = pfi_apply(ctx, "embedding", (pf_tensor *[]){l->on->w, ids}, NULL, NULL, 0);
        s = rows ? PF_OK : ctx->code;
        for (int64_t i = 0; rows && i < n * l->in; i++) {
            double v = pfi_get(rows, (size_t)i);
            l->squares[at + i / l->in] += v * v;
        }
        pf_tensor_free(ids);
        pf_tensor_free(rows);
    }
    pf_set_recording(ctx, recording);
    return s;
}

/* |W_i + s B_i A|^2 = |W_i|^2 + s B_i (2 A W_i^T + s A A^T B_i^T): no matrix of W's size is made */
static void run_inverse(const pfi_lora *l, const pf_tensor *aw, const pf_tensor *aa, pf_tensor *out) {
    const size_t r = (size_t)l->rank, n = (size_t)l->out;
    for (size_t i = 0; i < n; i++) {
        double square = l->squares[i];
        for (size_t j = 0; j < r; j++) {
            double with = 2 * pfi_get(aw, j * n + i);
            for (size_t k = 0; k < r; k++) with += l->scale * pfi_get(aa, j * r + k) * pfi_get(l->b, i * r + k);
            square += l->scale * pfi_get(l->b, i * r + j) * with;
        }
        pfi_set(out, i, square > 0 ? 1 / sqrt(square) : 0);
    }
}

pf_tensor *pfi_adapter_inverse(const pfi_lora *l) {
    pf_ctx *ctx = l->a->ctx;
    bool recording = pf_set_recording(ctx, false);
    pf_tensor *aw = pfi_apply(ctx, "linear", (pf_tensor *[]){l->a, l->on->w, NULL}, NULL, NULL, 0);
    pf_tensor *aa = pfi_apply(ctx, "linear", (pf_tensor *[]){l->a, l->a, NULL}, NULL, NULL, 0);
    pf_tensor *out = aw && aa ? pf_tensor_new(ctx, l->a->dtype, 1, &l->out) : NULL;
    if (out) run_inverse(l, aw, aa, out);
    pf_tensor_free(aw);
    pf_tensor_free(aa);
    pf_set_recording(ctx, recording);
    return out;
}

/* ---- on a forest ---- */

static pf_tensor *run_binary(pf_ctx *ctx, const char *op, pf_tensor *x, pf_tensor *y) {
    return pfi_apply(ctx, op, (pf_tensor *[]){x, y}, NULL, NULL, 0);
}

static pf_tensor *run_lora(pf_ctx *ctx, pf_tensor *y, pf_tensor *x, const pfi_lora *l) {
    return pfi_apply(ctx, "lora", (pf_tensor *[]){y, x, l->a, l->b}, &l->scale, NULL, 0);
}

/* With d = dropout(x): W x + (g - 1) W d + g scale B A d + b, as PEFT does; without dropout that is g (W x + scale B A
 * x)
 * + b. g = magnitude / norm. */
static pf_tensor *run_dora(pf_ctx *ctx, pf_tensor *x, pf_tensor *dropped, const pfi_linear *on) {
    const pfi_lora *l = on->lora;
    const bool same = dropped == x;
    pf_tensor *inverse = pfi_adapter_inverse(l);
    pf_tensor *gain = run_binary(ctx, "mul", l->magnitude, inverse);
    pf_tensor *base = pfi_apply(ctx, "linear", (pf_tensor *[]){x, on->w, same ? NULL : on->b}, NULL, NULL, 0);
    pf_tensor *w = same ? base : pfi_apply(ctx, "linear", (pf_tensor *[]){dropped, on->w, NULL}, NULL, NULL, 0);
    pf_tensor *sum = run_lora(ctx, w, dropped, l);
    pf_tensor *y = run_binary(ctx, "mul", sum, gain);
    pf_tensor *rest = same ? NULL : run_binary(ctx, "sub", base, w);
    pf_tensor *add = same ? on->b : rest;
    pf_tensor *all = add || !same ? run_binary(ctx, "add", y, add) : y ? pf_tensor_retain(y) : NULL;
    pf_tensor *made[] = {inverse, gain, base, same ? NULL : w, sum, y, rest};
    for (int i = 0; i < PFI_COUNT(made); i++) pf_tensor_free(made[i]);
    return all;
}

pf_tensor *pfi_adapter_forward(pf_model *m, pf_tensor *x, const pfi_linear *on) {
    pf_ctx *ctx = m->ctx;
    pf_tensor *dropped = run_dropped(m, x, on->lora), *y = NULL;
    if (dropped && on->lora->magnitude) {
        y = run_dora(ctx, x, dropped, on);
    } else if (dropped) {
        pf_tensor *base = pfi_apply(ctx, "linear", (pf_tensor *[]){x, on->w, on->b}, NULL, NULL, 0);
        y = run_lora(ctx, base, dropped, on->lora);
        pf_tensor_free(base);
    }
    pf_tensor_free(dropped);
    return y;
}

/* ---- row by row ---- */

pf_status pfi_adapter_prepare(pf_model *m) {
    for (int i = 0; m->adapter && i < m->adapter->n_lora; i++) {
        pfi_lora *l = &m->adapter->lora[i];
        if (!l->magnitude) continue;
        pf_tensor *inverse = pfi_adapter_inverse(l);
        if (!inverse) return m->ctx->code;
        for (size_t k = 0; k < (size_t)l->out; k++)
            l->gain[k] = (float)(pfi_get(l->magnitude, k) * pfi_get(inverse, k));
        pf_tensor_free(inverse);
    }
    return PF_OK;
}

pf_status pfi_pass_adapt(pfi_pass *p, pf_tensor *x, const pfi_lora *l, pf_tensor *y) {
    const int64_t rows = x->dim[0];
    pf_tensor *u = pfi_pass_linear(p, x, &(pfi_linear){.w = l->a});
    for (int64_t i = 0; u && i < rows * l->rank; i++) pfi_f32(u)[i] *= (float)l->scale;
    pf_tensor *v = pfi_pass_linear(p, u, &(pfi_linear){.w = l->b});
    if (v) pfk_accumulate_f32(p->ctx->threads, pfi_f32(y), pfi_f32(v), rows * l->out);
    for (int64_t i = 0; v && l->gain && i < rows * l->out; i++) pfi_f32(y)[i] *= l->gain[i % l->out];
    pf_status s = v ? PF_OK : PF_NOMEM;
    pf_tensor_free(u);
    pf_tensor_free(v);
    return s;
}
