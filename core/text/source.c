/* A tokenizer from the plain arrays of a vocabulary: its tokenizer.json and tokenizer_config.json are written, and read
 * as any other's. So there is one reader, and what it reads can be saved. */
#include "text/source.h"

#define SOURCE_MAX_TOKEN 4096 /* bytes: cutting a token in two everywhere is quadratic */

typedef struct source {
    pf_ctx *ctx;
    const char *name;
    const pfi_vocab_source *v;
    pfi_vocab vocab; /* to find duplicates, and the parts of merges */
    bool spm;
    const pfi_pre *pre; /* of byte-level BPE */
    bool add_bos, add_eos, prefix;
    int32_t bos, eos, unk, pad;
    pfi_buf out;
} source;

static int32_t source_type(const pfi_vocab_source *v, size_t i) { return v->type ? v->type[i] : PFI_VOCAB_NORMAL; }

/* ---- checks ---- */

static pf_status source_token(source *w, size_t i) {
    const char *s = w->v->token[i];
    size_t n = w->v->token_len[i];
    if (n > SOURCE_MAX_TOKEN)
        return pfi_fail(w->ctx, PF_FORMAT, "%s: token %zu has %zu bytes, at most %d are possible", w->name, i, n,
                        SOURCE_MAX_TOKEN);
    if (pfi_utf8_check(s, n) < n || memchr(s, 0, n))
        return pfi_fail(w->ctx, PF_FORMAT, "%s: token %zu is not valid UTF-8, or holds a byte 0", w->name, i);
    int32_t id = pfi_vocab_find(&w->vocab, s, n);
    if (id >= 0)
        return pfi_fail(w->ctx, PF_FORMAT, "%s: the tokens %d and %zu are both \"%.*s\"", w->name, id, i,
                        (int)PFI_MIN(n, 60), s);
    return pfi_vocab_add(w->ctx, &w->vocab, s, n, (int32_t)i, w->name);
}

static pf_status source_tokens(source *w) {
    const pfi_vocab_source *v = w->v;
    size_t bytes = 0;
    if (v->n == 0 || v->n > PFI_TEXT_MAX_ID)
        return pfi_fail(w->ctx, PF_FORMAT, "%s: a vocabulary of %zu tokens, expected 1 to %d", w->name, v->n,
                        PFI_TEXT_MAX_ID);
    for (size_t i = 0; i < v->n; i++) bytes += v->token_len[i] + 1;
    PF_TRY(pfi_vocab_init(w->ctx, &w->vocab, v->n, v->n, bytes));
    for (size_t i = 0; i < v->n; i++) PF_TRY(source_token(w, i));
    return PF_OK;
}

/* *id: given, or what the model has if it says nothing; -1 if that is no token */
static pf_status source_id(source *w, const char *what, int32_t given, int32_t otherwise, int32_t *id) {
    *id = given < 0 && (size_t)otherwise < w->v->n ? otherwise : given;
    if (*id < (int32_t)w->v->n) return PF_OK;
    return pfi_fail(w->ctx, PF_FORMAT, "%s: the %s token has the id %d, but there are %zu tokens", w->name, what, *id,
                    w->v->n);
}

static pf_status source_model(source *w) {
    const pfi_vocab_source *v = w->v;
    const char *pre = v->pre ? v->pre : "default";
    if (!v->model ||
        (strcmp(v->model, "gpt2") != 0 && strcmp(v->model, "llama") != 0 && strcmp(v->model, "gemma") != 0))
        return pfi_fail(
            w->ctx, PF_UNSUPPORTED,
            "%s: the tokenizer model \"%.60s\" is not supported, only \"gpt2\", \"llama\" and \"gemma\" are", w->name,
            v->model ? v->model : "");
    w->spm = strcmp(v->model, "gpt2") != 0;
    if (w->spm && !v->score) return pfi_fail(w->ctx, PF_FORMAT, "%s: the vocabulary has no scores", w->name);
    if (!w->spm && !v->merge) return pfi_fail(w->ctx, PF_FORMAT, "%s: the vocabulary has no merges", w->name);
    w->pre = w->spm ? NULL : pfi_pre_find(pre);
    if (!w->spm && !w->pre)
        return pfi_fail(w->ctx, PF_UNSUPPORTED, "%s: the pre-tokenizer \"%.60s\" is not supported", w->name, pre);
    w->prefix = v->add_space_prefix < 0 ? strcmp(v->model, "llama") == 0 : v->add_space_prefix > 0;
    w->add_bos = v->add_bos < 0 ? w->spm || w->pre->bos : v->add_bos > 0;
    w->add_eos = v->add_eos > 0;
    PF_TRY(source_id(w, "unknown", v->unk, w->spm ? 0 : -1, &w->unk));
    PF_TRY(source_id(w, "bos", v->bos, w->spm ? 1 : -1, &w->bos));
    PF_TRY(source_id(w, "eos", v->eos, w->spm ? 2 : -1, &w->eos));
    return source_id(w, "padding", v->pad, -1, &w->pad);
}

/* ---- writing ---- */

static pf_status source_str(source *w, const char *s) { return pfi_buf_str(w->ctx, &w->out, s); }

static pf_status source_quote(source *w, int32_t id) {
    if (id < 0) return source_str(w, "null");
    return pfi_json_quote(w->ctx, &w->out, w->v->token[id], w->v->token_len[id]);
}

static const char *source_bool(bool x) { return x ? "true" : "false"; }

/* Phi-3's control tokens swallow the white space that follows; its file does not say so */
static bool source_rstrip(const source *w, int32_t id) {
    static const char *const phi3[] = {"<|placeholder1|>", "<|assistant|>", "<|user|>", "<|end|>"};
    static const char *const plain[] = {"<unk>", "<s>", "<|endoftext|>"};
    if (!w->spm) return false;
    for (int i = 0; i < PFI_COUNT(phi3); i++) {
        if (pfi_vocab_find(&w->vocab, phi3[i], strlen(phi3[i])) < 0) return false;
    }
    for (int i = 0; i < PFI_COUNT(plain); i++) {
        if (pfi_vocab_find(&w->vocab, plain[i], strlen(plain[i])) == id) return false;
    }
    return true;
}

static pf_status source_added(source *w) {
    const char *comma = "";
    PF_TRY(source_str(w, "\"added_tokens\":["));
    for (size_t i = 0; i < w->v->n; i++) {
        int32_t type = source_type(w->v, i);
        if ((type != PFI_VOCAB_UNKNOWN && type != PFI_VOCAB_CONTROL && type != PFI_VOCAB_USER) || !w->v->token_len[i])
            continue;
        PF_TRY(pfi_buf_fmt(w->ctx, &w->out, "%s{\"id\":%zu,\"content\":", comma, i));
        PF_TRY(source_quote(w, (int32_t)i));
        PF_TRY(pfi_buf_fmt(w->ctx, &w->out,
                           ",\"single_word\":false,\"lstrip\":false,\"rstrip\":%s,\"normalized\":false,\"special\":%s}",
                           source_bool(source_rstrip(w, (int32_t)i)), source_bool(type != PFI_VOCAB_USER)));
        comma = ",";
    }
    return source_str(w, "]");
}

static pf_status source_spm_stages(source *w) {
    static const char replace[] = "{\"type\":\"Replace\",\"pattern\":{\"String\":\"%s\"},\"content\":\"%s\"}";
    PF_TRY(source_str(w, ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["));
    if (w->prefix) PF_TRY(source_str(w, "{\"type\":\"Prepend\",\"prepend\":\"\xE2\x96\x81\"},"));
    PF_TRY(pfi_buf_fmt(w->ctx, &w->out, replace, " ", "\xE2\x96\x81"));
    PF_TRY(source_str(w, "]},\"pre_tokenizer\":null,\"decoder\":{\"type\":\"Sequence\",\"decoders\":["));
    PF_TRY(pfi_buf_fmt(w->ctx, &w->out, replace, "\xE2\x96\x81", " "));
    PF_TRY(source_str(w, ",{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}"));
    if (w->prefix) PF_TRY(source_str(w, ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}"));
    return source_str(w, "]}");
}

static pf_status source_byte_stages(source *w) {
    static const char bytes[] =
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false,\"use_regex\":%s}";
    const pfi_pre *p = w->pre;
    PF_TRY(source_str(w, p->nfc ? ",\"normalizer\":{\"type\":\"NFC\"}" : ",\"normalizer\":null"));
    PF_TRY(source_str(w, ",\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["));
    for (int i = 0; i < PFI_PRE_SPLITS && p->split[i]; i++) {
        PF_TRY(source_str(w, "{\"type\":\"Split\",\"pattern\":{\"Regex\":"));
        PF_TRY(pfi_json_quote(w->ctx, &w->out, p->split[i], strlen(p->split[i])));
        PF_TRY(source_str(w, "},\"behavior\":\"Isolated\",\"invert\":false},"));
    }
    if (p->digits) PF_TRY(source_str(w, "{\"type\":\"Digits\",\"individual_digits\":true},"));
    PF_TRY(pfi_buf_fmt(w->ctx, &w->out, bytes, source_bool(p->words)));
    PF_TRY(source_str(w, "]},\"decoder\":"));
    return pfi_buf_fmt(w->ctx, &w->out, bytes, "true");
}

static pf_status source_post(source *w) {
    const int32_t id[] = {w->add_bos ? w->bos : -1, w->add_eos ? w->eos : -1};
    static const char seq[] = "{\"Sequence\":{\"id\":\"%s\",\"type_id\":%d}}";
    if (id[0] < 0 && id[1] < 0) return source_str(w, ",\"post_processor\":null");
    PF_TRY(source_str(w, ",\"post_processor\":{\"type\":\"TemplateProcessing\""));
    for (int pair = 0; pair < 2; pair++) {
        PF_TRY(source_str(w, pair ? ",\"pair\":[" : ",\"single\":["));
        for (int k = 0; k <= pair; k++) {
            for (int end = 0; end < 2; end++) {
                if (end) PF_TRY(pfi_buf_fmt(w->ctx, &w->out, seq, k ? "B" : "A", k));
                if (id[end] < 0) continue;
                PF_TRY(source_str(w, end ? ",{\"SpecialToken\":{\"id\":" : "{\"SpecialToken\":{\"id\":"));
                PF_TRY(source_quote(w, id[end]));
                PF_TRY(pfi_buf_fmt(w->ctx, &w->out, ",\"type_id\":%d}}%s", k, end ? "" : ","));
            }
            if (k < pair) PF_TRY(source_str(w, ","));
        }
        PF_TRY(source_str(w, "]"));
    }
    PF_TRY(source_str(w, ",\"special_tokens\":{"));
    const char *comma = "";
    for (int end = 0; end < 2; end++) {
        if (id[end] < 0 || (end && id[0] == id[1])) continue;
        PF_TRY(source_str(w, comma));
        PF_TRY(source_quote(w, id[end]));
        PF_TRY(source_str(w, ":{\"id\":"));
        PF_TRY(source_quote(w, id[end]));
        PF_TRY(pfi_buf_fmt(w->ctx, &w->out, ",\"ids\":[%d],\"tokens\":[", id[end]));
        PF_TRY(source_quote(w, id[end]));
        PF_TRY(source_str(w, "]}"));
        comma = ",";
    }
    return source_str(w, "}}");
}

/* "a b": the first part may itself begin with a space */
static pf_status source_given_merges(source *w) {
    const pfi_vocab_source *v = w->v;
    PF_TRY(source_str(w, "["));
    for (size_t i = 0; i < v->n_merges; i++) {
        const char *s = v->merge[i], *space = v->merge_len[i] > 1 ? memchr(s + 1, ' ', v->merge_len[i] - 1) : NULL;
        if (!space || pfi_utf8_check(s, v->merge_len[i]) < v->merge_len[i])
            return pfi_fail(w->ctx, PF_FORMAT, "%s: merge %zu is \"%.*s\", expected two tokens with a space between",
                            w->name, i + 1, (int)PFI_MIN(v->merge_len[i], 60), s);
        PF_TRY(source_str(w, i ? ",[" : "["));
        PF_TRY(pfi_json_quote(w->ctx, &w->out, s, (size_t)(space - s)));
        PF_TRY(source_str(w, ","));
        PF_TRY(pfi_json_quote(w->ctx, &w->out, space + 1, v->merge_len[i] - (size_t)(space + 1 - s)));
        PF_TRY(source_str(w, "]"));
    }
    return source_str(w, "]");
}

static pf_status source_bpe(source *w) {
    PF_TRY(source_str(w, ",\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":"));
    PF_TRY(source_quote(w, w->spm ? w->unk : -1));
    PF_TRY(pfi_buf_fmt(w->ctx, &w->out,
                       ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":%s,"
                       "\"byte_fallback\":%s,\"ignore_merges\":%s,\"vocab\":{",
                       source_bool(w->spm), source_bool(w->spm), source_bool(w->pre && w->pre->ignore_merges)));
    for (size_t i = 0; i < w->v->n; i++) {
        if (i) PF_TRY(source_str(w, ","));
        PF_TRY(source_quote(w, (int32_t)i));
        PF_TRY(pfi_buf_fmt(w->ctx, &w->out, ":%zu", i));
    }
    PF_TRY(source_str(w, "},\"merges\":"));
    PF_TRY(w->spm ? pfi_source_merges(w->ctx, w->name, w->v, &w->vocab, &w->out) : source_given_merges(w));
    return source_str(w, "}");
}

static pf_status source_tokenizer(source *w) {
    PF_TRY(source_str(w, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"));
    PF_TRY(source_added(w));
    PF_TRY(w->spm ? source_spm_stages(w) : source_byte_stages(w));
    PF_TRY(source_post(w));
    PF_TRY(source_bpe(w));
    return source_str(w, "}\n");
}

static pf_status source_config(source *w) {
    static const char *const keys[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
    const int32_t id[] = {w->bos, w->eos, w->unk, w->pad};
    const char *chat = w->v->chat_template;
    PF_TRY(source_str(w, "{\"tokenizer_class\":\"PreTrainedTokenizerFast\",\"clean_up_tokenization_spaces\":false"));
    for (int i = 0; i < PFI_COUNT(keys); i++) {
        if (id[i] < 0) continue;
        PF_TRY(pfi_buf_fmt(w->ctx, &w->out, ",\"%s\":", keys[i]));
        PF_TRY(source_quote(w, id[i]));
    }
    PF_TRY(pfi_buf_fmt(w->ctx, &w->out, ",\"add_bos_token\":%s,\"add_eos_token\":%s",
                       source_bool(w->add_bos && w->bos >= 0), source_bool(w->add_eos && w->eos >= 0)));
    if (chat) {
        if (pfi_utf8_check(chat, strlen(chat)) < strlen(chat))
            return pfi_fail(w->ctx, PF_FORMAT, "%s: the chat template is not valid UTF-8", w->name);
        PF_TRY(source_str(w, ",\"chat_template\":"));
        PF_TRY(pfi_json_quote(w->ctx, &w->out, chat, strlen(chat)));
    }
    return source_str(w, "}\n");
}

pf_status pfi_tokenizer_from_vocab(pf_ctx *ctx, const char *name, const pfi_vocab_source *v, pf_tokenizer **out) {
    source w = {.ctx = ctx, .name = name, .v = v};
    pfi_buf file[PFI_TOK_FILES] = {0};
    *out = NULL;
    pf_status s = source_tokens(&w);
    if (s == PF_OK) s = source_model(&w);
    if (s == PF_OK) s = source_tokenizer(&w);
    file[0] = w.out;
    w.out = (pfi_buf){0};
    if (s == PF_OK) s = source_config(&w);
    file[1] = w.out;
    pfi_vocab_free(ctx, &w.vocab);
    if (s == PF_OK) return pfi_tokenizer_from_files(ctx, name, false, file, out);
    for (int i = 0; i < PFI_TOK_FILES; i++) pfi_buf_free(ctx, &file[i]);
    return s;
}
