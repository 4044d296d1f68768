/* What an observed context computed: sums by operation, pass and layer, and the first events one by one. */
#include <stdlib.h>
#include <string.h>

#include "bind.h"

enum { PROFILE_SLOTS = 1 << 13, PROFILE_ROWS = PROFILE_SLOTS / 2, PROFILE_EVENTS = 1 << 17 };

typedef struct profile_row {
    pf_event sum; /* start: of the first */
    int64_t calls;
} profile_row;

typedef struct profile {
    pf_ctx *ctx; /* NULL once it has stopped */
    profile_row *row;
    int rows;
    short slot[PROFILE_SLOTS]; /* number of a row, from 1 */
    pf_event *event;
    size_t events, room;
    int64_t left_out; /* events that are not kept one by one */
} profile;

static bool profile_same(const pf_event *a, const pf_event *b) {
    return a->layer == b->layer && a->backward == b->backward && strcmp(a->name, b->name) == 0;
}

static unsigned profile_hash(const pf_event *e) {
    unsigned h = (unsigned)e->layer * 2 + e->backward;
    for (const char *c = e->name; *c; c++) h = h * 31 + (unsigned char)*c;
    return h;
}

/* the row of an event; the last one takes what no row is left for */
static profile_row *profile_find(profile *p, const pf_event *e) {
    unsigned k = profile_hash(e) % PROFILE_SLOTS;
    while (p->slot[k] && !profile_same(&p->row[p->slot[k] - 1].sum, e)) k = (k + 1) % PROFILE_SLOTS;
    if (p->slot[k]) return &p->row[p->slot[k] - 1];
    if (p->rows == PROFILE_ROWS) return &p->row[PROFILE_ROWS - 1];
    p->slot[k] = (short)++p->rows;
    p->row[p->rows - 1] = (profile_row){.sum = {e->name, e->backward, e->layer, e->start, 0, 0, 0}};
    return &p->row[p->rows - 1];
}

static void profile_keep(profile *p, const pf_event *e) {
    if (p->events == p->room && p->room < PROFILE_EVENTS) {
        size_t room = p->room ? 2 * p->room : 1024;
        pf_event *more = realloc(p->event, room * sizeof *more);
        if (more) {
            p->event = more;
            p->room = room;
        }
    }
    if (p->events < p->room)
        p->event[p->events++] = *e;
    else
        p->left_out++;
}

static void profile_observe(void *ud, const pf_event *e) {
    profile *p = ud;
    profile_row *r = profile_find(p, e);
    r->calls++;
    r->sum.seconds += e->seconds;
    r->sum.flops += e->flops;
    r->sum.bytes += e->bytes;
    profile_keep(p, e);
}

static int profile_stop(lua_State *L) {
    profile *p = luaL_checkudata(L, 1, LPF_PROFILE);
    if (p->ctx) pf_observe(p->ctx, NULL, NULL);
    p->ctx = NULL;
    return 0;
}

static int profile_gc(lua_State *L) {
    profile *p = luaL_checkudata(L, 1, LPF_PROFILE);
    profile_stop(L);
    free(p->row);
    free(p->event);
    p->row = NULL;
    p->event = NULL;
    p->rows = 0;
    p->events = 0;
    return 0;
}

/* the event as a table with one more field */
static void profile_push(lua_State *L, const pf_event *e, int64_t calls) {
    lua_createtable(L, 0, 8);
    lua_pushstring(L, e->name);
    lua_setfield(L, -2, "name");
    lua_pushboolean(L, e->backward);
    lua_setfield(L, -2, "backward");
    if (e->layer >= 0) {
        lua_pushinteger(L, e->layer + 1);
        lua_setfield(L, -2, "layer");
    }
    lua_pushinteger(L, calls);
    lua_setfield(L, -2, "calls");
    const char *const name[] = {"start", "seconds", "flops", "bytes"};
    const double value[] = {e->start, e->seconds, e->flops, e->bytes};
    for (int i = 0; i < 4; i++) {
        lua_pushnumber(L, value[i]);
        lua_setfield(L, -2, name[i]);
    }
}

/* p:rows() -> {{name=, backward=, layer= from 1 or nil, calls=, start= of the first, seconds=, flops=, bytes=}, ...} */
static int profile_rows(lua_State *L) {
    profile *p = luaL_checkudata(L, 1, LPF_PROFILE);
    lua_createtable(L, p->rows, 0);
    for (int i = 0; i < p->rows; i++) {
        profile_push(L, &p->row[i].sum, p->row[i].calls);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* p:event(i) -> event i, from 1, in the order in which they ended; nil beyond the last that was kept */
static int profile_event(lua_State *L) {
    profile *p = luaL_checkudata(L, 1, LPF_PROFILE);
    lua_Integer i = luaL_checkinteger(L, 2);
    if (i < 1 || (size_t)i > p->events) return 0;
    profile_push(L, &p->event[i - 1], 1);
    return 1;
}

/* p:left_out() -> how many events came after those */
static int profile_left_out(lua_State *L) {
    profile *p = luaL_checkudata(L, 1, LPF_PROFILE);
    lua_pushinteger(L, p->left_out);
    return 1;
}

static int profile_property(lua_State *L) {
    (void)L;
    return 0;
}

/* core.profile(): observes from here on; one at a time */
static int profile_new(lua_State *L) {
    profile *p = lua_newuserdatauv(L, sizeof *p, 0);
    memset(p, 0, sizeof *p);
    luaL_setmetatable(L, LPF_PROFILE);
    p->row = malloc(PROFILE_ROWS * sizeof *p->row);
    if (!p->row) return lpf_error(L, "not enough memory");
    p->ctx = lpf_ctx(L);
    pf_observe(p->ctx, profile_observe, p);
    return 1;
}

static const luaL_Reg profile_methods[] = {{"stop", profile_stop},
                                           {"rows", profile_rows},
                                           {"event", profile_event},
                                           {"left_out", profile_left_out},
                                           {NULL, NULL}};

void lpf_open_profile(lua_State *L) {
    lpf_open_class(L, LPF_PROFILE, "profile", profile_gc, profile_methods, profile_property);
    lua_pushcfunction(L, profile_new);
    lua_setfield(L, -2, "profile");
}
