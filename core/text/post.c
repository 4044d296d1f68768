/* Post-processors of tokenizer.json: what stands before and after one sequence. */
#include "text/text.h"

/* the ids that special_tokens gives a name, appended to v */
static pf_status post_special(pf_ctx *ctx, const json_t *table, const char *name, const char *what,
                              const pfi_vocab *vocab, pfi_ints *v) {
    json_t *ids, *id, *entry = json_object_get(table, name);
    size_t i;
    if (!entry)
        return pfi_fail(ctx, PF_FORMAT, "%s: special_tokens lacks \"%.60s\", which the template uses", what, name);
    PF_TRY(pfi_json_array(ctx, entry, "ids", what, &ids));
    json_array_foreach(ids, i, id) {
        json_int_t x = json_integer_value(id);
        if (!json_is_integer(id) || x < 0 || (size_t)x >= vocab->n || !vocab->word[x].text)
            return pfi_fail(ctx, PF_FORMAT, "%s: special_tokens gives \"%.60s\" %s as an id, which no token has", what,
                            name, PFI_JSON_FOUND(id));
        PF_TRY(pfi_ints_add(ctx, v, (int32_t)x));
    }
    return PF_OK;
}

/* puts extra around what is there: the later processor of a sequence stands outside */
static pf_status post_wrap(pf_ctx *ctx, pf_tokenizer *tok, pfi_ints *before, const pfi_ints *after) {
    for (size_t i = 0; i < tok->before.len; i++) PF_TRY(pfi_ints_add(ctx, before, tok->before.data[i]));
    pfi_ints swap = tok->before;
    tok->before = *before;
    *before = swap;
    for (size_t i = 0; i < after->len; i++) PF_TRY(pfi_ints_add(ctx, &tok->after, after->data[i]));
    return PF_OK;
}

static pf_status post_items(pf_ctx *ctx, const json_t *single, const json_t *table, const char *what,
                            const pfi_vocab *vocab, pfi_ints *before, pfi_ints *after) {
    int sequences = 0;
    size_t i;
    json_t *item;
    json_array_foreach(single, i, item) {
        const char *special = json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
        const char *seq = json_string_value(json_object_get(json_object_get(item, "Sequence"), "id"));
        if (special)
            PF_TRY(post_special(ctx, table, special, what, vocab, sequences ? after : before));
        else if (seq && strcmp(seq, "A") == 0)
            sequences++;
        else
            return pfi_fail(ctx, PF_FORMAT, "%s: item %zu of \"single\" is neither a SpecialToken nor the Sequence A",
                            what, i + 1);
    }
    if (sequences != 1)
        return pfi_fail(ctx, PF_FORMAT, "%s: \"single\" holds the Sequence A %d times, expected once", what, sequences);
    return PF_OK;
}

static pf_status post_template(pf_ctx *ctx, const json_t *obj, const char *what, pf_tokenizer *tok) {
    json_t *single, *table = NULL;
    pfi_ints before = {0}, after = {0};
    PF_TRY(pfi_json_array(ctx, obj, "single", what, &single));
    PF_TRY(pfi_json_object_opt(ctx, obj, "special_tokens", what, &table));
    pf_status s = post_items(ctx, single, table, what, &tok->bpe.vocab, &before, &after);
    if (s == PF_OK) s = post_wrap(ctx, tok, &before, &after);
    pfi_ints_free(ctx, &before);
    pfi_ints_free(ctx, &after);
    return s;
}

pf_status pfi_post_parse(pf_ctx *ctx, const json_t *obj, const char *what, pf_tokenizer *tok) {
    const char *type;
    json_t *list, *v;
    size_t i;
    if (!obj || json_is_null(obj)) return PF_OK;
    PF_TRY(pfi_json_string(ctx, obj, "type", what, &type));
    if (strcmp(type, "ByteLevel") == 0) return PF_OK; /* moves offsets only */
    if (strcmp(type, "TemplateProcessing") == 0) return post_template(ctx, obj, what, tok);
    if (strcmp(type, "Sequence") != 0)
        return pfi_fail(ctx, PF_UNSUPPORTED, "%s: the type \"%.60s\" is not supported", what, type);
    PF_TRY(pfi_json_array(ctx, obj, "processors", what, &list));
    json_array_foreach(list, i, v) {
        const char *inner = json_string_value(json_object_get(v, "type"));
        if (inner && strcmp(inner, "Sequence") == 0)
            return pfi_fail(ctx, PF_UNSUPPORTED, "%s: a Sequence inside a Sequence is not supported", what);
        PF_TRY(pfi_post_parse(ctx, v, what, tok));
    }
    return PF_OK;
}
