/* A tokenizer.json as the vocabulary of a GGUF file: the way back of source.c. */
#include "file/json.h"
#include "text/source.h"

typedef struct export {
    const pf_tokenizer *tok;
    pf_ctx *ctx;
    json_t *json, *model;
    pfi_gguf_writer *w;
    bool bytes;         /* byte-level BPE ("gpt2"), not SentencePiece's ("llama") */
    bool space;         /* a text gets a space in front */
    pfi_pre pre;        /* what the pre-tokenizer does, of byte-level BPE */
    const char **token; /* [n] by id; NULL: no such id */
    int32_t *type;      /* [n] */
    float *score;       /* [n] */
    size_t n;
}
export;

static pf_status export_refuse(const export *x, const char *what) {
    return pfi_fail(x->ctx, PF_UNSUPPORTED, "a GGUF file cannot hold this tokenizer: %s", what);
}

static bool export_is(const json_t *obj, const char *type) {
    const char *name = json_string_value(json_object_get(obj, "type"));
    return name && strcmp(name, type) == 0;
}

/* ---- the pre-tokenizer's name ---- */

/* one stage; unknown ones are refused */
static pf_status export_stage(export *x, const json_t *stage, int *splits) {
    json_t *list = json_object_get(stage, "pretokenizers"), *one;
    size_t i;
    if (export_is(stage, "Sequence")) {
        json_array_foreach(list, i, one) PF_TRY(export_stage(x, one, splits));
    } else if (export_is(stage, "ByteLevel")) {
        x->bytes = true;
        if (json_is_true(json_object_get(stage, "add_prefix_space")))
            return export_refuse(x, "it puts a space before a text (add_prefix_space)");
        json_t *regex = json_object_get(stage, "use_regex");
        x->pre.words = !regex || json_is_true(regex);
    } else if (export_is(stage, "Digits")) {
        x->pre.digits = true;
    } else if (export_is(stage, "Split") && *splits < PFI_PRE_SPLITS) {
        const char *regex = json_string_value(json_object_get(json_object_get(stage, "pattern"), "Regex"));
        if (!regex && !x->bytes) return PF_OK; /* SentencePiece's, at spaces */
        if (!regex) return export_refuse(x, "its pre-tokenizer splits at fixed strings");
        x->pre.split[(*splits)++] = regex;
    } else if (export_is(stage, "Metaspace")) {
        const char *scheme = json_string_value(json_object_get(stage, "prepend_scheme"));
        x->space = !scheme || strcmp(scheme, "never") != 0;
    } else {
        return export_refuse(x, "its pre-tokenizer has a stage of an unknown kind");
    }
    return PF_OK;
}

static void export_normalizer(export *x, const json_t *stage) {
    json_t *one;
    size_t i;
    if (export_is(stage, "NFC")) x->pre.nfc = true;
    if (export_is(stage, "Prepend")) x->space = true;
    json_array_foreach(json_object_get(stage, "normalizers"), i, one) export_normalizer(x, one);
}

static pf_status export_kind(export *x) {
    int splits = 0;
    json_t *pre = json_object_get(x->json, "pre_tokenizer");
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    if (!export_is(x->model, "BPE")) return export_refuse(x, "its model is not BPE");
    for (int i = 0; i < PFI_COUNT(affixes); i++)
        if (json_string_length(json_object_get(x->model, affixes[i]))) return export_refuse(x, affixes[i]);
    if (pre && !json_is_null(pre)) PF_TRY(export_stage(x, pre, &splits));
    export_normalizer(x, json_object_get(x->json, "normalizer"));
    x->pre.ignore_merges = json_is_true(json_object_get(x->model, "ignore_merges"));
    if (!x->bytes) return PF_OK;
    const pfi_pre *found = pfi_pre_match(&x->pre);
    if (!found) return export_refuse(x, "llama.cpp has no name for its pre-tokenizer (tokenizer.ggml.pre)");
    x->pre.name = found->name;
    return PF_OK;
}

/* ---- tokens ---- */

static pf_status export_put_token(export *x, const char *text, json_t *id, int32_t type) {
    const json_int_t i = json_is_integer(id) ? json_integer_value(id) : -1;
    if (i < 0 || (size_t)i >= x->n)
        return pfi_fail(x->ctx, PF_RANGE, "token \"%s\" has the id %lld, the model has %zu rows", text, (long long)i,
                        x->n);
    x->token[i] = text;
    x->type[i] = type;
    return PF_OK;
}

static pf_status export_tokens(export *x) {
    json_t *vocab = json_object_get(x->model, "vocab"), *added = json_object_get(x->json, "added_tokens"), *value;
    const char *unk = json_string_value(json_object_get(x->model, "unk_token")), *text;
    const bool fallback = json_is_true(json_object_get(x->model, "byte_fallback"));
    size_t i;
    json_object_foreach(vocab, text, value) {
        const bool byte = fallback && strlen(text) == 6 && strncmp(text, "<0x", 3) == 0 && text[5] == '>';
        PF_TRY(export_put_token(x, text, value, byte ? PFI_VOCAB_BYTE : PFI_VOCAB_NORMAL));
    }
    json_array_foreach(added, i, value) {
        const bool special = json_is_true(json_object_get(value, "special"));
        text = json_string_value(json_object_get(value, "content"));
        const bool is_unk = unk && text && strcmp(unk, text) == 0;
        PF_TRY(export_put_token(x, text ? text : "", json_object_get(value, "id"),
                                is_unk    ? PFI_VOCAB_UNKNOWN
                                : special ? PFI_VOCAB_CONTROL
                                          : PFI_VOCAB_USER));
    }
    return PF_OK;
}

/* the two sides of a merge, which stands as "a b" or as ["a", "b"] */
static bool export_merge(json_t *merge, const char **a, size_t *a_len, const char **b) {
    *a = json_is_array(merge) ? json_string_value(json_array_get(merge, 0)) : json_string_value(merge);
    *b = json_is_array(merge) ? json_string_value(json_array_get(merge, 1)) : *a ? strchr(*a, ' ') : NULL;
    if (!*a || !*b) return false;
    *a_len = json_is_array(merge) ? strlen(*a) : (size_t)(*b - *a);
    if (!json_is_array(merge)) (*b)++;
    return true;
}

/* SentencePiece merges what gives the token with the best score: minus the rank of the first merge that gives it */
static pf_status export_scores(export *x) {
    json_t *merges = json_object_get(x->model, "merges"), *vocab = json_object_get(x->model, "vocab");
    pfi_buf text = {0};
    pf_status s = PF_OK;
    for (size_t i = 0; i < x->n; i++) x->score[i] = x->type[i] == PFI_VOCAB_NORMAL ? -1e6f : 0;
    for (size_t r = json_array_size(merges); s == PF_OK && r-- > 0;) {
        const char *a, *b;
        size_t n;
        if (!export_merge(json_array_get(merges, r), &a, &n, &b)) continue;
        text.len = 0;
        s = pfi_buf_add(x->ctx, &text, a, n);
        if (s == PF_OK) s = pfi_buf_str(x->ctx, &text, b);
        json_t *id = s == PF_OK ? json_object_get(vocab, text.data) : NULL;
        if (id) x->score[json_integer_value(id)] = -(float)r;
    }
    pfi_buf_free(x->ctx, &text);
    return s;
}

/* ---- writing ---- */

static pf_status export_text(const export *x, const char *key, const char *text) {
    return pfi_gguf_put_string(x->w, key, text, strlen(text));
}

static pf_status export_arrays(const export *x) {
    PF_TRY(pfi_gguf_put_array(x->w, "tokenizer.ggml.tokens", PFI_GGUF_STRING, x->n));
    for (size_t i = 0; i < x->n; i++) {
        char pad[32];
        snprintf(pad, sizeof pad, "[PAD%zu]", i);
        PF_TRY(export_text(x, NULL, x->token[i] ? x->token[i] : pad));
    }
    PF_TRY(pfi_gguf_put_array(x->w, "tokenizer.ggml.token_type", PFI_GGUF_I32, x->n));
    for (size_t i = 0; i < x->n; i++)
        PF_TRY(pfi_gguf_put_int(x->w, NULL, PFI_GGUF_I32, x->token[i] ? x->type[i] : PFI_VOCAB_UNUSED));
    if (x->bytes) return PF_OK;
    PF_TRY(pfi_gguf_put_array(x->w, "tokenizer.ggml.scores", PFI_GGUF_F32, x->n));
    for (size_t i = 0; i < x->n; i++) PF_TRY(pfi_gguf_put_number(x->w, NULL, PFI_GGUF_F32, (double)x->score[i]));
    return PF_OK;
}

static pf_status export_merges(const export *x) {
    json_t *merges = json_object_get(x->model, "merges"), *one;
    size_t i;
    if (!x->bytes) return PF_OK;
    PF_TRY(pfi_gguf_put_array(x->w, "tokenizer.ggml.merges", PFI_GGUF_STRING, json_array_size(merges)));
    json_array_foreach(merges, i, one) {
        const char *a, *b;
        size_t n;
        pfi_buf text = {0};
        if (!export_merge(one, &a, &n, &b)) return export_refuse(x, "a merge is no pair");
        pf_status s = pfi_buf_add(x->ctx, &text, a, n);
        if (s == PF_OK) s = pfi_buf_str(x->ctx, &text, " ");
        if (s == PF_OK) s = pfi_buf_str(x->ctx, &text, b);
        if (s == PF_OK) s = pfi_gguf_put_string(x->w, NULL, text.data, text.len);
        pfi_buf_free(x->ctx, &text);
        PF_TRY(s);
    }
    return PF_OK;
}

static pf_status export_write(export *x) {
    const pf_tokenizer *tok = x->tok;
    const char *unk = json_string_value(json_object_get(x->model, "unk_token"));
    const json_t *unk_id = unk ? json_object_get(json_object_get(x->model, "vocab"), unk) : NULL;
    const int32_t bos = tok->before.len ? tok->before.data[0] : tok->bos;
    if (tok->before.len > 1 || tok->after.len > 1) return export_refuse(x, "it adds several tokens around a text");
    PF_TRY(export_text(x, "tokenizer.ggml.model", x->bytes ? "gpt2" : "llama"));
    PF_TRY(export_text(x, "tokenizer.ggml.pre", x->bytes ? x->pre.name : "default"));
    PF_TRY(export_arrays(x));
    PF_TRY(export_merges(x));
    if (unk_id)
        PF_TRY(pfi_gguf_put_int(x->w, "tokenizer.ggml.unknown_token_id", PFI_GGUF_U32, json_integer_value(unk_id)));
    if (tok->pad >= 0) PF_TRY(pfi_gguf_put_int(x->w, "tokenizer.ggml.padding_token_id", PFI_GGUF_U32, tok->pad));
    PF_TRY(pfi_gguf_put_bool(x->w, "tokenizer.ggml.add_bos_token", tok->before.len));
    if (bos >= 0) PF_TRY(pfi_gguf_put_int(x->w, "tokenizer.ggml.bos_token_id", PFI_GGUF_U32, bos));
    PF_TRY(pfi_gguf_put_bool(x->w, "tokenizer.ggml.add_eos_token", tok->after.len));
    if (!x->bytes) PF_TRY(pfi_gguf_put_bool(x->w, "tokenizer.ggml.add_space_prefix", x->space));
    return tok->chat ? export_text(x, "tokenizer.chat_template", tok->chat) : PF_OK;
}

static pf_status export_all(export *x) {
    x->token = pfi_calloc(x->ctx, x->n, sizeof *x->token);
    x->type = pfi_calloc(x->ctx, x->n, sizeof *x->type);
    x->score = pfi_calloc(x->ctx, x->n, sizeof *x->score);
    if (!x->token || !x->type || !x->score) return PF_NOMEM;
    PF_TRY(export_kind(x));
    PF_TRY(export_tokens(x));
    if (!x->bytes) PF_TRY(export_scores(x));
    return export_write(x);
}

pf_status pfi_tokenizer_put_gguf(const pf_tokenizer *tok, size_t n, pfi_gguf_writer *w) {
    export x = {.tok = tok, .ctx = tok->ctx, .w = w, .n = n};
    x.json = pfi_json_parse(tok->ctx, tok->file[0].data, tok->file[0].len, "tokenizer.json");
    if (!x.json) return pf_errcode(tok->ctx);
    x.model = json_object_get(x.json, "model");
    pf_status s = export_all(&x);
    pfi_free(tok->ctx, x.token);
    pfi_free(tok->ctx, x.type);
    pfi_free(tok->ctx, x.score);
    json_decref(x.json);
    return s;
}
