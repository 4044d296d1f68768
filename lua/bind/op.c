/* Operations and losses: one closure per entry of the registry. Nothing here knows an operation by name, except the
 * operators' (x + y is "add"). */
#include <string.h>

#include "bind.h"

enum { OP_ARGS = PF_MAX_INPUTS + PF_MAX_PARAMS + 2 };

typedef struct op_call {
    const pf_op_info *op;
    pf_dtype dtype; /* of the first real tensor among the arguments: numbers and lists become this */
    pf_arg arg[OP_ARGS];
    int n;
    int64_t dim[PF_MAX_DIMS];
    char label[96]; /* "sum: dim", for messages */
} op_call;

static bool op_takes_tensor(pf_kind k) { return k <= PF_KIND_TOKEN; }

static const char *op_label(op_call *c, const char *name) {
    size_t n = strlen(c->op->name), m = strlen(name);
    if (n + m + 3 > sizeof c->label) return c->op->name;
    memcpy(c->label, c->op->name, n);
    memcpy(c->label + n, ": ", 2);
    memcpy(c->label + n + 2, name, m + 1);
    return c->label;
}

static void op_wrong(lua_State *L, op_call *c, const pf_param *p, const char *want) {
    lpf_error(L, "%s must be %s, got %s", op_label(c, p->name), want, lpf_typename(L, -1));
}

/* ---- one argument: the value on top of the stack; what it becomes stays on the stack until the call is over ---- */

static pf_tensor *op_positions(lua_State *L, lpf_tensor *b) {
    if (b->positions || pf_tensor_dtype(b->t) != PF_I32) return b->t;
    size_t n = pf_tensor_numel(b->t);
    double *v = lua_newuserdatauv(L, (n + 1) * sizeof *v, 0);
    lpf_check(L, pf_tensor_read(b->t, v, n));
    for (size_t i = 0; i < n; i++) v[i] -= 1;
    int64_t dim[PF_MAX_DIMS];
    for (int i = 0; i < pf_tensor_ndim(b->t); i++) dim[i] = pf_tensor_dim(b->t, i);
    lpf_tensor *r = lpf_push_tensor(L);
    r->t = pf_tensor_from(lpf_ctx(L), PF_I32, pf_tensor_ndim(b->t), dim, v, n);
    lpf_filled(L, r);
    return r->t;
}

static pf_tensor *op_tensor(lua_State *L, op_call *c, const pf_param *p) {
    lpf_tensor *b = lpf_test_tensor(L, -1);
    if (b && p->kind == PF_KIND_INDEX) return op_positions(L, b);
    if (b && p->kind == PF_KIND_TOKEN && b->positions)
        lpf_error(L, "%s holds positions, which count from 1; token ids were expected", op_label(c, p->name));
    if (b) return b->t;
    int type = lua_type(L, -1);
    if (type != LUA_TNUMBER && type != LUA_TTABLE && type != LUA_TBOOLEAN)
        op_wrong(L, c, p, "a tensor, a number or a list of numbers");
    bool whole = p->kind == PF_KIND_INDEX || p->kind == PF_KIND_TOKEN;
    return lpf_push_values(L, -1, op_label(c, p->name), whole ? PF_I32 : c->dtype, p->kind == PF_KIND_INDEX ? -1 : 0)
        ->t;
}

static double op_number(lua_State *L, op_call *c, const pf_param *p) {
    if (p->kind == PF_KIND_BOOLEAN) {
        if (!lua_isboolean(L, -1)) op_wrong(L, c, p, "true or false");
        return lua_toboolean(L, -1);
    }
    if (lua_type(L, -1) != LUA_TNUMBER) op_wrong(L, c, p, "a number");
    double x = lua_tonumber(L, -1);
    if (p->kind != PF_KIND_DIM && p->kind != PF_KIND_POS) return x;
    if (x == 0)
        lpf_error(L, "%s is 0; %s count from 1, or from -1 at the end", op_label(c, p->name),
                  p->kind == PF_KIND_DIM ? "dimensions" : "positions");
    return x > 0 ? x - 1 : x;
}

static void op_add(lua_State *L, op_call *c, const pf_param *p) {
    if (c->n == OP_ARGS - 1) lpf_error(L, "%s: too many arguments", c->op->name);
    luaL_checkstack(L, 8, c->op->name);
    pf_arg a = {.name = p->name};
    if (op_takes_tensor(p->kind)) {
        a.tag = PF_ARG_TENSOR;
        a.tensor = op_tensor(L, c, p);
    } else if (p->kind == PF_KIND_CHOICE) {
        if (lua_type(L, -1) != LUA_TSTRING) op_wrong(L, c, p, "a word");
        a.tag = PF_ARG_TEXT;
        a.text = lua_tostring(L, -1);
    } else if (p->kind == PF_KIND_SHAPE) {
        a.tag = PF_ARG_SHAPE;
        a.n_dims = lpf_check_shape(L, lua_gettop(L), op_label(c, p->name), c->dim);
        a.dims = c->dim;
    } else {
        a.tag = PF_ARG_NUMBER;
        a.number = op_number(L, c, p);
    }
    c->arg[c->n++] = a;
}

/* ---- all arguments ---- */

/* a plain table whose keys are names */
static bool op_is_named(lua_State *L, int idx) {
    if (!lua_istable(L, idx) || lua_rawlen(L, idx) > 0) return false;
    lua_pushnil(L);
    if (!lua_next(L, idx)) return false;
    bool named = lua_type(L, -2) == LUA_TSTRING;
    lua_pop(L, 2);
    return named;
}

static void op_see_dtype(lua_State *L, op_call *c, int idx) {
    lpf_tensor *b = lpf_test_tensor(L, idx);
    if (b && lpf_is_real(b->t) && c->dtype == PF_DTYPES) c->dtype = pf_tensor_dtype(b->t);
}

static void op_find_dtype(lua_State *L, op_call *c, int top, int named) {
    c->dtype = PF_DTYPES;
    for (int i = 1; i <= top; i++) op_see_dtype(L, c, i);
    for (int i = 0; named && i < c->op->n_params; i++) {
        lua_getfield(L, named, c->op->params[i].name);
        op_see_dtype(L, c, -1);
        lua_pop(L, 1);
    }
    if (c->dtype == PF_DTYPES) c->dtype = PF_F32;
}

static void op_take_placed(lua_State *L, op_call *c, int top) {
    for (int i = 0; i < top; i++) {
        if (i >= c->op->n_params)
            lpf_error(L, "%s takes at most %d arguments, got %d", c->op->name, c->op->n_params, top);
        const pf_param *p = &c->op->params[i];
        if (lua_isnil(L, i + 1)) continue;
        if (p->kind == PF_KIND_SHAPE && lua_type(L, i + 1) == LUA_TNUMBER) { /* reshape(x, 2, 3) */
            lua_createtable(L, top - i, 0);
            for (int k = i; k < top; k++) {
                lua_pushvalue(L, k + 1);
                lua_rawseti(L, -2, k - i + 1);
            }
            op_add(L, c, p);
            return;
        }
        lua_pushvalue(L, i + 1);
        op_add(L, c, p);
    }
}

static void op_take_named(lua_State *L, op_call *c, int named) {
    for (int i = 0; i < c->op->n_params; i++) {
        if (lua_getfield(L, named, c->op->params[i].name) == LUA_TNIL)
            lua_pop(L, 1);
        else
            op_add(L, c, &c->op->params[i]);
    }
    for (lua_pushnil(L); lua_next(L, named); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) lpf_error(L, "%s: arguments are given by name", c->op->name);
        const char *key = lua_tostring(L, -2);
        int i = 0;
        while (i < c->op->n_params && strcmp(c->op->params[i].name, key) != 0) i++;
        if (i < c->op->n_params) continue;
        pf_arg a = {.name = key, .tag = PF_ARG_TEXT, .text = lua_tostring(L, -1)};
        if (strcmp(key, "reduction") == 0 && lua_type(L, -1) != LUA_TSTRING) a.text = "";
        c->arg[c->n++] = a; /* "reduction" of a loss, or unknown: pf_apply says what there is */
        if (strcmp(key, "reduction") != 0) return;
    }
}

static void op_push_metrics(lua_State *L, bool loss) {
    int n = 0;
    const pf_metric *m = loss ? pf_metrics(lpf_ctx(L), &n) : NULL;
    lua_createtable(L, 0, n);
    for (int i = 0; i < n; i++) {
        lua_pushnumber(L, m[i].value);
        lua_setfield(L, -2, m[i].name);
    }
}

static int op_invoke(lua_State *L) {
    op_call c = {.op = lua_touserdata(L, lua_upvalueindex(1))};
    int top = lua_gettop(L), named = 0;
    luaL_checkstack(L, 16, c.op->name);
    if (top > 0 && op_is_named(L, top)) named = top--;
    if (c.op->is_loss && (top > 0 || !named))
        return lpf_error(L, "%s takes its arguments by name: pf.loss.%s{...}", c.op->name, c.op->name);
    op_find_dtype(L, &c, top, named);
    op_take_placed(L, &c, top);
    if (named) op_take_named(L, &c, named);
    lpf_tensor *r = lpf_push_tensor(L);
    r->t = pf_apply(lpf_ctx(L), c.op->name, c.arg);
    lpf_filled(L, r);
    r->positions = pf_tensor_dtype(r->t) == PF_I32; /* what an operation makes of integers is positions */
    if (!c.op->is_loss) return 1;
    op_push_metrics(L, true);
    return 2;
}

/* Lua gives the operand of a unary operator twice */
static int op_invoke_unary(lua_State *L) {
    lua_settop(L, 1);
    return op_invoke(L);
}

/* ---- x[i] ---- */

static int op_row_of_integers(lua_State *L, lpf_tensor *x, lua_Integer at) {
    size_t n = pf_tensor_numel(x->t), row = n / (size_t)pf_tensor_dim(x->t, 0);
    double *v = lua_newuserdatauv(L, (n + 1) * sizeof *v, 0);
    lpf_check(L, pf_tensor_read(x->t, v, n));
    if (pf_tensor_ndim(x->t) == 1) {
        lua_pushinteger(L, (lua_Integer)v[at] + x->positions);
        return 1;
    }
    int64_t dim[PF_MAX_DIMS];
    for (int i = 1; i < pf_tensor_ndim(x->t); i++) dim[i - 1] = pf_tensor_dim(x->t, i);
    lpf_tensor *r = lpf_push_tensor(L);
    r->t = pf_tensor_from(lpf_ctx(L), PF_I32, pf_tensor_ndim(x->t) - 1, dim, v + (size_t)at * row, row);
    r->positions = x->positions;
    return lpf_filled(L, r);
}

/* Row i along the first dimension: a tensor, differentiable; of an int32 tensor with one dimension, a number. The row
 * after the last is nil, which ends an ipairs loop. */
int lpf_row(lua_State *L, lpf_tensor *x, lua_Integer i) {
    lua_Integer n = pf_tensor_dim(x->t, 0), at = i < 0 ? i + n : i - 1;
    int nd = pf_tensor_ndim(x->t);
    if (nd == 0) return lpf_error(L, "a tensor of one value without dimensions has no rows");
    if (at == n && i > 0) {
        lua_pushnil(L);
        return 1;
    }
    if (i == 0 || at < 0 || at > n) return lpf_error(L, "there is no row %I; the tensor has %I rows", i, n);
    if (pf_tensor_dtype(x->t) == PF_I32) return op_row_of_integers(L, x, at);
    int64_t dim[PF_MAX_DIMS];
    for (int d = 1; d < nd; d++) dim[d - 1] = pf_tensor_dim(x->t, d);
    lpf_tensor *cut = lpf_push_tensor(L), *r = lpf_push_tensor(L);
    pf_ctx *ctx = lpf_ctx(L);
    cut->t = pf_call(ctx, "narrow", PF_T("x", x->t), PF_N("dim", 0), PF_N("start", (double)at), PF_N("length", 1));
    r->t = pf_call(ctx, "reshape", PF_T("x", cut->t), PF_D("shape", dim, nd - 1));
    return lpf_filled(L, r);
}

/* ---- what is known about losses and operations ---- */

static void op_push_params(lua_State *L, const pf_op_info *op) {
    static const char *const kinds[] = {"tensor",    "constant", "index",   "token",  "number", "integer",
                                        "dimension", "position", "boolean", "choice", "shape"};
    lua_createtable(L, op->n_params, 0);
    for (int i = 0; i < op->n_params; i++) {
        const pf_param *p = &op->params[i];
        lua_createtable(L, 0, 5);
        lua_pushstring(L, p->name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, kinds[p->kind]);
        lua_setfield(L, -2, "kind");
        lua_pushboolean(L, p->optional);
        lua_setfield(L, -2, "optional");
        if (p->optional && !op_takes_tensor(p->kind) && p->value == p->value) {
            lua_pushnumber(L, p->value);
            lua_setfield(L, -2, "value");
        }
        lua_pushstring(L, p->choices);
        lua_setfield(L, -2, "choices");
        lua_rawseti(L, -2, i + 1);
    }
}

/* list of {name, doc, formula, source, loss, params}: what help, stubs and pf.loss.list are made of */
static int op_registry(lua_State *L) {
    lua_createtable(L, pf_op_count(), 0);
    for (int i = 0; i < pf_op_count(); i++) {
        const pf_op_info *op = pf_op_at(i);
        const char *const field[][2] = {
            {"name", op->name}, {"doc", op->doc}, {"formula", op->formula}, {"source", op->source}};
        lua_createtable(L, 0, 6);
        for (int k = 0; k < 4; k++) {
            lua_pushstring(L, field[k][1]);
            lua_setfield(L, -2, field[k][0]);
        }
        lua_pushboolean(L, op->is_loss);
        lua_setfield(L, -2, "loss");
        op_push_params(L, op);
        lua_setfield(L, -2, "params");
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static void op_push_closure(lua_State *L, const pf_op_info *op) {
    lua_pushlightuserdata(L, (void *)op);
    lua_pushcclosure(L, op_invoke, 1);
}

/* core.op (functions), core.loss, the methods of tensors, and the operators */
void lpf_open_op(lua_State *L) {
    static const char *const operators[][2] = {{"__add", "add"}, {"__sub", "sub"}, {"__mul", "mul"},
                                               {"__div", "div"}, {"__pow", "pow"}, {"__unm", "neg"}};
    lua_newtable(L);
    lua_newtable(L);
    lua_getfield(L, -3, "class");
    lua_getfield(L, -1, "tensor");
    lua_remove(L, -2); /* core, op, loss, methods */
    for (int i = 0; i < pf_op_count(); i++) {
        const pf_op_info *op = pf_op_at(i);
        op_push_closure(L, op);
        if (!op->is_loss && op->n_params && op->params[0].kind == PF_KIND_TENSOR) {
            lua_pushvalue(L, -1);
            lua_setfield(L, -3, op->name);
        }
        lua_setfield(L, op->is_loss ? -3 : -4, op->name);
    }
    luaL_getmetatable(L, LPF_TENSOR);
    for (int i = 0; i < 6; i++) {
        const pf_op_info *op = pf_op_find(operators[i][1]);
        if (!op) continue;
        lua_pushlightuserdata(L, (void *)op);
        lua_pushcclosure(L, strcmp(operators[i][0], "__unm") == 0 ? op_invoke_unary : op_invoke, 1);
        lua_setfield(L, -2, operators[i][0]);
    }
    lua_pop(L, 2);
    lua_setfield(L, -3, "loss");
    lua_setfield(L, -2, "op");
    lua_pushcfunction(L, op_registry);
    lua_setfield(L, -2, "registry");
}
