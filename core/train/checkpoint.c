/* Checkpoints: one zstd frame with a checksum around
 *   8 bytes "pofit-ck", the length of a safetensors image (8 bytes, little-endian), the image, the caller's own bytes.
 * The image holds the trained parameters ("weight/NAME"), their moments ("m/NAME", "v/NAME", in 8 bits also
 * "m_scale/NAME", "v_scale/NAME") and "updates", a number for each; its metadata the settings, the place in the run,
 * and a fingerprint of what is not trained. */
#include <errno.h>
#include <stdlib.h>

#include "file/safetensors.h"
#include "train/train.h"

#define CHECKPOINT_MAGIC   "pofit-ck"
#define CHECKPOINT_VERSION "1"

enum { CHECKPOINT_HEAD = 16, CHECKPOINT_FACTS = 15, CHECKPOINT_TENSORS = 5 /* of a parameter */ };

/* A setting that must be the same for the run to go on as if it had not been interrupted. */
typedef struct checkpoint_fact {
    const char *key;
    char value[40];
} checkpoint_fact;

typedef struct checkpoint_facts {
    checkpoint_fact at[CHECKPOINT_FACTS];
    int n;
} checkpoint_facts;

/* ---- what is kept ---- */

static void checkpoint_number(checkpoint_facts *f, const char *key, double x) {
    f->at[f->n].key = key;
    snprintf(f->at[f->n++].value, sizeof f->at[0].value, "%.17g", x);
}

static void checkpoint_word(checkpoint_facts *f, const char *key, const char *word) {
    f->at[f->n].key = key;
    snprintf(f->at[f->n++].value, sizeof f->at[0].value, "%s", word);
}

static void checkpoint_hash(checkpoint_facts *f, const char *key, uint64_t h) {
    f->at[f->n].key = key;
    snprintf(f->at[f->n++].value, sizeof f->at[0].value, "%016llx", (unsigned long long)h);
}

static uint64_t checkpoint_groups(const pf_trainer *t) {
    uint64_t h = 0;
    for (int i = 0; i < t->n; i++) {
        const pfi_train_item *item = &t->item[i];
        h = pfi_hash64(h, (double[]){item->lr_scale, item->weight_decay}, 2 * sizeof(double));
    }
    return h;
}

/* Names, shapes and values of the parameters that this trainer leaves alone: they are not stored. */
static pf_status checkpoint_frozen(pf_trainer *t, uint64_t *out) {
    uint64_t h = 0;
    for (int i = 0; i < t->n && !t->hashed; i++) {
        if (!t->item[i].frozen) continue;
        pf_tensor *w = t->item[i].w;
        PF_TRY(pfi_alive(w));
        h = pfi_hash64(h, w->name, strlen(w->name));
        h = pfi_hash64(h, w->dim, (size_t)w->nd * sizeof w->dim[0]);
        h = pfi_hash64(h ^ (uint64_t)w->dtype, pfi_data(w), pfi_dtype_bytes(w->dtype, pfi_numel(w)));
    }
    if (!t->hashed) t->frozen_hash = h;
    t->hashed = true;
    *out = t->frozen_hash;
    return PF_OK;
}

static pf_status checkpoint_describe(pf_trainer *t, checkpoint_facts *f) {
    static const char *const schedule[] = {"constant", "linear", "cosine"};
    uint64_t frozen;
    PF_TRY(checkpoint_frozen(t, &frozen));
    f->n = 0;
    checkpoint_word(f, "optimizer", pfi_train_optimizer(t->optimizer));
    checkpoint_number(f, "lr", t->o.lr);
    checkpoint_number(f, "beta1", t->o.beta1);
    checkpoint_number(f, "beta2", t->o.beta2);
    checkpoint_number(f, "eps", t->o.eps);
    checkpoint_number(f, "weight_decay", t->o.weight_decay);
    checkpoint_number(f, "momentum", t->o.momentum);
    checkpoint_number(f, "clip", t->o.clip);
    checkpoint_word(f, "schedule", schedule[t->schedule]);
    checkpoint_number(f, "warmup", (double)t->o.warmup);
    /* a constant rate does not look at the length of the run, so a finished run may be made longer */
    checkpoint_number(f, "steps", t->schedule == PFI_CONSTANT ? 0 : (double)t->o.steps);
    checkpoint_hash(f, "groups", checkpoint_groups(t));
    checkpoint_hash(f, "frozen", frozen);
    return PF_OK;
}

/* ---- saving ---- */

/* The tensors of the image in order; each has its name in a block of its own. */
typedef struct checkpoint_list {
    pfi_st_entry *at;
    size_t n;
    int32_t *updates;
    int64_t n_updates;
} checkpoint_list;

static void checkpoint_list_free(pf_ctx *ctx, checkpoint_list *l) {
    for (size_t i = 0; i < l->n; i++) pfi_free(ctx, (char *)(uintptr_t)l->at[i].name);
    pfi_free(ctx, l->at);
    pfi_free(ctx, l->updates);
}

static pf_status checkpoint_add(pf_ctx *ctx, checkpoint_list *l, const char *kind, const pf_tensor *of,
                                const pf_tensor *t) {
    if (!t) return PF_OK;
    char *name = pfi_format(ctx, "%s/%s", kind, of->name);
    if (!name) return PF_NOMEM;
    l->at[l->n++] = (pfi_st_entry){name, t->dtype, t->nd, t->dim, pfi_data(t)};
    return PF_OK;
}

static pf_status checkpoint_collect(const pf_trainer *t, checkpoint_list *l) {
    pf_ctx *ctx = t->ctx;
    l->at = pfi_calloc(ctx, CHECKPOINT_TENSORS * (size_t)t->n + 1, sizeof *l->at);
    l->updates = pfi_calloc(ctx, (size_t)t->n, sizeof *l->updates);
    if (!l->at || !l->updates) return PF_NOMEM;
    for (int i = 0; i < t->n; i++) {
        const pfi_train_item *item = &t->item[i];
        if (item->frozen) continue;
        l->updates[l->n_updates++] = item->updates;
        PF_TRY(pfi_alive(item->w));
        PF_TRY(checkpoint_add(ctx, l, "weight", item->w, item->w));
        PF_TRY(checkpoint_add(ctx, l, "m", item->w, item->m));
        PF_TRY(checkpoint_add(ctx, l, "v", item->w, item->v));
        PF_TRY(checkpoint_add(ctx, l, "m_scale", item->w, item->m_scale));
        PF_TRY(checkpoint_add(ctx, l, "v_scale", item->w, item->v_scale));
    }
    char *name = pfi_strndup(ctx, "updates", 7);
    if (!name) return PF_NOMEM;
    l->at[l->n++] = (pfi_st_entry){name, PF_I32, 1, &l->n_updates, l->updates};
    return PF_OK;
}

/* all of the file but the caller's bytes; nothing of it is held in memory at once */
static pf_status checkpoint_image(pf_trainer *t, const checkpoint_list *l, pfi_writer *w) {
    checkpoint_facts f;
    char step[24], bad[16];
    const char *meta[2 * (CHECKPOINT_FACTS + 3) + 1];
    size_t n = 0;
    PF_TRY(checkpoint_describe(t, &f));
    snprintf(step, sizeof step, "%lld", (long long)t->step);
    snprintf(bad, sizeof bad, "%d", (int)t->bad);
    const char *own[] = {"version", CHECKPOINT_VERSION, "step", step, "bad", bad};
    for (int i = 0; i < PFI_COUNT(own); i++) meta[n++] = own[i];
    for (int i = 0; i < f.n; i++) {
        meta[n++] = f.at[i].key;
        meta[n++] = f.at[i].value;
    }
    meta[n] = NULL;
    size_t size;
    unsigned char head[CHECKPOINT_HEAD] = CHECKPOINT_MAGIC;
    PF_TRY(pfi_st_write_to(t->ctx, l->at, l->n, meta, NULL, &size));
    for (int i = 0; i < 8; i++) head[8 + i] = (unsigned char)((uint64_t)size >> (8 * i));
    PF_TRY(pfi_writer_add(w, head, sizeof head));
    return pfi_st_write_to(t->ctx, l->at, l->n, meta, w, &size);
}

pf_status pf_trainer_save(pf_trainer *t, const char *path, const void *extra, size_t n) {
    pf_ctx *ctx = t->ctx;
    if (pfi_trainer_pending(t))
        return pfi_fail(ctx, PF_STATE,
                        "a checkpoint is taken between steps: parts of the next step are accumulated already");
    checkpoint_list l = {0};
    pfi_writer *w = NULL;
    pf_status s = checkpoint_collect(t, &l);
    if (s == PF_OK) s = pfi_writer_open(ctx, path, &w);
    if (s == PF_OK) s = pfi_writer_compress(w);
    if (s == PF_OK) s = checkpoint_image(t, &l, w);
    if (s == PF_OK) s = pfi_writer_add(w, extra, n);
    checkpoint_list_free(ctx, &l);
    if (s == PF_OK) return pfi_writer_commit(w);
    pfi_writer_abandon(w);
    return s;
}

/* ---- restoring: everything is checked before anything is changed ---- */

typedef struct checkpoint_read {
    pf_trainer *t;
    const char *path;
    pfi_buf plain;
    pfi_st *st;
    size_t image; /* bytes of the safetensors image */
    int64_t step, bad;
    void *extra;
    size_t n_extra;
} checkpoint_read;

static pf_status checkpoint_open(checkpoint_read *r) {
    pf_ctx *ctx = r->t->ctx;
    pfi_buf file = {0};
    pf_status s = pfi_file_read(ctx, r->path, &file);
    if (s == PF_OK) s = pfi_zst_decompress(ctx, file.data, file.len, r->path, &r->plain);
    pfi_buf_free(ctx, &file);
    PF_TRY(s);
    const unsigned char *p = (const unsigned char *)r->plain.data;
    if (r->plain.len < CHECKPOINT_HEAD || memcmp(p, CHECKPOINT_MAGIC, 8) != 0)
        return pfi_fail(ctx, PF_FORMAT, "%s is not a checkpoint of pofit: it does not begin with \"%s\"", r->path,
                        CHECKPOINT_MAGIC);
    uint64_t size = 0;
    for (int i = 0; i < 8; i++) size |= (uint64_t)p[8 + i] << (8 * i);
    if (size > r->plain.len - CHECKPOINT_HEAD)
        return pfi_fail(ctx, PF_FORMAT, "%s is damaged: it claims %llu bytes of tensors and holds %zu", r->path,
                        (unsigned long long)size, r->plain.len - CHECKPOINT_HEAD);
    r->image = (size_t)size;
    r->n_extra = r->plain.len - CHECKPOINT_HEAD - r->image;
    return pfi_st_parse(ctx, p + CHECKPOINT_HEAD, r->image, r->path, NULL, NULL, &r->st);
}

static pf_status checkpoint_count(checkpoint_read *r, const char *key, int64_t most, int64_t *out) {
    const char *text = pfi_st_meta(r->st, key);
    char *end = NULL;
    errno = 0;
    long long v = text ? strtoll(text, &end, 10) : -1;
    if (!text || end == text || *end || errno || v < 0 || v > most)
        return pfi_fail(r->t->ctx, PF_FORMAT, "%s: \"%s\" is %s%s%s, expected a count from 0", r->path, key,
                        text ? "\"" : "", text ? text : "missing", text ? "\"" : "");
    *out = v;
    return PF_OK;
}

static pf_status checkpoint_check_facts(checkpoint_read *r) {
    pf_ctx *ctx = r->t->ctx;
    const char *version = pfi_st_meta(r->st, "version");
    if (!version || strcmp(version, CHECKPOINT_VERSION) != 0)
        return pfi_fail(ctx, PF_FORMAT, "%s has version %s of the checkpoint format, this program reads version %s",
                        r->path, version ? version : "(none)", CHECKPOINT_VERSION);
    checkpoint_facts f;
    PF_TRY(checkpoint_describe(r->t, &f));
    for (int i = 0; i < f.n; i++) {
        const char *key = f.at[i].key, *was = pfi_st_meta(r->st, key);
        if (was && strcmp(was, f.at[i].value) == 0) continue;
        if (strcmp(key, "frozen") == 0)
            return pfi_fail(ctx, PF_STATE, "%s belongs to another model: the parameters that are not trained differ",
                            r->path);
        if (strcmp(key, "groups") == 0)
            return pfi_fail(ctx, PF_STATE, "%s was made with other parameter groups (lr_scale, weight_decay)", r->path);
        return pfi_fail(ctx, PF_STATE, "%s was made with %s = %s, this run has %s", r->path, key,
                        was ? was : "(nothing)", f.at[i].value);
    }
    PF_TRY(checkpoint_count(r, "step", INT64_MAX, &r->step));
    return checkpoint_count(r, "bad", INT32_MAX, &r->bad);
}

/* tensor kind/NAME of the file, which must be like t; NULL with a message if it is not */
static const pfi_st_tensor *checkpoint_find(checkpoint_read *r, const char *kind, const pf_tensor *of,
                                            const pf_tensor *t) {
    pf_ctx *ctx = r->t->ctx;
    char *name = pfi_format(ctx, "%s/%s", kind, of->name);
    if (!name) return NULL;
    const pfi_st_tensor *f = pfi_st_find(r->st, name);
    bool fits = f && f->nd == t->nd && memcmp(f->dim, t->dim, (size_t)t->nd * sizeof t->dim[0]) == 0;
    if (!f) {
        pfi_fail(ctx, PF_SHAPE, "%s belongs to another model: it holds no \"%s\"", r->path, name);
    } else if (!fits) {
        pfi_fail(ctx, PF_SHAPE, "%s belongs to another model: \"%s\" has shape %s there and %s here", r->path, name,
                 pfi_shape_text((char[96]){0}, 96, PFI_MIN(f->nd, PF_MAX_DIMS), f->dim), PFI_SHAPE_TEXT(t));
    } else if (f->pf != (int)t->dtype) {
        pfi_fail(ctx, PF_TYPE, "%s belongs to another model: \"%s\" is %s there and %s here", r->path, name, f->dtype,
                 pfi_dtype_name(t->dtype));
        fits = false;
    }
    pfi_free(ctx, name);
    return fits ? f : NULL;
}

static const pfi_st_tensor *checkpoint_updates(checkpoint_read *r, int64_t trained) {
    const pfi_st_tensor *f = pfi_st_find(r->st, "updates");
    if (f && f->pf == PF_I32 && f->nd == 1 && f->dim[0] == trained) return f;
    pfi_fail(r->t->ctx, PF_SHAPE, "%s belongs to another model: \"updates\" should be %lld counts", r->path,
             (long long)trained);
    return NULL;
}

/* A tensor of the file and where it goes. All are gathered first, which may fail, and copied last, which cannot. */
typedef struct checkpoint_move {
    pf_tensor *to;
    const pfi_st_tensor *from;
} checkpoint_move;

static pf_status checkpoint_gather_one(checkpoint_read *r, const char *kind, const pf_tensor *of, pf_tensor *to,
                                       checkpoint_move *list, size_t *n) {
    if (!to) return PF_OK;
    PF_TRY(pfi_alive(to));
    const pfi_st_tensor *from = checkpoint_find(r, kind, of, to);
    if (!from) return r->t->ctx->code;
    list[(*n)++] = (checkpoint_move){to, from};
    return PF_OK;
}

static pf_status checkpoint_gather(checkpoint_read *r, checkpoint_move *list, size_t *n,
                                   const pfi_st_tensor **updates) {
    int64_t trained = 0;
    for (int i = 0; i < r->t->n; i++) {
        const pfi_train_item *item = &r->t->item[i];
        if (item->frozen) continue;
        trained++;
        PF_TRY(checkpoint_gather_one(r, "weight", item->w, item->w, list, n));
        PF_TRY(checkpoint_gather_one(r, "m", item->w, item->m, list, n));
        PF_TRY(checkpoint_gather_one(r, "v", item->w, item->v, list, n));
        PF_TRY(checkpoint_gather_one(r, "m_scale", item->w, item->m_scale, list, n));
        PF_TRY(checkpoint_gather_one(r, "v_scale", item->w, item->v_scale, list, n));
    }
    *updates = checkpoint_updates(r, trained);
    if (!*updates) return r->t->ctx->code;
    if (pfi_st_count(r->st) == *n + 1) return PF_OK;
    return pfi_fail(r->t->ctx, PF_SHAPE, "%s belongs to another model: it holds %zu tensors, expected %zu", r->path,
                    pfi_st_count(r->st), *n + 1);
}

static void checkpoint_move_all(checkpoint_read *r, const checkpoint_move *list, size_t n,
                                const pfi_st_tensor *updates) {
    pf_trainer *t = r->t;
    for (size_t i = 0; i < n; i++) memcpy(pfi_data(list[i].to), list[i].from->data, list[i].from->bytes);
    for (int i = 0, k = 0; i < t->n; i++)
        if (!t->item[i].frozen) memcpy(&t->item[i].updates, updates->data + 4 * (size_t)k++, 4);
    t->step = r->step;
    t->bad = (int32_t)r->bad;
    pfi_trainer_forget(t);
}

static pf_status checkpoint_restore(checkpoint_read *r, bool want_extra) {
    pf_ctx *ctx = r->t->ctx;
    PF_TRY(checkpoint_open(r));
    PF_TRY(checkpoint_check_facts(r));
    size_t n = 0;
    const pfi_st_tensor *updates = NULL;
    checkpoint_move *list = pfi_calloc(ctx, CHECKPOINT_TENSORS * (size_t)r->t->n, sizeof *list);
    pf_status s = list ? checkpoint_gather(r, list, &n, &updates) : PF_NOMEM;
    if (s == PF_OK && want_extra) {
        r->extra = pfi_strndup(ctx, r->plain.data + CHECKPOINT_HEAD + r->image, r->n_extra);
        if (!r->extra) s = PF_NOMEM;
    }
    if (s == PF_OK) checkpoint_move_all(r, list, n, updates);
    pfi_free(ctx, list);
    return s;
}

pf_status pf_trainer_restore(pf_trainer *t, const char *path, void **extra, size_t *n) {
    checkpoint_read r = {.t = t, .path = path};
    if (extra) *extra = NULL;
    if (n) *n = 0;
    pf_status s = checkpoint_restore(&r, extra != NULL);
    pfi_st_release(r.st);
    pfi_buf_free(t->ctx, &r.plain);
    if (s != PF_OK) return s;
    if (extra) *extra = r.extra;
    if (n) *n = r.n_extra;
    return PF_OK;
}
