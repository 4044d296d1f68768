/* Loading a model: a Hugging Face directory, or a GGUF file. */
#include "file/file.h"
#include "file/weights.h"
#include "kernel/kernel.h"
#include "model/gguf.h"
#include "text/tokenizer.h"

/* ---- weights ---- */

static const char *load_name(const pfi_slot *slot, bool gguf) { return gguf ? slot->gguf : slot->name; }

/* Does the file hold this weight as config.json describes it? Looked at for all before memory is taken for any. */
static pf_status load_check_slot(pf_ctx *ctx, const pfi_weights *w, const pfi_slot *slot) {
    const bool gguf = pfi_weights_gguf(w), turned = !gguf && slot->flags & PFI_TURNED;
    const pfi_weight *from = pfi_weights_find(w, load_name(slot, gguf));
    if (!from)
        return pfi_fail(ctx, PF_FORMAT, "%s: the weights have no tensor \"%s\", which %s asks for", pfi_weights_name(w),
                        load_name(slot, gguf), gguf ? "the metadata" : "config.json");
    const int64_t want[2] = {slot->dim[turned ? 1 : 0], slot->dim[turned ? 0 : 1]};
    bool fits = from->nd == slot->nd;
    for (int i = 0; fits && i < slot->nd; i++) fits = from->dim[i] == want[i];
    if (!fits)
        return pfi_fail(ctx, PF_SHAPE, "%s: tensor \"%s\" has shape %s, but %s asks for %s", from->file, from->name,
                        pfi_shape_text((char[160]){0}, 160, from->nd, from->dim), gguf ? "the metadata" : "config.json",
                        pfi_shape_text((char[96]){0}, 96, slot->nd, want));
    if (from->pf < 0 || from->pf == PF_I32)
        return pfi_fail(ctx, PF_UNSUPPORTED,
                        "%s: tensor \"%s\" is stored as %s, which is not read as weights; " PFI_WEIGHT_TYPES " are",
                        from->file, from->name, from->dtype);
    return PF_OK;
}

static pf_status load_check(pf_model *m, const pfi_weights *w) {
    for (int i = 0; i < m->slots.n; i++) PF_TRY(load_check_slot(m->ctx, w, &m->slots.slot[i]));
    return PF_OK;
}

/* the values of src in the order of the file, into x */
static void load_widen(pf_dtype dtype, const pf_tensor *src, void *x) {
    if (dtype == PF_F32)
        pfk_widen_f32(src->dtype, pfi_data(src), x, (int64_t)pfi_numel(src));
    else
        pfk_widen_f64(src->dtype, pfi_data(src), x, (int64_t)pfi_numel(src));
}

static pf_status load_rearrange(const pfi_slot *slot, bool gguf, const pf_tensor *src, pf_tensor *t) {
    const int64_t cols = slot->nd > 1 ? slot->dim[1] : 1;
    const size_t size = pfi_dtype_size(t->dtype);
    char *file = pfi_alloc_data(t->ctx, pfi_numel(t) * size);
    if (!file) return PF_NOMEM;
    load_widen(t->dtype, src, file);
    for (int64_t i = 0; i < (int64_t)pfi_numel(t); i++)
        memcpy((char *)pfi_data(t) + (size_t)i * size,
               file + (size_t)pfi_slot_place(slot, gguf, i / cols, i % cols) * size, size);
    pfi_free(t->ctx, file);
    return PF_OK;
}

/* the values of src, widened and in the order of the slot. NULL: NOMEM. Owned by caller */
static pf_tensor *load_wide(pf_model *m, const pfi_slot *slot, bool gguf, const pf_tensor *src) {
    pf_tensor *t = pfi_tensor_make(m->ctx, m->dtype, slot->nd, slot->dim);
    pf_status s = PF_OK;
    if (t && slot->flags & (gguf ? PFI_INTERLEAVED | PFI_PER_HEAD : PFI_TURNED))
        s = load_rearrange(slot, gguf, src, t);
    else if (t)
        load_widen(t->dtype, src, pfi_data(t));
    if (s == PF_OK) return t;
    pf_tensor_free(t);
    return NULL;
}

/* can the rows of a matrix be held in blocks? */
static pf_status load_fits(const pf_model *m, const pfi_slot *slot, bool gguf) {
    const int64_t block = m->keep == PF_STORED ? 1 : pfi_dtype_block(m->keep);
    if (slot->dim[1] % block == 0) return PF_OK;
    return pfi_fail(
        m->ctx, PF_SHAPE,
        "tensor \"%s\" has rows of %lld values, dtype %s takes multiples of %d: load it with dtype bfloat16",
        load_name(slot, gguf), (long long)slot->dim[1], pfi_dtype_name(m->keep), (int)block);
}

/* a matrix that is held as m->keep: rows that stand elsewhere in the file are moved as they are. Owned by caller */
static pf_tensor *load_kept(pf_model *m, const pfi_slot *slot, bool gguf, pf_tensor *src) {
    pf_tensor *t = NULL;
    if (load_fits(m, slot, gguf) != PF_OK) return NULL;
    if (!gguf && slot->flags & PFI_TURNED) {
        pf_tensor *wide = load_wide(m, slot, gguf, src);
        if (wide) t = pfi_keep(wide, m->keep == PF_STORED ? src->dtype : m->keep, NULL);
        pf_tensor_free(wide);
    } else if (gguf && slot->flags & (PFI_INTERLEAVED | PFI_PER_HEAD)) {
        int64_t *row = pfi_alloc(m->ctx, (size_t)slot->dim[0] * sizeof *row);
        if (!row) return NULL;
        for (int64_t i = 0; i < slot->dim[0]; i++) row[i] = pfi_slot_place(slot, gguf, i, 0) / slot->dim[1];
        t = pfi_keep(src, m->keep, row);
        pfi_free(m->ctx, row);
    } else {
        t = pfi_keep(src, m->keep, NULL);
    }
    if (!t) pfi_prefix(m->ctx, "tensor \"%s\"", load_name(slot, gguf));
    return t;
}

static pf_tensor *load_make(pf_model *m, const pfi_slot *slot, void *ud) {
    const bool gguf = pfi_weights_gguf(ud), kept = m->keep != m->dtype;
    pf_tensor *src = pfi_weights_tensor(ud, pfi_weights_find(ud, load_name(slot, gguf)));
    if (!src) return NULL;
    pf_tensor *t = kept && slot->nd == 2 ? load_kept(m, slot, gguf, src) : load_wide(m, slot, gguf, src);
    pf_tensor_free(src);
    if (!t) return NULL;
    t->needs_grad = !kept;
    for (size_t i = 0; gguf && slot->offset != 0 && i < pfi_numel(t); i++) pfi_set(t, i, pfi_get(t, i) - slot->offset);
    return t;
}

/* ---- tensors that are no weights ---- */

/* their divisors are in the configuration that was made of the metadata */
static bool load_derived_gguf(const char *name) {
    return strcmp(name, "rope_freqs.weight") == 0 || strcmp(name, "rope_factors_long.weight") == 0 ||
           strcmp(name, "rope_factors_short.weight") == 0;
}

static bool load_ends(const char *name, const char *end) {
    size_t n = strlen(name), k = strlen(end);
    return n >= k && strcmp(name + n - k, end) == 0;
}

/* follows from config.json, or is a copy of the embedding */
static bool load_derived(const pf_model *m, const char *name) {
    const char *const *d = m->family->derived;
    if (m->config.tied && strcmp(name, pfi_family_names(m->family)[m->names].head) == 0) return true;
    if (load_ends(name, ".rotary_emb.inv_freq")) return true; /* old files */
    for (; d && *d; d++)
        if (load_ends(name, *d)) return true;
    return false;
}

/* Some files repeat a tied embedding as the head. A head that differs would be ignored without a word, while
 * transformers 5 uses it. */
static pf_status load_check_head(const pf_model *m, const pfi_weights *w) {
    const char *name = pfi_family_names(m->family)[m->names].head;
    const pfi_weight *head = m->config.tied ? pfi_weights_find(w, name) : NULL, *same = NULL;
    for (int i = 0; head && i < m->slots.n; i++)
        if (m->slots.slot[i].field == &m->embedding) same = pfi_weights_find(w, m->slots.slot[i].name);
    if (!same || (head->pf == same->pf && head->bytes == same->bytes && !memcmp(head->data, same->data, same->bytes)))
        return PF_OK;
    return pfi_fail(m->ctx, PF_UNSUPPORTED,
                    "%s: tensor \"%s\" differs from \"%s\", but config.json says they are one: set tie_word_embeddings "
                    "to false to use both, or remove the tensor",
                    head->file, name, same->name);
}

static pf_status load_aside(pf_model *m, const pfi_weights *w, const pfi_weight *from) {
    pf_tensor **list = pfi_realloc(m->ctx, m->aside, (size_t)(m->n_aside + 1) * sizeof *list);
    if (!list) return PF_NOMEM;
    m->aside = list;
    pfi_step *open = m->ctx->step;
    m->ctx->step = NULL;
    pf_tensor *t = pfi_weights_tensor(w, from);
    m->ctx->step = open;
    if (!t) return pf_errcode(m->ctx);
    m->aside[m->n_aside++] = t;
    snprintf(t->name, sizeof t->name, "%s", from->name);
    return PF_OK;
}

/* a tensor in the file that no slot wants would be silently lost on saving: refuse it */
static pf_status load_leftover(pf_model *m, const pfi_weights *w) {
    const bool gguf = pfi_weights_gguf(w);
    const pfi_weight *t;
    for (size_t i = 0; (t = pfi_weights_at(w, i)); i++) {
        bool wanted = gguf ? load_derived_gguf(t->name) : load_derived(m, t->name);
        for (int k = 0; !wanted && k < m->slots.n; k++)
            wanted = strcmp(t->name, load_name(&m->slots.slot[k], gguf)) == 0;
        const char *const *aside = m->family->aside;
        for (; !wanted && aside && *aside; aside++)
            if (strncmp(t->name, *aside, strlen(*aside)) == 0) break;
        if (!wanted && aside && *aside)
            PF_TRY(load_aside(m, w, t));
        else if (!wanted)
            return pfi_fail(m->ctx, PF_UNSUPPORTED,
                            "%s: the weights hold a tensor \"%s\" that a %s model does not have", t->file, t->name,
                            m->family->model_type);
    }
    return PF_OK;
}

/* ---- the rest of a directory ---- */

/* dir: a directory or a GGUF file; there: does it hold a tokenizer */
static pf_status load_tokenizer_of(pf_model *m, const char *dir, bool there) {
    if (!there) return PF_OK;
    PF_TRY(pf_tokenizer_load(m->ctx, dir, &m->tokenizer));
    size_t n = pf_tokenizer_size(m->tokenizer);
    if ((int64_t)n > m->config.vocab)
        return pfi_fail(m->ctx, PF_FORMAT, "%s: the tokenizer has %zu tokens, the model's vocab_size is %lld", dir, n,
                        (long long)m->config.vocab);
    return PF_OK;
}

static pf_status load_tokenizer(pf_model *m, const char *dir) {
    char *path = pfi_file_join(m->ctx, dir, "tokenizer.json");
    if (!path) return PF_NOMEM;
    bool there = pfi_file_exists(path);
    pfi_free(m->ctx, path);
    return load_tokenizer_of(m, dir, there);
}

static pf_status load_tokenizer_gguf(pf_model *m, const char *path, const pfi_gguf *g) {
    const char *kind = "none";
    PF_TRY(pfi_gguf_string_opt(g, "tokenizer.ggml.model", &kind, NULL));
    return load_tokenizer_of(m, path, strcmp(kind, "none") != 0);
}

/* the tokens that end a text stand in generation_config.json, if it is there, rather than in config.json */
static pf_status load_eos(pf_model *m, const char *dir) {
    char *path = pfi_file_join(m->ctx, dir, "generation_config.json");
    if (!path) return PF_NOMEM;
    json_t *json = NULL;
    pf_status s = PF_OK;
    if (pfi_file_exists(path)) {
        json = pfi_json_load(m->ctx, path);
        s = json ? pfi_config_eos(m->ctx, json, path, &m->config) : pf_errcode(m->ctx);
    }
    json_decref(json);
    pfi_free(m->ctx, path);
    return s;
}

/* Which of the family's names does the file use? The first whose embedding, and head if there is one, it holds. */
static void load_names(pf_model *m, const pfi_weights *w) {
    const pfi_names *names = pfi_family_names(m->family);
    const char *embedding = m->family->embedding ? m->family->embedding : "embed_tokens.weight";
    for (int i = 0; names[i].prefix; i++) {
        char name[PF_MAX_NAME];
        snprintf(name, sizeof name, "%s%s", names[i].prefix, embedding);
        m->names = i;
        if (pfi_weights_find(w, name) && (m->config.tied || pfi_weights_find(w, names[i].head))) return;
    }
    m->names = 0;
}

/* ---- all of it ---- */

static pf_status load_shell(pf_ctx *ctx, const char *dir, pf_dtype dtype, pf_model **m) {
    char *path = pfi_file_join(ctx, dir, "config.json");
    if (!path) return PF_NOMEM;
    pfi_buf text = {0};
    pf_status s = pfi_file_read(ctx, path, &text);
    if (s == PF_OK) s = pfi_model_shell(ctx, text.data, text.len, path, dtype, m);
    pfi_buf_free(ctx, &text);
    pfi_free(ctx, path);
    return s;
}

static pf_status load_weights(pf_model *m, pfi_weights *w) {
    if (!pfi_weights_gguf(w)) load_names(m, w);
    PF_TRY(pfi_model_prepare(m));
    PF_TRY(load_check(m, w));
    if (!pfi_weights_gguf(w)) PF_TRY(load_check_head(m, w));
    PF_TRY(pfi_model_fill(m, load_make, w));
    return load_leftover(m, w);
}

static pf_status load_gguf(pf_ctx *ctx, const char *path, pf_dtype dtype, pf_model **m) {
    pfi_weights *w = NULL;
    pfi_buf text = {0};
    pf_status s = pfi_weights_open(ctx, path, &w);
    if (s == PF_OK) s = pfi_gguf_config(ctx, w, &text);
    if (s == PF_OK) s = pfi_model_shell(ctx, text.data, text.len, path, dtype, m);
    if (s == PF_OK) s = load_weights(*m, w);
    if (s == PF_OK) s = load_tokenizer_gguf(*m, path, pfi_weights_gguf(w));
    pfi_weights_close(w);
    pfi_buf_free(ctx, &text);
    return s;
}

static pf_status load_refuse_adapter(pf_ctx *ctx, const char *dir) {
    char *model = pfi_file_join(ctx, dir, "config.json"), *adapter = pfi_file_join(ctx, dir, "adapter_config.json");
    pf_status s = model && adapter ? PF_OK : PF_NOMEM;
    if (s == PF_OK && !pfi_file_exists(model) && pfi_file_exists(adapter))
        s = pfi_fail(ctx, PF_FORMAT, "%s is an adapter: load its base, and this as the adapter", dir);
    pfi_free(ctx, model);
    pfi_free(ctx, adapter);
    return s;
}

static pf_status load_into(pf_ctx *ctx, const char *dir, pf_dtype dtype, pf_model **m) {
    if (pfi_gguf_is(dir) && !pfi_file_is_dir(dir)) return load_gguf(ctx, dir, dtype, m);
    if (!pfi_file_is_dir(dir))
        return pfi_fail(ctx, PF_IO, "%s: no such model directory (expected config.json and model.safetensors in it)",
                        dir);
    PF_TRY(load_refuse_adapter(ctx, dir));
    PF_TRY(load_shell(ctx, dir, dtype, m));
    if (!((*m)->dir = pfi_strndup(ctx, dir, strlen(dir)))) return PF_NOMEM;
    pfi_weights *w = NULL;
    pf_status s = pfi_weights_open(ctx, dir, &w);
    if (s == PF_OK) s = load_weights(*m, w);
    pfi_weights_close(w);
    if (s == PF_OK) s = load_eos(*m, dir);
    return s == PF_OK ? load_tokenizer(*m, dir) : s;
}

pf_status pf_model_load(pf_ctx *ctx, const char *dir, pf_dtype dtype, pf_model **out) {
    pf_model *m = NULL;
    pf_status s = load_into(ctx, dir, dtype, &m);
    return pfi_model_done(s, m, out);
}
