/* LoRA files for llama.cpp (convert_lora_to_gguf.py, llama-adapter.cpp): general.type "adapter", one alpha, and for
 * each weight NAME the tensors NAME.lora_a and NAME.lora_b. llama.cpp adds alpha / r B A: what a module's scale differs
 * from that is folded into its B. */
#include <math.h>

#include "file/gguf.h"
#include "model/adapter.h"
#include "model/family.h"

/* alpha so that scale = alpha / r */
static double gguf_alpha(const pfi_lora *l) { return l->scale * (double)l->rank; }

static double gguf_common_alpha(const pfi_adapter *a) {
    for (int i = 0; i < a->n_lora; i++)
        if (a->lora[i].alpha != 0) return gguf_alpha(&a->lora[i]);
    return 1; /* 0 would mean another thing there */
}

/* ---- names ---- */

static bool gguf_weight_name(const pfi_lora *l, char out[64]) {
    static const struct {
        const char *hf, *gguf;
    } names[] = {{"self_attn.q_proj", "attn_q"},      {"self_attn.k_proj", "attn_k"}, {"self_attn.v_proj", "attn_v"},
                 {"self_attn.o_proj", "attn_output"}, {"mlp.gate_proj", "ffn_gate"},  {"mlp.up_proj", "ffn_up"},
                 {"mlp.down_proj", "ffn_down"}};
    int layer = 0, at = 0;
    if (sscanf(l->module, "model.layers.%d.%n", &layer, &at) != 1 || !at) return false;
    for (int i = 0; i < PFI_COUNT(names); i++) {
        if (strcmp(l->module + at, names[i].hf) != 0) continue;
        snprintf(out, 64, "blk.%d.%s.weight", layer, names[i].gguf);
        return true;
    }
    return false;
}

/* heads whose rows GGUF holds interleaved, 0 for any other weight */
static int64_t gguf_turned_heads(const pf_model *m, const pfi_lora *l) {
    for (int64_t i = 0; i < m->config.layers; i++) {
        if (l->on == &m->layer[i].q) return m->config.heads;
        if (l->on == &m->layer[i].k) return m->config.kv_heads;
    }
    return 0;
}

pf_status pfi_adapter_check_gguf(const pf_model *m) {
    const pfi_adapter *a = m->adapter;
    const char *what = NULL;
    char name[64];
    if (!a) return pfi_fail(m->ctx, PF_STATE, "the model has no adapter to write as GGUF");
    for (int i = 0; i < a->n_lora && !what; i++) {
        if (a->lora[i].magnitude) what = "DoRA's magnitudes";
        if (!gguf_weight_name(&a->lora[i], name)) what = a->lora[i].module;
    }
    if (a->n_kept) what = "modules that are trained as a whole (modules_to_save)";
    if (!what) return PF_OK;
    return pfi_fail(m->ctx, PF_UNSUPPORTED,
                    "a LoRA file for llama.cpp cannot hold %s; merge the adapter and write the whole model instead",
                    what);
}

/* ---- writing ---- */

static pf_status gguf_matrix(pfi_gguf_writer *w, const pf_tensor *t, double factor, int64_t heads) {
    pf_ctx *ctx = t->ctx;
    const int64_t rows = t->dim[0], cols = t->dim[1], D = heads ? rows / heads : 0;
    float *row = pfi_alloc(ctx, (size_t)cols * sizeof *row);
    pf_status s = row ? PF_OK : PF_NOMEM;
    for (int64_t i = 0; s == PF_OK && i < rows; i++) {
        const int64_t d = heads ? i % D : 0, from = heads ? i - d + d % 2 * (D / 2) + d / 2 : i;
        for (int64_t k = 0; k < cols; k++) row[k] = (float)(factor * pfi_get(t, (size_t)(from * cols + k)));
        s = pfi_gguf_put_values(w, row, (size_t)cols);
    }
    pfi_free(ctx, row);
    return s;
}

static pf_status gguf_head(const pf_model *m, pfi_gguf_writer *w, double alpha) {
    static const char *const text[][2] = {{"general.type", "adapter"}, {"adapter.type", "lora"}};
    const char *arch = m->family->model_type;
    PF_TRY(pfi_gguf_put_string(w, "general.architecture", arch, strlen(arch)));
    for (int i = 0; i < PFI_COUNT(text); i++)
        PF_TRY(pfi_gguf_put_string(w, text[i][0], text[i][1], strlen(text[i][1])));
    return pfi_gguf_put_number(w, "adapter.lora.alpha", PFI_GGUF_F32, alpha);
}

static pf_status gguf_describe(const pfi_lora *l, pfi_gguf_writer *w) {
    char weight[64], name[80];
    gguf_weight_name(l, weight);
    snprintf(name, sizeof name, "%s.lora_a", weight);
    PF_TRY(pfi_gguf_put_tensor(w, name, PF_F32, 2, l->a->dim));
    snprintf(name, sizeof name, "%s.lora_b", weight);
    return pfi_gguf_put_tensor(w, name, PF_F32, 2, l->b->dim);
}

static pf_status gguf_all(const pf_model *m, pfi_gguf_writer *w) {
    const pfi_adapter *a = m->adapter;
    const double alpha = gguf_common_alpha(a);
    PF_TRY(gguf_head(m, w, alpha));
    for (int i = 0; i < a->n_lora; i++) PF_TRY(gguf_describe(&a->lora[i], w));
    for (int i = 0; i < a->n_lora; i++) {
        const pfi_lora *l = &a->lora[i];
        PF_TRY(gguf_matrix(w, l->a, 1, 0));
        PF_TRY(gguf_matrix(w, l->b, gguf_alpha(l) / alpha, gguf_turned_heads(m, l)));
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
