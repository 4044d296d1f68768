/* LoRA files for llama.cpp (convert_lora_to_gguf.py, llama-adapter.cpp): general.type "adapter", one alpha, and for
 * each weight NAME the tensors NAME.lora_a and NAME.lora_b. llama.cpp adds alpha / r B A: what a module's scale differs
 * from that is folded into its B. */
#include <math.h>

#include "model/adapter.h"
#include "model/family.h"
#include "model/gguf.h"

/* alpha so that scale = alpha / r */
static double gguf_alpha(const pfi_lora *l) { return l->scale * (double)l->rank; }

static double gguf_common_alpha(const pfi_adapter *a) {
    for (int i = 0; i < a->n_lora; i++)
        if (a->lora[i].alpha != 0) return gguf_alpha(&a->lora[i]);
    return 1; /* 0 would mean another thing there */
}

pf_status pfi_adapter_check_gguf(const pf_model *m) {
    const pfi_adapter *a = m->adapter;
    const char *what = NULL;
    if (!a) return pfi_fail(m->ctx, PF_STATE, "the model has no adapter to write as GGUF");
    if (!pfi_gguf_arch_find(NULL, m->family->model_type))
        return pfi_fail(m->ctx, PF_UNSUPPORTED, "llama.cpp has no models of type %s", m->family->model_type);
    for (int i = 0; i < a->n_lora && !what; i++)
        if (a->lora[i].magnitude) what = "DoRA's magnitudes";
    if (a->n_kept) what = "modules that are trained as a whole (modules_to_save)";
    if (!what) return PF_OK;
    return pfi_fail(m->ctx, PF_UNSUPPORTED,
                    "a LoRA file for llama.cpp cannot hold %s; merge the adapter and write the whole model instead",
                    what);
}

/* ---- writing ---- */

/* the rows of t where slot's rows stand in GGUF files; slot NULL: as they are */
static pf_status gguf_matrix(pfi_gguf_writer *w, const pf_tensor *t, double factor, const pfi_slot *slot) {
    pf_ctx *ctx = t->ctx;
    const int64_t rows = t->dim[0], cols = t->dim[1];
    float *row = pfi_alloc(ctx, (size_t)cols * sizeof *row);
    int64_t *from = pfi_alloc(ctx, (size_t)rows * sizeof *from);
    pf_status s = row && from ? PF_OK : PF_NOMEM;
    for (int64_t i = 0; s == PF_OK && i < rows; i++) {
        pfi_slot one = slot ? *slot : (pfi_slot){0};
        one.nd = 1; /* places of rows, not of elements */
        from[pfi_slot_place(&one, true, i, 0)] = i;
    }
    for (int64_t i = 0; s == PF_OK && i < rows; i++) {
        for (int64_t k = 0; k < cols; k++) row[k] = (float)(factor * pfi_get(t, (size_t)(from[i] * cols + k)));
        s = pfi_gguf_put_values(w, row, (size_t)cols);
    }
    pfi_free(ctx, row);
    pfi_free(ctx, from);
    return s;
}

static pf_status gguf_head(const pf_model *m, pfi_gguf_writer *w, double alpha) {
    static const char *const text[][2] = {{"general.type", "adapter"}, {"adapter.type", "lora"}};
    const char *arch = pfi_gguf_arch_find(NULL, m->family->model_type)->name;
    PF_TRY(pfi_gguf_put_string(w, "general.architecture", arch, strlen(arch)));
    for (int i = 0; i < PFI_COUNT(text); i++)
        PF_TRY(pfi_gguf_put_string(w, text[i][0], text[i][1], strlen(text[i][1])));
    return pfi_gguf_put_number(w, "adapter.lora.alpha", PFI_GGUF_F32, alpha);
}

static pf_status gguf_describe(const pf_model *m, const pfi_lora *l, pfi_gguf_writer *w) {
    char name[80];
    const char *weight = m->slots.slot[l->slot].gguf;
    snprintf(name, sizeof name, "%s.lora_a", weight);
    PF_TRY(pfi_gguf_put_tensor(w, name, PF_F32, 2, l->a->dim));
    snprintf(name, sizeof name, "%s.lora_b", weight);
    return pfi_gguf_put_tensor(w, name, PF_F32, 2, l->b->dim);
}

static pf_status gguf_all(const pf_model *m, pfi_gguf_writer *w) {
    const pfi_adapter *a = m->adapter;
    const double alpha = gguf_common_alpha(a);
    PF_TRY(gguf_head(m, w, alpha));
    for (int i = 0; i < a->n_lora; i++) PF_TRY(gguf_describe(m, &a->lora[i], w));
    for (int i = 0; i < a->n_lora; i++) {
        const pfi_lora *l = &a->lora[i];
        PF_TRY(gguf_matrix(w, l->a, 1, NULL));
        PF_TRY(gguf_matrix(w, l->b, gguf_alpha(l) / alpha, &m->slots.slot[l->slot]));
    }
    return PF_OK;
}

pf_status pfi_adapter_save_gguf(const pf_model *m, const char *path) {
    pfi_gguf_writer *w = NULL;
    PF_TRY(pfi_adapter_check_gguf(m));
    PF_TRY(pfi_gguf_writer_open(m->ctx, path, &w));
    pf_status s = gguf_all(m, w);
    if (s == PF_OK) return pfi_gguf_writer_commit(w);
    pfi_gguf_writer_abandon(w);
    return s;
}
