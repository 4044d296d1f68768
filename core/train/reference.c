/* Reference log-probabilities: computed once, in batches, and kept in a file that is bound to what they depend on. */
#include <math.h>

#include "file/file.h"
#include "model/model.h"
#include "text/tokenizer.h"
#include "train/train.h"

/* nodes of a batch: memory for activations grows with it, speed does not beyond a few thousand */
enum { REFERENCE_BUDGET = 4096 };

#define REFERENCE_MAGIC "pofitref"

/* What the numbers depend on. Written as it lies in memory: another byte order reads as another fingerprint. */
typedef struct reference_head {
    char magic[8];
    uint64_t version, model, tokenizer, data, sequences, entries;
} reference_head;

static bool reference_scored(const pf_sequence *s, size_t t) {
    return s->score ? s->score[t] != 0 : t >= s->scored_from;
}

static uint64_t reference_hash_sequence(uint64_t h, const pf_sequence *s, uint64_t *entries) {
    if (s->ids) h = pfi_hash64(h, s->ids, s->n * sizeof *s->ids); /* without ids the batch refuses it */
    if (s->target) h = pfi_hash64(h ^ 1, s->target, s->n * sizeof *s->target);
    for (size_t t = 0; t < s->n; t++) {
        if (!reference_scored(s, t)) continue;
        uint64_t at = t;
        h = pfi_hash64(h, &at, sizeof at);
        ++*entries;
    }
    return h;
}

static reference_head reference_describe(const pf_model *m, const pf_sequence *s, size_t n) {
    reference_head h = {.version = 1, .sequences = n};
    memcpy(h.magic, REFERENCE_MAGIC, sizeof h.magic);
    h.model = pf_model_fingerprint(m);
    h.tokenizer = m->tokenizer ? pfi_tokenizer_fingerprint(m->tokenizer) : 0;
    for (size_t i = 0; i < n; i++) h.data = reference_hash_sequence(h.data, &s[i], &h.entries);
    return h;
}

/* ---- computing ---- */

/* tokens of b that its predecessor a does not begin with */
static size_t reference_new_tokens(const pf_sequence *a, const pf_sequence *b) {
    size_t shared = 0;
    while (a && shared < a->n && shared < b->n && a->ids[shared] == b->ids[shared]) shared++;
    return b->n - shared;
}

/* how many of the n sequences go into the next batch: in their order, so that common prompts stay together */
static size_t reference_take(const pf_sequence *s, size_t n) {
    size_t take = 0, nodes = 0;
    while (take < n) {
        nodes += reference_new_tokens(take ? &s[take - 1] : NULL, &s[take]);
        if (take && nodes > REFERENCE_BUDGET) break;
        take++;
    }
    return take;
}

static pf_status reference_copy(pf_ctx *ctx, const pf_tensor *logp, float *out, size_t room, size_t *done) {
    size_t n = pfi_numel(logp);
    if (n > room) return pfi_fail(ctx, PF_STATE, "the batch has %zu more entries than its sequences score", n - room);
    for (size_t i = 0; i < n; i++) {
        double v = pfi_get(logp, i);
        if (!isfinite(v))
            return pfi_fail(
                ctx, PF_NONFINITE,
                "the reference model gives a log-probability of %g (scored token %zu of all): its weights are "
                "not usable",
                v, *done + i + 1);
        out[i] = (float)v;
    }
    *done += n;
    return PF_OK;
}

static pf_status reference_batch(pf_model *m, pf_ctx *ctx, const pf_sequence *s, size_t n, float *out, size_t room,
                                 size_t *done) {
    pf_batch *b = NULL;
    PF_TRY(pf_step_begin(ctx));
    pf_status st = pf_batch_new(ctx, s, n, &b);
    pf_tensor *logp = st == PF_OK ? pf_model_logp(m, b, NULL) : NULL;
    if (st == PF_OK) st = logp ? reference_copy(ctx, logp, out, room, done) : ctx->code;
    pf_tensor_free(logp);
    pf_batch_free(b);
    pf_step_end(ctx);
    return st;
}

static pf_status reference_compute(pf_model *m, pf_ctx *ctx, const pf_sequence *s, size_t n, float *out,
                                   size_t entries) {
    bool recording = pf_set_recording(ctx, false);
    pf_status st = PF_OK;
    size_t done = 0;
    for (size_t at = 0; at < n && st == PF_OK;) {
        size_t take = reference_take(s + at, n - at);
        if (ctx->cancelled) {
            ctx->cancelled = 0;
            st = pfi_fail(ctx, PF_CANCELLED, "cancelled after %zu of %zu reference sequences", at, n);
            break;
        }
        st = reference_batch(m, ctx, s + at, take, out + done, entries - done, &done);
        at += take;
    }
    pf_set_recording(ctx, recording);
    if (st == PF_OK && done != entries)
        st = pfi_fail(ctx, PF_STATE, "the batches have %zu entries, their sequences score %zu", done, entries);
    return st;
}

/* ---- the file ---- */

static pf_status reference_check(pf_ctx *ctx, const char *path, const pfi_buf *b, const reference_head *want) {
    reference_head h;
    if (b->len < sizeof h || memcmp(b->data, REFERENCE_MAGIC, sizeof h.magic) != 0)
        return pfi_fail(ctx, PF_FORMAT, "%s holds no reference log-probabilities", path);
    memcpy(&h, b->data, sizeof h);
    const char *what = h.version != want->version        ? "version of the format"
                       : h.model != want->model          ? "model"
                       : h.tokenizer != want->tokenizer  ? "tokenizer"
                       : memcmp(&h, want, sizeof h) != 0 ? "data"
                                                         : NULL;
    if (what) return pfi_fail(ctx, PF_STATE, "%s was made for another %s", path, what);
    if (b->len != sizeof h + (size_t)h.entries * sizeof(float))
        return pfi_fail(ctx, PF_FORMAT, "%s is damaged: %zu bytes, expected %zu", path, b->len,
                        sizeof h + (size_t)h.entries * sizeof(float));
    return PF_OK;
}

/* err NOMEM; anything else that is wrong with the file means: not read */
static pf_status reference_read(pf_ctx *ctx, const char *path, const reference_head *want, float *out, bool *ok) {
    pfi_buf file = {0}, plain = {0};
    pf_status s = pfi_file_read(ctx, path, &file);
    if (s == PF_OK) s = pfi_zst_decompress(ctx, file.data, file.len, path, &plain);
    if (s == PF_OK) s = reference_check(ctx, path, &plain, want);
    *ok = s == PF_OK;
    if (*ok && want->entries) memcpy(out, plain.data + sizeof *want, plain.len - sizeof *want);
    pfi_buf_free(ctx, &file);
    pfi_buf_free(ctx, &plain);
    return s == PF_NOMEM ? s : PF_OK;
}

static pf_status reference_write(pf_ctx *ctx, const char *path, const reference_head *h, const float *logp) {
    pfi_buf plain = {0}, packed = {0};
    pf_status s = pfi_buf_add(ctx, &plain, h, sizeof *h);
    if (s == PF_OK) s = pfi_buf_add(ctx, &plain, logp, (size_t)h->entries * sizeof *logp);
    if (s == PF_OK) s = pfi_zst_compress(ctx, plain.data, plain.len, 0, &packed);
    if (s == PF_OK) s = pfi_file_write_atomic(ctx, path, packed.data, packed.len);
    pfi_buf_free(ctx, &plain);
    pfi_buf_free(ctx, &packed);
    return s;
}

/* the computation may take an hour: find out before it whether its result can be written */
static pf_status reference_prepare(pf_ctx *ctx, const char *path) {
    const char *slash = strrchr(path, '/');
    if (pfi_file_is_dir(path)) return pfi_fail(ctx, PF_IO, "cannot write %s: it is a directory", path);
    if (!slash || slash == path) return PF_OK;
    char *dir = pfi_strndup(ctx, path, (size_t)(slash - path));
    if (!dir) return PF_NOMEM;
    pf_status s = pfi_file_mkdirs(ctx, dir);
    pfi_free(ctx, dir);
    return s;
}

static pf_status reference_fill(pf_model *m, pf_ctx *ctx, const pf_sequence *s, size_t n, const char *cache,
                                const reference_head *h, float *out, bool *ok) {
    *ok = false;
    if (cache && pfi_file_exists(cache) && !pfi_file_is_dir(cache)) PF_TRY(reference_read(ctx, cache, h, out, ok));
    if (*ok) return PF_OK;
    if (cache) PF_TRY(reference_prepare(ctx, cache));
    PF_TRY(reference_compute(m, ctx, s, n, out, (size_t)h->entries));
    return cache ? reference_write(ctx, cache, h, out) : PF_OK;
}

pf_status pf_reference_logp(pf_model *m, const pf_sequence *s, size_t n, const char *cache, float **logp,
                            size_t *n_logp, bool *cached) {
    pf_ctx *ctx = m->ctx;
    bool ok = false;
    *logp = NULL;
    *n_logp = 0;
    if (cached) *cached = false;
    ctx->message[0] = 0; /* a message after success says why a file was not used */
    ctx->code = PF_OK;
    reference_head h = reference_describe(m, s, n);
    float *out = pfi_alloc(ctx, (size_t)h.entries * sizeof *out);
    if (!out) return PF_NOMEM;
    pf_status st = reference_fill(m, ctx, s, n, cache, &h, out, &ok);
    if (st != PF_OK) {
        pfi_free(ctx, out);
        return st;
    }
    *logp = out;
    *n_logp = (size_t)h.entries;
    if (cached) *cached = ok;
    return PF_OK;
}
