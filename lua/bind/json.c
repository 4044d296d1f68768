/* JSON for Lua: order of keys and kind of table are kept, numbers come back as they went. The metatable of a decoded
 * object holds its keys in the file's order; objects with the same keys share it. */
#include "file/json.h"
#include "file/file.h"

#include <stdlib.h>
#include <string.h>

#include "bind.h"

static const char json_arrays = 0, json_objects = 0, json_null_key = 0;

enum { JSON_DEPTH = 200 };

static int json_null_text(lua_State *L) {
    lua_pushliteral(L, "null");
    return 1;
}

static void json_push_null(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &json_null_key); }

/* ---- ordered walking ---- */

static void json_push_keys(lua_State *L, int idx);

static int json_next(lua_State *L) {
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(3));
    for (;;) {
        lua_pushinteger(L, ++i);
        lua_replace(L, lua_upvalueindex(3));
        if (lua_rawgeti(L, lua_upvalueindex(2), i) == LUA_TNIL) return 1;
        lua_pushvalue(L, -1);
        if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 2;
        lua_pop(L, 2);
    }
}

static int json_pairs(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushvalue(L, 1);
    json_push_keys(L, 1);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, json_next, 3);
    return 1;
}

static int json_less(lua_State *L) {
    int a = lua_type(L, 1), b = lua_type(L, 2);
    lua_pushboolean(L, a == b ? lua_compare(L, 1, 2, LUA_OPLT) : a < b);
    return 1;
}

static bool json_meta_is(lua_State *L, int idx, const char *field) {
    if (luaL_getmetafield(L, idx, field) == LUA_TNIL) return false;
    lua_pop(L, 1);
    return true;
}

/* push the list of an object's keys: the file's order, then what was added, sorted */
static void json_push_keys(lua_State *L, int idx) {
    idx = lua_absindex(L, idx);
    lua_newtable(L);
    lua_newtable(L);
    int list = lua_gettop(L) - 1, seen = list + 1;
    lua_Integer n = 0;
    if (luaL_getmetafield(L, idx, "json_keys") == LUA_TTABLE)
        for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
            lua_pushvalue(L, -1);
            if (lua_rawget(L, idx) != LUA_TNIL) {
                lua_pushvalue(L, -2);
                lua_rawseti(L, list, ++n);
                lua_pushvalue(L, -2);
                lua_pushboolean(L, 1);
                lua_rawset(L, seen);
            }
            lua_pop(L, 2);
        }
    lua_settop(L, seen);
    lua_Integer old = n;
    lua_newtable(L); /* the rest */
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        if (lua_rawget(L, seen) == LUA_TNIL) {
            lua_pushvalue(L, -3);
            lua_rawseti(L, seen + 1, ++n - old);
        }
        lua_pop(L, 1);
    }
    lua_getglobal(L, "table");
    lua_getfield(L, -1, "sort");
    lua_pushvalue(L, seen + 1);
    lua_pushcfunction(L, json_less);
    lua_call(L, 2, 0);
    for (lua_Integer i = 1; i <= n - old; i++) {
        lua_rawgeti(L, seen + 1, i);
        lua_rawseti(L, list, old + i);
    }
    lua_settop(L, list);
}

/* ---- decoding ---- */

typedef struct json_box {
    json_t *v;
    bool hidden; /* as pfi_json_parse_hidden says */
} json_box;

static int json_box_gc(lua_State *L) {
    json_box *b = lua_touserdata(L, 1);
    json_decref(b->v);
    b->v = NULL;
    return 0;
}

static void json_set_array(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &json_arrays);
    lua_setmetatable(L, -2);
}

/* give the object on top the metatable for its list of keys, found by the keys joined by a byte that UTF-8 never has */
static void json_set_order(lua_State *L, int keys) {
    luaL_Buffer b;
    lua_Integer n = (lua_Integer)lua_rawlen(L, keys);
    luaL_buffinit(L, &b);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, keys, i);
        luaL_addvalue(&b);
        luaL_addchar(&b, (char)0xFF);
    }
    luaL_pushresult(&b);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &json_objects);
    lua_pushvalue(L, -2);
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 3);
        lua_pushvalue(L, keys);
        lua_setfield(L, -2, "json_keys");
        lua_pushcfunction(L, json_pairs);
        lua_setfield(L, -2, "__pairs");
        lua_pushvalue(L, -3);
        lua_pushvalue(L, -2);
        lua_rawset(L, -4);
    }
    lua_setmetatable(L, -4);
    lua_pop(L, 2);
}

static void json_push_string(lua_State *L, const char *s, size_t n, bool hidden) {
    luaL_Buffer b;
    if (!hidden) {
        lua_pushlstring(L, s, n);
        return;
    }
    char *out = luaL_buffinitsize(L, &b, n);
    luaL_pushresultsize(&b, pfi_json_reveal(out, s, n));
}

static void json_push_value(lua_State *L, json_t *v, bool hidden);

static void json_push_object(lua_State *L, json_t *v, bool hidden) {
    const char *key;
    json_t *item;
    int n = (int)json_object_size(v), i = 0;
    lua_createtable(L, n, 0);
    lua_createtable(L, 0, n);
    json_object_foreach(v, key, item) {
        json_push_string(L, key, strlen(key), hidden);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -4, ++i);
        json_push_value(L, item, hidden);
        lua_rawset(L, -3);
    }
    json_set_order(L, lua_gettop(L) - 1);
    lua_remove(L, -2);
}

static void json_push_value(lua_State *L, json_t *v, bool hidden) {
    luaL_checkstack(L, 12, "json");
    switch (json_typeof(v)) {
    case JSON_OBJECT: json_push_object(L, v, hidden); break;
    case JSON_ARRAY:
        lua_createtable(L, (int)json_array_size(v), 0);
        for (size_t i = 0; i < json_array_size(v); i++) {
            json_push_value(L, json_array_get(v, i), hidden);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        json_set_array(L);
        break;
    case JSON_STRING: json_push_string(L, json_string_value(v), json_string_length(v), hidden); break;
    case JSON_INTEGER: lua_pushinteger(L, json_integer_value(v)); break;
    case JSON_REAL: lua_pushnumber(L, json_real_value(v)); break;
    case JSON_TRUE:
    case JSON_FALSE: lua_pushboolean(L, json_is_true(v)); break;
    case JSON_NULL: json_push_null(L); break;
    }
}

/* decode(text[, name of its file[, the line in that where the text begins]]): both for messages */
static int json_decode(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n), *what = luaL_optstring(L, 2, "JSON text");
    long line = (long)luaL_optinteger(L, 3, 1);
    lua_settop(L, 3);
    json_box *b = lua_newuserdatauv(L, sizeof *b, 0);
    b->v = NULL;
    lpf_push_class(L, "pofit.json.value", json_box_gc);
    lua_setmetatable(L, -2);
    b->v = pfi_json_parse_hidden(lpf_ctx(L), text, n, what, line, &b->hidden);
    if (!b->v && lua_isnoneornil(L, 2)) lpf_error(L, "%s", pf_errmsg(lpf_ctx(L))); /* a text of the script's own */
    if (!b->v) lpf_raise(L);
    json_push_value(L, b->v, b->hidden);
    return 1;
}

/* ---- encoding ---- */

typedef struct json_out {
    pf_ctx *ctx;
    pfi_buf buf;
    int indent; /* spaces a level; 0: one line */
} json_out;

static int json_out_gc(lua_State *L) {
    json_out *o = lua_touserdata(L, 1);
    pfi_buf_free(o->ctx, &o->buf);
    return 0;
}

static void json_add(lua_State *L, json_out *o, const char *text) { lpf_check(L, pfi_buf_str(o->ctx, &o->buf, text)); }

static void json_line(lua_State *L, json_out *o, int depth) {
    if (o->indent) lpf_check(L, pfi_buf_fmt(o->ctx, &o->buf, "\n%*s", depth * o->indent, ""));
}

/* the shortest form that reads back as the same number */
static void json_write_real(lua_State *L, json_out *o, double x) {
    char text[40];
    if (x - x != 0) lpf_error(L, "JSON has no way to write %f", x);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    if (!strpbrk(text, ".e")) strcat(text, ".0");
    json_add(L, o, text);
}

static void json_write_string(lua_State *L, json_out *o, int idx) {
    size_t n;
    const char *s = lua_tolstring(L, idx, &n);
    size_t bad = pfi_utf8_check(s, n);
    if (bad < n) lpf_error(L, "a string for JSON is not UTF-8 at byte %d", (int)bad + 1);
    lpf_check(L, pfi_json_quote(o->ctx, &o->buf, s, n));
}

static void json_write(lua_State *L, json_out *o, int idx, int depth);

static void json_write_array(lua_State *L, json_out *o, int idx, int depth) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, idx), counted = 0;
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) counted++;
    if (counted != n)
        lpf_error(L, "a table for JSON has %d list values and %d others; it must be one or the other", (int)n,
                  (int)(counted - n));
    json_add(L, o, "[");
    for (lua_Integer i = 1; i <= n; i++) {
        if (i > 1) json_add(L, o, o->indent ? "," : ", ");
        lua_rawgeti(L, idx, i);
        if (lua_istable(L, -1))
            json_line(L, o, depth + 1);
        else if (o->indent && i > 1)
            json_add(L, o, " ");
        json_write(L, o, lua_gettop(L), depth + 1);
        if (i == n && lua_istable(L, -1)) json_line(L, o, depth);
        lua_pop(L, 1);
    }
    json_add(L, o, "]");
}

static void json_write_object(lua_State *L, json_out *o, int idx, int depth) {
    json_push_keys(L, idx);
    int keys = lua_gettop(L);
    json_add(L, o, "{");
    lua_Integer i = 1;
    for (; lua_rawgeti(L, keys, i) != LUA_TNIL; i++) {
        if (lua_type(L, -1) != LUA_TSTRING)
            lpf_error(L, "a key of a table for JSON is %s, expected a string", lpf_typename(L, -1));
        if (i > 1) json_add(L, o, o->indent ? "," : ", ");
        json_line(L, o, depth + 1);
        json_write_string(L, o, -1);
        json_add(L, o, ": ");
        lua_rawget(L, idx);
        json_write(L, o, lua_gettop(L), depth + 1);
        lua_pop(L, 1);
    }
    if (i > 1) json_line(L, o, depth);
    json_add(L, o, "}");
    lua_settop(L, keys - 1);
}

static void json_write_table(lua_State *L, json_out *o, int idx, int depth) {
    if (depth > JSON_DEPTH) lpf_error(L, "a table for JSON is nested deeper than %d, or holds itself", JSON_DEPTH);
    luaL_checkstack(L, 16, "json");
    if (json_meta_is(L, idx, "json_array") || (lua_rawlen(L, idx) > 0 && !json_meta_is(L, idx, "json_keys")))
        json_write_array(L, o, idx, depth);
    else
        json_write_object(L, o, idx, depth);
}

static void json_write(lua_State *L, json_out *o, int idx, int depth) {
    char text[40];
    switch (lua_type(L, idx)) {
    case LUA_TTABLE: json_write_table(L, o, idx, depth); return;
    case LUA_TSTRING: json_write_string(L, o, idx); return;
    case LUA_TBOOLEAN: json_add(L, o, lua_toboolean(L, idx) ? "true" : "false"); return;
    case LUA_TNUMBER:
        if (!lua_isinteger(L, idx)) {
            json_write_real(L, o, lua_tonumber(L, idx));
            return;
        }
        snprintf(text, sizeof text, "%lld", (long long)lua_tointeger(L, idx));
        json_add(L, o, text);
        return;
    default: break;
    }
    json_push_null(L);
    bool null = lua_rawequal(L, -1, idx);
    lua_pop(L, 1);
    if (!null) lpf_error(L, "%s cannot be written as JSON", lpf_typename(L, idx));
    json_add(L, o, "null");
}

/* encode(value[, {indent=2}]) */
static int json_encode(lua_State *L) {
    static const char *const names[] = {"indent", NULL};
    luaL_checkany(L, 1);
    lpf_check_options(L, 2, "json.encode", names);
    int indent = 0;
    if (lua_istable(L, 2) && lua_getfield(L, 2, "indent") != LUA_TNIL) indent = (int)luaL_checkinteger(L, -1);
    json_out *o = lua_newuserdatauv(L, sizeof *o, 0);
    *o = (json_out){lpf_ctx(L), {0}, indent < 0 || indent > 8 ? 2 : indent};
    lpf_push_class(L, "pofit.json.out", json_out_gc);
    lua_setmetatable(L, -2);
    json_write(L, o, 1, 0);
    lua_pushlstring(L, o->buf.data, o->buf.len);
    pfi_buf_free(o->ctx, &o->buf);
    return 1;
}

/* array(t): the same table, an array even if it is empty */
static int json_array_of(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    json_set_array(L);
    return 1;
}

/* object(t, keys): the same table, an object whose keys stand in the order of the list */
static int json_object_of(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_pushvalue(L, 1);
    json_set_order(L, 2);
    return 1;
}

static const luaL_Reg json_functions[] = {{"decode", json_decode},
                                          {"encode", json_encode},
                                          {"array", json_array_of},
                                          {"object", json_object_of},
                                          {NULL, NULL}};

int luaopen_pofit_json(lua_State *L) {
    luaL_requiref(L, "pofit.core", luaopen_pofit_core, 0);
    lua_createtable(L, 0, 1); /* metatable of arrays */
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "json_array");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &json_arrays);
    lua_newtable(L); /* metatables of objects by their keys; weak, so that they go with the last object */
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &json_objects);
    lua_newuserdatauv(L, 0, 0);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, json_null_text);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "pofit.json.null");
    lua_setfield(L, -2, "__name");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &json_null_key);
    luaL_newlib(L, json_functions);
    json_push_null(L);
    lua_setfield(L, -2, "null");
    return 1;
}
