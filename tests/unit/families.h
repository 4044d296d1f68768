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

enum { FAMILY_PAIRS = 4, FAMILY_MOST = 32, FAMILY_PROBES = 3, FAMILY_TENSORS = 128 };

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

#endif
