/* The state's context, errors, and the table "pofit.core" that the Lua files stand on. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "bind.h"

/* ---- context ---- */

typedef struct core_state {
    pf_ctx *ctx;
    size_t threshold; /* bytes at which Lua's collector is run */
} core_state;

static const char core_key = 0;
enum { CORE_SLACK = 64 << 20, CORE_MAPPED = 64 << 10 };

static core_state *core_find(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &core_key);
    core_state *s = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (!s || !s->ctx) luaL_error(L, "pofit is closed");
    return s;
}

pf_ctx *lpf_ctx(lua_State *L) { return core_find(L)->ctx; }

static int core_gc(lua_State *L) {
    core_state *s = lua_touserdata(L, 1);
    pf_close(s->ctx);
    s->ctx = NULL;
    return 0;
}

static void core_open(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &core_key) == LUA_TUSERDATA) {
        lua_pop(L, 1);
        return;
    }
    core_state *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (core_state){NULL, CORE_SLACK};
    lpf_push_class(L, "pofit.context", core_gc);
    lua_setmetatable(L, -2);
    if (pf_open(&s->ctx, NULL) != PF_OK) luaL_error(L, "not enough memory");
    lua_getfield(L, LUA_REGISTRYINDEX, LPF_INTERRUPT);
    lpf_interrupt *i = lua_touserdata(L, -1);
    if (i) i->ctx = s->ctx;
    lua_pop(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &core_key);
    lua_pop(L, 1);
}

/* Tensors look small to Lua's collector. Their owner counts bytes: run it when they have doubled, or nearly. */
void lpf_push_pressure(lua_State *L) {
    core_state *s = core_find(L);
    size_t used;
    pf_memory(s->ctx, &used, NULL);
    if (used < s->threshold) return;
    lua_gc(L, LUA_GCCOLLECT);
    pf_memory(s->ctx, &used, NULL);
    s->threshold = used + PFI_MAX(used / 2, (size_t)CORE_SLACK);
}

void lpf_push_class(lua_State *L, const char *name, lua_CFunction gc) {
    if (!luaL_newmetatable(L, name)) return;
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__close");
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
}

/* upvalues: methods, property, class name */
static int core_class_index(lua_State *L) {
    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
    lua_settop(L, 2);
    if (lua_tocfunction(L, lua_upvalueindex(2))(L)) return 1;
    return lpf_error_unknown(L, lua_tostring(L, lua_upvalueindex(3)), lua_tostring(L, 2), lua_upvalueindex(1));
}

void lpf_open_class(lua_State *L, const char *name, const char *key, lua_CFunction gc, const luaL_Reg *methods,
                    lua_CFunction property) {
    lpf_push_class(L, name, gc);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_getfield(L, -3, "class");
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, key);
    lua_pop(L, 1);
    lua_pushcfunction(L, property);
    lua_pushfstring(L, "a %s", key);
    lua_pushcclosure(L, core_class_index, 3);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

/* ---- errors ---- */

void lpf_push_where(lua_State *L) {
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline <= 0 || strncmp(ar.source, LPF_CHUNK, strlen(LPF_CHUNK)) == 0) continue;
        lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
        return;
    }
    lua_pushliteral(L, "");
}

int lpf_error(lua_State *L, const char *fmt, ...) {
    lpf_push_where(L);
    va_list ap;
    va_start(ap, fmt);
    lua_pushvfstring(L, fmt, ap);
    va_end(ap);
    lua_concat(L, 2);
    return lua_error(L);
}

int lpf_refuse(lua_State *L, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    lua_pushvfstring(L, fmt, ap);
    va_end(ap);
    return lua_error(L);
}

int lpf_raise(lua_State *L) {
    pf_ctx *ctx = lpf_ctx(L);
    const char *text = pf_errmsg(ctx);
    switch (pf_errcode(ctx)) {
    case PF_NOMEM:
        if (strncmp(text, "not enough memory:", 18) != 0) return lpf_refuse(L, "not enough memory");
        return lpf_error(L, "%s", text);
    case PF_IO:
    case PF_FORMAT:
    case PF_UNSUPPORTED: return lpf_refuse(L, "%s", text);
    default: return lpf_error(L, "%s", text);
    }
}

void lpf_check(lua_State *L, pf_status s) {
    if (s != PF_OK) lpf_raise(L);
}

const char *lpf_typename(lua_State *L, int idx) {
    if (lpf_test_tensor(L, idx)) return "a tensor";
    switch (lua_type(L, idx)) {
    case LUA_TNONE:
    case LUA_TNIL: return "nothing";
    case LUA_TNUMBER: return "a number";
    case LUA_TSTRING: return "a string";
    case LUA_TBOOLEAN: return "a boolean";
    case LUA_TTABLE: return "a table";
    case LUA_TFUNCTION: return "a function";
    default: return "something else";
    }
}

/* ---- nearest names ---- */

/* nearest string of the list at idx, or of the string keys of the table; pushes it or nil */
static void core_push_nearest(lua_State *L, const char *wrong, int idx, bool keys) {
    idx = lua_absindex(L, idx);
    int n = 0;
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) n++;
    const char **names = lua_newuserdatauv(L, (size_t)n * sizeof *names + 1, 0);
    int k = 0;
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
        int at = keys ? -2 : -1;
        if (k < n && lua_type(L, at) == LUA_TSTRING) names[k++] = lua_tostring(L, at);
    }
    /* the order in which a table is walked changes from run to run; the answer must not */
    for (int i = 1; i < k; i++)
        for (int j = i; j > 0 && strcmp(names[j - 1], names[j]) > 0; j--) {
            const char *swap = names[j];
            names[j] = names[j - 1];
            names[j - 1] = swap;
        }
    lua_pushstring(L, pfi_nearest(wrong, names, k));
    lua_remove(L, -2);
}

int lpf_error_unknown(lua_State *L, const char *where, const char *wrong, int idx) {
    core_push_nearest(L, wrong, idx, true);
    const char *near = lua_tostring(L, -1);
    if (near) return lpf_error(L, "%s has no \"%s\"; did you mean \"%s\"?", where, wrong, near);
    return lpf_error(L, "%s has no \"%s\"", where, wrong);
}

void lpf_check_options(lua_State *L, int idx, const char *where, const char *const *names) {
    if (lua_isnoneornil(L, idx)) return;
    if (!lua_istable(L, idx)) lpf_error(L, "%s: options must be a table, got %s", where, lpf_typename(L, idx));
    int n = 0;
    while (names[n]) n++;
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) lpf_error(L, "%s: options are given by name", where);
        const char *key = lua_tostring(L, -2);
        int i = 0;
        while (i < n && strcmp(names[i], key) != 0) i++;
        if (i < n) continue;
        const char *near = pfi_nearest(key, names, n);
        if (near) lpf_error(L, "%s has no option \"%s\"; did you mean \"%s\"?", where, key, near);
        lpf_error(L, "%s has no option \"%s\"", where, key);
    }
}

double lpf_check_number(lua_State *L, int idx, const char *where, const char *name, double value) {
    if (!lua_istable(L, idx)) return value;
    if (lua_getfield(L, idx, name) != LUA_TNIL) {
        if (lua_type(L, -1) != LUA_TNUMBER)
            lpf_error(L, "%s: %s must be a number, got %s", where, name, lpf_typename(L, -1));
        value = lua_tonumber(L, -1);
    }
    lua_pop(L, 1);
    return value;
}

int64_t lpf_check_integer(lua_State *L, int idx, const char *where, const char *name, int64_t value) {
    if (!lua_istable(L, idx)) return value;
    if (lua_getfield(L, idx, name) != LUA_TNIL) {
        int ok;
        value = lua_tointegerx(L, -1, &ok);
        if (!ok || lua_type(L, -1) != LUA_TNUMBER)
            lpf_error(L, "%s: %s must be a whole number, got %s", where, name, lpf_typename(L, -1));
    }
    lua_pop(L, 1);
    return value;
}

/* ---- functions ---- */

static int core_raise(lua_State *L) { return lpf_error(L, "%s", luaL_checkstring(L, 1)); }

static int core_refuse(lua_State *L) { return lpf_refuse(L, "%s", luaL_checkstring(L, 1)); }

static int core_nearest(lua_State *L) {
    const char *wrong = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    core_push_nearest(L, wrong, 2, lua_toboolean(L, 3));
    return 1;
}

static int core_memory(lua_State *L) {
    size_t used, peak;
    pf_memory(lpf_ctx(L), &used, &peak);
    lua_pushinteger(L, (lua_Integer)used);
    lua_pushinteger(L, (lua_Integer)peak);
    return 2;
}

/* memory_high(again) -> bytes in use at most since memory_high(true) was called last, which gives back what waits */
static int core_memory_high(lua_State *L) {
    pf_ctx *ctx = lpf_ctx(L);
    lua_pushinteger(L, (lua_Integer)ctx->high);
    if (lua_toboolean(L, 1)) pfi_trim(ctx);
    return 1;
}

/* memory_limited(): what is held should be what is in use, at the price of page faults. All that waits is given back;
 * large blocks come from the system and go back to it, so that they leave no gaps. */
static int core_memory_limited(lua_State *L) {
    pf_ctx *ctx = lpf_ctx(L);
    pfi_trim(ctx);
#ifdef M_MMAP_THRESHOLD
    ctx->mapped = mallopt(M_MMAP_THRESHOLD, CORE_MAPPED);
    malloc_trim(0);
#endif
    return 0;
}

/* threads([n]) -> how many there are, now n */
static int core_threads(lua_State *L) {
    pf_ctx *ctx = lpf_ctx(L);
    if (!lua_isnoneornil(L, 1)) {
        const lua_Integer n = luaL_checkinteger(L, 1);
        lpf_check(L, pf_set_threads(ctx, n < 0 || n > INT_MAX ? -1 : (int)n));
    }
    lua_pushinteger(L, ctx->threads);
    return 1;
}

static int core_version(lua_State *L) {
    lua_pushstring(L, pf_version());
    return 1;
}

static const luaL_Reg core_functions[] = {
    {"raise", core_raise},
    {"refuse", core_refuse},
    {"nearest", core_nearest},
    {"memory", core_memory},
    {"memory_high", core_memory_high},
    {"memory_limited", core_memory_limited},
    {"threads", core_threads},
    {"version", core_version},
    {"modules", lpf_modules},
    {"source", lpf_source},
    {NULL, NULL},
};

int luaopen_pofit_core(lua_State *L) {
    luaL_checkversion(L);
    core_open(L);
    luaL_newlib(L, core_functions);
    lua_newtable(L);
    lua_setfield(L, -2, "class"); /* methods by class: the Lua files add to them */
    lpf_open_tensor(L);
    lpf_open_create(L);
    lpf_open_op(L);
    lpf_open_grad(L);
    lpf_open_text(L);
    lpf_open_batch(L);
    lpf_open_model(L);
    lpf_open_generate(L);
    lpf_open_train(L);
    lpf_open_profile(L);
    lpf_open_weights(L);
    return 1;
}
