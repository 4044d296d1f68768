/* What weight files hold: names, types and shapes, without reading the weights. */
#include "file/weights.h"
#include "file/gguf.h"
#include "model/gguf.h"

#include "bind.h"

typedef struct weights_box {
    pfi_weights *w;
} weights_box;

static int weights_gc(lua_State *L) {
    weights_box *b = lua_touserdata(L, 1);
    pfi_weights_close(b->w);
    b->w = NULL;
    return 0;
}

static void weights_push_tensor(lua_State *L, const pfi_weight *t) {
    lua_createtable(L, 0, 5);
    lua_pushstring(L, t->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, t->file);
    lua_setfield(L, -2, "file");
    lua_pushstring(L, t->dtype);
    lua_setfield(L, -2, "dtype");
    lua_pushinteger(L, (lua_Integer)t->bytes);
    lua_setfield(L, -2, "bytes");
    lua_createtable(L, t->nd, 0);
    for (int i = 0; i < t->nd; i++) {
        lua_pushinteger(L, t->dim[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "shape");
}

/* an array as its number of elements, in a table: they can be many */
static void weights_push_array(lua_State *L, const pfi_gguf *g, const char *key) {
    static const pfi_gguf_type kinds[] = {PFI_GGUF_STRING, PFI_GGUF_I64, PFI_GGUF_F64};
    pfi_gguf_array a = {0};
    for (int i = 0; i < 3 && pfi_gguf_list(g, key, kinds[i], &a) != PF_OK; i++) a.n = 0;
    lua_createtable(L, 0, 1);
    lua_pushinteger(L, (lua_Integer)a.n);
    lua_setfield(L, -2, "n");
}

/* an integer, or above 2^63 - 1 a float */
static void weights_push_int(lua_State *L, const pfi_gguf *g, const char *key) {
    double x;
    int64_t n;
    lpf_check(L, pfi_gguf_number(g, key, &x));
    if (x >= 0x1p63) {
        lua_pushnumber(L, x);
        return;
    }
    lpf_check(L, pfi_gguf_int(g, key, &n));
    lua_pushinteger(L, n);
}

static void weights_push_value(lua_State *L, const pfi_gguf *g, const char *key, pfi_gguf_type type) {
    bool yes;
    double x;
    size_t len;
    const char *text;
    switch (type) {
    case PFI_GGUF_ARRAY: weights_push_array(L, g, key); break;
    case PFI_GGUF_BOOL:
        lpf_check(L, pfi_gguf_bool(g, key, &yes));
        lua_pushboolean(L, yes);
        break;
    case PFI_GGUF_STRING:
        lpf_check(L, pfi_gguf_string(g, key, &text, &len));
        lua_pushlstring(L, text, len);
        break;
    case PFI_GGUF_F32:
    case PFI_GGUF_F64:
        lpf_check(L, pfi_gguf_number(g, key, &x));
        lua_pushnumber(L, x);
        break;
    default: weights_push_int(L, g, key); break;
    }
}

/* weights(directory or file) -> list of {name=, file=, dtype=, bytes=, shape=}; of a GGUF file with meta = its metadata
 * by key, arrays as {n=} */
static int weights_list(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    weights_box *b = lua_newuserdatauv(L, sizeof *b, 0);
    b->w = NULL;
    lpf_push_class(L, "pofit.weights", weights_gc);
    lua_setmetatable(L, -2);
    lpf_check(L, pfi_weights_open(lpf_ctx(L), path, &b->w));
    size_t n = pfi_weights_count(b->w);
    lua_createtable(L, (int)n, 1);
    for (size_t i = 0; i < n; i++) {
        weights_push_tensor(L, pfi_weights_at(b->w, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    const pfi_gguf *g = pfi_weights_gguf(b->w);
    if (!g) return 1;
    lua_newtable(L);
    for (size_t i = 0; i < pfi_gguf_keys(g); i++) {
        pfi_gguf_type type;
        const char *key = pfi_gguf_key(g, i, &type);
        lua_pushstring(L, key);
        weights_push_value(L, g, key, type);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "meta");
    return 1;
}

/* weights_convert(directory or file, directory to write, type or nil, bytes of a shard or nil) */
static int weights_convert(lua_State *L) {
    const char *from = luaL_checkstring(L, 1), *to = luaL_checkstring(L, 2);
    pf_dtype type = lua_isnoneornil(L, 3) ? PF_DTYPES : lpf_check_dtype(L, luaL_checkstring(L, 3));
    lpf_check(L, pfi_weights_convert(lpf_ctx(L), from, to, type, (size_t)luaL_optinteger(L, 4, 0)));
    return 0;
}

/* model_save_gguf(model, path, type) */
static int weights_save_gguf(lua_State *L) {
    pf_model *m = lpf_check_model(L, 1);
    const char *path = luaL_checkstring(L, 2);
    lpf_check(L, pfi_model_save_gguf(m, path, lpf_check_dtype(L, luaL_checkstring(L, 3))));
    return 0;
}

void lpf_open_weights(lua_State *L) {
    lua_pushcfunction(L, weights_save_gguf);
    lua_setfield(L, -2, "model_save_gguf");
    lua_pushcfunction(L, weights_convert);
    lua_setfield(L, -2, "weights_convert");
    lua_pushcfunction(L, weights_list);
    lua_setfield(L, -2, "weights");
}
