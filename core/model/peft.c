/* adapter_config.json: read, checked, completed. Nothing that changes the mathematics is ignored. */
#include "model/adapter.h"

#include "model/family.h"

/* what is written when nothing else is said; the values are PEFT's */
static const char peft_defaults[] =
    "{\"alpha_pattern\":{},\"auto_mapping\":null,\"base_model_name_or_path\":null,\"bias\":\"none\","
    "\"exclude_modules\":null,\"fan_in_fan_out\":false,\"init_lora_weights\":true,\"layer_replication\":null,"
    "\"layers_pattern\":null,\"layers_to_transform\":null,\"loftq_config\":{},\"lora_alpha\":8,\"lora_bias\":false,"
    "\"lora_dropout\":0.0,\"megatron_config\":null,\"megatron_core\":\"megatron.core\",\"modules_to_save\":null,"
    "\"peft_type\":\"LORA\",\"r\":8,\"rank_pattern\":{},\"revision\":null,\"target_modules\":null,"
    "\"task_type\":\"CAUSAL_LM\",\"use_dora\":false,\"use_rslora\":false}";

/* keys that are read, or that say nothing about the forward pass; any other must not be active */
static const char *const peft_known[] = {
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "ensure_weight_tying",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "target_modules",
    "task_type",
    "use_dora",
    "use_rslora",
};

static bool peft_active(const json_t *v) {
    if (json_is_null(v) || json_is_false(v)) return false;
    if (json_is_string(v)) return json_string_length(v) > 0;
    if (json_is_array(v)) return json_array_size(v) > 0;
    return !json_is_object(v) || json_object_size(v) > 0;
}

static pf_status peft_check_keys(pf_ctx *ctx, const pfi_adapter_config *c) {
    const char *key;
    json_t *value;
    json_object_foreach(c->json, key, value) {
        bool known = !peft_active(value);
        for (int i = 0; !known && i < PFI_COUNT(peft_known); i++) known = strcmp(key, peft_known[i]) == 0;
        if (known) continue;
        const char *near = pfi_nearest(key, peft_known, PFI_COUNT(peft_known));
        return pfi_fail(ctx, PF_UNSUPPORTED,
                        "%s: \"%s\" is %s, which is not supported; pofit refuses it rather than ignore it%s%s%s",
                        c->what, key, PFI_JSON_FOUND(value), near ? " (did you mean \"" : "", near ? near : "",
                        near ? "\"?)" : "");
    }
    return PF_OK;
}

/* the value of key is word, or it is refused */
static pf_status peft_must_be(pf_ctx *ctx, const pfi_adapter_config *c, const char *key, const char *word) {
    const char *is = word;
    PF_TRY(pfi_json_string_opt(ctx, c->json, key, c->what, &is));
    if (strcmp(is, word) == 0) return PF_OK;
    return pfi_fail(ctx, PF_UNSUPPORTED, "%s: %s \"%s\" is not supported; expected \"%s\"", c->what, key, is, word);
}

/* null, a text if text is allowed, or a list of texts */
static pf_status peft_names(pf_ctx *ctx, const pfi_adapter_config *c, const char *key, bool text) {
    const json_t *v = json_object_get(c->json, key), *item;
    size_t i;
    bool ok = json_is_null(v) || json_is_array(v) || (text && json_is_string(v));
    if (json_is_array(v)) json_array_foreach(v, i, item) ok = ok && json_is_string(item) && json_string_length(item);
    if (ok) return PF_OK;
    return pfi_fail(ctx, PF_FORMAT, "%s: %s is %s; expected a list of module names%s", c->what, key, PFI_JSON_FOUND(v),
                    text ? " or a text" : "");
}

static bool peft_is_all_linear(const json_t *targets) {
    return json_is_string(targets) && strcasecmp(json_string_value(targets), "all-linear") == 0;
}

static pf_status peft_layers(pf_ctx *ctx, const pfi_adapter_config *c) {
    const json_t *v = json_object_get(c->json, "layers_to_transform"), *item;
    size_t i;
    bool ok = json_is_null(v) || json_is_integer(v) || json_is_array(v);
    if (json_is_array(v)) json_array_foreach(v, i, item) ok = ok && json_is_integer(item);
    if (!ok)
        return pfi_fail(ctx, PF_FORMAT, "%s: layers_to_transform is %s; expected a layer number or a list of them",
                        c->what, PFI_JSON_FOUND(v));
    const json_t *targets = json_object_get(c->json, "target_modules");
    if ((json_is_integer(v) || json_array_size(v)) && json_is_string(targets) && !peft_is_all_linear(targets))
        return pfi_fail(ctx, PF_UNSUPPORTED,
                        "%s: layers_to_transform needs target_modules to be a list; a regular expression can name the "
                        "layers itself",
                        c->what);
    return PF_OK;
}

/* rank_pattern: whole numbers from 1; alpha_pattern: numbers */
static pf_status peft_pattern(pf_ctx *ctx, const pfi_adapter_config *c, const char *name, bool whole) {
    const char *key;
    json_t *value, *all = NULL;
    PF_TRY(pfi_json_object(ctx, c->json, name, c->what, &all));
    json_object_foreach(all, key, value) {
        bool ok = whole ? json_is_integer(value) && json_integer_value(value) >= 1 : json_is_number(value);
        if (!ok)
            return pfi_fail(ctx, PF_FORMAT, "%s: %s: \"%s\" is %s; expected a %s", c->what, name, key,
                            PFI_JSON_FOUND(value), whole ? "rank from 1" : "number");
    }
    return PF_OK;
}

static pf_status peft_init(pf_ctx *ctx, pfi_adapter_config *c) {
    static const char *const harmless[] = {"gaussian", "eva", "orthogonal"}; /* the base is what it was */
    const json_t *v = json_object_get(c->json, "init_lora_weights");
    c->init = json_string_value(v);
    c->zero_b = !json_is_false(v);
    if (json_is_boolean(v)) return PF_OK;
    for (int i = 0; c->init && i < PFI_COUNT(harmless); i++)
        if (strcmp(c->init, harmless[i]) == 0) return PF_OK;
    return pfi_fail(ctx, PF_UNSUPPORTED,
                    "%s: init_lora_weights is %s, which is not supported (pissa, olora and their like change the base "
                    "weights: let PEFT convert the adapter to plain LoRA first)",
                    c->what, PFI_JSON_FOUND(v));
}

static pf_status peft_read(pf_ctx *ctx, pfi_adapter_config *c) {
    const json_t *j = c->json;
    PF_TRY(peft_check_keys(ctx, c));
    PF_TRY(peft_must_be(ctx, c, "peft_type", "LORA"));
    PF_TRY(peft_must_be(ctx, c, "task_type", "CAUSAL_LM"));
    PF_TRY(peft_must_be(ctx, c, "bias", "none"));
    PF_TRY(pfi_json_int(ctx, j, "r", c->what, &c->rank));
    PF_TRY(pfi_json_number(ctx, j, "lora_alpha", c->what, &c->alpha));
    PF_TRY(pfi_json_number(ctx, j, "lora_dropout", c->what, &c->dropout));
    PF_TRY(pfi_json_bool_opt(ctx, j, "use_rslora", c->what, &c->rslora));
    PF_TRY(pfi_json_bool_opt(ctx, j, "use_dora", c->what, &c->dora));
    if (c->rank < 1 || c->rank > 1 << 16)
        return pfi_fail(ctx, PF_RANGE, "%s: r is %lld, expected a rank from 1 to 65536", c->what, (long long)c->rank);
    if (!(c->dropout >= 0 && c->dropout < 1))
        return pfi_fail(ctx, PF_RANGE, "%s: lora_dropout is %g, expected at least 0 and below 1", c->what, c->dropout);
    PF_TRY(peft_names(ctx, c, "target_modules", true));
    PF_TRY(peft_names(ctx, c, "exclude_modules", true));
    PF_TRY(peft_names(ctx, c, "layers_pattern", true));
    PF_TRY(peft_names(ctx, c, "modules_to_save", false));
    PF_TRY(peft_layers(ctx, c));
    PF_TRY(peft_pattern(ctx, c, "rank_pattern", true));
    PF_TRY(peft_pattern(ctx, c, "alpha_pattern", false));
    return peft_init(ctx, c);
}

/* ---- targets that are not listed ---- */

/* PEFT's choice for a kind of model (constants.py), where target_modules is null */
static json_t *peft_usual_targets(const char *model_type) {
    static const struct {
        const char *type, *target;
    } fused[] = {{"gpt2", "c_attn"}, {"gpt_neox", "query_key_value"}, {"phi3", "qkv_proj"}};
    for (int i = 0; i < PFI_COUNT(fused); i++)
        if (strcmp(fused[i].type, model_type) == 0) return json_pack("[s]", fused[i].target);
    return json_pack("[s, s]", "q_proj", "v_proj");
}

static int peft_compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* "all-linear": the last names of all matrix products but the head, in order */
static pf_status peft_all_linear(const pf_model *m, json_t **out) {
    json_t *set = json_object(), *list = json_array();
    bool ok = set && list;
    for (int i = 0; ok && i < m->slots.n; i++) {
        char module[PF_MAX_NAME];
        const pfi_linear *l = pfi_adapter_linear(m, i, module);
        const char *dot = strrchr(module, '.');
        if (l && l != &m->head) ok = json_object_set_new(set, dot ? dot + 1 : module, json_null()) == 0;
    }
    const size_t n = json_object_size(set);
    const char **name = pfi_calloc(m->ctx, n + 1, sizeof *name), *key;
    json_t *value;
    size_t k = 0;
    json_object_foreach(set, key, value) if (name) name[k++] = key;
    if (name) qsort(name, k, sizeof *name, peft_compare);
    for (size_t i = 0; ok && name && i < k; i++) ok = json_array_append_new(list, json_string(name[i])) == 0;
    pfi_free(m->ctx, name);
    json_decref(set);
    if (ok && name) {
        *out = list;
        return PF_OK;
    }
    json_decref(list);
    return pfi_fail(m->ctx, PF_NOMEM, "not enough memory");
}

pf_status pfi_adapter_complete(const pf_model *m, pfi_adapter_config *c) {
    json_t *targets = json_object_get(c->json, "target_modules"), *list = NULL;
    if (peft_is_all_linear(targets))
        PF_TRY(peft_all_linear(m, &list));
    else if (json_is_null(targets) && !(list = peft_usual_targets(m->family->model_type)))
        return pfi_fail(m->ctx, PF_NOMEM, "not enough memory");
    if (list && json_object_set_new(c->json, "target_modules", list) != 0)
        return pfi_fail(m->ctx, PF_NOMEM, "not enough memory");
    return PF_OK;
}

pf_status pfi_adapter_config_read(const pf_model *m, const char *text, size_t len, const char *what,
                                  pfi_adapter_config *out) {
    pf_ctx *ctx = m->ctx;
    *out = (pfi_adapter_config){.what = what};
    out->json = pfi_json_parse_unique(ctx, text, len, what);
    if (!out->json) return ctx->code;
    json_t *defaults = pfi_json_parse(ctx, peft_defaults, sizeof peft_defaults - 1, "defaults");
    pf_status s = defaults ? PF_OK : ctx->code;
    if (s == PF_OK && !json_is_object(out->json)) s = pfi_fail(ctx, PF_FORMAT, "%s: expected a JSON object", what);
    if (s == PF_OK && json_object_update_missing(out->json, defaults) != 0)
        s = pfi_fail(ctx, PF_NOMEM, "not enough memory");
    json_decref(defaults);
    if (s == PF_OK) s = peft_read(ctx, out);
    if (s == PF_OK) s = pfi_adapter_complete(m, out);
    if (s == PF_OK && json_object_set_new(out->json, "inference_mode", json_true()) != 0)
        s = pfi_fail(ctx, PF_NOMEM, "not enough memory");
    if (s != PF_OK) pfi_adapter_config_free(out);
    return s;
}

void pfi_adapter_config_free(pfi_adapter_config *c) {
    json_decref(c->json);
    *c = (pfi_adapter_config){0};
}

typedef struct peft_sink {
    pf_ctx *ctx;
    pfi_buf *out;
    pf_status s; /* jansson does not look at every result of the callback */
} peft_sink;

static int peft_write(const char *text, size_t n, void *ud) {
    peft_sink *sink = ud;
    if (sink->s == PF_OK) sink->s = pfi_buf_add(sink->ctx, sink->out, text, n);
    return sink->s == PF_OK ? 0 : -1;
}

pf_status pfi_adapter_json(pf_ctx *ctx, const json_t *v, bool pretty, pfi_buf *out) {
    const size_t flags = pretty ? JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(15) : JSON_COMPACT;
    peft_sink sink = {ctx, out, PF_OK};
    int failed = json_dump_callback(v, peft_write, &sink, flags);
    PF_TRY(sink.s);
    return failed ? pfi_fail(ctx, PF_NOMEM, "not enough memory") : PF_OK;
}
