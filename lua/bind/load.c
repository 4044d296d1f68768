/* Finding the library's Lua files: embedded, or in a directory while they are being worked on. */
#include <string.h>

#include "bind.h"
#include "embed.h"

#define LOAD_DIR "pofit.lua_dir"

static const lpf_embedded *load_find(const char *module) {
    for (const lpf_embedded *e = lpf_embedded_files; e->module; e++)
        if (strcmp(e->module, module) == 0) return e;
    return NULL;
}

/* push the path of a module below the development directory, if there is one and it has the file; else nothing */
static bool load_push_path(lua_State *L, const char *module) {
    lua_getfield(L, LUA_REGISTRYINDEX, LOAD_DIR);
    if (!lua_isstring(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchpath");
    lua_pushstring(L, module);
    lua_pushfstring(L, "%s/?.lua;%s/?/init.lua", lua_tostring(L, -4), lua_tostring(L, -4));
    lua_call(L, 2, 1);
    lua_replace(L, -3);
    lua_pop(L, 1);
    lua_remove(L, -2);
    if (lua_isstring(L, -1)) return true;
    lua_pop(L, 1);
    return false;
}

static int load_read_file(lua_State *L, const char *path) {
    luaL_Buffer b;
    char part[4096];
    FILE *f = fopen(path, "rb");
    if (!f) return luaL_error(L, "cannot open %s", path);
    luaL_Stream *s = lua_newuserdatauv(L, sizeof *s, 0); /* owns f from here on */
    s->f = f;
    s->closef = NULL;
    luaL_buffinit(L, &b);
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;) luaL_addlstring(&b, part, n);
    fclose(f);
    luaL_pushresult(&b);
    lua_remove(L, -2);
    return 1;
}

/* push the compiled module, or a text that says where it was looked for */
static bool load_push_chunk(lua_State *L, const char *module) {
    const lpf_embedded *e = load_find(module);
    const char *bytes = e ? (const char *)e->bytes : NULL;
    size_t n = e ? e->n : 0;
    if (load_push_path(L, module)) {
        load_read_file(L, lua_tostring(L, -1));
        bytes = lua_tolstring(L, -1, &n);
        const char *tail = strstr(lua_tostring(L, -2), "/pofit/");
        lua_pushfstring(L, LPF_CHUNK "%s", tail ? tail + 7 : module);
    } else if (e) {
        lua_pushfstring(L, "@%s", e->path);
    } else {
        lua_pushfstring(L, "no file of pofit is called '%s'", module);
        return false;
    }
    if (luaL_loadbufferx(L, bytes, n, lua_tostring(L, -1), "t") != LUA_OK) lua_error(L);
    return true;
}

static int load_searcher(lua_State *L) {
    const char *module = luaL_checkstring(L, 1);
    if (strncmp(module, "pofit.", 6) != 0) return 0;
    if (!load_push_chunk(L, module)) return 1;
    lua_pushliteral(L, "pofit");
    return 2;
}

static int load_main(lua_State *L) {
    if (!load_push_chunk(L, "pofit")) return luaL_error(L, "%s", lua_tostring(L, -1));
    lua_pushliteral(L, "pofit");
    lua_call(L, 1, 1);
    return 1;
}

/* modules() -> list of the embedded modules' names, sorted */
int lpf_modules(lua_State *L) {
    lua_Integer n = 0;
    lua_newtable(L);
    for (const lpf_embedded *e = lpf_embedded_files; e->module; e++) {
        lua_pushstring(L, e->module);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* source(module) -> its Lua text, or nothing */
int lpf_source(lua_State *L) {
    const char *module = luaL_checkstring(L, 1);
    if (load_push_path(L, module)) return load_read_file(L, lua_tostring(L, -1));
    const lpf_embedded *e = load_find(module);
    if (!e) return 0;
    lua_pushlstring(L, (const char *)e->bytes, e->n);
    return 1;
}

void lpf_install(lua_State *L, const char *dir) {
    static const luaL_Reg preload[] = {{"pofit.core", luaopen_pofit_core},
                                       {"pofit.sys", luaopen_pofit_sys},
                                       {"pofit.json", luaopen_pofit_json},
                                       {"pofit", load_main},
                                       {NULL, NULL}};
    lua_pushstring(L, dir);
    lua_setfield(L, LUA_REGISTRYINDEX, LOAD_DIR);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    luaL_setfuncs(L, preload, 0);
    lua_pop(L, 1);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, -1); i >= 2; i--) { /* after the preloaded ones */
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, load_searcher);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}

/* require "pofit" from any Lua 5.4 */
int luaopen_pofit(lua_State *L) {
    luaL_checkversion(L);
    lpf_install(L, NULL);
    return load_main(L);
}
