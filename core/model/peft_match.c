/* Which modules an adapter changes, as PEFT decides it (peft 0.21, tuners_utils.py and utils/other.py). */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "model/adapter.h"
#include "model/family.h"

/* does the whole text match? number: NULL, or receives what the first group holds, if it is a number */
static pf_status match_whole(pf_ctx *ctx, const char *what, const char *pattern, const char *text, bool *hit,
                             int64_t *number) {
    int code;
    PCRE2_SIZE at;
    *hit = false;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_ANCHORED | (number ? 0 : PCRE2_ENDANCHORED) | PCRE2_UTF, &code, &at, NULL);
    if (!re) {
        PCRE2_UCHAR why[128] = {0};
        pcre2_get_error_message(code, why, sizeof why);
        return pfi_fail(ctx, PF_FORMAT, "%s: the regular expression \"%.300s\" cannot be used: %s", what, pattern,
                        (const char *)why);
    }
    pcre2_match_data *m = pcre2_match_data_create_from_pattern(re, NULL);
    int r = m ? pcre2_match(re, (PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, 0, 0, m, NULL) : 0;
    *hit = m && r >= 0;
    if (*hit && number) *number = strtoll(text + pcre2_get_ovector_pointer(m)[2], NULL, 10);
    bool gave_up = m && r < 0 && r != PCRE2_ERROR_NOMATCH;
    pcre2_match_data_free(m);
    pcre2_code_free(re);
    if (!m) return pfi_fail(ctx, PF_NOMEM, "not enough memory for a regular expression");
    if (gave_up)
        return pfi_fail(ctx, PF_FORMAT, "%s: the regular expression \"%.300s\" cannot be matched with \"%s\"", what,
                        pattern, text);
    return PF_OK;
}

static bool match_ends(const char *text, size_t n, const char *end) {
    size_t k = strlen(end);
    return k <= n && memcmp(text + n - k, end, k) == 0;
}

/* is module the entry, or does it end with "." and the entry? */
static bool match_entry(const char *module, size_t n, const char *entry) {
    size_t k = strlen(entry);
    return match_ends(module, n, entry) && (n == k || module[n - k - 1] == '.');
}

/* list of names or regular expression; null matches nothing */
static pf_status match_names(pf_ctx *ctx, const pfi_adapter_config *c, const json_t *v, const char *module, bool *hit) {
    size_t i;
    json_t *item;
    *hit = false;
    if (json_is_string(v)) return match_whole(ctx, c->what, json_string_value(v), module, hit, NULL);
    json_array_foreach(v, i, item) *hit = *hit || match_entry(module, strlen(module), json_string_value(item));
    return PF_OK;
}

/* is the module one of modules_to_save, or inside one? */
static bool match_saved(const pfi_adapter_config *c, const char *module) {
    size_t i;
    json_t *item;
    const json_t *list = json_object_get(c->json, "modules_to_save");
    for (size_t n = 1; n <= strlen(module); n++) {
        if (module[n] && module[n] != '.') continue;
        json_array_foreach(list, i, item) {
            if (match_entry(module, n, json_string_value(item))) return true;
        }
    }
    return false;
}

/* ---- layers ---- */

static bool match_listed(const json_t *v, int64_t number) {
    size_t i;
    json_t *item;
    if (json_is_integer(v)) return json_integer_value(v) == number;
    json_array_foreach(v, i, item) if (json_integer_value(item) == number) return true;
    return false;
}

static pf_status match_layer(pf_ctx *ctx, const pfi_adapter_config *c, const char *module, bool *hit) {
    const json_t *layers = json_object_get(c->json, "layers_to_transform");
    const json_t *pattern = json_object_get(c->json, "layers_pattern");
    if (json_is_null(layers) || (json_is_array(layers) && json_array_size(layers) == 0)) return PF_OK;
    const size_t n = json_is_array(pattern) ? json_array_size(pattern) : json_is_string(pattern) ? 1 : 0;
    int64_t number = -1;
    bool found = false;
    for (size_t i = 0; i < PFI_MAX(n, 1) && !found; i++) {
        const char *word = json_string_value(json_is_array(pattern) ? json_array_get(pattern, i) : pattern);
        char *re = n && *word ? pfi_format(ctx, "(?:^|.*?\\.)(?:%s)\\.(\\d+)\\.", word)
                              : pfi_format(ctx, ".*?\\.[^.]*\\.(\\d+)\\.");
        if (!re) return PF_NOMEM;
        pf_status s = match_whole(ctx, c->what, re, module, &found, &number);
        pfi_free(ctx, re);
        PF_TRY(s);
    }
    *hit = found && match_listed(layers, number);
    return PF_OK;
}

/* ---- what adapter.c asks ---- */

void pfi_adapter_path(const pf_model *m, int i, char name[PF_MAX_NAME]) {
    const pfi_names *names = pfi_family_names(m->family);
    const bool bare = !*names[m->names].prefix && m->slots.slot[i].field != &m->head.w;
    snprintf(name, PF_MAX_NAME, "%s%.100s", bare ? names[0].prefix : "", m->slots.slot[i].name);
}

pfi_linear *pfi_adapter_linear(const pf_model *m, int i, char module[PF_MAX_NAME]) {
    const pfi_slot *slot = &m->slots.slot[i];
    const char *at = (const char *)slot->field, *first = (const char *)m->layer;
    bool inside = at >= first && at < (const char *)(m->layer + m->config.layers);
    pfi_adapter_path(m, i, module);
    const size_t n = strlen(module);
    if (slot->nd != 2 || !(inside || slot->field == &m->head.w) || !match_ends(module, n, ".weight")) return NULL;
    module[n - strlen(".weight")] = 0;
    return (pfi_linear *)slot->field; /* a matrix of a layer is the first member of a product */
}

pf_status pfi_adapter_targets(pf_ctx *ctx, const pfi_adapter_config *c, const char *module, bool *hit) {
    bool excluded = false;
    *hit = false;
    PF_TRY(match_names(ctx, c, json_object_get(c->json, "exclude_modules"), module, &excluded));
    if (excluded || match_saved(c, module)) return PF_OK;
    const json_t *targets = json_object_get(c->json, "target_modules");
    PF_TRY(match_names(ctx, c, targets, module, hit));
    return *hit && json_is_array(targets) ? match_layer(ctx, c, module, hit) : PF_OK;
}

/* PEFT asks whether the path of a module ends with the text, wherever in a name that is */
static bool match_saves_entry(const char *weight, const char *entry) {
    for (size_t n = 1; weight[n]; n++)
        if (weight[n] == '.' && match_ends(weight, n, entry)) return true;
    return false;
}

bool pfi_adapter_saves(const pfi_adapter_config *c, const char *weight) {
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(c->json, "modules_to_save"), i, item) {
        if (match_saves_entry(weight, json_string_value(item))) return true;
    }
    return false;
}

static pf_status match_pattern(pf_ctx *ctx, const pfi_adapter_config *c, const char *name, const char *module,
                               const json_t **out) {
    const char *key;
    json_t *value;
    *out = NULL;
    json_object_foreach(json_object_get(c->json, name), key, value) {
        bool hit;
        char *re = pfi_format(ctx, "(.*\\.)?(%s)", key);
        if (!re) return PF_NOMEM;
        pf_status s = match_whole(ctx, c->what, re, module, &hit, NULL);
        pfi_free(ctx, re);
        PF_TRY(s);
        if (!hit) continue;
        *out = value;
        break;
    }
    return PF_OK;
}

pf_status pfi_adapter_sizes(pf_ctx *ctx, const pfi_adapter_config *c, const char *module, int64_t *rank,
                            double *alpha) {
    const json_t *r, *a;
    PF_TRY(match_pattern(ctx, c, "rank_pattern", module, &r));
    PF_TRY(match_pattern(ctx, c, "alpha_pattern", module, &a));
    *rank = r ? json_integer_value(r) : c->rank;
    *alpha = a ? json_number_value(a) : c->alpha;
    if (*rank > 1 << 16)
        return pfi_fail(ctx, PF_RANGE, "%s: rank_pattern gives \"%s\" rank %lld, at most 65536", c->what, module,
                        (long long)*rank);
    return PF_OK;
}

/* ---- names that fit nothing ---- */

static pf_status match_missing(const pf_model *m, const pfi_adapter_config *c, const char *key, const char *entry) {
    pf_ctx *ctx = m->ctx;
    pfi_adapter_config all = {.what = c->what, .json = json_pack("{s:s}", "target_modules", "all-linear")};
    pfi_buf list = {0};
    pf_status s = all.json ? pfi_adapter_complete(m, &all) : pfi_fail(ctx, PF_NOMEM, "not enough memory");
    if (s == PF_OK) s = pfi_adapter_json(ctx, json_object_get(all.json, "target_modules"), false, &list);
    json_decref(all.json);
    if (s == PF_OK)
        s = pfi_fail(ctx, PF_NAME, "%s: %s: \"%s\" fits no %s of this model; its matrix products are %s", c->what, key,
                     entry, strcmp(key, "modules_to_save") == 0 ? "module" : "matrix product", list.data);
    pfi_buf_free(ctx, &list);
    return s;
}

static pf_status match_any_target(const pf_model *m, const pfi_adapter_config *c, const char *entry, bool *any) {
    *any = false;
    for (int i = 0; i < m->slots.n && !*any; i++) {
        char module[PF_MAX_NAME];
        if (!pfi_adapter_linear(m, i, module)) continue;
        if (json_is_string(json_object_get(c->json, "target_modules")))
            PF_TRY(match_whole(m->ctx, c->what, entry, module, any, NULL));
        else
            *any = match_entry(module, strlen(module), entry);
    }
    return PF_OK;
}

/* refused later, with the reason */
static bool match_tied_head(const pf_model *m, const char *entry) {
    return m->config.tied && strcmp(entry, "lm_head") == 0;
}

pf_status pfi_adapter_check_targets(const pf_model *m, const pfi_adapter_config *c) {
    const json_t *targets = json_object_get(c->json, "target_modules");
    const json_t *saved = json_object_get(c->json, "modules_to_save");
    const size_t n = json_is_array(targets) ? json_array_size(targets) : 1;
    for (size_t i = 0; i < n; i++) {
        bool any = false;
        const char *entry = json_string_value(json_is_array(targets) ? json_array_get(targets, i) : targets);
        PF_TRY(match_any_target(m, c, entry, &any));
        if (!any && !match_tied_head(m, entry)) return match_missing(m, c, "target_modules", entry);
    }
    for (size_t i = 0; i < json_array_size(saved); i++) {
        bool any = false;
        const char *entry = json_string_value(json_array_get(saved, i));
        for (int k = 0; k < m->slots.n && !any; k++) {
            char name[PF_MAX_NAME];
            pfi_adapter_path(m, k, name);
            any = match_saves_entry(name, entry);
        }
        if (!any && !match_tied_head(m, entry)) return match_missing(m, c, "modules_to_save", entry);
    }
    return PF_OK;
}
