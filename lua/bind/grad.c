/* Steps, recording, and the gradient check of a Lua function. */
#include "bind.h"

/* ---- scopes: closed whatever happens inside, in a coroutine too, where Lua would leave them open ---- */

/* step(f, ...): what f(...) returns; tensors made in it are freed at its end, also when it raises */
static int grad_step(lua_State *L) {
    pf_ctx *ctx = lpf_ctx(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lpf_check(L, pf_step_begin(ctx));
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    pf_step_end(ctx);
    return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

/* no_grad(f, ...): what f(...) returns, computed without history */
static int grad_no_grad(lua_State *L) {
    pf_ctx *ctx = lpf_ctx(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    bool was = pf_set_recording(ctx, false);
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    pf_set_recording(ctx, was);
    return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

/* ---- gradient check ---- */

typedef struct grad_check {
    lua_State *L;
    int f, error; /* stack places: the function, and what it raised */
    bool raised;
    pf_tensor *const *in;
    int n;
    pf_tensor *result;
} grad_check;

/* runs protected: arguments are the function and the check */
static int grad_protected(lua_State *L) {
    grad_check *g = lua_touserdata(L, 2);
    lua_settop(L, 1);
    luaL_checkstack(L, g->n + 8, "gradcheck");
    for (int i = 0; i < g->n; i++) {
        lpf_tensor *b = lpf_push_tensor(L);
        b->t = pf_tensor_retain(g->in[i]);
    }
    lua_call(L, g->n, 1);
    lpf_tensor *r = lpf_test_tensor(L, -1);
    if (!r) return lpf_error(L, "gradcheck: the function must return a tensor, it returned %s", lpf_typename(L, -1));
    g->result = pf_tensor_retain(r->t);
    return 0;
}

static pf_tensor *grad_call(void *ud, pf_tensor *const *inputs, int n) {
    grad_check *g = ud;
    lua_State *L = g->L;
    g->in = inputs;
    g->n = n;
    g->result = NULL;
    lua_pushcfunction(L, grad_protected);
    lua_pushvalue(L, g->f);
    lua_pushlightuserdata(L, g);
    if (lua_pcall(L, 2, 0, 0) == LUA_OK) return g->result;
    lua_replace(L, g->error);
    g->raised = true;
    return NULL;
}

static void grad_push_report(lua_State *L, const pf_gradcheck_result *r) {
    lua_createtable(L, 0, 5);
    lua_pushnumber(L, r->worst);
    lua_setfield(L, -2, "worst");
    lua_pushinteger(L, r->input + 1);
    lua_setfield(L, -2, "input");
    lua_pushinteger(L, (lua_Integer)r->element + 1);
    lua_setfield(L, -2, "element");
    lua_pushnumber(L, r->analytic);
    lua_setfield(L, -2, "analytic");
    lua_pushnumber(L, r->numeric);
    lua_setfield(L, -2, "numeric");
}

/* the inputs at index 2 as float64 leaves that collect gradients; pushes one box each */
static int grad_push_inputs(lua_State *L, pf_tensor **in) {
    luaL_checktype(L, 2, LUA_TTABLE);
    int n = (int)luaL_len(L, 2);
    if (n < 1 || n > PF_MAX_INPUTS)
        lpf_error(L, "gradcheck: inputs must be a list of 1 to %d tensors, got %d", PF_MAX_INPUTS, n);
    luaL_checkstack(L, n + 16, "gradcheck");
    for (int i = 0; i < n; i++) {
        lua_geti(L, 2, i + 1);
        lpf_tensor *x = lpf_test_tensor(L, -1);
        if (x && !lpf_is_real(x->t)) lpf_error(L, "gradcheck: input %d holds integers; close over it instead", i + 1);
        if (x) {
            lua_getfield(L, -1, "totable");
            lua_insert(L, -2);
            lua_call(L, 1, 1);
        }
        lpf_tensor *b = lpf_push_values(L, -1, "gradcheck", PF_F64, 0);
        lua_remove(L, -2);
        lpf_check(L, pf_tensor_set_grad(b->t, true));
        in[i] = b->t;
    }
    return n;
}

/* gradcheck(f, inputs, {tolerance=}) -> true, report; raises where the gradient is wrong */
static int grad_gradcheck(lua_State *L) {
    static const char *const names[] = {"tolerance", NULL};
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lpf_check_options(L, 3, "gradcheck", names);
    double tolerance = 1e-6;
    if (lua_istable(L, 3) && lua_getfield(L, 3, "tolerance") != LUA_TNIL) tolerance = luaL_checknumber(L, -1);
    lua_settop(L, 2);
    lua_pushnil(L);
    pf_tensor *in[PF_MAX_INPUTS];
    int n = grad_push_inputs(L, in);
    grad_check g = {.L = L, .f = 1, .error = 3};
    pf_gradcheck_result r;
    pf_status s = pf_gradcheck(lpf_ctx(L), grad_call, &g, in, n, &r);
    if (g.raised) {
        lua_pushvalue(L, 3);
        return lua_error(L);
    }
    lpf_check(L, s);
    if (!(r.worst <= tolerance))
        return lpf_error(L,
                         "gradcheck: argument %d, element %d: backward gives %f, differences give %f (error %f, "
                         "tolerance %f)",
                         r.input + 1, (int)r.element + 1, r.analytic, r.numeric, r.worst, tolerance);
    lua_pushboolean(L, true);
    grad_push_report(L, &r);
    return 2;
}

static const luaL_Reg grad_functions[] = {
    {"step", grad_step}, {"no_grad", grad_no_grad}, {"gradcheck", grad_gradcheck}, {NULL, NULL}};

void lpf_open_grad(lua_State *L) { luaL_setfuncs(L, grad_functions, 0); }
