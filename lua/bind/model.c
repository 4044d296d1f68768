/* Models: loading, saving, scoring. */
#include <string.h>

#include "bind.h"
#include "model/adapter.h"

typedef struct model_box {
    pf_model *m;
} model_box;

static int model_gc(lua_State *L) {
    model_box *b = luaL_checkudata(L, 1, LPF_MODEL);
    pf_model_free(b->m);
    b->m = NULL;
    return 0;
}

/* an empty box; its user value will hold the tokenizer */
static model_box *model_push_box(lua_State *L) {
    model_box *b = lua_newuserdatauv(L, sizeof *b, 1);
    b->m = NULL;
    luaL_setmetatable(L, LPF_MODEL);
    return b;
}

static int model_filled(lua_State *L, model_box *b) {
    lpf_push_tokenizer(L, pf_model_tokenizer(b->m));
    lua_setiuservalue(L, -2, 1);
    return 1;
}

pf_model *lpf_check_model(lua_State *L, int idx) {
    model_box *b = luaL_checkudata(L, idx, LPF_MODEL);
    luaL_argcheck(L, b->m, idx, "model was closed");
    return b->m;
}

/* how weights are held, by its name or its short one */
static pf_dtype model_held(lua_State *L, const char *name) {
    static const struct {
        const char *name, *other;
        pf_dtype dtype;
    } held[] = {{"float32", "f32", PF_F32}, {"float64", "f64", PF_F64}, {"bfloat16", "bf16", PF_BF16},
                {"float16", "f16", PF_F16}, {"q8_0", "q8_0", PF_Q8_0},  {"stored", "stored", PF_STORED}};
    for (size_t i = 0; i < sizeof held / sizeof *held; i++)
        if (strcmp(name, held[i].name) == 0 || strcmp(name, held[i].other) == 0) return held[i].dtype;
    lpf_error(L, "weights cannot be held as \"%s\"; dtype is one of: float32 float64 bfloat16 float16 q8_0 stored",
              name);
    return PF_F32;
}

/* model_load(dir, type name) */
static int model_load(lua_State *L) {
    const char *dir = luaL_checkstring(L, 1);
    pf_dtype dtype = model_held(L, luaL_optstring(L, 2, "float32"));
    model_box *b = model_push_box(L);
    lpf_push_pressure(L);
    lpf_check(L, pf_model_load(lpf_ctx(L), dir, dtype, &b->m));
    return model_filled(L, b);
}

/* model_new(text of a config.json, tokenizer or nil, seed) */
static int model_new(lua_State *L) {
    const char *config = luaL_checkstring(L, 1);
    pf_tokenizer *tok = lua_isnoneornil(L, 2) ? NULL : lpf_check_tokenizer(L, 2);
    lua_Integer seed = luaL_optinteger(L, 3, 0);
    model_box *b = model_push_box(L);
    lpf_push_pressure(L);
    lpf_check(L, pf_model_new(lpf_ctx(L), config, tok, (uint64_t)seed, &b->m));
    return model_filled(L, b);
}

/* m:copy() -> a reference: weights of its own that collect no gradients */
static int model_copy(lua_State *L) {
    pf_model *m = lpf_check_model(L, 1);
    model_box *b = model_push_box(L);
    lpf_push_pressure(L);
    lpf_check(L, pf_model_copy(m, &b->m));
    return model_filled(L, b);
}

/* model_reference(m) -> what m was when its training began */
static int model_reference(lua_State *L) {
    pf_model *m = lpf_check_model(L, 1);
    model_box *b = model_push_box(L);
    lpf_push_pressure(L);
    lpf_check(L, pf_model_reference(m, &b->m));
    return model_filled(L, b);
}

/* ---- adapters ---- */

/* model_adapt(m, text of an adapter_config.json, seed) */
static int model_adapt(lua_State *L) {
    pf_model *m = lpf_check_model(L, 1);
    lpf_check(L, pf_model_adapt(m, luaL_checkstring(L, 2), (uint64_t)luaL_optinteger(L, 3, 0)));
    return 0;
}

/* model_load_adapter(m, dir, seed) */
static int model_load_adapter(lua_State *L) {
    pf_model *m = lpf_check_model(L, 1);
    lpf_check(L, pf_model_load_adapter(m, luaL_checkstring(L, 2), (uint64_t)luaL_optinteger(L, 3, 0)));
    return 0;
}

/* m:save_adapter(path): a PEFT directory, or a LoRA file for llama.cpp if path ends with ".gguf" */
static int model_save_adapter(lua_State *L) {
    lpf_check(L, pf_model_save_adapter(lpf_check_model(L, 1), luaL_checkstring(L, 2)));
    return 0;
}

/* model_check_gguf(m): raises what a LoRA file for llama.cpp cannot hold */
static int model_check_gguf(lua_State *L) {
    lpf_check(L, pfi_adapter_check_gguf(lpf_check_model(L, 1)));
    return 0;
}

/* model_drop_adapter(m): the base as it is, still frozen */
static int model_drop_adapter(lua_State *L) {
    pfi_adapter_free(lpf_check_model(L, 1));
    return 0;
}

/* model_merge(m) */
static int model_merge(lua_State *L) {
    lpf_check(L, pf_model_merge(lpf_check_model(L, 1)));
    return 0;
}

/* m:save(path): a directory, or a GGUF file if path ends with ".gguf" */
static int model_save(lua_State *L) {
    lpf_check(L, pf_model_save(lpf_check_model(L, 1), luaL_checkstring(L, 2)));
    return 0;
}

/* m:logits(ids) -> [T, vocab] */
static int model_logits(lua_State *L) {
    pf_model *m = lpf_check_model(L, 1);
    size_t n;
    int32_t *ids = lpf_push_ids(L, 2, "logits", &n);
    lpf_tensor *r = lpf_push_tensor(L);
    r->t = pf_model_logits(m, ids, n);
    return lpf_filled(L, r);
}

/* m:logp(batch[, {stats=true}]) -> [T], and with stats [T, 4] */
static int model_logp(lua_State *L) {
    static const char *const names[] = {"stats", NULL};
    pf_model *m = lpf_check_model(L, 1);
    pf_batch *batch = lpf_check_batch(L, 2);
    bool stats = false;
    lpf_check_options(L, 3, "logp", names);
    if (lua_istable(L, 3)) {
        lua_getfield(L, 3, "stats");
        stats = lua_toboolean(L, -1);
    }
    lpf_tensor *r = lpf_push_tensor(L), *s = stats ? lpf_push_tensor(L) : NULL;
    r->t = pf_model_logp(m, batch, s ? &s->t : NULL);
    lpf_filled(L, r);
    return s ? 2 : 1;
}

/* m:parameters() -> names in order in the list part, tensors by name */
static int model_parameters(lua_State *L) {
    pf_model *m = lpf_check_model(L, 1);
    int n = pf_model_parameter_count(m);
    lua_createtable(L, n, n);
    for (int i = 0; i < n; i++) {
        pf_tensor *t = pf_model_parameter(m, i);
        lua_pushstring(L, pf_tensor_name(t));
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, i + 1);
        lpf_push_tensor(L)->t = pf_tensor_retain(t);
        lua_rawset(L, -3);
    }
    return 1;
}

/* m:fingerprint() -> 16 hexadecimal digits: of configuration and present weights */
static int model_fingerprint(lua_State *L) {
    char text[17];
    lua_Unsigned h = pf_model_fingerprint(lpf_check_model(L, 1));
    for (int i = 15; i >= 0; i--, h >>= 4) text[i] = "0123456789abcdef"[h & 15];
    lua_pushlstring(L, text, 16);
    return 1;
}

static int model_property(lua_State *L) {
    pf_model *m = lpf_check_model(L, 1);
    const char *name = lua_tostring(L, 2);
    if (strcmp(name, "tokenizer") == 0) {
        lua_getiuservalue(L, 1, 1);
        return 1;
    }
    if (strcmp(name, "adapter") == 0) { /* its adapter_config.json */
        lua_pushstring(L, m->adapter ? m->adapter->config : NULL);
        return 1;
    }
    int64_t size = pf_model_size(m, name);
    if (size < 0 && (strcmp(name, "bos_token_id") == 0 || strcmp(name, "eos_token_id") == 0)) {
        lua_pushnil(L); /* there need not be one */
        return 1;
    }
    if (size < 0) return 0;
    lua_pushinteger(L, size);
    return 1;
}

/* ---- the reference's log-probabilities ---- */

typedef struct model_given {
    pf_ctx *ctx;
    float *logp;
} model_given;

static int model_given_gc(lua_State *L) {
    model_given *g = lua_touserdata(L, 1);
    pf_release(g->ctx, g->logp);
    g->logp = NULL;
    return 0;
}

/* reference_logp(model, sequences, cache file or nil) -> [entries] constant; true if they were read */
static int model_reference_logp(lua_State *L) {
    pf_model *m = lpf_check_model(L, 1);
    const char *cache = luaL_optstring(L, 3, NULL);
    size_t n, entries = 0;
    bool cached = false;
    pf_sequence *s = lpf_push_sequences(L, 2, "reference_logp", &n);
    model_given *g = lua_newuserdatauv(L, sizeof *g, 0);
    *g = (model_given){lpf_ctx(L), NULL};
    lpf_push_class(L, "pofit.model.given", model_given_gc);
    lua_setmetatable(L, -2);
    lpf_check(L, pf_reference_logp(m, s, n, cache, &g->logp, &entries, &cached));
    double *v = lua_newuserdatauv(L, (entries + 1) * sizeof *v, 0);
    for (size_t i = 0; i < entries; i++) v[i] = (double)g->logp[i];
    lpf_tensor *r = lpf_push_tensor(L);
    r->t = pf_tensor_from(g->ctx, PF_F32, 1, (int64_t[]){(int64_t)entries}, v, entries);
    lpf_filled(L, r);
    lua_pushboolean(L, cached);
    return 2;
}

static const luaL_Reg model_methods[] = {
    {"copy", model_copy},
    {"save", model_save},
    {"save_adapter", model_save_adapter},
    {"logits", model_logits},
    {"logp", model_logp},
    {"parameters", model_parameters},
    {"fingerprint", model_fingerprint},
    {NULL, NULL},
};

/* what lua/pofit/model.lua and adapter.lua make methods of */
static const luaL_Reg model_functions[] = {
    {"model_load", model_load},
    {"model_new", model_new},
    {"model_reference", model_reference},
    {"model_adapt", model_adapt},
    {"model_load_adapter", model_load_adapter},
    {"model_check_gguf", model_check_gguf},
    {"model_drop_adapter", model_drop_adapter},
    {"model_merge", model_merge},
    {"reference_logp", model_reference_logp},
    {NULL, NULL},
};

void lpf_open_model(lua_State *L) {
    lpf_open_class(L, LPF_MODEL, "model", model_gc, model_methods, model_property);
    luaL_setfuncs(L, model_functions, 0);
}
