/* The cases of tests/golden/families.json: model directories made from them, and their figures. */
#ifndef FAMILIES_H
#define FAMILIES_H

#include "support.h"

#include <jansson.h>
#include <math.h>
#include <sys/stat.h>

#include "file/gguf.h"
#include "file/safetensors.h"
#include "model/model.h"
#include "train/train.h"

enum { FAMILY_PAIRS = 4, FAMILY_MOST = 32, FAMILY_PROBES = 3, FAMILY_TENSORS = 128 };
enum { FAMILY_ENTRIES = 2 * FAMILY_PAIRS * FAMILY_MOST }; /* at most, of the pairs */

/* the generator of make_families.py: in [-1, 1), from a stream and a place */
static inline double family_noise(uint64_t stream, uint64_t i) {
    uint64_t h = (i * 2654435761u + stream * 40503u + 12345u) & 0xFFFFFFFFu;
    h = ((h ^ (h >> 15)) * 2246822519u) & 0xFFFFFFFFu;
    h = ((h ^ (h >> 13)) * 3266489917u) & 0xFFFFFFFFu;
    return (double)(h ^ (h >> 16)) / 2147483648.0 - 1;
}

static inline json_t *family_figures(void) {
    json_error_t e;
    json_t *j = json_load_file("tests/golden/families.json", 0, &e);
    if (!j) fail_msg("tests/golden/families.json:%d: %s (a committed fixture must be there)", e.line, e.text);
    return j;
}

static inline double family_number(const json_t *obj, const char *key) {
    return json_number_value(json_object_get(obj, key));
}

static inline int32_t *family_ids(const json_t *list, int32_t *out) {
    for (size_t i = 0; i < json_array_size(list); i++) *out++ = (int32_t)json_integer_value(json_array_get(list, i));
    return out;
}

/* the weights of a case in the order of its list */
static inline void family_weights(pf_ctx *ctx, const json_t *one, const char *path) {
    const json_t *list = json_object_get(one, "tensors");
    pfi_st_entry e[FAMILY_TENSORS];
    int64_t dim[FAMILY_TENSORS][8];
    const size_t n = json_array_size(list);
    assert_true(n <= FAMILY_TENSORS);
    for (size_t k = 0; k < n; k++) {
        const json_t *t = json_array_get(list, k), *shape = json_object_get(t, "shape");
        size_t count = 1;
        for (size_t d = 0; d < json_array_size(shape); d++) {
            dim[k][d] = json_integer_value(json_array_get(shape, d));
            count *= (size_t)dim[k][d];
        }
        float *x = malloc(count * sizeof *x);
        for (size_t i = 0; i < count; i++)
            x[i] = (float)(family_number(t, "middle") + family_number(t, "spread") * family_noise(k, i));
        e[k] = (pfi_st_entry){.name = json_string_value(json_object_get(t, "name")),
                              .nd = (int)json_array_size(shape),
                              .dim = dim[k],
                              .data = x};
    }
    support_ok(ctx, pfi_st_write(ctx, path, e, n, NULL));
    for (size_t k = 0; k < n; k++) free((void *)(uintptr_t)e[k].data);
}

/* a directory with config.json (the text under key config) and the case's weights, in a rotating buffer */
static inline const char *family_dir(pf_ctx *ctx, const json_t *one, const char *name, const char *config) {
    char file[256];
    const char *dir = support_path(name);
    mkdir(dir, 0777);
    char *text = json_dumps(json_object_get(one, config), JSON_INDENT(2));
    snprintf(file, sizeof file, "%s/config.json", name);
    support_write(file, text, strlen(text));
    free(text);
    snprintf(file, sizeof file, "%s/model.safetensors", name);
    family_weights(ctx, one, support_path(file));
    return dir;
}

/* The pairs as sequences, chosen 0..3, rejected 4..7, with the reference's sums. */
typedef struct family_batch {
    int32_t ids[2 * FAMILY_PAIRS][FAMILY_MOST];
    pf_sequence seq[2 * FAMILY_PAIRS];
    double ref[2 * FAMILY_PAIRS];
} family_batch;

static inline void family_pairs(const json_t *j, family_batch *b) {
    const json_t *pairs = json_object_get(j, "pairs"), *prompts = json_object_get(j, "prompts");
    for (size_t i = 0; i < 2 * FAMILY_PAIRS; i++) {
        const json_t *p = json_array_get(pairs, i % FAMILY_PAIRS);
        const json_t *prompt = json_array_get(prompts, (size_t)family_number(p, "prompt"));
        const bool chosen = i < FAMILY_PAIRS;
        int32_t *end = family_ids(prompt, b->ids[i]);
        end = family_ids(json_object_get(p, chosen ? "chosen" : "rejected"), end);
        b->seq[i] =
            (pf_sequence){.ids = b->ids[i], .n = (size_t)(end - b->ids[i]), .scored_from = json_array_size(prompt)};
        b->ref[i] = family_number(p, chosen ? "ref_chosen" : "ref_rejected");
    }
}

/* adapter: NULL, or its configuration */
static inline pf_model *family_load(pf_ctx *ctx, const char *dir, const char *adapter) {
    pf_model *m;
    support_ok(ctx, pf_model_load(ctx, dir, PF_F32, &m));
    if (adapter) support_ok(ctx, pf_model_adapt(m, adapter, 3));
    return m;
}

/* what came of a pass over the pairs; kept: bytes that backward found */
typedef struct family_pass {
    double logp[FAMILY_ENTRIES], stats[4 * FAMILY_ENTRIES];
    size_t kept;
} family_pass;

/* A pass and backward of a weighted sum of its log-probabilities. again: another pass is between them, so that dropout
 * is further on. The batch is gone then: what is computed again keeps what it needs. */
static inline void family_run(pf_model *m, const family_batch *d, bool again, family_pass *r) {
    pf_ctx *ctx = m->ctx;
    pf_batch *b;
    pf_tensor *stats;
    double weight[FAMILY_ENTRIES];
    const size_t before = ctx->used;
    support_ok(ctx, pf_step_begin(ctx));
    support_ok(ctx, pf_batch_new(ctx, d->seq, 2 * FAMILY_PAIRS, &b));
    pf_tensor *y = pf_model_logp(m, b, &stats);
    if (!y) fail_msg("%s", pf_errmsg(ctx));
    for (int64_t i = 0; i < b->entries; i++) weight[i] = family_noise(5, (uint64_t)i);
    support_ok(ctx, pf_tensor_read(y, r->logp, (size_t)b->entries));
    support_ok(ctx, pf_tensor_read(stats, r->stats, 4 * (size_t)b->entries));
    pf_tensor_free(stats);
    if (again) pf_tensor_free(pf_model_logp(m, b, NULL));
    pf_batch_free(b);
    r->kept = ctx->used - before;
    support_backward(ctx, y, weight);
    pf_tensor_free(y);
    pf_step_end(ctx);
}

/* updates of a new small model on two sequences that begin alike; its fingerprint afterwards. The trainer leaves the
 * model as it was: that nothing of it is computed in parts or again then is checked, too. */
static inline pf_status family_train(pf_ctx *ctx, const pf_trainer_options *o, int updates, uint64_t *fingerprint) {
    const char *config =
        "{\"model_type\": \"llama\", \"vocab_size\": 11, \"hidden_size\": 8, \"intermediate_size\": 12, "
        "\"num_hidden_layers\": 3, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"rope_theta\": 100, "
        "\"initializer_range\": 0.2, \"max_position_embeddings\": 16, \"rms_norm_eps\": 1e-5, "
        "\"tie_word_embeddings\": true}";
    const int32_t ids[] = {1, 5, 3, 9, 2, 2, 10}, other[] = {1, 5, 4, 4, 4};
    const pf_sequence s[] = {{.ids = ids, .n = 7, .scored_from = 1}, {.ids = other, .n = 5, .scored_from = 2}};
    pf_model *m = NULL;
    pf_trainer *t = NULL;
    pf_status st = pf_model_new(ctx, config, NULL, 4, &m);
    if (st == PF_OK) st = pf_trainer_new(m, o, &t);
    for (int i = 0; i < updates && st == PF_OK; i++) {
        pf_batch *b = NULL;
        st = pf_step_begin(ctx);
        if (st != PF_OK) break;
        st = pf_batch_new(ctx, s, PFI_COUNT(s), &b);
        pf_tensor *y = st == PF_OK ? pf_model_logp(m, b, NULL) : NULL, *loss = pf_call(ctx, "mean", PF_T("x", y));
        if (st == PF_OK) st = pf_trainer_accumulate(t, loss, -1);
        pf_tensor_free(y);
        pf_tensor_free(loss);
        pf_batch_free(b);
        pf_step_end(ctx);
        if (st == PF_OK) st = pf_trainer_step(t, -1, NULL);
    }
    if (st == PF_OK) *fingerprint = pf_model_fingerprint(m);
    pf_trainer_free(t);
    if (m && (m->recompute != 0 || m->part != 0)) st = PF_STATE;
    pf_model_free(m);
    return st;
}

#endif
