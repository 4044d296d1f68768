/* Tensors from Lua values: nested tables, shapes, random numbers; lists of token ids. */
#include <string.h>

#include "base/base.h"
#include "bind.h"

/* ---- nested tables ---- */

typedef struct create_table {
    const char *what;
    int nd;
    int64_t dim[PF_MAX_DIMS];
    size_t at; /* values read so far: the place of the next one */
    double shift;
    bool whole; /* only whole numbers that an int32 can hold */
} create_table;

/* sizes as the first elements show them */
static void create_measure(lua_State *L, int idx, create_table *c) {
    int top = lua_gettop(L);
    lua_pushvalue(L, idx);
    while (lua_istable(L, -1)) {
        if (c->nd == PF_MAX_DIMS) lpf_error(L, "%s: a tensor has at most %d dimensions", c->what, PF_MAX_DIMS);
        luaL_checkstack(L, 4, c->what);
        c->dim[c->nd++] = (int64_t)lua_rawlen(L, -1);
        if (lua_rawlen(L, -1) == 0) break;
        lua_rawgeti(L, -1, 1);
    }
    lua_settop(L, top);
}

static void create_read(lua_State *L, create_table *c, int depth, double *v) {
    if (depth == c->nd) {
        double x;
        if (lua_type(L, -1) == LUA_TNUMBER)
            x = lua_tonumber(L, -1);
        else if (lua_isboolean(L, -1))
            x = lua_toboolean(L, -1);
        else {
            const char *found = lpf_typename(L, -1);
            const char *hint = lpf_test_tensor(L, -1) ? "; cat joins tensors" : "";
            lpf_error(L, "%s: value %d of the list is %s, expected a number%s", c->what, (int)c->at + 1, found, hint);
            return;
        }
        if (c->whole && !(x >= INT32_MIN && x <= INT32_MAX && x == (double)(int32_t)x))
            lpf_error(L, "%s: value %d of the list is %f, expected a whole number", c->what, (int)c->at + 1, x);
        v[c->at++] = x + c->shift;
        return;
    }
    if (!lua_istable(L, -1))
        lpf_error(L, "%s: %s where a list of %d numbers was expected", c->what, lpf_typename(L, -1),
                  (int)c->dim[depth]);
    if ((int64_t)lua_rawlen(L, -1) != c->dim[depth])
        lpf_error(L, "%s: a list of %d where the first had %d; rows must be equally long", c->what,
                  (int)lua_rawlen(L, -1), (int)c->dim[depth]);
    luaL_checkstack(L, 4, c->what);
    for (lua_Integer i = 1; i <= c->dim[depth]; i++) {
        lua_rawgeti(L, -1, i);
        create_read(L, c, depth + 1, v);
        lua_pop(L, 1);
    }
}

/* push all values as a block of doubles */
static double *create_push_block(lua_State *L, int idx, create_table *c) {
    create_measure(L, idx, c);
    size_t n = 1;
    for (int i = 0; i < c->nd; i++) {
        if (c->dim[i] && n > ((size_t)1 << 40) / (size_t)c->dim[i]) lpf_error(L, "%s: the list is too long", c->what);
        n *= (size_t)c->dim[i];
    }
    double *v = lua_newuserdatauv(L, (n + 1) * sizeof *v, 0);
    lua_pushvalue(L, idx);
    create_read(L, c, 0, v);
    lua_pop(L, 1);
    return v;
}

lpf_tensor *lpf_push_values(lua_State *L, int idx, const char *what, pf_dtype dtype, double shift) {
    idx = lua_absindex(L, idx);
    create_table c = {.what = what, .shift = shift, .whole = dtype == PF_I32};
    double *v = create_push_block(L, idx, &c);
    lpf_tensor *b = lpf_push_tensor(L);
    b->t = pf_tensor_from(lpf_ctx(L), dtype, c.nd, c.dim, v, c.at);
    lpf_filled(L, b);
    lua_remove(L, -2);
    return b;
}

int32_t *lpf_push_ids(lua_State *L, int idx, const char *what, size_t *n) {
    idx = lua_absindex(L, idx);
    lpf_tensor *b = lpf_test_tensor(L, idx);
    double *v;
    if (b) {
        if (pf_tensor_dtype(b->t) != PF_I32 || b->positions || pf_tensor_ndim(b->t) != 1)
            lpf_error(L, "%s: token ids are a list or an int32 tensor of one dimension", what);
        *n = pf_tensor_numel(b->t);
        v = lua_newuserdatauv(L, (*n + 1) * sizeof *v, 0);
        lpf_check(L, pf_tensor_read(b->t, v, *n));
    } else {
        if (!lua_istable(L, idx)) lpf_error(L, "%s: expected token ids, got %s", what, lpf_typename(L, idx));
        create_table c = {.what = what, .whole = true};
        v = create_push_block(L, idx, &c);
        if (c.nd != 1) lpf_error(L, "%s: token ids are a flat list", what);
        *n = c.at;
    }
    int32_t *ids = lua_newuserdatauv(L, (*n + 1) * sizeof *ids, 0);
    for (size_t i = 0; i < *n; i++) ids[i] = (int32_t)v[i];
    lua_remove(L, -2);
    return ids;
}

int lpf_check_shape(lua_State *L, int idx, const char *what, int64_t *dim) {
    bool list = lua_istable(L, idx);
    int n = list ? (int)luaL_len(L, idx) : lua_gettop(L) - idx + 1;
    if (!list && (n < 1 || lua_type(L, idx) != LUA_TNUMBER))
        lpf_error(L, "%s: expected a list of sizes, got %s", what, lpf_typename(L, idx));
    if (n > PF_MAX_DIMS) lpf_error(L, "%s: a tensor has at most %d dimensions, got %d", what, PF_MAX_DIMS, n);
    for (int i = 0; i < n; i++) {
        if (list)
            lua_rawgeti(L, idx, i + 1);
        else
            lua_pushvalue(L, idx + i);
        int ok;
        dim[i] = lua_tointegerx(L, -1, &ok);
        if (!ok || lua_type(L, -1) != LUA_TNUMBER)
            lpf_error(L, "%s: size %d is %s, expected a whole number", what, i + 1, lpf_typename(L, -1));
        lua_pop(L, 1);
    }
    return n;
}

/* ---- pf.tensor, pf.zeros ... ---- */

typedef struct create_options {
    pf_dtype dtype;
    bool grad;
    lua_Integer seed, stream;
} create_options;

static lua_Integer create_integer(lua_State *L, int idx, const char *name) {
    lua_getfield(L, idx, name);
    int ok = 1;
    lua_Integer v = lua_isnil(L, -1) ? 0 : lua_tointegerx(L, -1, &ok);
    if (!ok) lpf_error(L, "%s must be a whole number, got %s", name, lpf_typename(L, -1));
    lua_pop(L, 1);
    return v;
}

static create_options create_get_options(lua_State *L, int idx, const char *where, bool random) {
    static const char *const names[] = {"grad", "dtype", "seed", "stream", NULL};
    static const char *const plain[] = {"grad", "dtype", NULL};
    create_options o = {PF_F32, false, 0, 0};
    lpf_check_options(L, idx, where, random ? names : plain);
    if (!lua_istable(L, idx)) return o;
    lua_getfield(L, idx, "grad");
    o.grad = lua_toboolean(L, -1);
    lua_getfield(L, idx, "dtype");
    if (!lua_isnil(L, -1)) {
        if (lua_type(L, -1) != LUA_TSTRING) lpf_error(L, "%s: dtype must be a name, \"float32\"", where);
        o.dtype = lpf_check_dtype(L, lua_tostring(L, -1));
    }
    lua_pop(L, 2);
    if (random) {
        o.seed = create_integer(L, idx, "seed");
        o.stream = create_integer(L, idx, "stream");
    }
    return o;
}

static int create_finish(lua_State *L, lpf_tensor *b, const create_options *o) {
    lpf_filled(L, b);
    if (o->grad) lpf_check(L, pf_tensor_set_grad(b->t, true));
    return 1;
}

static int create_tensor(lua_State *L) {
    create_options o = create_get_options(L, 2, "tensor", false);
    lpf_tensor *from = lpf_test_tensor(L, 1);
    if (from) {
        lua_getfield(L, 1, "clone");
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
        return create_finish(L, lpf_check_tensor(L, -1), &o);
    }
    if (lua_isnoneornil(L, 1)) return lpf_error(L, "tensor: expected a number or a table of numbers, got nothing");
    return create_finish(L, lpf_push_values(L, 1, "tensor", o.dtype, 0), &o);
}

/* shape is argument 1, a list or a number; the others follow */
static lpf_tensor *create_push_filled(lua_State *L, const char *where, const create_options *o, double value) {
    int64_t dim[PF_MAX_DIMS];
    if (!lua_istable(L, 1)) lua_pushvalue(L, 1); /* one size */
    int nd = lpf_check_shape(L, lua_istable(L, 1) ? 1 : lua_gettop(L), where, dim);
    lpf_tensor *b = lpf_push_tensor(L);
    b->t = pf_tensor_new(lpf_ctx(L), o->dtype, nd, dim);
    lpf_filled(L, b);
    if (value == 0) return b;
    size_t n = pf_tensor_numel(b->t);
    double *v = lua_newuserdatauv(L, (n + 1) * sizeof *v, 0);
    for (size_t i = 0; i < n; i++) v[i] = value;
    lpf_check(L, pf_tensor_write(b->t, v, n));
    lua_pop(L, 1);
    return b;
}

static int create_zeros(lua_State *L) {
    create_options o = create_get_options(L, 2, "zeros", false);
    return create_finish(L, create_push_filled(L, "zeros", &o, 0), &o);
}

static int create_ones(lua_State *L) {
    create_options o = create_get_options(L, 2, "ones", false);
    return create_finish(L, create_push_filled(L, "ones", &o, 1), &o);
}

static int create_full(lua_State *L) {
    double value = luaL_checknumber(L, 2);
    create_options o = create_get_options(L, 3, "full", false);
    return create_finish(L, create_push_filled(L, "full", &o, value), &o);
}

static int create_random(lua_State *L, const char *where, double (*draw)(uint64_t, uint64_t, uint64_t)) {
    create_options o = create_get_options(L, 2, where, true);
    lpf_tensor *b = create_push_filled(L, where, &o, 0);
    size_t n = pf_tensor_numel(b->t);
    double *v = lua_newuserdatauv(L, (n + 1) * sizeof *v, 0);
    for (size_t i = 0; i < n; i++) v[i] = draw((uint64_t)o.seed, (uint64_t)o.stream, i);
    lpf_check(L, pf_tensor_write(b->t, v, n));
    lua_pop(L, 1);
    return create_finish(L, b, &o);
}

static int create_randn(lua_State *L) { return create_random(L, "randn", pfi_random_normal); }
static int create_uniform(lua_State *L) { return create_random(L, "uniform", pfi_random_uniform); }

static const luaL_Reg create_functions[] = {
    {"tensor", create_tensor}, {"zeros", create_zeros},     {"ones", create_ones}, {"full", create_full},
    {"randn", create_randn},   {"uniform", create_uniform}, {NULL, NULL},
};

void lpf_open_create(lua_State *L) { luaL_setfuncs(L, create_functions, 0); }
