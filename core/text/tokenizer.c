/* Loading, saving and asking a tokenizer. */
#include "text/tokenizer.h"

#include "text/text.h"

static const char *const tok_files[PFI_TOK_FILES] = {"tokenizer.json", "tokenizer_config.json",
                                                     "special_tokens_map.json", "chat_template.jinja"};

/* ---- tokenizer.json ---- */

static pf_status tok_components(pf_tokenizer *tok, const json_t *root, const char *path) {
    static const char *const keys[] = {"normalizer", "pre_tokenizer", "decoder",
                                       "model",      "added_tokens",  "post_processor"};
    pf_ctx *ctx = tok->ctx;
    json_t *model, *added = NULL;
    char what[6][600];
    for (int i = 0; i < 6; i++) snprintf(what[i], sizeof what[i], "%.500s: %s", path, keys[i]);
    PF_TRY(pfi_json_object(ctx, root, "model", path, &model));
    PF_TRY(pfi_json_array_opt(ctx, root, "added_tokens", path, &added));
    PF_TRY(pfi_normalizers_parse(ctx, json_object_get(root, keys[0]), what[0], &tok->normalizers));
    PF_TRY(pfi_pretokenizers_parse(ctx, json_object_get(root, keys[1]), what[1], &tok->pretokenizers));
    PF_TRY(pfi_decoders_parse(ctx, json_object_get(root, keys[2]), what[2], &tok->decoders));
    tok->has_decoder = json_is_object(json_object_get(root, keys[2]));
    PF_TRY(pfi_bpe_parse(ctx, model, added, what[3], &tok->bpe));
    PF_TRY(pfi_added_parse(ctx, added, what[4], &tok->normalizers, &tok->bpe.vocab, &tok->added));
    return pfi_post_parse(ctx, json_object_get(root, keys[5]), what[5], tok);
}

/* ---- tokenizer_config.json and its company ---- */

/* the text of a token that stands as a string or as {"content": ...}; NULL if it is not there */
static const char *tok_named(const json_t *config, const char *key) {
    const json_t *v = json_object_get(config, key);
    return json_is_object(v) ? json_string_value(json_object_get(v, "content")) : json_string_value(v);
}

static pf_status tok_ids(pf_tokenizer *tok, const json_t *config, const char *what) {
    static const char *const keys[] = {"bos_token", "eos_token", "pad_token"};
    int32_t *id[] = {&tok->bos, &tok->eos, &tok->pad};
    for (int i = 0; i < 3; i++) {
        const char *text = tok_named(config, keys[i]);
        const json_t *v = json_object_get(config, keys[i]);
        if (!text && v && !json_is_null(v))
            return pfi_fail(tok->ctx, PF_FORMAT, "%s: %s is %s, expected a text", what, keys[i], PFI_JSON_FOUND(v));
        if (text && *id[i] < 0) *id[i] = pf_tokenizer_id(tok, text);
    }
    return PF_OK;
}

/* a string, or a list of {"name", "template"} of which "default" is the one */
static pf_status tok_chat(pf_tokenizer *tok, const json_t *config, const char *what) {
    const json_t *v = json_object_get(config, "chat_template");
    const char *text = json_string_value(v);
    size_t i;
    json_t *e;
    if (v && !text && !json_is_array(v) && !json_is_null(v))
        return pfi_fail(tok->ctx, PF_FORMAT, "%s: chat_template is %s, expected a text or a list of named ones", what,
                        PFI_JSON_FOUND(v));
    json_array_foreach(v, i, e) {
        const char *name = json_string_value(json_object_get(e, "name"));
        if (name && strcmp(name, "default") == 0) text = json_string_value(json_object_get(e, "template"));
    }
    if (tok->file[3].data) text = tok->file[3].data;
    if (!text) return PF_OK;
    tok->chat = pfi_strndup(tok->ctx, text, strlen(text));
    return tok->chat ? PF_OK : PF_NOMEM;
}

/* without a post-processor the flags of the configuration decide, when they say so explicitly */
static pf_status tok_flags(pf_tokenizer *tok, const json_t *config, bool has_post) {
    if (has_post) return PF_OK;
    if (json_is_true(json_object_get(config, "add_bos_token")) && tok->bos >= 0)
        PF_TRY(pfi_ints_add(tok->ctx, &tok->before, tok->bos));
    if (json_is_true(json_object_get(config, "add_eos_token")) && tok->eos >= 0)
        PF_TRY(pfi_ints_add(tok->ctx, &tok->after, tok->eos));
    return PF_OK;
}

/* *out: the object of file i, NULL if the file was not there */
static pf_status tok_json(pf_tokenizer *tok, int i, const char *path, json_t **out) {
    *out = NULL;
    if (!tok->file[i].data) return PF_OK;
    char what[700];
    snprintf(what, sizeof what, "%.500s%s%s", path, i ? "/" : "", i ? tok_files[i] : "");
    *out = pfi_json_parse(tok->ctx, tok->file[i].data, tok->file[i].len, what);
    if (!*out) return tok->ctx->code;
    if (json_is_object(*out)) return PF_OK;
    pf_status s = pfi_fail(tok->ctx, PF_FORMAT, "%s holds %s, expected an object", what, PFI_JSON_FOUND(*out));
    json_decref(*out);
    *out = NULL;
    return s;
}

static pf_status tok_config(pf_tokenizer *tok, const char *dir, bool has_post) {
    json_t *config, *map = NULL;
    char what[700];
    snprintf(what, sizeof what, "%.500s/%s", dir, tok_files[1]);
    PF_TRY(tok_json(tok, 1, dir, &config));
    pf_status s = tok_json(tok, 2, dir, &map);
    if (s == PF_OK) s = tok_ids(tok, config, what);
    if (s == PF_OK) s = tok_chat(tok, config, what);
    snprintf(what, sizeof what, "%.500s/%s", dir, tok_files[2]);
    if (s == PF_OK) s = tok_ids(tok, map, what);
    if (s == PF_OK) s = tok_flags(tok, config, has_post);
    json_decref(config);
    json_decref(map);
    return s;
}

/* ---- loading ---- */

static pf_status tok_build(pf_tokenizer *tok, const char *path, bool dir) {
    json_t *root;
    char name[600];
    for (int i = 0; i < PFI_TOK_FILES; i++)
        tok->fingerprint = pfi_hash64(tok->fingerprint + (uint64_t)i, tok->file[i].data, tok->file[i].len);
    size_t bad = tok->file[3].data ? pfi_utf8_check(tok->file[3].data, tok->file[3].len) : 0;
    if (bad < tok->file[3].len)
        return pfi_fail(tok->ctx, PF_FORMAT, "%s/%s: byte %zu is not valid UTF-8", path, tok_files[3], bad + 1);
    snprintf(name, sizeof name, "%.500s%s", path, dir ? "/tokenizer.json" : "");
    PF_TRY(tok_json(tok, 0, name, &root));
    pf_status s = tok_components(tok, root, name);
    bool has_post = json_is_object(json_object_get(root, "post_processor"));
    json_decref(root);
    return s == PF_OK ? tok_config(tok, path, has_post) : s;
}

pf_status pfi_tokenizer_from_files(pf_ctx *ctx, const char *path, bool dir, pfi_buf file[PFI_TOK_FILES],
                                   pf_tokenizer **out) {
    *out = NULL;
    pf_tokenizer *tok = pfi_calloc(ctx, 1, sizeof *tok);
    if (!tok) {
        for (int i = 0; i < PFI_TOK_FILES; i++) pfi_buf_free(ctx, &file[i]);
        return PF_NOMEM;
    }
    tok->ctx = ctx;
    tok->refs = 1;
    tok->bos = tok->eos = tok->pad = -1;
    memcpy(tok->file, file, sizeof tok->file);
    pfi_hold(ctx);
    pf_status s = tok_build(tok, path, dir);
    if (s == PF_OK && dir) s = pfi_templates_read(tok, path);
    if (s != PF_OK) {
        pf_tokenizer_free(tok);
        return s;
    }
    *out = tok;
    return PF_OK;
}

/* a directory of the kind that was usual before tokenizer.json */
static pf_status tok_missing(pf_ctx *ctx, const char *dir) {
    static const char *const old[] = {"tokenizer.model", "vocab.json"};
    pf_status code = ctx->code;
    for (int i = 0; i < PFI_COUNT(old); i++) {
        char *name = pfi_file_join(ctx, dir, old[i]);
        if (!name) return PF_NOMEM;
        bool there = pfi_file_exists(name);
        pfi_free(ctx, name);
        if (!there) continue;
        return pfi_fail(
            ctx, code,
            "%.500s: there is %s, but no tokenizer.json. transformers writes it: python3 -c 'from transformers"
            " import AutoTokenizer as T; T.from_pretrained(\"DIR\").save_pretrained(\"DIR\")'",
            dir, old[i]);
    }
    return code;
}

static pf_status tok_read(pf_ctx *ctx, const char *path, bool dir, int i, pfi_buf *out) {
    char *name = dir ? pfi_file_join(ctx, path, tok_files[i]) : pfi_strndup(ctx, path, strlen(path));
    if (!name) return PF_NOMEM;
    bool there = pfi_file_exists(name);
    pf_status s = i && !there ? PF_OK : pfi_file_read(ctx, name, out);
    pfi_free(ctx, name);
    return s != PF_OK && dir && !there ? tok_missing(ctx, path) : s;
}

static pf_status tok_gguf(pf_ctx *ctx, const char *path, pf_tokenizer **out) {
    pfi_gguf *g;
    PF_TRY(pfi_gguf_open(ctx, path, &g));
    pf_status s = pfi_tokenizer_from_gguf(ctx, g, out);
    pfi_gguf_release(g);
    return s;
}

pf_status pf_tokenizer_load(pf_ctx *ctx, const char *path, pf_tokenizer **out) {
    bool dir = pfi_file_is_dir(path);
    pfi_buf file[PFI_TOK_FILES] = {0};
    pf_status s = PF_OK;
    *out = NULL;
    if (!dir && pfi_gguf_is(path)) return tok_gguf(ctx, path, out);
    for (int i = 0; i < (dir ? PFI_TOK_FILES : 1) && s == PF_OK; i++) s = tok_read(ctx, path, dir, i, &file[i]);
    if (s == PF_OK) return pfi_tokenizer_from_files(ctx, path, dir, file, out);
    for (int i = 0; i < PFI_TOK_FILES; i++) pfi_buf_free(ctx, &file[i]);
    return s;
}

pf_tokenizer *pf_tokenizer_retain(pf_tokenizer *tok) {
    tok->refs++;
    return tok;
}

void pf_tokenizer_free(pf_tokenizer *tok) {
    if (!tok || --tok->refs > 0) return;
    pf_ctx *ctx = tok->ctx;
    pfi_stages_free(ctx, &tok->normalizers);
    pfi_stages_free(ctx, &tok->pretokenizers);
    pfi_stages_free(ctx, &tok->decoders);
    pfi_added_free(ctx, &tok->added);
    pfi_bpe_free(ctx, &tok->bpe);
    pfi_ints_free(ctx, &tok->before);
    pfi_ints_free(ctx, &tok->after);
    pfi_free(ctx, tok->chat);
    pfi_templates_free(tok);
    for (int i = 0; i < PFI_TOK_FILES; i++) pfi_buf_free(ctx, &tok->file[i]);
    pfi_free(ctx, tok);
    pfi_release(ctx);
}

pf_status pfi_tokenizer_save(pf_tokenizer *tok, const char *dir) {
    for (int i = 0; i < PFI_TOK_FILES; i++) {
        if (!tok->file[i].data) continue;
        char *path = pfi_file_join(tok->ctx, dir, tok_files[i]);
        if (!path) return PF_NOMEM;
        pf_status s = pfi_file_write_atomic(tok->ctx, path, tok->file[i].data, tok->file[i].len);
        pfi_free(tok->ctx, path);
        PF_TRY(s);
    }
    return pfi_templates_save(tok, dir);
}

/* ---- asking ---- */

int32_t pf_tokenizer_id(const pf_tokenizer *tok, const char *token) {
    return pfi_vocab_find(&tok->bpe.vocab, token, strlen(token));
}

static const pfi_word *tok_word(const pf_tokenizer *tok, int32_t id) {
    const pfi_vocab *v = &tok->bpe.vocab;
    return id >= 0 && (size_t)id < v->n && v->word[id].text ? &v->word[id] : NULL;
}

const char *pf_tokenizer_token(const pf_tokenizer *tok, int32_t id) {
    const pfi_word *w = tok_word(tok, id);
    return w ? w->text : NULL;
}

int32_t pf_tokenizer_bos(const pf_tokenizer *tok) { return tok->bos; }

int32_t pf_tokenizer_eos(const pf_tokenizer *tok) { return tok->eos; }

int32_t pfi_tokenizer_pad(const pf_tokenizer *tok) { return tok->pad; }

size_t pf_tokenizer_size(const pf_tokenizer *tok) { return tok->bpe.vocab.n; }

bool pfi_tokenizer_special(const pf_tokenizer *tok, int32_t id) {
    const pfi_word *w = tok_word(tok, id);
    return w && w->special;
}

const char *pfi_tokenizer_template(const pf_tokenizer *tok) { return tok->chat; }

uint64_t pfi_tokenizer_fingerprint(const pf_tokenizer *tok) { return tok->fingerprint; }
