/* Rotary position embeddings of config.json as frequencies: default, linear, dynamic, llama3, yarn, longrope
 * (formulas as transformers/modeling_rope_utils.py has them). */
#include <math.h>

#include "model/family.h"

/* One object of parameters while it is read. */
typedef struct rope_read {
    pf_ctx *ctx;
    json_t *json; /* the parameters; NULL if there are none */
    char place[288];
    int64_t channels, context;
    double theta, factor, original, attention;
} rope_read;

/* a parameter; *out stays if it is absent, and must be above 0 afterwards */
static pf_status rope_number(const rope_read *r, const char *key, double *out) {
    if (r->json) PF_TRY(pfi_json_number_opt(r->ctx, r->json, key, r->place, out));
    if (*out > 0 && isfinite(*out)) return PF_OK;
    return pfi_fail(r->ctx, PF_FORMAT, "%s: %s must be a number above 0", r->place, key);
}

/* the same without a default */
static pf_status rope_needed(const rope_read *r, const char *key, double *out) {
    PF_TRY(pfi_json_number(r->ctx, r->json, key, r->place, out));
    return rope_number(r, key, out);
}

static pf_status rope_refuse_unknown(const rope_read *r) {
    static const char *const known[] = {"rope_theta",
                                        "rope_type",
                                        "type",
                                        "partial_rotary_factor",
                                        "factor",
                                        "original_max_position_embeddings",
                                        "beta_fast",
                                        "beta_slow",
                                        "mscale",
                                        "mscale_all_dim",
                                        "truncate",
                                        "attention_factor",
                                        "long_factor",
                                        "short_factor",
                                        "low_freq_factor",
                                        "high_freq_factor"};
    const char *key;
    json_t *value;
    json_object_foreach(r->json, key, value) {
        bool found = json_is_null(value);
        for (int i = 0; !found && i < PFI_COUNT(known); i++) found = strcmp(key, known[i]) == 0;
        if (!found)
            return pfi_fail(r->ctx, PF_UNSUPPORTED, "%s: key \"%s\" is not known and may change the mathematics",
                            r->place, key);
    }
    return PF_OK;
}

/* ---- the types ---- */

static void rope_plain(const rope_read *r, double divisor, double *freq) {
    for (int64_t j = 0; j < r->channels / 2; j++)
        freq[j] = pow(r->theta, -2.0 * (double)j / (double)r->channels) / divisor;
}

static pf_status rope_default(rope_read *r, pfi_rope *out) {
    rope_plain(r, 1, out->freq[0]);
    return PF_OK;
}

static pf_status rope_linear(rope_read *r, pfi_rope *out) {
    PF_TRY(rope_needed(r, "factor", &r->factor));
    rope_plain(r, r->factor, out->freq[0]);
    return PF_OK;
}

/* Differs from default only for sequences beyond max_position_embeddings, and such are refused everywhere. */
static pf_status rope_dynamic(rope_read *r, pfi_rope *out) {
    PF_TRY(rope_needed(r, "factor", &r->factor));
    return rope_default(r, out);
}

/* Long waves are stretched by factor, short ones stay, with a smooth change between (arXiv 2407.21783). */
static pf_status rope_llama3(rope_read *r, pfi_rope *out) {
    double low = 0, high = 0;
    PF_TRY(rope_needed(r, "factor", &r->factor));
    PF_TRY(rope_needed(r, "low_freq_factor", &low));
    PF_TRY(rope_needed(r, "high_freq_factor", &high));
    rope_plain(r, 1, out->freq[0]);
    for (int64_t j = 0; j < r->channels / 2; j++) {
        double *f = &out->freq[0][j], turns = r->original * *f / (2 * M_PI);
        double smooth = (turns - low) / (high - low);
        if (turns < low)
            *f /= r->factor;
        else if (turns <= high)
            *f = (1 - smooth) * *f / r->factor + smooth * *f;
    }
    return PF_OK;
}

static double yarn_scale(double factor, double mscale) { return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1; }

/* the channel pair that turns `turns` times over the original context */
static double yarn_pair(const rope_read *r, double turns) {
    return (double)r->channels * log(r->original / (turns * 2 * M_PI)) / (2 * log(r->theta));
}

/* Pairs that turn often stay, those that turn rarely are stretched, with a ramp between (arXiv 2309.00071, 3.2). */
static pf_status rope_yarn(rope_read *r, pfi_rope *out) {
    double fast = 32, slow = 1, mscale = 0, mscale_all = 0;
    bool truncate = true;
    PF_TRY(rope_needed(r, "factor", &r->factor));
    PF_TRY(rope_number(r, "beta_fast", &fast));
    PF_TRY(rope_number(r, "beta_slow", &slow));
    PF_TRY(pfi_json_number_opt(r->ctx, r->json, "mscale", r->place, &mscale));
    PF_TRY(pfi_json_number_opt(r->ctx, r->json, "mscale_all_dim", r->place, &mscale_all));
    PF_TRY(pfi_json_bool_opt(r->ctx, r->json, "truncate", r->place, &truncate));
    if (json_is_null(json_object_get(r->json, "truncate"))) truncate = false;
    out->factor = mscale != 0 && mscale_all != 0 ? yarn_scale(r->factor, mscale) / yarn_scale(r->factor, mscale_all)
                                                 : yarn_scale(r->factor, 1);
    if (r->attention > 0) out->factor = r->attention;
    double first = yarn_pair(r, fast), last = yarn_pair(r, slow);
    if (truncate) {
        first = floor(first);
        last = ceil(last);
    }
    first = fmax(first, 0);
    last = fmin(last, (double)r->channels - 1);
    if (first == last) last += 0.001;
    rope_plain(r, 1, out->freq[0]);
    for (int64_t j = 0; j < r->channels / 2; j++) {
        double ramp = fmin(fmax(((double)j - first) / (last - first), 0), 1);
        out->freq[0][j] = out->freq[0][j] / r->factor * ramp + out->freq[0][j] * (1 - ramp);
    }
    return PF_OK;
}

static pf_status rope_divide(const rope_read *r, const char *key, double *freq) {
    json_t *list = NULL;
    PF_TRY(pfi_json_array(r->ctx, r->json, key, r->place, &list));
    if ((int64_t)json_array_size(list) != r->channels / 2)
        return pfi_fail(r->ctx, PF_FORMAT,
                        "%s: %s has %zu numbers, expected %lld: one for each pair of channels that turn", r->place, key,
                        json_array_size(list), (long long)(r->channels / 2));
    for (size_t j = 0; j < json_array_size(list); j++) {
        double x = json_number_value(json_array_get(list, j));
        if (!(x > 0)) return pfi_fail(r->ctx, PF_FORMAT, "%s: number %zu of %s must be above 0", r->place, j + 1, key);
        freq[j] /= x;
    }
    return PF_OK;
}

/* Each pair has a divisor of its own, and another one for sequences beyond the original context (arXiv 2402.13753). */
static pf_status rope_longrope(rope_read *r, pfi_rope *out) {
    r->factor = (double)r->context / r->original;
    PF_TRY(rope_number(r, "factor", &r->factor));
    for (int i = 0; i < 2; i++) {
        rope_plain(r, 1, out->freq[i]);
        PF_TRY(rope_divide(r, i ? "long_factor" : "short_factor", out->freq[i]));
    }
    out->original = (int64_t)r->original;
    out->factor = r->factor <= 1 ? 1 : sqrt(1 + log(r->factor) / log(r->original));
    if (r->attention > 0) out->factor = r->attention;
    return PF_OK;
}

/* ---- reading ---- */

static const struct {
    const char *name;
    pf_status (*set)(rope_read *r, pfi_rope *out);
} rope_types[] = {{"default", rope_default}, {"linear", rope_linear}, {"dynamic", rope_dynamic},
                  {"llama3", rope_llama3},   {"yarn", rope_yarn},     {"longrope", rope_longrope},
                  {"su", rope_longrope}};

static pf_status rope_by_type(rope_read *r, const char *type, pfi_rope *out) {
    for (int i = 0; i < PFI_COUNT(rope_types); i++)
        if (strcmp(type, rope_types[i].name) == 0) return rope_types[i].set(r, out);
    return pfi_fail(r->ctx, PF_UNSUPPORTED,
                    "%s of type \"%s\" is not supported; supported: default, linear, dynamic, llama3, yarn, longrope",
                    r->place, type);
}

/* The context before it was stretched. A family with a default (Phi-3) has the number at the top of the file: what
 * stands among the parameters alone does not count there for transformers. */
static pf_status rope_original(rope_read *r, json_t *json, const char *file, double usual) {
    const double inner = r->original;
    PF_TRY(pfi_json_number_opt(r->ctx, json, "original_max_position_embeddings", file, &r->original));
    if (usual > 0 && inner != usual && !json_is_number(json_object_get(json, "original_max_position_embeddings")))
        return pfi_fail(r->ctx, PF_UNSUPPORTED,
                        "%s: original_max_position_embeddings is %g here and missing outside, which means %g to "
                        "transformers; write what is meant at the top of the file",
                        r->place, inner, usual);
    return PF_OK;
}

pf_status pfi_rope_set(pf_ctx *ctx, json_t *json, json_t *params, const char *file, const char *place,
                       pfi_rope_base base, pfi_config *c, pfi_rope *out) {
    rope_read r = {.ctx = ctx, .json = params, .context = c->context, .theta = base.theta};
    snprintf(r.place, sizeof r.place, "%s: %s", file, place);
    const char *type = "default";
    if (base.theta_key) PF_TRY(pfi_json_number_opt(ctx, json, base.theta_key, file, &r.theta));
    if (base.partial_key) PF_TRY(pfi_json_number_opt(ctx, json, base.partial_key, file, &base.partial));
    r.original = base.original > 0 ? base.original : (double)c->context;
    if (params) {
        PF_TRY(rope_refuse_unknown(&r));
        PF_TRY(pfi_json_string_opt(ctx, params, "type", file, &type));
        PF_TRY(pfi_json_string_opt(ctx, params, "rope_type", file, &type));
        if (base.yarn_is_longrope && strcmp(type, "yarn") == 0) type = "longrope";
        PF_TRY(pfi_json_number_opt(ctx, params, "partial_rotary_factor", r.place, &base.partial));
        PF_TRY(pfi_json_number_opt(ctx, params, "attention_factor", r.place, &r.attention));
        PF_TRY(rope_number(&r, "original_max_position_embeddings", &r.original));
    }
    PF_TRY(rope_original(&r, json, file, base.original));
    PF_TRY(rope_number(&r, "rope_theta", &r.theta));
    if (!base.partial_key && base.partial != 1)
        return pfi_fail(ctx, PF_UNSUPPORTED, "%s: partial_rotary_factor is %g, which this family does not have",
                        r.place, base.partial);
    if (!(base.partial > 0 && base.partial <= 1))
        return pfi_fail(ctx, PF_FORMAT, "%s: the share of rotary channels is %g, expected above 0 and at most 1",
                        r.place, base.partial);
    r.channels = (int64_t)((double)c->head_dim * base.partial);
    if (r.channels < 2 || r.channels % 2 || r.channels > PFI_MAX_ROTARY)
        return pfi_fail(ctx, PF_UNSUPPORTED, "%s: %lld rotary channels a head, expected an even number of at most %d",
                        r.place, (long long)r.channels, PFI_MAX_ROTARY);
    out->channels = r.channels;
    out->theta = r.theta;
    out->factor = 1;
    PF_TRY(rope_by_type(&r, type, out));
    bool finite = isfinite(out->factor);
    for (int64_t j = 0; j < r.channels / 2; j++)
        finite = finite && isfinite(out->freq[0][j]) && isfinite(out->freq[1][j]);
    if (!finite) return pfi_fail(ctx, PF_FORMAT, "%s: these numbers give no finite frequencies", r.place);
    if (strcmp(type, "yarn") == 0) c->context = PFI_MAX(c->context, (int64_t)(r.original * r.factor));
    return PF_OK;
}

pf_status pfi_config_rope(pf_ctx *ctx, json_t *json, const char *file, pfi_rope_base base, pfi_config *c,
                          pfi_rope *out) {
    json_t *new = NULL, *old = NULL;
    PF_TRY(pfi_json_object_opt(ctx, json, "rope_parameters", file, &new));
    PF_TRY(pfi_json_object_opt(ctx, json, "rope_scaling", file, &old));
    if (json_object_size(old) == 0) old = NULL;
    return pfi_rope_set(ctx, json, old ? old : new, file, old ? "rope_scaling" : "rope_parameters", base, c, out);
}
