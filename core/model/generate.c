/* Sampling: prompts once, then all samples a token at a time, over one pool of keys and values.
 *
 * Every token in flight is a row with a list of the places in the pool that it sees: the nodes of its prompt, shared
 * by all samples (and by all prompts that begin alike), then its own. */
#include "kernel/kernel.h"
#include "model/pass.h"
#include "model/sampler.h"

enum { GEN_PREFILL_ROWS = 256, GEN_PROMPT_TOKENS = 16384, GEN_POOL_BYTES = 512 << 20 };

/* One sample in flight. */
typedef struct gen_seq {
    const pf_sequence *prompt;
    pf_sample *out;
    uint64_t stream;
    int32_t *list; /* places of everything this sample has read */
    int64_t len, room, limit;
    size_t logp_room;
    pfi_ints ids, pages;
    int32_t next; /* token to feed */
    pfi_buf told; /* text that on_token was given */
} gen_seq;

typedef struct gen_run {
    pf_model *m;
    pf_ctx *ctx;
    const pf_generate_options *o;
    pfi_pass pass;
    gen_seq *seq; /* those in flight first */
    int64_t n_seq;
    void *work;               /* of sampling a token */
    const pf_sample *samples; /* of all prompts: tells whose a sample is */
} gen_run;

/* ---- one sample ---- */

/* a place for the sample's next token, at the end of its list */
static pf_status gen_place(gen_run *g, gen_seq *s) {
    int64_t own = (int64_t)s->ids.len - 1; /* tokens fed so far that are not the prompt's */
    if (own % PFK_PAGE == 0) {
        int32_t page;
        PF_TRY(pfi_pass_page(&g->pass, &page));
        PF_TRY(pfi_ints_add(g->ctx, &s->pages, page));
    }
    if (s->len == s->room) {
        int64_t room = PFI_MIN(s->room + s->room / 2 + PFK_PAGE, s->limit);
        int32_t *list = pfi_realloc(g->ctx, s->list, (size_t)room * sizeof *list);
        if (!list) return PF_NOMEM;
        s->list = list;
        s->room = room;
    }
    s->list[s->len++] = s->pages.data[own / PFK_PAGE] + (int32_t)(own % PFK_PAGE);
    return PF_OK;
}

static bool gen_stops(const gen_run *g, int32_t id, pf_finish *why) {
    *why = PF_FINISH_EOS;
    for (int i = 0; i < g->m->config.n_eos; i++)
        if (g->m->config.eos[i] == id) return true;
    *why = PF_FINISH_STOP;
    for (int i = 0; i < g->o->n_stop_ids; i++)
        if (g->o->stop_ids[i] == id) return true;
    return false;
}

/* text of the new tokens: what they add to the prompt's text, so that a leading space is right */
static pf_status gen_text(gen_run *g, gen_seq *s, char **text, size_t *len) {
    size_t p = s->prompt->n, n = s->ids.len, before = 0, after = 0;
    char *prompt = NULL, *all = NULL;
    int32_t *ids = pfi_alloc(g->ctx, (p + n) * sizeof *ids);
    if (!ids) return PF_NOMEM;
    memcpy(ids, s->prompt->ids, p * sizeof *ids);
    memcpy(ids + p, s->ids.data, n * sizeof *ids);
    pf_status st = pf_tokenizer_decode(g->m->tokenizer, ids, p, true, &prompt, &before);
    if (st == PF_OK) st = pf_tokenizer_decode(g->m->tokenizer, ids, p + n, true, &all, &after);
    if (st == PF_OK && (after < before || memcmp(prompt, all, before) != 0)) {
        before = 0; /* a decoder that rewrites what came before: the new tokens alone */
        pfi_free(g->ctx, all);
        all = NULL;
        st = pf_tokenizer_decode(g->m->tokenizer, s->ids.data, n, true, &all, &after);
    }
    if (st == PF_OK && !(*text = pfi_strndup(g->ctx, all + before, after - before))) st = PF_NOMEM;
    *len = after - before;
    pfi_free(g->ctx, ids);
    pfi_free(g->ctx, prompt);
    pfi_free(g->ctx, all);
    return st;
}

/* Has a stop text appeared? Cuts out->text there. */
static pf_status gen_stop_text(gen_run *g, gen_seq *s, bool *stopped) {
    *stopped = false;
    if (!g->m->tokenizer) return PF_OK;
    pfi_free(g->ctx, s->out->text);
    s->out->text = NULL;
    PF_TRY(gen_text(g, s, &s->out->text, &s->out->text_len));
    size_t cut = s->out->text_len;
    for (int i = 0; i < g->o->n_stop; i++) {
        const char *hit = strstr(s->out->text, g->o->stop[i]);
        if (hit && (size_t)(hit - s->out->text) < cut) cut = (size_t)(hit - s->out->text);
    }
    *stopped = cut < s->out->text_len;
    s->out->text_len = cut;
    s->out->text[cut] = 0;
    return PF_OK;
}

/* Tell of the newest token and the text that it settles; *done if the caller wants no more. */
static pf_status gen_tell(gen_run *g, gen_seq *s, bool *done) {
    const char *text = s->out->text ? s->out->text : "";
    size_t len = s->out->text ? s->out->text_len : 0, n = s->ids.len - 1;
    if (!*done) len = pfi_text_settled(text, len, g->o->stop, g->o->n_stop);
    bool more = len > s->told.len && memcmp(text, s->told.len ? s->told.data : "", s->told.len) == 0;
    size_t at = (size_t)(s->out - g->samples), each = (size_t)g->o->samples, from = more ? s->told.len : len;
    pf_token t = {at / each, (int)(at % each), s->ids.data[n], s->out->logp[n], text + from, len - from, *done};
    if (more) PF_TRY(pfi_buf_add(g->ctx, &s->told, text + from, len - from));
    if (g->o->on_token(g->o->ud, &t) || *done) return PF_OK;
    *done = true;
    s->out->finish = PF_FINISH_CANCELLED;
    return PF_OK;
}

/* Add a token to the sample; *done when it is the last. */
static pf_status gen_take(gen_run *g, gen_seq *s, int32_t id, float logp, bool *done) {
    if (s->ids.len == s->logp_room) {
        size_t room = s->logp_room ? 2 * s->logp_room : PFK_PAGE;
        float *p = pfi_realloc(g->ctx, s->out->logp, room * sizeof *p);
        if (!p) return PF_NOMEM;
        s->out->logp = p;
        s->logp_room = room;
    }
    s->out->logp[s->ids.len] = logp;
    PF_TRY(pfi_ints_add(g->ctx, &s->ids, id));
    s->next = id;
    pf_finish why;
    bool stopped = false;
    *done = gen_stops(g, id, &why);
    if (g->o->on_token || (!*done && g->o->n_stop)) PF_TRY(gen_stop_text(g, s, &stopped));
    if (!*done && stopped) {
        *done = true;
        why = PF_FINISH_STOP;
    }
    if (!*done && (int64_t)(s->prompt->n + s->ids.len) >= s->limit) {
        *done = true;
        why = PF_FINISH_LENGTH;
    }
    if (*done) s->out->finish = why;
    return g->o->on_token ? gen_tell(g, s, done) : PF_OK;
}

/* hand the sample over and give its places back */
static pf_status gen_finish(gen_run *g, gen_seq *s) {
    bool stopped;
    PF_TRY(gen_stop_text(g, s, &stopped));
    s->out->ids = s->ids.data;
    s->out->n = s->ids.len;
    s->ids = (pfi_ints){0};
    for (size_t i = 0; i < s->pages.len; i++) PF_TRY(pfi_ints_add(g->ctx, &g->pass.free_pages, s->pages.data[i]));
    pfi_ints_free(g->ctx, &s->pages);
    pfi_buf_free(g->ctx, &s->told);
    pfi_free(g->ctx, s->list);
    s->list = NULL;
    return PF_OK;
}

/* logits of the n rows of hidden states. Owned by caller. */
static pf_tensor *gen_logits(gen_run *g, pf_tensor *hidden, const int64_t *row, int64_t n) {
    int64_t C = g->m->config.hidden;
    pf_tensor *at = hidden ? pf_tensor_new(g->ctx, PF_F32, 2, (int64_t[]){n, C}) : NULL;
    for (int64_t i = 0; at && i < n; i++)
        memcpy(pfi_f32(at) + i * C, pfi_f32(hidden) + row[i] * C, (size_t)C * sizeof(float));
    pf_tensor *logits = at ? pfi_model_cap(g->m, pfi_pass_linear(&g->pass, at, &g->m->head)) : NULL;
    pf_tensor_free(at);
    return logits;
}

static pf_status gen_nonfinite(const gen_run *g) {
    return pfi_fail(g->ctx, PF_NONFINITE, "generate: the model's logits are not finite%s",
                    g->o->kv == PF_F16 ? " with keys and values in float16, which ends at 65504; try float32" : "");
}

/* Draw the next token of the samples in flight from rows of hidden states; those that end are finished and leave a hole
 * (list NULL). */
static pf_status gen_draw(gen_run *g, pf_tensor *hidden, const int64_t *row) {
    const int64_t V = g->m->config.vocab, n = g->n_seq;
    pf_tensor *logits = gen_logits(g, hidden, row, n);
    double *u = pfi_alloc(g->ctx, (size_t)n * sizeof *u);
    float *logp = pfi_alloc(g->ctx, (size_t)n * sizeof *logp);
    int32_t *id = pfi_alloc(g->ctx, (size_t)n * sizeof *id);
    pf_status s = logits && u && logp && id ? PF_OK : pf_errcode(g->ctx);
    if (s == PF_OK) {
        for (int64_t i = 0; i < n; i++) u[i] = pfi_random_uniform(g->o->seed, g->seq[i].stream, g->seq[i].ids.len);
        pfi_sample_rows(g->ctx->threads, pfi_f32(logits), n, V, g->o, u, id, logp, g->work);
    }
    for (int64_t i = 0; s == PF_OK && i < n; i++) {
        bool done;
        if (!(logp[i] <= 0)) s = gen_nonfinite(g);
        if (s == PF_OK) s = gen_take(g, &g->seq[i], id[i], logp[i], &done);
        if (s == PF_OK && done) s = gen_finish(g, &g->seq[i]);
    }
    pf_tensor_free(logits);
    pfi_free(g->ctx, u);
    pfi_free(g->ctx, logp);
    pfi_free(g->ctx, id);
    return s;
}

/* close the holes that finished samples left */
static void gen_compact(gen_run *g) {
    int64_t n = 0;
    for (int64_t i = 0; i < g->n_seq; i++)
        if (g->seq[i].list) g->seq[n++] = g->seq[i];
    g->n_seq = n;
}

/* ---- running ---- */

/* the prompts of this group through the model; row[i]: where sample i's last prompt token came out */
static pf_status gen_prefill(gen_run *g, const pf_batch *b, int64_t *row, pf_tensor **out) {
    pf_ctx *ctx = g->ctx;
    int64_t N = b->nodes, C = g->m->config.hidden, used = pfi_pass_pages(N);
    int32_t *place = pfi_alloc(ctx, (size_t)N * sizeof *place);
    int32_t *path = pfi_alloc(ctx, (size_t)(b->longest * GEN_PREFILL_ROWS) * sizeof *path);
    const int32_t **list = pfi_alloc(ctx, GEN_PREFILL_ROWS * sizeof *list);
    int64_t len[GEN_PREFILL_ROWS];
    *out = pfi_tensor_make(ctx, PF_F32, 2, (int64_t[]){g->n_seq, C});
    pf_status s = place && path && list && *out ? pfi_pass_grow(&g->pass, used + g->n_seq * PFK_PAGE) : PF_NOMEM;
    for (int64_t i = 0; s == PF_OK && i < N; i++) place[i] = (int32_t)i;
    g->pass.used = used;
    for (int64_t at = 0; s == PF_OK && at < N; at += GEN_PREFILL_ROWS) {
        int64_t n = PFI_MIN(N - at, GEN_PREFILL_ROWS);
        for (int64_t i = 0; i < n; i++) {
            list[i] = path + i * b->longest;
            len[i] = pfi_forest_path(b, (int32_t)(at + i), path + i * b->longest);
        }
        pfi_rows r = {n, pfi_i32(b->token) + at, pfi_i32(b->position) + at, place + at, list, len};
        pf_tensor *h = pfi_pass_hidden(&g->pass, &r);
        if (!h) s = pf_errcode(ctx);
        for (int64_t i = 0; s == PF_OK && i < g->n_seq; i++) {
            int32_t node = g->seq[i].list[g->seq[i].len - 1];
            row[i] = i;
            if (node >= at && node < at + n)
                memcpy(pfi_f32(*out) + i * C, pfi_f32(h) + (node - at) * C, (size_t)C * sizeof(float));
        }
        pf_tensor_free(h);
    }
    pfi_free(ctx, place);
    pfi_free(ctx, path);
    pfi_free(ctx, list);
    return s;
}

/* one token for every sample in flight */
static pf_status gen_advance(gen_run *g, int32_t *ints, const int32_t **list, int64_t *len, int64_t *row) {
    int32_t *token = ints, *position = ints + g->n_seq, *place = ints + 2 * g->n_seq;
    for (int64_t i = 0; i < g->n_seq; i++) {
        gen_seq *s = &g->seq[i];
        PF_TRY(gen_place(g, s));
        token[i] = s->next;
        position[i] = (int32_t)s->len - 1;
        place[i] = s->list[s->len - 1];
        list[i] = s->list;
        len[i] = s->len;
        row[i] = i;
    }
    pfi_rows r = {g->n_seq, token, position, place, list, len};
    pf_tensor *h = pfi_pass_hidden(&g->pass, &r);
    pf_status s = gen_draw(g, h, row);
    pf_tensor_free(h);
    return s;
}

static pf_status gen_loop(gen_run *g, const pf_batch *b) {
    size_t n = (size_t)g->n_seq;
    int64_t *row = pfi_alloc(g->ctx, 2 * n * sizeof *row);
    int32_t *ints = pfi_alloc(g->ctx, 3 * n * sizeof *ints);
    const int32_t **list = pfi_alloc(g->ctx, n * sizeof *list);
    pf_tensor *h = NULL;
    pf_status s = row && ints && list ? gen_prefill(g, b, row, &h) : PF_NOMEM;
    if (s == PF_OK) s = gen_draw(g, h, row);
    pf_tensor_free(h);
    gen_compact(g);
    while (s == PF_OK && g->n_seq) {
        if (g->ctx->cancelled) {
            g->ctx->cancelled = 0;
            s = pfi_fail(g->ctx, PF_CANCELLED, "generate was cancelled");
            break;
        }
        s = gen_advance(g, ints, list, row + n, row);
        gen_compact(g);
    }
    pfi_free(g->ctx, row);
    pfi_free(g->ctx, ints);
    pfi_free(g->ctx, list);
    return s;
}

/* the longest that a sample can become: what began within longrope's original context ends there */
static int64_t gen_limit(const pf_model *m, bool is_long) {
    const pfi_config *c = &m->config;
    return c->rope[0].original && !is_long ? PFI_MIN(c->rope[0].original, c->context) : c->context;
}

/* samples first..first+n-1 of all, numbered prompt by prompt */
static pf_status gen_group(gen_run *g, const pf_sequence *prompts, pf_sample *out, int64_t first, int64_t n) {
    pf_ctx *ctx = g->ctx;
    pf_sequence *s = pfi_calloc(ctx, (size_t)n, sizeof *s);
    g->seq = pfi_calloc(ctx, (size_t)n, sizeof *g->seq);
    pf_batch *b = NULL;
    pf_status st = s && g->seq ? PF_OK : PF_NOMEM;
    int32_t end = 0;
    /* the forest of the prompts: one more token makes the last one scored */
    for (int64_t i = 0; st == PF_OK && i < n; i++) {
        const pf_sequence *p = &prompts[(first + i) / g->o->samples];
        int32_t *ids = pfi_alloc(ctx, (p->n + 1) * sizeof *ids);
        if (!ids) {
            st = PF_NOMEM;
            break;
        }
        memcpy(ids, p->ids, p->n * sizeof *ids);
        ids[p->n] = end;
        s[i] = (pf_sequence){.ids = ids, .n = p->n + 1, .scored_from = p->n};
    }
    if (st == PF_OK) st = pf_batch_new(ctx, s, (size_t)n, &b);
    for (int64_t i = 0; st == PF_OK && i < n; i++) {
        const pf_sequence *p = &prompts[(first + i) / g->o->samples];
        gen_seq *q = &g->seq[i];
        int64_t limit = gen_limit(g->m, g->pass.is_long);
        if (g->o->max_tokens > 0) limit = PFI_MIN(limit, (int64_t)p->n + g->o->max_tokens);
        *q = (gen_seq){.prompt = p, .out = &out[first + i], .len = (int64_t)p->n, .limit = limit};
        q->stream = pfi_hash64((uint64_t)((first + i) % g->o->samples), p->ids, p->n * sizeof *p->ids);
        q->room = PFI_MIN((int64_t)p->n + PFK_PAGE, limit);
        q->list = pfi_alloc(ctx, (size_t)PFI_MAX(q->room, b->longest) * sizeof *q->list);
        if (!q->list)
            st = PF_NOMEM;
        else
            pfi_forest_path(b, pfi_i32(b->node)[i], q->list);
        g->n_seq = i + 1;
    }
    if (st == PF_OK) st = gen_loop(g, b);
    for (int64_t i = 0; g->seq && i < g->n_seq; i++) {
        pfi_free(ctx, g->seq[i].list);
        pfi_ints_free(ctx, &g->seq[i].ids);
        pfi_ints_free(ctx, &g->seq[i].pages);
        pfi_buf_free(ctx, &g->seq[i].told);
    }
    g->n_seq = 0;
    for (int64_t i = 0; s && i < n; i++) pfi_free(ctx, (void *)(uintptr_t)s[i].ids);
    pfi_free(ctx, s);
    pfi_free(ctx, g->seq);
    g->seq = NULL;
    g->pass.used = 0;
    g->pass.free_pages.len = 0;
    pf_batch_free(b);
    return st;
}

/* samples that fit together: by the pool's size, and by the prompts' */
static int64_t gen_group_size(const gen_run *g, const pf_sequence *prompts, int64_t first, int64_t total) {
    const pfi_config *c = &g->m->config;
    int64_t row = 2 * c->layers * c->kv_heads * c->head_dim * (int64_t)pfi_dtype_size(g->o->kv);
    int64_t n = 0, tokens = 0, bytes = 0;
    while (first + n < total) {
        const pf_sequence *p = &prompts[(first + n) / g->o->samples];
        bool again = n > 0 && (first + n) % g->o->samples != 0;
        int64_t room = g->o->max_tokens > 0 ? g->o->max_tokens : c->context - (int64_t)p->n;
        tokens += again ? 0 : (int64_t)p->n;
        bytes += row * (room + (again ? 0 : (int64_t)p->n));
        if (n > 0 && (g->o->batch > 0 ? n >= g->o->batch : n >= 512 || bytes > GEN_POOL_BYTES)) break;
        if (n > 0 && tokens > GEN_PROMPT_TOKENS) break;
        n++;
    }
    return n;
}

/* A prompt that fills longrope's original context, or more, goes on with the frequencies for long sequences. */
static pf_status gen_check_long(pf_model *m, const pf_sequence *prompts, size_t n, bool *is_long) {
    size_t shortest = prompts[0].n, longest = 0;
    for (size_t i = 0; i < n; i++) {
        shortest = PFI_MIN(shortest, prompts[i].n);
        longest = PFI_MAX(longest, prompts[i].n);
    }
    return pfi_model_is_long(m, (int64_t)shortest + 1, (int64_t)longest + 1, "generate: the list of prompts", is_long);
}

static pf_status gen_check(pf_model *m, const pf_sequence *prompts, size_t n, const pf_generate_options *o) {
    pf_ctx *ctx = m->ctx;
    if (m->dtype != PF_F32) return pfi_fail(ctx, PF_TYPE, "generate needs a float32 model");
    if (o->samples < 1) return pfi_fail(ctx, PF_RANGE, "generate: samples must be at least 1, got %d", o->samples);
    if (o->max_tokens < 0)
        return pfi_fail(ctx, PF_RANGE, "generate: max_tokens must not be below 0, got %d", o->max_tokens);
    if (!(o->temperature >= 0))
        return pfi_fail(ctx, PF_RANGE, "generate: temperature must be at least 0, got %g", o->temperature);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return pfi_fail(ctx, PF_RANGE, "generate: top_p must be in (0, 1], got %g", o->top_p);
    if (!(o->min_p >= 0 && o->min_p <= 1))
        return pfi_fail(ctx, PF_RANGE, "generate: min_p must be in [0, 1], got %g", o->min_p);
    if (o->top_k < 0) return pfi_fail(ctx, PF_RANGE, "generate: top_k must not be below 0, got %d", o->top_k);
    if (o->compute != PF_F32 && o->compute != PF_BF16)
        return pfi_fail(ctx, PF_RANGE, "generate: it computes in float32 or bfloat16, not in %s",
                        pfi_dtype_name(o->compute));
    if (o->kv != PF_F32 && o->kv != PF_F16)
        return pfi_fail(ctx, PF_RANGE, "generate: keys and values are float32 or float16, not %s",
                        pfi_dtype_name(o->kv));
    if (o->n_stop && !m->tokenizer)
        return pfi_fail(ctx, PF_STATE, "generate: stop texts need a model with a tokenizer");
    for (int i = 0; i < o->n_stop; i++)
        if (!o->stop || !o->stop[i] || !o->stop[i][0])
            return pfi_fail(ctx, PF_RANGE, "generate: stop text %d is empty", i + 1);
    for (size_t i = 0; i < n; i++) {
        if (prompts[i].n == 0) return pfi_fail(ctx, PF_RANGE, "generate: prompt %zu is empty", i + 1);
        if ((int64_t)prompts[i].n >= m->config.context)
            return pfi_fail(ctx, PF_RANGE,
                            "generate: prompt %zu has %zu tokens, which leaves nothing of the model's context of %lld",
                            i + 1, prompts[i].n, (long long)m->config.context);
        for (size_t t = 0; t < prompts[i].n; t++)
            if (prompts[i].ids[t] < 0 || prompts[i].ids[t] >= m->config.vocab)
                return pfi_fail(ctx, PF_RANGE, "generate: prompt %zu has token id %d, the vocabulary has %lld", i + 1,
                                prompts[i].ids[t], (long long)m->config.vocab);
    }
    return PF_OK;
}

pf_generate_options pf_generate_defaults(void) {
    return (pf_generate_options){.samples = 1, .temperature = 1, .top_p = 1, .compute = PF_F32, .kv = PF_F32};
}

static pf_status gen_all(gen_run *g, const pf_sequence *prompts, pf_sample *out, int64_t total) {
    bool is_long = false;
    if (total) PF_TRY(gen_check_long(g->m, prompts, (size_t)(total / g->o->samples), &is_long));
    PF_TRY(pfi_pass_open(&g->pass, g->m));
    g->pass.is_long = is_long;
    g->pass.compute = g->o->compute;
    g->pass.kv = g->o->kv;
    g->work = pfi_alloc(g->ctx, pfi_sample_room(g->ctx->threads, g->m->config.vocab));
    if (!g->work) return PF_NOMEM;
    for (int64_t first = 0, n; first < total; first += n) {
        n = gen_group_size(g, prompts, first, total);
        PF_TRY(gen_group(g, prompts, out, first, n));
    }
    return PF_OK;
}

pf_status pf_generate(pf_model *m, const pf_sequence *prompts, size_t n, const pf_generate_options *opt,
                      pf_sample **out) {
    *out = NULL;
    PF_TRY(gen_check(m, prompts, n, opt));
    pf_ctx *ctx = m->ctx;
    size_t total = n * (size_t)opt->samples;
    pf_sample *samples = pfi_calloc(ctx, total + 1, sizeof *samples);
    if (!samples) return PF_NOMEM;
    gen_run g = {.m = m, .ctx = ctx, .o = opt, .samples = samples};
    pfi_step *open = ctx->step;
    ctx->step = NULL;
    bool recording = pf_set_recording(ctx, false);
    pf_status s = gen_all(&g, prompts, samples, (int64_t)total);
    pf_set_recording(ctx, recording);
    ctx->step = open;
    pfi_pass_close(&g.pass);
    pfi_free(ctx, g.work);
    if (s == PF_OK)
        *out = samples;
    else
        pf_samples_free(ctx, samples, total);
    return s;
}

void pf_samples_free(pf_ctx *ctx, pf_sample *s, size_t n) {
    if (!s) return;
    for (size_t i = 0; i < n; i++) {
        pfi_free(ctx, s[i].ids);
        pfi_free(ctx, s[i].logp);
        pfi_free(ctx, s[i].text);
    }
    pfi_free(ctx, s);
}

void pf_release(pf_ctx *ctx, void *p) { pfi_free(ctx, p); }
