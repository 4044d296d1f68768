/* The vocabulary of a GGUF file. */
#include "text/source.h"

typedef struct gguf_vocab {
    const char **token, **merge;
    size_t *token_len, *merge_len;
    float *score;
    int32_t *type;
} gguf_vocab;

static pf_status gguf_strings(pf_ctx *ctx, const pfi_gguf *g, const char *key, const char ***text, size_t **len,
                              size_t *n) {
    pfi_gguf_array a;
    PF_TRY(pfi_gguf_list_opt(g, key, PFI_GGUF_STRING, &a));
    *n = a.n;
    if (!a.n) return PF_OK;
    *text = pfi_alloc(ctx, a.n * sizeof **text);
    *len = pfi_alloc(ctx, a.n * sizeof **len);
    if (!*text || !*len) return PF_NOMEM;
    for (size_t i = 0; i < *n; i++) (*text)[i] = pfi_gguf_next_string(&a, &(*len)[i]);
    return PF_OK;
}

static pf_status gguf_per_token(pf_ctx *ctx, const pfi_gguf *g, const char *key, const pfi_gguf_array *a, size_t n) {
    if (!a->n || a->n == n) return PF_OK;
    return pfi_fail(ctx, PF_FORMAT, "%s: the key \"%s\" has %zu values for %zu tokens", pfi_gguf_name(g), key, a->n, n);
}

static pf_status gguf_numbers(pf_ctx *ctx, const pfi_gguf *g, gguf_vocab *w, size_t n) {
    static const char scores[] = "tokenizer.ggml.scores", types[] = "tokenizer.ggml.token_type";
    pfi_gguf_array a;
    PF_TRY(pfi_gguf_list_opt(g, scores, PFI_GGUF_F64, &a));
    PF_TRY(gguf_per_token(ctx, g, scores, &a, n));
    if (a.n && !(w->score = pfi_alloc(ctx, n * sizeof *w->score))) return PF_NOMEM;
    for (size_t i = 0; w->score && i < n; i++) w->score[i] = (float)pfi_gguf_next_number(&a);
    PF_TRY(pfi_gguf_list_opt(g, types, PFI_GGUF_I64, &a));
    PF_TRY(gguf_per_token(ctx, g, types, &a, n));
    if (a.n && !(w->type = pfi_alloc(ctx, n * sizeof *w->type))) return PF_NOMEM;
    for (size_t i = 0; w->type && i < n; i++) {
        int64_t x = pfi_gguf_next_int(&a);
        if (x < PFI_VOCAB_NORMAL || x > PFI_VOCAB_BYTE)
            return pfi_fail(ctx, PF_FORMAT, "%s: the key \"%s\" gives token %zu the type %lld, expected 1 to 6",
                            pfi_gguf_name(g), types, i, (long long)x);
        w->type[i] = (int32_t)x;
    }
    return PF_OK;
}

/* an id; 0xFFFFFFFF is how some writers say that there is none */
static pf_status gguf_id(pf_ctx *ctx, const pfi_gguf *g, const char *key, int32_t *id) {
    int64_t x = -1;
    *id = -1;
    PF_TRY(pfi_gguf_int_opt(g, key, &x));
    if (x < 0 || x == 0xFFFFFFFF) return PF_OK;
    if (x > INT32_MAX)
        return pfi_fail(ctx, PF_FORMAT, "%s: the key \"%s\" is %lld, which is no token's id", pfi_gguf_name(g), key,
                        (long long)x);
    *id = (int32_t)x;
    return PF_OK;
}

static pf_status gguf_flag(const pfi_gguf *g, const char *key, int *flag) {
    bool x = false;
    *flag = -1;
    if (!pfi_gguf_has(g, key)) return PF_OK;
    PF_TRY(pfi_gguf_bool(g, key, &x));
    *flag = x;
    return PF_OK;
}

static pf_status gguf_scalars(pf_ctx *ctx, const pfi_gguf *g, pfi_vocab_source *v) {
    PF_TRY(pfi_gguf_string(g, "tokenizer.ggml.model", &v->model, NULL));
    PF_TRY(pfi_gguf_string_opt(g, "tokenizer.ggml.pre", &v->pre, NULL));
    PF_TRY(pfi_gguf_string_opt(g, "tokenizer.chat_template", &v->chat_template, NULL));
    PF_TRY(gguf_id(ctx, g, "tokenizer.ggml.bos_token_id", &v->bos));
    PF_TRY(gguf_id(ctx, g, "tokenizer.ggml.eos_token_id", &v->eos));
    PF_TRY(gguf_id(ctx, g, "tokenizer.ggml.unknown_token_id", &v->unk));
    PF_TRY(gguf_id(ctx, g, "tokenizer.ggml.padding_token_id", &v->pad));
    PF_TRY(gguf_flag(g, "tokenizer.ggml.add_bos_token", &v->add_bos));
    PF_TRY(gguf_flag(g, "tokenizer.ggml.add_eos_token", &v->add_eos));
    return gguf_flag(g, "tokenizer.ggml.add_space_prefix", &v->add_space_prefix);
}

static pf_status gguf_source(pf_ctx *ctx, const pfi_gguf *g, gguf_vocab *w, pfi_vocab_source *v) {
    PF_TRY(gguf_scalars(ctx, g, v));
    PF_TRY(gguf_strings(ctx, g, "tokenizer.ggml.tokens", &w->token, &w->token_len, &v->n));
    PF_TRY(gguf_strings(ctx, g, "tokenizer.ggml.merges", &w->merge, &w->merge_len, &v->n_merges));
    PF_TRY(gguf_numbers(ctx, g, w, v->n));
    v->token = w->token;
    v->token_len = w->token_len;
    v->merge = w->merge;
    v->merge_len = w->merge_len;
    v->score = w->score;
    v->type = w->type;
    return PF_OK;
}

pf_status pfi_tokenizer_from_gguf(pf_ctx *ctx, const pfi_gguf *g, pf_tokenizer **out) {
    gguf_vocab w = {0};
    pfi_vocab_source v = {0};
    *out = NULL;
    pf_status s = gguf_source(ctx, g, &w, &v);
    if (s == PF_OK) s = pfi_tokenizer_from_vocab(ctx, pfi_gguf_name(g), &v, out);
    void *const owned[] = {w.token, w.token_len, w.merge, w.merge_len, w.score, w.type};
    for (int i = 0; i < PFI_COUNT(owned); i++) pfi_free(ctx, owned[i]);
    return s;
}
