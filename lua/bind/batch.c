/* Token sequences from Lua, and the batches made of them. */
#include <string.h>

#include "bind.h"

/* ---- sequences ---- */

/* the list `name` of the sequence on top, as long as its ids; kept in the table at keep. NULL: there is none */
static const int32_t *batch_list(lua_State *L, int keep, const char *what, const char *name, size_t n) {
    if (lua_getfield(L, -1, name) == LUA_TNIL) {
        lua_pop(L, 1);
        return NULL;
    }
    size_t m;
    lua_pushfstring(L, "%s.%s", what, name);
    const int32_t *v = lpf_push_ids(L, -2, lua_tostring(L, -1), &m);
    if (m != n) lpf_error(L, "%s.%s has %d values for %d ids", what, name, (int)m, (int)n);
    lua_rawseti(L, keep, (lua_Integer)lua_rawlen(L, keep) + 1);
    lua_pop(L, 2);
    return v;
}

static const uint8_t *batch_score(lua_State *L, int keep, const char *what, size_t n) {
    const int32_t *v = batch_list(L, keep, what, "score", n);
    if (!v) return NULL;
    uint8_t *score = lua_newuserdatauv(L, n + 1, 0);
    for (size_t i = 0; i < n; i++) score[i] = v[i] != 0;
    lua_rawseti(L, keep, (lua_Integer)lua_rawlen(L, keep) + 1);
    return score;
}

/* the sequence on top of the stack; pops it */
static pf_sequence batch_read(lua_State *L, int keep, const char *what) {
    static const char *const names[] = {"ids", "scored_from", "score", "step", "target", NULL};
    pf_sequence s = {.scored_from = 1};
    if (!lua_istable(L, -1) && !lpf_test_tensor(L, -1))
        lpf_error(L, "%s: expected a sequence of ids, got %s", what, lpf_typename(L, -1));
    bool plain = !lua_istable(L, -1) || lua_rawlen(L, -1) > 0;
    if (plain)
        lua_pushvalue(L, -1);
    else
        lua_getfield(L, -1, "ids");
    s.ids = lpf_push_ids(L, -1, what, &s.n);
    lua_rawseti(L, keep, (lua_Integer)lua_rawlen(L, keep) + 1);
    lua_pop(L, 1);
    if (!plain) {
        lpf_check_options(L, lua_gettop(L), what, names);
        s.step = batch_list(L, keep, what, "step", s.n);
        s.target = batch_list(L, keep, what, "target", s.n);
        s.score = batch_score(L, keep, what, s.n);
        int64_t from = lpf_check_integer(L, lua_gettop(L), what, "scored_from", 2);
        if (from < 2)
            lpf_error(L, "%s: scored_from is %d; the first token that can be scored is number 2", what, (int)from);
        s.scored_from = (size_t)from - 1;
    }
    lua_pop(L, 1);
    return s;
}

pf_sequence *lpf_push_sequences(lua_State *L, int idx, const char *what, size_t *n) {
    idx = lua_absindex(L, idx);
    if (!lua_istable(L, idx)) lpf_error(L, "%s: expected a list of sequences, got %s", what, lpf_typename(L, idx));
    *n = (size_t)luaL_len(L, idx);
    luaL_checkstack(L, 16, what);
    lua_newtable(L);
    int keep = lua_gettop(L);
    pf_sequence *s = lua_newuserdatauv(L, (*n + 1) * sizeof *s, 0);
    lua_rawseti(L, keep, 1);
    for (size_t i = 0; i < *n; i++) {
        lua_pushfstring(L, "%s: sequence %d", what, (int)i + 1);
        lua_geti(L, idx, (lua_Integer)i + 1);
        s[i] = batch_read(L, keep, lua_tostring(L, -2));
        lua_settop(L, keep);
    }
    return s;
}

/* ---- batches ---- */

typedef struct batch_box {
    pf_batch *b;
} batch_box;

static int batch_gc(lua_State *L) {
    batch_box *b = luaL_checkudata(L, 1, LPF_BATCH);
    pf_batch_free(b->b);
    b->b = NULL;
    return 0;
}

pf_batch *lpf_check_batch(lua_State *L, int idx) {
    if (lua_istable(L, idx)) {
        lua_pushliteral(L, "handle");
        lua_rawget(L, idx);
        batch_box *b = luaL_testudata(L, -1, LPF_BATCH);
        lua_pop(L, 1); /* the table holds it */
        if (b && b->b) return b->b;
    }
    batch_box *b = luaL_testudata(L, idx, LPF_BATCH);
    if (b && b->b) return b->b;
    lpf_error(L, "expected a batch, as pf.batch makes it, got %s", lpf_typename(L, idx));
    return NULL;
}

static int batch_new(lua_State *L) {
    size_t n;
    batch_box *b = lua_newuserdatauv(L, sizeof *b, 0);
    b->b = NULL;
    luaL_setmetatable(L, LPF_BATCH);
    pf_sequence *s = lpf_push_sequences(L, 1, "batch", &n);
    lpf_check(L, pf_batch_new(lpf_ctx(L), s, n, &b->b));
    lua_pop(L, 1);
    return 1;
}

static int batch_property(lua_State *L) {
    pf_batch *b = lpf_check_batch(L, 1);
    const char *name = lua_tostring(L, 2);
    pf_tensor *t = pf_batch_tensor(b, name);
    int64_t size = t ? 0 : pf_batch_size(b, name);
    if (size < 0) return 0;
    if (!t) {
        lua_pushinteger(L, size);
        return 1;
    }
    lpf_tensor *box = lpf_push_tensor(L);
    box->t = pf_tensor_retain(t);
    box->positions = strcmp(name, "sequence") == 0;
    return 1;
}

static const luaL_Reg batch_methods[] = {{NULL, NULL}};

void lpf_open_batch(lua_State *L) {
    lpf_open_class(L, LPF_BATCH, "batch", batch_gc, batch_methods, batch_property);
    lua_pushcfunction(L, batch_new);
    lua_setfield(L, -2, "batch_new");
}
