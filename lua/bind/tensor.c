/* Tensors as Lua sees them: the box, its properties and methods. Operations are in op.c. */
#include <stdio.h>
#include <string.h>

#include "bind.h"

/* ---- the box ---- */

static int tensor_gc(lua_State *L) {
    lpf_tensor *b = luaL_checkudata(L, 1, LPF_TENSOR);
    pf_tensor *t = b->t;
    b->t = NULL;
    pf_tensor_free(t);
    return 0;
}

lpf_tensor *lpf_push_tensor(lua_State *L) {
    lpf_push_pressure(L);
    lpf_tensor *b = lua_newuserdatauv(L, sizeof *b, 0);
    *b = (lpf_tensor){NULL, false};
    luaL_setmetatable(L, LPF_TENSOR);
    return b;
}

int lpf_filled(lua_State *L, lpf_tensor *b) {
    if (!b->t) lpf_raise(L);
    return 1;
}

lpf_tensor *lpf_test_tensor(lua_State *L, int idx) {
    lpf_tensor *b = luaL_testudata(L, idx, LPF_TENSOR);
    return b && b->t ? b : NULL;
}

lpf_tensor *lpf_check_tensor(lua_State *L, int idx) {
    lpf_tensor *b = luaL_checkudata(L, idx, LPF_TENSOR);
    luaL_argcheck(L, b->t, idx, "tensor was closed");
    return b;
}

bool lpf_is_real(const pf_tensor *t) { return pf_tensor_dtype(t) == PF_F32 || pf_tensor_dtype(t) == PF_F64; }

static const char *const tensor_types[] = {"float32", "float64", "int32", "bfloat16", "float16", "q8_0", "q4_0",
                                           "q4_1",    "q5_0",    "q5_1",  "q4_k",     "q5_k",    "q6_k", NULL};

pf_dtype lpf_check_dtype(lua_State *L, const char *name) {
    for (int i = 0; tensor_types[i]; i++)
        if (strcmp(tensor_types[i], name) == 0) return (pf_dtype)i;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int i = 0; tensor_types[i]; i++) {
        luaL_addstring(&b, " ");
        luaL_addstring(&b, tensor_types[i]);
    }
    luaL_pushresult(&b);
    lpf_error(L, "there is no type \"%s\"; it is one of:%s", name, lua_tostring(L, -1));
    return PF_F32;
}

/* ---- values ---- */

/* push all values in row order as a block of doubles */
static double *tensor_push_all(lua_State *L, const lpf_tensor *b) {
    size_t n = pf_tensor_numel(b->t);
    double *v = lua_newuserdatauv(L, (n + 1) * sizeof *v, 0);
    lpf_check(L, pf_tensor_read(b->t, v, n));
    return v;
}

static void tensor_push_value(lua_State *L, const lpf_tensor *b, double v) {
    if (pf_tensor_dtype(b->t) == PF_I32)
        lua_pushinteger(L, (lua_Integer)v + b->positions);
    else
        lua_pushnumber(L, v);
}

static const double *tensor_push_nested(lua_State *L, const lpf_tensor *b, int dim, const double *v) {
    if (dim == pf_tensor_ndim(b->t)) {
        tensor_push_value(L, b, *v);
        return v + 1;
    }
    int n = (int)pf_tensor_dim(b->t, dim);
    luaL_checkstack(L, 4, "tensor");
    lua_createtable(L, n, 0);
    for (int i = 1; i <= n; i++) {
        v = tensor_push_nested(L, b, dim + 1, v);
        lua_rawseti(L, -2, i);
    }
    return v;
}

static int tensor_totable(lua_State *L) {
    lpf_tensor *b = lpf_check_tensor(L, 1);
    tensor_push_nested(L, b, 0, tensor_push_all(L, b));
    return 1;
}

static int tensor_item(lua_State *L) {
    lpf_tensor *b = lpf_check_tensor(L, 1);
    if (pf_tensor_numel(b->t) != 1)
        return lpf_error(L, "item: the tensor has %d values; it must have one", (int)pf_tensor_numel(b->t));
    double v = 0;
    lpf_check(L, pf_tensor_read(b->t, &v, 1));
    tensor_push_value(L, b, v);
    return 1;
}

/* ---- properties ---- */

static void tensor_push_shape(lua_State *L, const pf_tensor *t) {
    int nd = pf_tensor_ndim(t);
    lua_createtable(L, nd, 0);
    for (int i = 0; i < nd; i++) {
        lua_pushinteger(L, pf_tensor_dim(t, i));
        lua_rawseti(L, -2, i + 1);
    }
}

static int tensor_push_grad(lua_State *L, const lpf_tensor *b) {
    if (!pf_tensor_grad(b->t)) {
        lua_pushnil(L);
        return 1;
    }
    lpf_tensor *g = lpf_push_tensor(L);
    g->t = pf_tensor_retain(pf_tensor_grad(b->t));
    return lpf_filled(L, g);
}

static int tensor_unknown(lua_State *L, const char *key) {
    static const char *const properties[] = {"shape", "dtype", "grad", "requires_grad", "name"};
    lua_newtable(L);
    for (int i = 0; i < 5; i++) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, properties[i]);
    }
    for (lua_pushnil(L); lua_next(L, lua_upvalueindex(1));) { /* methods */
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    return lpf_error_unknown(L, "a tensor", key, -1);
}

static int tensor_index(lua_State *L) {
    lpf_tensor *b = lpf_check_tensor(L, 1);
    if (lua_isinteger(L, 2)) return lpf_row(L, b, lua_tointeger(L, 2));
    if (lua_type(L, 2) != LUA_TSTRING)
        return lpf_error(L, "a tensor is indexed by a row number or a name, got %s", lpf_typename(L, 2));
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
    const char *key = lua_tostring(L, 2);
    if (strcmp(key, "shape") == 0)
        tensor_push_shape(L, b->t);
    else if (strcmp(key, "dtype") == 0)
        lua_pushstring(L, tensor_types[pf_tensor_dtype(b->t)]);
    else if (strcmp(key, "grad") == 0)
        return tensor_push_grad(L, b);
    else if (strcmp(key, "requires_grad") == 0)
        lua_pushboolean(L, pf_tensor_needs_grad(b->t));
    else if (strcmp(key, "name") == 0)
        lua_pushstring(L, pf_tensor_name(b->t));
    else
        return tensor_unknown(L, key);
    return 1;
}

static int tensor_newindex(lua_State *L) {
    lpf_tensor *b = lpf_check_tensor(L, 1);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    if (strcmp(key, "requires_grad") == 0)
        lpf_check(L, pf_tensor_set_grad(b->t, lua_toboolean(L, 3)));
    else if (strcmp(key, "grad") == 0 && lua_isnil(L, 3))
        pf_tensor_zero_grad(b->t);
    else
        return lpf_error(L, "only requires_grad of a tensor can be set (and grad, to nil); for values there is copy_");
    return 0;
}

static int tensor_len(lua_State *L) {
    lpf_tensor *b = lpf_check_tensor(L, 1);
    if (pf_tensor_ndim(b->t) == 0) return lpf_error(L, "a tensor of one value without dimensions has no length");
    lua_pushinteger(L, pf_tensor_dim(b->t, 0));
    return 1;
}

static int tensor_dim(lua_State *L) {
    lua_pushinteger(L, pf_tensor_ndim(lpf_check_tensor(L, 1)->t));
    return 1;
}

static int tensor_numel(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)pf_tensor_numel(lpf_check_tensor(L, 1)->t));
    return 1;
}

static int tensor_size(lua_State *L) {
    lpf_tensor *b = lpf_check_tensor(L, 1);
    lua_Integer d = luaL_checkinteger(L, 2), nd = pf_tensor_ndim(b->t);
    lua_Integer at = d < 0 ? d + nd : d - 1;
    if (d == 0 || at < 0 || at >= nd)
        return lpf_error(L, "size: there is no dimension %d; the tensor has %d", (int)d, (int)nd);
    lua_pushinteger(L, pf_tensor_dim(b->t, (int)at));
    return 1;
}

/* ---- printing ---- */

enum { TENSOR_SHOWN = 8 };

static int tensor_tostring(lua_State *L) {
    lpf_tensor *b = luaL_checkudata(L, 1, LPF_TENSOR);
    if (!b->t) {
        lua_pushliteral(L, "tensor (closed)");
        return 1;
    }
    luaL_Buffer out;
    char text[64];
    size_t n = pf_tensor_numel(b->t);
    double *v = lua_newuserdatauv(L, (n + 1) * sizeof *v, 0);
    bool alive = pf_tensor_read(b->t, v, n) == PF_OK;
    luaL_buffinit(L, &out);
    luaL_addstring(&out, "tensor [");
    for (int i = 0; i < pf_tensor_ndim(b->t); i++) {
        snprintf(text, sizeof text, i ? ", %lld" : "%lld", (long long)pf_tensor_dim(b->t, i));
        luaL_addstring(&out, text);
    }
    luaL_addstring(&out, "] ");
    luaL_addstring(&out, tensor_types[pf_tensor_dtype(b->t)]);
    if (pf_tensor_needs_grad(b->t)) luaL_addstring(&out, " requires_grad");
    luaL_addstring(&out, alive ? " {" : " (its step has ended)");
    for (size_t i = 0; alive && i < n && i < TENSOR_SHOWN; i++) {
        bool whole = pf_tensor_dtype(b->t) == PF_I32;
        snprintf(text, sizeof text, "%s%.*g", i ? ", " : "", whole ? 10 : 6, v[i] + (whole && b->positions));
        luaL_addstring(&out, text);
    }
    if (alive) luaL_addstring(&out, n > TENSOR_SHOWN ? ", ...}" : "}");
    luaL_pushresult(&out);
    return 1;
}

/* ---- methods ---- */

static int tensor_detach(lua_State *L) {
    lpf_tensor *b = lpf_check_tensor(L, 1), *r = lpf_push_tensor(L);
    r->t = pf_tensor_detach(b->t);
    r->positions = b->positions;
    return lpf_filled(L, r);
}

static int tensor_keep(lua_State *L) {
    pf_tensor_keep(lpf_check_tensor(L, 1)->t);
    lua_settop(L, 1);
    return 1;
}

static int tensor_backward(lua_State *L) {
    lpf_check(L, pf_backward(lpf_check_tensor(L, 1)->t));
    return 0;
}

static int tensor_zero_grad(lua_State *L) {
    pf_tensor_zero_grad(lpf_check_tensor(L, 1)->t);
    return 0;
}

static int tensor_copy_as(lua_State *L, lpf_tensor *b, pf_dtype dtype) {
    int64_t dim[PF_MAX_DIMS];
    for (int i = 0; i < pf_tensor_ndim(b->t); i++) dim[i] = pf_tensor_dim(b->t, i);
    double *v = tensor_push_all(L, b);
    size_t n = pf_tensor_numel(b->t);
    bool shown = b->positions && dtype != PF_I32; /* as numbers, positions are what Lua sees */
    for (size_t i = 0; shown && i < n; i++) v[i] += 1;
    lpf_tensor *r = lpf_push_tensor(L);
    r->t = pf_tensor_from(lpf_ctx(L), dtype, pf_tensor_ndim(b->t), dim, v, n);
    r->positions = b->positions && dtype == PF_I32;
    return lpf_filled(L, r);
}

static int tensor_clone(lua_State *L) {
    lpf_tensor *b = lpf_check_tensor(L, 1);
    return tensor_copy_as(L, b, pf_tensor_dtype(b->t));
}

static int tensor_to(lua_State *L) {
    lpf_tensor *b = lpf_check_tensor(L, 1);
    return tensor_copy_as(L, b, lpf_check_dtype(L, luaL_checkstring(L, 2)));
}

static int tensor_copy_(lua_State *L) {
    lpf_tensor *b = lpf_check_tensor(L, 1), *from = lpf_test_tensor(L, 2);
    if (!from) from = lpf_push_values(L, 2, "copy_", PF_F64, 0);
    double *v = tensor_push_all(L, from);
    size_t n = pf_tensor_numel(from->t);
    for (size_t i = 0; i < n; i++) v[i] += from->positions - b->positions;
    lpf_check(L, pf_tensor_write(b->t, v, n));
    lua_settop(L, 1);
    return 1;
}

static const luaL_Reg tensor_methods[] = {
    {"totable", tensor_totable},
    {"item", tensor_item},
    {"dim", tensor_dim},
    {"numel", tensor_numel},
    {"size", tensor_size},
    {"detach", tensor_detach},
    {"keep", tensor_keep},
    {"backward", tensor_backward},
    {"zero_grad", tensor_zero_grad},
    {"clone", tensor_clone},
    {"to", tensor_to},
    {"copy_", tensor_copy_},
    {NULL, NULL},
};

void lpf_open_tensor(lua_State *L) {
    lpf_push_class(L, LPF_TENSOR, tensor_gc);
    luaL_newlib(L, tensor_methods);
    lua_getfield(L, -3, "class");
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "tensor");
    lua_pop(L, 1);
    lua_pushcclosure(L, tensor_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, tensor_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, tensor_len);
    lua_setfield(L, -2, "__len");
    lua_pushcfunction(L, tensor_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pop(L, 1);
}
