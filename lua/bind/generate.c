/* Sampling from a model. */
#include <stdint.h>

#include "bind.h"

typedef struct generate_box {
    pf_ctx *ctx;
    pf_sample *s;
    size_t n;
} generate_box;

static int generate_gc(lua_State *L) {
    generate_box *b = lua_touserdata(L, 1);
    if (b->s) pf_samples_free(b->ctx, b->s, b->n);
    b->s = NULL;
    return 0;
}

/* the option "stop": a text or a list of texts; what it points to is held by the options */
static const char *const *generate_push_stop(lua_State *L, int idx, int *n) {
    *n = 0;
    int type = lua_istable(L, idx) ? lua_getfield(L, idx, "stop") : LUA_TNIL;
    if (type == LUA_TSTRING) {
        lua_createtable(L, 1, 0);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 1);
    } else if (type == LUA_TNIL) {
        return NULL;
    } else if (type != LUA_TTABLE) {
        lpf_error(L, "generate: stop must be a text or a list of texts, got %s", lpf_typename(L, -1));
    }
    *n = (int)luaL_len(L, -1);
    const char **stop = lua_newuserdatauv(L, (size_t)(*n + 1) * sizeof *stop, 0);
    for (int i = 0; i < *n; i++) {
        lua_geti(L, -2, i + 1);
        if (lua_type(L, -1) != LUA_TSTRING) lpf_error(L, "generate: stop text %d is %s", i + 1, lpf_typename(L, -1));
        stop[i] = lua_tostring(L, -1); /* held by the list */
        lua_pop(L, 1);
    }
    return stop;
}

/* an option that names a type */
static pf_dtype generate_dtype(lua_State *L, int idx, const char *name, pf_dtype standard) {
    if (lua_istable(L, idx) && lua_getfield(L, idx, name) != LUA_TNIL) {
        if (lua_type(L, -1) != LUA_TSTRING) lpf_error(L, "generate: %s must be a name, \"float32\"", name);
        standard = lpf_check_dtype(L, lua_tostring(L, -1));
    }
    return standard;
}

static pf_generate_options generate_push_options(lua_State *L, int idx) {
    static const char *const names[] = {"n",        "max_tokens", "temperature", "top_p",    "top_k",   "min_p", "stop",
                                        "stop_ids", "seed",       "batch",       "on_token", "compute", "kv",    NULL};
    const char *w = "generate";
    lpf_check_options(L, idx, w, names);
    pf_generate_options o = pf_generate_defaults();
    o.samples = (int)lpf_check_integer(L, idx, w, "n", o.samples);
    o.max_tokens = (int)lpf_check_integer(L, idx, w, "max_tokens", o.max_tokens);
    o.temperature = lpf_check_number(L, idx, w, "temperature", o.temperature);
    o.top_p = lpf_check_number(L, idx, w, "top_p", o.top_p);
    o.top_k = (int)lpf_check_integer(L, idx, w, "top_k", o.top_k);
    o.min_p = lpf_check_number(L, idx, w, "min_p", o.min_p);
    o.seed = (uint64_t)lpf_check_integer(L, idx, w, "seed", (int64_t)o.seed);
    o.batch = (int)lpf_check_integer(L, idx, w, "batch", o.batch);
    o.compute = generate_dtype(L, idx, "compute", o.compute);
    o.kv = generate_dtype(L, idx, "kv", o.kv);
    o.stop = generate_push_stop(L, idx, &o.n_stop);
    if (lua_istable(L, idx) && lua_getfield(L, idx, "stop_ids") != LUA_TNIL) {
        size_t n;
        o.stop_ids = lpf_push_ids(L, -1, "generate: stop_ids", &n);
        o.n_stop_ids = (int)n;
    }
    return o;
}

static void generate_push_sample(lua_State *L, const pf_sample *s) {
    static const char *const finish[] = {"eos", "stop", "length", "cancelled"};
    lua_createtable(L, 0, 4);
    lua_createtable(L, (int)s->n, 0);
    for (size_t i = 0; i < s->n; i++) {
        lua_pushinteger(L, s->ids[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "ids");
    lua_createtable(L, (int)s->n, 0);
    for (size_t i = 0; i < s->n; i++) {
        lua_pushnumber(L, (lua_Number)s->logp[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "logp");
    if (s->text) {
        lua_pushlstring(L, s->text, s->text_len);
        lua_setfield(L, -2, "text");
    }
    lua_pushstring(L, finish[s->finish]);
    lua_setfield(L, -2, "finish");
}

/* ---- telling of tokens: nothing may be raised through the library ---- */

typedef struct generate_teller {
    lua_State *L;
    int f, error; /* stack slots of the user's function, and of what it raised */
    bool failed;
} generate_teller;

/* (token, the user's function) -> does the sample go on? */
static int generate_call(lua_State *L) {
    const pf_token *t = lua_touserdata(L, 1);
    lua_settop(L, 2);
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, (lua_Integer)t->prompt + 1);
    lua_setfield(L, -2, "prompt");
    lua_pushinteger(L, t->sample + 1);
    lua_setfield(L, -2, "sample");
    lua_pushinteger(L, t->id);
    lua_setfield(L, -2, "id");
    lua_pushnumber(L, (lua_Number)t->logp);
    lua_setfield(L, -2, "logp");
    lua_pushlstring(L, t->text, t->text_len);
    lua_setfield(L, -2, "text");
    lua_pushboolean(L, t->last);
    lua_setfield(L, -2, "last");
    lua_call(L, 1, 1);
    lua_pushboolean(L, !lua_isboolean(L, -1) || lua_toboolean(L, -1));
    return 1;
}

static bool generate_tell(void *ud, const pf_token *t) {
    generate_teller *c = ud;
    lua_State *L = c->L;
    if (c->failed) return false;
    lua_pushcfunction(L, generate_call);
    lua_pushlightuserdata(L, (void *)(uintptr_t)t);
    lua_pushvalue(L, c->f);
    c->failed = lua_pcall(L, 2, 1, 0) != LUA_OK;
    bool more = !c->failed && lua_toboolean(L, -1);
    if (c->failed) lua_copy(L, -1, c->error);
    lua_pop(L, 1);
    return more;
}

/* the option "on_token": function(token) that may return false; two slots on the stack */
static void generate_push_teller(lua_State *L, int idx, generate_teller *c, pf_generate_options *o) {
    int type = lua_istable(L, idx) ? lua_getfield(L, idx, "on_token") : (lua_pushnil(L), LUA_TNIL);
    if (type != LUA_TNIL && type != LUA_TFUNCTION)
        lpf_error(L, "generate: on_token must be a function, got %s", lpf_typename(L, -1));
    lua_pushnil(L);
    *c = (generate_teller){.L = L, .f = lua_gettop(L) - 1, .error = lua_gettop(L)};
    if (type == LUA_TNIL) return;
    o->on_token = generate_tell;
    o->ud = c;
}

/* generate(model, list of lists of ids, options) -> for each prompt a list of samples */
static int generate_run(lua_State *L) {
    pf_model *m = lpf_check_model(L, 1);
    size_t n;
    lua_settop(L, 3);
    generate_teller c;
    pf_generate_options o = generate_push_options(L, 3);
    generate_push_teller(L, 3, &c, &o);
    pf_sequence *prompts = lpf_push_sequences(L, 2, "generate", &n);
    generate_box *b = lua_newuserdatauv(L, sizeof *b, 0);
    *b = (generate_box){lpf_ctx(L), NULL, n * (size_t)(o.samples > 0 ? o.samples : 0)};
    lpf_push_class(L, "pofit.samples", generate_gc);
    lua_setmetatable(L, -2);
    luaL_checkstack(L, 4, "generate");
    pf_status s = pf_generate(m, prompts, n, &o, &b->s);
    if (c.failed) {
        lua_settop(L, c.error);
        return lua_error(L);
    }
    lpf_check(L, s);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_createtable(L, o.samples, 0);
        for (int k = 0; k < o.samples; k++) {
            generate_push_sample(L, &b->s[i * (size_t)o.samples + (size_t)k]);
            lua_rawseti(L, -2, k + 1);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

void lpf_open_generate(lua_State *L) {
    lua_pushcfunction(L, generate_run);
    lua_setfield(L, -2, "generate");
}
