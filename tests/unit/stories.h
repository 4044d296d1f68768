/* The figures of stories260K: a trained model of other people, under $POFIT_TESTDATA. Their tensors have llama2.c's
 * names, and rows of q and k in its rotary layout. */
#ifndef STORIES_H
#define STORIES_H

#include <jansson.h>
#include <math.h>

#include "file/safetensors.h"
#include "model/model.h"
#include "op/op.h"
#include "support.h"

static inline const char *stories_root(void) {
    const char *root = getenv("POFIT_TESTDATA");
    return root && *root ? root : NULL;
}

static inline const char *stories_path(const char *rel) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", stories_root(), rel);
    return path;
}

/* golden/stories260K.reference.json; the caller decrefs. Without the data: says so and skips the test. */
static inline json_t *stories_figures(const char *test) {
    if (!stories_root()) {
        printf("SKIP %s: POFIT_TESTDATA is not set\n", test);
        skip();
    }
    json_error_t e;
    json_t *v = json_load_file(stories_path("golden/stories260K.reference.json"), 0, &e);
    if (!v) fail_msg("%s:%d: %s", e.source, e.line, e.text);
    return v;
}

static inline json_t *stories_get(const json_t *v, const char *key) {
    json_t *got = json_object_get(v, key);
    if (!got) fail_msg("the figures have no \"%s\"", key);
    return got;
}

static inline double stories_at(const json_t *list, size_t i) { return json_number_value(json_array_get(list, i)); }

static inline size_t stories_ids(const json_t *list, int32_t *ids, size_t room) {
    size_t n = json_array_size(list);
    assert_true(n <= room);
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return n;
}

static inline pf_model *stories_model(pf_ctx *ctx, pf_dtype dtype) {
    pf_model *m;
    support_ok(ctx, pf_model_load(ctx, stories_path("data/stories260K"), dtype, &m));
    return m;
}

/* ---- llama2.c's names and layout ---- */

static inline const char *stories_name(const char *hf) {
    static const char *const part[][2] = {
        {"self_attn.q_proj", "attention.wq"},    {"self_attn.k_proj", "attention.wk"},
        {"self_attn.v_proj", "attention.wv"},    {"self_attn.o_proj", "attention.wo"},
        {"mlp.gate_proj", "feed_forward.w1"},    {"mlp.down_proj", "feed_forward.w2"},
        {"mlp.up_proj", "feed_forward.w3"},      {"input_layernorm", "attention_norm"},
        {"post_attention_layernorm", "ffn_norm"}};
    static char buf[128];
    int layer, at = 0;
    if (strcmp(hf, "model.embed_tokens.weight") == 0) return "tok_embeddings.weight";
    if (strcmp(hf, "model.norm.weight") == 0) return "norm.weight";
    if (sscanf(hf, "model.layers.%d.%n", &layer, &at) != 1) fail_msg("no layer in \"%s\"", hf);
    for (int i = 0; i < PFI_COUNT(part); i++) {
        size_t len = strlen(part[i][0]);
        if (strncmp(hf + at, part[i][0], len) != 0 || strcmp(hf + at + len, ".weight") != 0) continue;
        snprintf(buf, sizeof buf, "layers.%d.%s.weight", layer, part[i][1]);
        return buf;
    }
    fail_msg("llama2.c has no \"%s\"", hf);
    return NULL;
}

/* llama2.c rotates neighbours (2i, 2i+1) of a head, Hugging Face i and i + D/2: rows of q and k change places */
static inline size_t stories_row(const pf_tensor *w, size_t row, size_t head) {
    if (!strstr(w->name, "q_proj") && !strstr(w->name, "k_proj")) return row;
    size_t in = row % head, half = head / 2;
    return row - in + (in < half ? 2 * in : 2 * (in - half) + 1);
}

/* what the file has for parameter i, in our layout; freed by the caller */
static inline double *stories_read(const pf_model *m, int i, const pfi_st *st) {
    const pf_tensor *w = m->parameter[i];
    const pfi_st_tensor *from = pfi_st_find(st, stories_name(w->name));
    if (!from) fail_msg("the file has no \"%s\"", stories_name(w->name));
    size_t n = pfi_numel(w), cols = w->nd == 2 ? (size_t)w->dim[1] : 1;
    assert_int_equal(from->bytes, n * sizeof(float));
    double *out = malloc(n * sizeof *out);
    assert_non_null(out);
    for (size_t k = 0; k < n; k++) {
        float x;
        size_t at = stories_row(w, k / cols, (size_t)m->config.head_dim) * cols + k % cols;
        memcpy(&x, from->data + at * sizeof x, sizeof x);
        out[k] = (double)x;
    }
    return out;
}

/* the weights from which the figures' training runs start */
static inline void stories_perturb(pf_model *m) {
    pfi_st *st;
    support_ok(m->ctx, pfi_st_open(m->ctx, stories_path("golden/stories260K.policy_perturbed.safetensors"), &st));
    assert_int_equal(pfi_st_count(st), m->n_parameters);
    for (int i = 0; i < m->n_parameters; i++) {
        double *w = stories_read(m, i, st);
        for (size_t k = 0; k < pfi_numel(m->parameter[i]); k++) pfi_set(m->parameter[i], k, w[k]);
        free(w);
    }
    pfi_st_release(st);
}

/* ---- the figures' four pairs ---- */

enum { STORIES_PAIRS = 4, STORIES_ROWS = 2 * STORIES_PAIRS, STORIES_MOST = 64 };

/* Chosen 0..3 and rejected 4..7, with the reference's sums and the number of scored tokens. */
typedef struct stories_data {
    int32_t ids[STORIES_ROWS][STORIES_MOST];
    pf_sequence s[STORIES_ROWS];
    double ref[STORIES_ROWS], len[STORIES_ROWS];
} stories_data;

static inline void stories_pairs(const json_t *j, stories_data *d) {
    const json_t *pairs = stories_get(j, "pairs");
    for (size_t i = 0; i < STORIES_ROWS; i++) {
        size_t n = (size_t)stories_at(stories_get(pairs, "lengths"), i);
        size_t from = (size_t)stories_at(stories_get(pairs, "prompt_lengths"), i);
        stories_ids(json_array_get(stories_get(pairs, "input_ids"), i), d->ids[i], STORIES_MOST);
        d->s[i] = (pf_sequence){.ids = d->ids[i], .n = n, .scored_from = from};
        d->ref[i] = stories_at(stories_get(j, "ref_sum_logps"), i);
        d->len[i] = (double)(n - from);
    }
}

#endif
