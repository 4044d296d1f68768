/* The adapter becomes part of the base's weights. */
#include "model/adapter.h"
#include "op/op.h"

/* W + scale B A, rows rescaled with DoRA: in a tensor of its own */
static pf_tensor *merge_weight(const pfi_lora *l) {
    pf_ctx *ctx = l->a->ctx;
    pf_tensor *inverse = l->magnitude ? pfi_adapter_inverse(l) : NULL;
    pf_tensor *ba = pfi_apply(ctx, "matmul", (pf_tensor *[]){l->b, l->a}, NULL, NULL, 0);
    const size_t n = (size_t)(l->out * l->in), in = (size_t)l->in;
    if (ba && (inverse || !l->magnitude)) {
        for (size_t i = 0; i < n; i++) {
            double gain = inverse ? pfi_get(l->magnitude, i / in) * pfi_get(inverse, i / in) : 1;
            pfi_set(ba, i, gain * (pfi_get(l->on->w, i) + l->scale * pfi_get(ba, i)));
        }
    } else {
        pf_tensor_free(ba);
        ba = NULL;
    }
    pf_tensor_free(inverse);
    return pf_tensor_keep(ba);
}

/* what stands in slot i of the merged model: new[i], or the base's own tensor if nobody else holds it */
static pf_status merge_slot(const pf_model *m, int i, pf_tensor **out) {
    pf_tensor *base = m->parameter[i], *made = NULL;
    const pfi_adapter *a = m->adapter;
    for (int k = 0; k < a->n_lora; k++) {
        if (m->slots.slot[i].field != &a->lora[k].on->w) continue;
        if (base->dtype != m->dtype)
            return pfi_fail(m->ctx, PF_STATE,
                            "\"%s\" is held as %s: an adapter is merged into weights of full precision; load the model "
                            "as float32 for that",
                            base->name, pfi_dtype_name(base->dtype));
        made = merge_weight(&a->lora[k]);
        if (!made) return m->ctx->code;
    }
    for (int k = 0; k < a->n_kept; k++)
        if (a->kept[k].slot == i) made = pf_tensor_retain(a->kept[k].own);
    if (!made && base->refs > 1) {
        made = pf_tensor_keep(pf_tensor_new(m->ctx, base->dtype, base->nd, base->dim));
        if (!made) return PF_NOMEM;
        memcpy(pfi_data(made), pfi_data(base), pfi_dtype_bytes(base->dtype, pfi_numel(base)));
    }
    *out = made ? made : pf_tensor_retain(base);
    return PF_OK;
}

static void merge_commit(pf_model *m, pf_tensor **new) {
    pfi_adapter_free(m);
    for (int i = 0; i < m->n_parameters; i++) {
        pf_tensor *old = m->parameter[i];
        m->parameter[i] = *m->slots.slot[i].field = new[i];
        memcpy(new[i]->name, old->name, sizeof old->name);
        new[i]->needs_grad = new[i]->dtype == m->dtype;
        pf_tensor_free(old);
        new[i] = NULL;
    }
    if (m->config.tied) m->head.w = m->embedding;
}

pf_status pf_model_merge(pf_model *m) {
    if (!m->adapter) return pfi_fail(m->ctx, PF_STATE, "merge: the model has no adapter");
    pf_tensor **new = pfi_calloc(m->ctx, (size_t)m->n_parameters, sizeof *new);
    if (!new) return PF_NOMEM;
    bool recording = pf_set_recording(m->ctx, false);
    pf_status s = PF_OK;
    for (int i = 0; s == PF_OK && i < m->n_parameters; i++) s = merge_slot(m, i, &new[i]);
    pf_set_recording(m->ctx, recording);
    if (s == PF_OK) merge_commit(m, new);
    for (int i = 0; i < m->n_parameters; i++) pf_tensor_free(new[i]);
    pfi_free(m->ctx, new);
    return s;
}
