/* The training loop on preference pairs held in memory: direct preference optimisation (Rafailov et al. 2023). */
#include "train/train.h"

#include "model/model.h"
#include "op/op.h"
#include "train/plan.h"

/* Two sequences a pair, chosen and then rejected, and their reference log-probabilities summed over the answer. */
typedef struct train_data {
    pf_ctx *ctx;
    pf_model *m;
    size_t n; /* pairs */
    pfi_ints ids;
    size_t *start;  /* [2 n] of each sequence in ids */
    pf_sequence *s; /* [2 n] */
    double *ref;    /* [2 n] nats */
    double *len;    /* [2 n] scored tokens */
    int32_t eos;
} train_data;

/* What one update needs, as many as there are pairs in a batch. */
typedef struct train_rows {
    size_t n;
    pf_sequence *s; /* [2 n] chosen, then rejected */
    double *ref, *len;
} train_rows;

pf_train_options pf_train_defaults(void) {
    pf_train_options o = {.trainer = pf_trainer_defaults(), .variant = "sigmoid", .beta = 0.1, .batch = 8};
    o.trainer.lr = 1e-4;
    o.trainer.weight_decay = 0;
    o.trainer.schedule = "linear";
    o.trainer.steps = 100;
    return o;
}

/* ---- tokens ---- */

static pf_status train_add_ids(train_data *d, const int32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++) PF_TRY(pfi_ints_add(d->ctx, &d->ids, ids[i]));
    return PF_OK;
}

/* ids of a text, with what the tokenizer adds; *ids to be released */
static pf_status train_text_ids(train_data *d, pf_tokenizer *tok, const char *prompt, const char *answer, int32_t **ids,
                                size_t *n) {
    char *text = pfi_format(d->ctx, "%s%s", prompt, answer);
    if (!text) return PF_NOMEM;
    pf_status s = pf_tokenizer_encode(tok, text, strlen(text), true, ids, n);
    pfi_free(d->ctx, text);
    return s;
}

/* the sequence at a place: the ids of prompt and answer together, and EOS unless they end with it */
static pf_status train_add_answer(train_data *d, const int32_t *ids, size_t n, size_t n_prompt, size_t at) {
    d->start[at] = d->ids.len;
    PF_TRY(train_add_ids(d, ids, n));
    if (n <= n_prompt || ids[n - 1] != d->eos) PF_TRY(pfi_ints_add(d->ctx, &d->ids, d->eos));
    d->s[at].scored_from = n_prompt;
    d->s[at].n = d->ids.len - d->start[at];
    d->len[at] = (double)(d->s[at].n - n_prompt);
    return PF_OK;
}

/* how many tokens of a prompt stand at the beginning of the whole, too */
static size_t train_common(const int32_t *prompt, size_t n, const int32_t *ids, size_t m) {
    size_t i = 0;
    while (i < n && i < m && prompt[i] == ids[i]) i++;
    return i;
}

/* Prompt and answer are encoded together, as TRL does. Where the prompt's own tokens are not the beginning of that, a
 * token holds the end of the prompt and the beginning of the answer: the answers begin with it, both at one place. */
static pf_status train_add_answers(train_data *d, pf_tokenizer *tok, const pf_pair *p, size_t i) {
    int32_t *ids[3] = {0};
    size_t n[3] = {0}, n_prompt = 0;
    const char *const answers[] = {"", p->chosen, p->rejected};
    pf_status s = PF_OK;
    for (int k = 0; k < 3 && s == PF_OK; k++) s = train_text_ids(d, tok, p->prompt, answers[k], &ids[k], &n[k]);
    if (s == PF_OK) {
        size_t a = train_common(ids[0], n[0], ids[1], n[1]), b = train_common(ids[0], n[0], ids[2], n[2]);
        n_prompt = a < b ? a : b;
        if (n_prompt == 0 && n[0] > 0) n_prompt = 1; /* the first token has none before it that could predict it */
        s = train_add_answer(d, ids[1], n[1], n_prompt, 2 * i);
        if (s == PF_OK) s = train_add_answer(d, ids[2], n[2], n_prompt, 2 * i + 1);
    }
    for (int k = 0; k < 3; k++) pf_release(d->ctx, ids[k]);
    return s;
}

static pf_status train_check_length(const train_data *d, size_t pair, size_t at) {
    int64_t most = pf_model_size(d->m, "max_position_embeddings");
    const char *which = at % 2 ? "rejected" : "chosen";
    if (d->s[at].scored_from == 0)
        return pfi_fail(d->ctx, PF_RANGE,
                        "pair %zu has an empty prompt: the first token of an answer needs one before it", pair + 1);
    if (most < 0 || (int64_t)d->s[at].n <= most) return PF_OK;
    return pfi_fail(d->ctx, PF_RANGE,
                    "pair %zu: prompt and %s answer have %zu tokens with the final one, the model's context has %lld",
                    pair + 1, which, d->s[at].n, (long long)most);
}

static pf_status train_add_pair(train_data *d, pf_tokenizer *tok, const pf_pair *p, size_t i) {
    if (!p->prompt || !p->chosen || !p->rejected)
        return pfi_fail(d->ctx, PF_RANGE, "pair %zu has no %s", i + 1,
                        !p->prompt   ? "prompt"
                        : !p->chosen ? "chosen answer"
                                     : "rejected answer");
    pf_status s = train_add_answers(d, tok, p, i);
    if (s == PF_FORMAT) return pfi_prefix(d->ctx, "pair %zu", i + 1);
    PF_TRY(s);
    PF_TRY(train_check_length(d, i, 2 * i));
    return train_check_length(d, i, 2 * i + 1);
}

static pf_status train_encode(train_data *d, const pf_pair *pairs) {
    pf_tokenizer *tok = pf_model_tokenizer(d->m);
    if (!tok) return pfi_fail(d->ctx, PF_STATE, "the model has no tokenizer: texts cannot be encoded");
    int64_t eos = pf_tokenizer_eos(tok);
    if (eos < 0) eos = pf_model_size(d->m, "eos_token_id");
    if (eos < 0) return pfi_fail(d->ctx, PF_STATE, "neither tokenizer nor model names an end token (EOS)");
    d->eos = (int32_t)eos;
    for (size_t i = 0; i < d->n; i++) PF_TRY(train_add_pair(d, tok, &pairs[i], i));
    for (size_t i = 0; i < 2 * d->n; i++) d->s[i].ids = d->ids.data + d->start[i];
    return PF_OK;
}

/* ---- data ---- */

static void train_data_free(train_data *d) {
    pfi_ints_free(d->ctx, &d->ids);
    pfi_free(d->ctx, d->start);
    pfi_free(d->ctx, d->s);
    pfi_free(d->ctx, d->ref);
    pfi_free(d->ctx, d->len);
}

static pf_status train_refer(train_data *d) {
    float *logp;
    size_t n, at = 0;
    PF_TRY(pf_reference_logp(d->m, d->s, 2 * d->n, NULL, &logp, &n, NULL));
    for (size_t i = 0; i < 2 * d->n; i++)
        for (size_t k = 0; k < (size_t)d->len[i]; k++) d->ref[i] += (double)logp[at++];
    pf_release(d->ctx, logp);
    return PF_OK;
}

static pf_status train_data_make(train_data *d, const pf_pair *pairs) {
    d->start = pfi_calloc(d->ctx, 2 * d->n, sizeof *d->start);
    d->s = pfi_calloc(d->ctx, 2 * d->n, sizeof *d->s);
    d->ref = pfi_calloc(d->ctx, 2 * d->n, sizeof *d->ref);
    d->len = pfi_calloc(d->ctx, 2 * d->n, sizeof *d->len);
    if (!d->start || !d->s || !d->ref || !d->len) return PF_NOMEM;
    PF_TRY(train_encode(d, pairs));
    return train_refer(d);
}

/* ---- one update ---- */

static void train_pick(const train_data *d, uint64_t seed, uint64_t first, train_rows *r) {
    for (size_t j = 0; j < r->n; j++) {
        uint64_t k = first + j;
        size_t i = pfi_shuffled(seed, k / d->n, d->n, (size_t)(k % d->n));
        for (size_t side = 0; side < 2; side++) {
            size_t to = side * r->n + j, from = 2 * i + side;
            r->s[to] = d->s[from];
            r->ref[to] = d->ref[from];
            r->len[to] = d->len[from];
        }
    }
}

/* half 0 or 1 of x[2 n] */
static pf_tensor *train_half(pf_tensor *x, size_t n, int half) {
    return x ? pfi_apply(x->ctx, "narrow", &x, (double[]){0, (double)(half ? n : 0), (double)n}, NULL, 0) : NULL;
}

static pf_tensor *train_constants(pf_ctx *ctx, pf_dtype dtype, const double *v, size_t n) {
    return pf_tensor_from(ctx, dtype, 1, (int64_t[]){(int64_t)n}, v, n);
}

/* loss of a batch whose entries have log-probabilities logp[T] */
static pf_tensor *train_dpo(pf_ctx *ctx, const pf_train_options *o, const train_rows *r, pf_tensor *logp,
                            pf_tensor *sequence) {
    pf_tensor *sum = pf_call(ctx, "sum_by", PF_T("x", logp), PF_T("group", sequence), PF_N("n", (double)(2 * r->n)));
    pf_tensor *t[] = {train_half(sum, r->n, 0),
                      train_half(sum, r->n, 1),
                      train_constants(ctx, logp->dtype, r->ref, r->n),
                      train_constants(ctx, logp->dtype, r->ref + r->n, r->n),
                      train_constants(ctx, logp->dtype, r->len, r->n),
                      train_constants(ctx, logp->dtype, r->len + r->n, r->n)};
    pf_tensor *loss = pf_call(ctx, "dpo", PF_T("policy_chosen", t[0]), PF_T("policy_rejected", t[1]),
                              PF_T("ref_chosen", t[2]), PF_T("ref_rejected", t[3]), PF_T("len_chosen", t[4]),
                              PF_T("len_rejected", t[5]), PF_N("beta", o->beta), PF_S("variant", o->variant));
    for (int i = 0; i < PFI_COUNT(t); i++) pf_tensor_free(t[i]);
    pf_tensor_free(sum);
    return loss;
}

static pf_status train_gradient(const train_data *d, const pf_train_options *o, const train_rows *r, pf_trainer *t) {
    pf_batch *b = NULL;
    PF_TRY(pf_step_begin(d->ctx));
    pf_status s = pf_batch_new(d->ctx, r->s, 2 * r->n, &b);
    pf_tensor *logp = s == PF_OK ? pf_model_logp(d->m, b, NULL) : NULL;
    pf_tensor *loss = logp ? train_dpo(d->ctx, o, r, logp, pf_batch_tensor(b, "sequence")) : NULL;
    if (s == PF_OK) s = loss ? pf_trainer_accumulate(t, loss, 1) : d->ctx->code;
    pf_tensor_free(loss);
    pf_tensor_free(logp);
    pf_batch_free(b);
    pf_step_end(d->ctx);
    return s;
}

static pf_status train_update(const train_data *d, const pf_train_options *o, const train_rows *r, pf_trainer *t) {
    PF_TRY(train_gradient(d, o, r, t));
    pf_train_info info = {0};
    pf_status s = pf_trainer_step(t, -1, &info.step);
    info.metrics = pf_metrics(d->ctx, &info.n_metrics);
    if (o->on_step) o->on_step(o->ud, &info);
    return s;
}

/* ---- memory ---- */

/* at most so much stands in a batch of the run: what its sequences share is not looked for */
static pfi_load train_largest(const train_data *d, const pf_train_options *o, train_rows *r) {
    pfi_load most = {0};
    for (int64_t step = 0; step < o->trainer.steps; step++) {
        int64_t nodes = 0, entries = 0;
        train_pick(d, o->seed, (uint64_t)step * r->n, r);
        for (size_t i = 0; i < 2 * r->n; i++) {
            nodes += (int64_t)r->s[i].n - 1;
            entries += (int64_t)r->len[i];
            most.longest = PFI_MAX(most.longest, (int64_t)r->s[i].n - 1);
        }
        most.nodes = PFI_MAX(most.nodes, nodes);
        most.entries = PFI_MAX(most.entries, entries);
    }
    return most;
}

static pf_status train_plan(const train_data *d, const pf_train_options *o, train_rows *r, pf_trainer *t) {
    if (!o->memory) return PF_OK;
    pfi_plan plan;
    const pfi_plan_asked asked = {.memory = o->memory, .largest = train_largest(d, o, r)};
    PF_TRY(pfi_train_plan(t, &asked, &plan));
    pfi_train_follow(t, &plan);
    pfi_trim(d->ctx);
    return PF_OK;
}

/* ---- the loop ---- */

static pf_status train_run(const train_data *d, const pf_train_options *o, train_rows *r, pf_trainer *t) {
    for (int64_t step = 0; step < o->trainer.steps; step++) {
        train_pick(d, o->seed, (uint64_t)step * r->n, r);
        PF_TRY(train_update(d, o, r, t));
        if (!d->ctx->cancelled) continue;
        d->ctx->cancelled = 0;
        return pfi_fail(d->ctx, PF_CANCELLED, "cancelled after step %lld of %lld", (long long)step + 1,
                        (long long)o->trainer.steps);
    }
    return PF_OK;
}

static pf_status train_with(const train_data *d, const pf_train_options *o, pf_trainer *t) {
    train_rows r = {.n = (size_t)o->batch};
    r.s = pfi_calloc(d->ctx, 2 * r.n, sizeof *r.s);
    r.ref = pfi_calloc(d->ctx, 2 * r.n, sizeof *r.ref);
    r.len = pfi_calloc(d->ctx, 2 * r.n, sizeof *r.len);
    pf_status s = r.s && r.ref && r.len ? train_plan(d, o, &r, t) : PF_NOMEM;
    if (s == PF_OK) s = train_run(d, o, &r, t);
    pfi_free(d->ctx, r.s);
    pfi_free(d->ctx, r.ref);
    pfi_free(d->ctx, r.len);
    return s;
}

pf_status pf_train(pf_model *m, const pf_pair *pairs, size_t n, const pf_train_options *o) {
    pf_ctx *ctx = m->ctx;
    if (n == 0) return pfi_fail(ctx, PF_RANGE, "there are no pairs to train on");
    if (o->batch < 1) return pfi_fail(ctx, PF_RANGE, "a batch must hold at least 1 pair, got %d", o->batch);
    if (o->trainer.steps < 1)
        return pfi_fail(ctx, PF_RANGE, "steps must be at least 1, got %lld", (long long)o->trainer.steps);
    train_data d = {.ctx = ctx, .m = m, .n = n};
    pf_trainer *t = NULL;
    pf_status s = pf_trainer_new(m, &o->trainer, &t);
    if (s == PF_OK) s = train_data_make(&d, pairs);
    if (s == PF_OK) s = train_with(&d, o, t);
    train_data_free(&d);
    pf_trainer_free(t);
    return s;
}
