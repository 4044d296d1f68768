/* The trainer: optimiser, schedule, clipping, checkpoints. The loop is Lua's. */
#include <string.h>

#include "bind.h"
#include "train/plan.h"

typedef struct train_box {
    pf_trainer *t;
} train_box;

static int train_gc(lua_State *L) {
    train_box *b = luaL_checkudata(L, 1, LPF_TRAINER);
    pf_trainer_free(b->t);
    b->t = NULL;
    return 0;
}

static pf_trainer *train_check(lua_State *L) {
    train_box *b = luaL_checkudata(L, 1, LPF_TRAINER);
    luaL_argcheck(L, b->t, 1, "trainer was closed");
    return b->t;
}

/* ---- options ---- */

static const char *train_word(lua_State *L, int idx, const char *name, const char *value) {
    if (!lua_istable(L, idx)) return value;
    if (lua_getfield(L, idx, name) != LUA_TNIL) {
        if (lua_type(L, -1) != LUA_TSTRING)
            lpf_error(L, "trainer: %s must be a word, got %s", name, lpf_typename(L, -1));
        value = lua_tostring(L, -1); /* held by the options */
    }
    lua_pop(L, 1);
    return value;
}

/* groups = {{"*.weight", lr_scale=, weight_decay=}, ...} */
static const pf_param_group *train_push_groups(lua_State *L, int idx, const pf_trainer_options *o, int *n) {
    *n = 0;
    if (!lua_istable(L, idx) || lua_getfield(L, idx, "groups") == LUA_TNIL) return NULL;
    if (!lua_istable(L, -1)) lpf_error(L, "trainer: groups must be a list, got %s", lpf_typename(L, -1));
    *n = (int)luaL_len(L, -1);
    pf_param_group *g = lua_newuserdatauv(L, (size_t)(*n + 1) * sizeof *g, 0);
    for (int i = 0; i < *n; i++) {
        lua_geti(L, -2, i + 1);
        if (!lua_istable(L, -1))
            lpf_error(L, "trainer: group %d must be {\"pattern\", lr_scale=, weight_decay=}", i + 1);
        lua_geti(L, -1, 1);
        if (lua_type(L, -1) != LUA_TSTRING) lpf_error(L, "trainer: group %d has no pattern", i + 1);
        g[i].pattern = lua_tostring(L, -1);
        lua_pop(L, 1);
        g[i].lr_scale = lpf_check_number(L, lua_gettop(L), "trainer", "lr_scale", 1);
        g[i].weight_decay = lpf_check_number(L, lua_gettop(L), "trainer", "weight_decay", o->weight_decay);
        lua_pop(L, 1);
    }
    return g;
}

static pf_trainer_options train_push_options(lua_State *L, int idx) {
    static const char *const names[] = {"optimizer", "lr",        "beta1",  "beta2", "eps",  "weight_decay",
                                        "momentum",  "schedule",  "warmup", "steps", "clip", "bad_steps",
                                        "groups",    "recompute", "part",   NULL};
    const char *w = "trainer";
    lpf_check_options(L, idx, w, names);
    pf_trainer_options o = pf_trainer_defaults();
    o.optimizer = train_word(L, idx, "optimizer", o.optimizer);
    o.schedule = train_word(L, idx, "schedule", o.schedule);
    o.lr = lpf_check_number(L, idx, w, "lr", o.lr);
    o.beta1 = lpf_check_number(L, idx, w, "beta1", o.beta1);
    o.beta2 = lpf_check_number(L, idx, w, "beta2", o.beta2);
    o.eps = lpf_check_number(L, idx, w, "eps", o.eps);
    o.weight_decay = lpf_check_number(L, idx, w, "weight_decay", o.weight_decay);
    o.momentum = lpf_check_number(L, idx, w, "momentum", o.momentum);
    o.warmup = lpf_check_integer(L, idx, w, "warmup", o.warmup);
    o.steps = lpf_check_integer(L, idx, w, "steps", o.steps);
    o.clip = lpf_check_number(L, idx, w, "clip", o.clip);
    o.bad_steps = (int)lpf_check_integer(L, idx, w, "bad_steps", o.bad_steps);
    o.recompute = lpf_check_integer(L, idx, w, "recompute", o.recompute);
    o.part = lpf_check_integer(L, idx, w, "part", o.part);
    o.groups = train_push_groups(L, idx, &o, &o.n_groups);
    return o;
}

/* trainer(model, options) */
static int train_new(lua_State *L) {
    pf_model *m = lpf_check_model(L, 1);
    lua_settop(L, 2);
    train_box *b = lua_newuserdatauv(L, sizeof *b, 0);
    b->t = NULL;
    luaL_setmetatable(L, LPF_TRAINER);
    lua_insert(L, 1);
    pf_trainer_options o = train_push_options(L, 3);
    lpf_check(L, pf_trainer_new(m, &o, &b->t));
    lua_settop(L, 1);
    return 1;
}

/* ---- methods ---- */

/* t:accumulate(loss[, scale]): backward of scale x loss */
static int train_accumulate(lua_State *L) {
    pf_trainer *t = train_check(L);
    lpf_tensor *loss = lpf_check_tensor(L, 2);
    lpf_check(L, pf_trainer_accumulate(t, loss->t, luaL_optnumber(L, 3, 1)));
    return 0;
}

/* t:step([lr]) -> {step=, loss=, grad_norm=, lr=, skipped=, what=} */
static int train_step(lua_State *L) {
    pf_trainer *t = train_check(L);
    pf_step_info info = {0};
    lpf_check(L, pf_trainer_step(t, luaL_optnumber(L, 2, -1), &info));
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, info.step);
    lua_setfield(L, -2, "step");
    lua_pushnumber(L, info.loss);
    lua_setfield(L, -2, "loss");
    lua_pushnumber(L, info.grad_norm);
    lua_setfield(L, -2, "grad_norm");
    lua_pushnumber(L, info.lr);
    lua_setfield(L, -2, "lr");
    lua_pushboolean(L, info.skipped);
    lua_setfield(L, -2, "skipped");
    lua_pushstring(L, info.what ? info.what : "");
    lua_setfield(L, -2, "what");
    return 1;
}

/* t:save(path[, text of one's own]) */
static int train_save(lua_State *L) {
    pf_trainer *t = train_check(L);
    size_t n;
    const char *path = luaL_checkstring(L, 2), *extra = luaL_optlstring(L, 3, "", &n);
    lpf_check(L, pf_trainer_save(t, path, extra, n));
    return 0;
}

typedef struct train_given {
    pf_ctx *ctx;
    void *p;
} train_given;

static int train_given_gc(lua_State *L) {
    train_given *g = lua_touserdata(L, 1);
    pf_release(g->ctx, g->p);
    g->p = NULL;
    return 0;
}

/* t:restore(path) -> the text that was saved with it */
static int train_restore(lua_State *L) {
    pf_trainer *t = train_check(L);
    const char *path = luaL_checkstring(L, 2);
    size_t n = 0;
    train_given *g = lua_newuserdatauv(L, sizeof *g, 0);
    *g = (train_given){lpf_ctx(L), NULL};
    lpf_push_class(L, "pofit.trainer.given", train_given_gc);
    lua_setmetatable(L, -2);
    lpf_check(L, pf_trainer_restore(t, path, &g->p, &n));
    lua_pushlstring(L, g->p ? g->p : "", n);
    return 1;
}

/* ---- memory ---- */

static void train_number(lua_State *L, const char *name, size_t n) {
    lua_pushinteger(L, (lua_Integer)n);
    lua_setfield(L, -2, name);
}

/* t:plan{memory=, outside=, nodes=, entries=, longest=, several=} -> {recompute=, part=, weights=, optimizer=, rest=,
 * gradients=, activations=, total=} */
static int train_plan(lua_State *L) {
    static const char *const names[] = {"memory", "outside", "nodes", "entries", "longest", "several", NULL};
    pf_trainer *t = train_check(L);
    lpf_check_options(L, 2, "plan", names);
    int64_t n[5];
    for (int i = 0; i < 5; i++) n[i] = lpf_check_integer(L, 2, "plan", names[i], 0);
    lua_getfield(L, 2, "several");
    const pfi_plan_asked asked = {
        (size_t)PFI_MAX(n[0], 0), (size_t)PFI_MAX(n[1], 0), {n[2], n[3], n[4]}, lua_toboolean(L, -1)};
    pfi_plan p;
    lpf_check(L, pfi_train_plan(t, &asked, &p));
    lua_createtable(L, 0, 8);
    train_number(L, "recompute", (size_t)p.recompute);
    train_number(L, "part", (size_t)p.part);
    train_number(L, "weights", p.weights);
    train_number(L, "optimizer", p.optimizer);
    train_number(L, "rest", p.rest);
    train_number(L, "gradients", p.gradients);
    train_number(L, "activations", p.activations);
    train_number(L, "total", p.total);
    return 1;
}

/* t:follow(plan): batches are computed so from now on */
static int train_follow(lua_State *L) {
    pf_trainer *t = train_check(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    pfi_train_follow(t, &(pfi_plan){.recompute = lpf_check_integer(L, 2, "follow", "recompute", 0),
                                    .part = lpf_check_integer(L, 2, "follow", "part", 0)});
    return 0;
}

static int train_property(lua_State *L) {
    (void)L;
    return 0;
}

static const luaL_Reg train_methods[] = {{"accumulate", train_accumulate},
                                         {"step", train_step},
                                         {"save", train_save},
                                         {"restore", train_restore},
                                         {"plan", train_plan},
                                         {"follow", train_follow},
                                         {NULL, NULL}};

void lpf_open_train(lua_State *L) {
    lpf_open_class(L, LPF_TRAINER, "trainer", train_gc, train_methods, train_property);
    lua_pushcfunction(L, train_new);
    lua_setfield(L, -2, "trainer");
}
